//! Windows: the handle inside each object type, sharing with chosen rights, the mutex, and sockets.

mod access_ext;
mod mutex;
pub(crate) mod object_handle;
pub(super) mod socket;

pub use mutex::{LockError, Mutex, MutexGuard, ThreadWaitable, wait_any};

/// Whether other processes can add handles to this one while it runs. On Windows they can, with
/// `DuplicateHandle`.
pub(super) const PEERS_CAN_ADD_HANDLES: bool = true;
