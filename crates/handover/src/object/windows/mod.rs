//! Windows: what an object type holds, objects with fewer rights, and mutexes.

mod access_ext;
mod mutex;
pub(crate) mod object_handle;

pub use mutex::{LockError, Mutex, MutexGuard};

/// Whether other processes put handles into this one while it runs.
pub(super) const COME_WHILE_RUNNING: bool = true;
