//! Jobs: processes that end together.

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

/// What a job does to its processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    /// They end when the last handle to the job is closed, which the system does for a process that dies.
    pub(crate) kill_on_close: bool,
    /// The processes that they create are not in the job.
    pub(crate) children_stay_out: bool,
}

/// An unnamed job with these rules.
pub(crate) fn create(rules: Rules) -> SysResult<Owned> {
    let job = call("CreateJobObjectW", &[], || {
        // SAFETY: no security attributes and no name are documented as NULL.
        let raw = unsafe { CreateJobObjectW(null(), null()) };
        if raw.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was made for us just now.
        Ok(Owned::from(unsafe { OwnedHandle::from_raw_handle(raw) }))
    })?;
    set_rules(job.as_handle(), rules)?;
    Ok(job)
}

/// Gives a job other rules.
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
        // SAFETY: the handle is borrowed, so it is open; the structure is the one of this class, with its own
        // size.
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
