//! The names of the system calls behind the platform-independent operations, and of the access modes that they need.

pub(crate) const MAP: &str = "mmap";
pub(crate) const READ: &str = "read";
#[allow(dead_code, reason = "used by asynchronous streams")]
pub(crate) const WRITE: &str = "write";
pub(crate) const INHERIT_FLAG: &str = "fcntl";
pub(crate) const BEGIN_THREAD: &str = "clone3";

/// The access mode that an operation needs. A descriptor of a file or of shared memory can lack it.
pub(crate) const TO_WAIT: &str = "to read";
pub(crate) const TO_SET_EVENT: &str = "to write";
pub(crate) const TO_RELEASE: &str = "to write";
pub(crate) const TO_SET_TIMER: &str = "to write";
pub(crate) const TO_READ: &str = "to read";
pub(crate) const TO_WRITE: &str = "to write";
