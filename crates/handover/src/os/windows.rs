//! What only Windows has: access rights, mutexes, security descriptors, suspended children, and handles that are put into
//! running processes.

pub use crate::duplicate::RemoteHandle;
pub use crate::handle::Access;
pub use crate::name::SecurityDescriptor;
pub use crate::object::{LockError, Mutex, MutexGuard};
pub use crate::process::{CommandExt, SuspendedChild};
