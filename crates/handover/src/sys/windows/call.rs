//! What the calls are named by which the code for all systems does its work, and the rights that they take.

pub(crate) const WAIT: &str = "WaitForSingleObject";
pub(crate) const WAIT_ANY: &str = "WaitForMultipleObjects";
pub(crate) const SET_EVENT: &str = "SetEvent";
pub(crate) const RESET_EVENT: &str = "ResetEvent";
pub(crate) const RELEASE_SEMAPHORE: &str = "ReleaseSemaphore";
pub(crate) const SET_TIMER: &str = "SetWaitableTimer";
pub(crate) const CANCEL_TIMER: &str = "CancelWaitableTimer";
pub(crate) const MAP: &str = "MapViewOfFile";
pub(crate) const READ: &str = "ReadFile";
pub(crate) const ASK_FOR_KIND: &str = "NtQueryObject";
pub(crate) const ASK_FOR_STREAM: &str = "NtQueryObject";
pub(crate) const ASK_FOR_FLAGS: &str = "GetHandleInformation";
pub(crate) const SET_FLAGS: &str = "SetHandleInformation";
pub(crate) const READ_TABLE: &str = "NtQuerySystemInformation";
pub(crate) const TIMES: &str = "GetProcessTimes";
pub(crate) const TERMINATE: &str = "TerminateProcess";
pub(crate) const BEGIN_THREAD: &str = "CreateThread";
pub(crate) const EXIT_CODE: &str = "GetExitCodeProcess";

/// By which right an object can be waited for, and so on.
pub(crate) const TO_WAIT: &str = "SYNCHRONIZE";
pub(crate) const TO_SET_EVENT: &str = "EVENT_MODIFY_STATE";
pub(crate) const TO_RELEASE: &str = "SEMAPHORE_MODIFY_STATE";
pub(crate) const TO_SET_TIMER: &str = "TIMER_MODIFY_STATE";
pub(crate) const TO_READ: &str = "SECTION_MAP_READ";
pub(crate) const TO_WRITE: &str = "SECTION_MAP_WRITE";
