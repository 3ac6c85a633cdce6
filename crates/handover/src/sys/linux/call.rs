//! What the calls are named by which the code for all systems does its work, and the rights that they take.

pub(crate) const WAIT: &str = "ppoll";
pub(crate) const WAIT_ANY: &str = "ppoll";
pub(crate) const SET_EVENT: &str = "write";
pub(crate) const RESET_EVENT: &str = "preadv2";
pub(crate) const RELEASE_SEMAPHORE: &str = "write";
pub(crate) const SET_TIMER: &str = "timerfd_settime";
pub(crate) const CANCEL_TIMER: &str = "timerfd_settime";
pub(crate) const MAP: &str = "mmap";
pub(crate) const READ: &str = "read";
pub(crate) const ASK_FOR_KIND: &str = "fstat";
pub(crate) const ASK_FOR_STREAM: &str = "fcntl";
pub(crate) const ASK_FOR_FLAGS: &str = "fcntl";
pub(crate) const SET_FLAGS: &str = "fcntl";
pub(crate) const READ_TABLE: &str = "readdir";
pub(crate) const TIMES: &str = "read";
pub(crate) const TERMINATE: &str = "pidfd_send_signal";
pub(crate) const BEGIN_THREAD: &str = "clone3";
pub(crate) const EXIT_CODE: &str = "waitid";

/// What a descriptor has to be open for; one of a file or a section can lack it.
pub(crate) const TO_WAIT: &str = "to read";
pub(crate) const TO_SET_EVENT: &str = "to write";
pub(crate) const TO_RELEASE: &str = "to write";
pub(crate) const TO_SET_TIMER: &str = "to write";
pub(crate) const TO_READ: &str = "to read";
pub(crate) const TO_WRITE: &str = "to write";
