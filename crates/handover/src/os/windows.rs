//! The items that exist on Windows only: access rights, mutexes, security descriptors, suspended children, handles that
//! are duplicated into running processes, and introductions that give one process power over the other.

pub use crate::channel::{introduce_stronger, introduce_stronger_timeout};
pub use crate::duplicate::RemoteHandle;
pub use crate::handle::Access;
pub use crate::name::SecurityDescriptor;
pub use crate::object::{LockError, Mutex, MutexGuard, ThreadWaitable, wait_any};
pub use crate::process::windows::{CommandExt, SuspendedChild};
