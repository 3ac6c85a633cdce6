//! The names of calls and rights that the platform-independent code uses in errors.

pub(crate) const MAP: &str = "MapViewOfFile";
pub(crate) const INHERIT_FLAG: &str = "GetHandleInformation";
pub(crate) const READ: &str = "ReadFile";
#[allow(dead_code, reason = "used by asynchronous streams")]
pub(crate) const WRITE: &str = "WriteFile";
pub(crate) const BEGIN_THREAD: &str = "CreateThread";

/// The right that each operation on an object needs.
pub(crate) const TO_WAIT: &str = "SYNCHRONIZE";
pub(crate) const TO_SET_EVENT: &str = "EVENT_MODIFY_STATE";
pub(crate) const TO_RELEASE: &str = "SEMAPHORE_MODIFY_STATE";
pub(crate) const TO_SET_TIMER: &str = "TIMER_MODIFY_STATE";
pub(crate) const TO_READ: &str = "SECTION_MAP_READ";
pub(crate) const TO_WRITE: &str = "SECTION_MAP_WRITE";
