//! What the calls are named by which the code for all systems does its work, and the rights that they take.

pub(crate) const MAP: &str = "mmap";
pub(crate) const READ: &str = "read";
pub(crate) const BEGIN_THREAD: &str = "clone3";

/// What a descriptor has to be open for; one of a file or a section can lack it.
pub(crate) const TO_WAIT: &str = "to read";
pub(crate) const TO_SET_EVENT: &str = "to write";
pub(crate) const TO_RELEASE: &str = "to write";
pub(crate) const TO_SET_TIMER: &str = "to write";
pub(crate) const TO_READ: &str = "to read";
pub(crate) const TO_WRITE: &str = "to write";
