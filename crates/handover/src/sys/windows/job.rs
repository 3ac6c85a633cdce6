//! Job objects, whose processes can be terminated together.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;

use windows_sys::Win32::System::JobObjects::{
    CreateJobObjectW, JOB_OBJECT_LIMIT_BREAKAWAY_OK, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectExtendedLimitInformation, SetInformationJobObject,
};

use super::io::Owned;
use super::{Argument, SysResult, call, succeeded};

/// The effects of a job on its processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    /// They are terminated when the last handle to the job is closed. The system closes a process's handles when it
    /// exits, also after a crash.
    pub(crate) kill_on_close: bool,
    /// Child processes that they create don't belong to the job.
    pub(crate) children_stay_out: bool,
}

/// Creates an unnamed job with these rules.
pub(crate) fn create(rules: Rules) -> SysResult<Owned> {
    let job = call("CreateJobObjectW", &[], || {
        // SAFETY: both pointers may be null, which stands for default security attributes and no name.
        let raw = unsafe { CreateJobObjectW(null(), null()) };
        if raw.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the successful call has just opened this handle for this process, and `raw` is its only copy, so no
        // other owner exists.
        Ok(Owned::from(unsafe { OwnedHandle::from_raw_handle(raw) }))
    })?;
    set_rules(job.as_handle(), rules)?;
    Ok(job)
}

/// Replaces the rules of a job.
pub(crate) fn set_rules(job: BorrowedHandle<'_>, rules: Rules) -> SysResult<()> {
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    if rules.kill_on_close {
        limits.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    }
    if rules.children_stay_out {
        limits.BasicLimitInformation.LimitFlags |=
            JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK | JOB_OBJECT_LIMIT_BREAKAWAY_OK;
    }
    let flags = Argument::Flags(limits.BasicLimitInformation.LimitFlags);
    call("SetInformationJobObject", &[("job", job.into()), ("flags", flags)], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a job. `limits` is the
        // structure of this information class, it is live during the call, and the length is its size.
        let answer = unsafe {
            SetInformationJobObject(
                job.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                super::size_of_u32::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>(),
            )
        };
        succeeded(answer)
    })
}
