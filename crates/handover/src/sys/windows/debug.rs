//! Debugging: being the one without whom a process doesn't go on.
//!
//! By the calls on which `WaitForDebugEvent` and its kin stand, because those open handles that they close at a time of
//! their own (and under Wine never). Here each handle that comes has an owner at once.

use std::io;
use std::os::windows::io::{FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{
    DBG_CONTINUE, DBG_EXCEPTION_NOT_HANDLED, STATUS_ALERTED, STATUS_BREAKPOINT, STATUS_HANDLE_NOT_CLOSABLE,
    STATUS_INVALID_HANDLE, STATUS_TIMEOUT, STATUS_USER_APC, STATUS_WX86_BREAKPOINT,
};
use windows_sys::Win32::System::Threading::DEBUG_PROCESS;

use super::{fault, handle};

/// The creation flag of a process that is debugged, with all that it creates, by the thread that creates it.
pub(crate) const DEBUGGED: u32 = DEBUG_PROCESS;

/// `CLIENT_ID`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct ClientId {
    process: usize,
    thread: usize,
}

/// `DBGUI_WAIT_STATE_CHANGE`, as far as it is used here.
#[repr(C)]
struct StateChange {
    state: u32,
    who: ClientId,
    info: Info,
}

/// What a state change has with it, by its state.
#[repr(C)]
#[derive(Clone, Copy)]
union Info {
    process: NewProcess,
    thread: RawHandle,
    file: RawHandle,
    exit_code: u32,
    /// An `EXCEPTION_RECORD`, which begins with its code.
    exception: i32,
    /// More than the largest of them takes, which is the exception.
    room: [u64; 24],
}

/// The beginning of `DBGUI_CREATE_PROCESS`.
#[repr(C)]
#[derive(Clone, Copy)]
struct NewProcess {
    process: RawHandle,
    thread: RawHandle,
    subsystem_key: u32,
    file: RawHandle,
}

/// `DBG_STATE`.
mod state {
    pub(super) const CREATE_THREAD: u32 = 2;
    pub(super) const CREATE_PROCESS: u32 = 3;
    pub(super) const EXIT_PROCESS: u32 = 5;
    pub(super) const EXCEPTION: u32 = 6;
    pub(super) const BREAKPOINT: u32 = 7;
    pub(super) const SINGLE_STEP: u32 = 8;
    pub(super) const LOAD_DLL: u32 = 9;
}

#[cfg_attr(
    target_arch = "x86",
    link(name = "ntdll.dll", kind = "raw-dylib", modifiers = "+verbatim", import_name_type = "undecorated")
)]
#[cfg_attr(not(target_arch = "x86"), link(name = "ntdll.dll", kind = "raw-dylib", modifiers = "+verbatim"))]
// SAFETY: as ntdll has them since Windows XP; windows-sys doesn't.
unsafe extern "system" {
    fn DbgUiWaitStateChange(change: *mut StateChange, timeout: *const i64) -> i32;
    fn DbgUiContinue(who: *const ClientId, status: i32) -> i32;
    fn DbgUiGetThreadDebugObject() -> RawHandle;
    fn DbgUiSetThreadDebugObject(object: RawHandle);
}

/// What has happened in a process that is debugged. All of it stands still until [`go_on`].
#[derive(Debug)]
pub(crate) struct Happened {
    pub(crate) process: u32,
    who: ClientId,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A process is about to begin.
    Begins(OwnedHandle),
    /// It ends, with this code.
    Ends(u32),
    Raises(Exception),
    Other,
}

/// An exception in the process, of which the debugger hears first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exception {
    /// A breakpoint, of this kind.
    Breakpoint(i32),
    /// What a call raises under a debugger, and only answers without one.
    OfADebuggedCall,
    /// Any other, which is the program's own.
    Own,
}

impl From<i32> for Exception {
    fn from(code: i32) -> Self {
        match code {
            STATUS_BREAKPOINT | STATUS_WX86_BREAKPOINT => Self::Breakpoint(code),
            STATUS_INVALID_HANDLE | STATUS_HANDLE_NOT_CLOSABLE => Self::OfADebuggedCall,
            _ => Self::Own,
        }
    }
}

/// The next that happens in what this thread debugs; `None` if nothing does for so many milliseconds.
pub(crate) fn next(milliseconds: u32) -> io::Result<Option<Happened>> {
    fault("DbgUiWaitStateChange")?;
    // Negative: from now on.
    let timeout = -i64::from(milliseconds) * 10_000;
    let nobody = ClientId { process: 0, thread: 0 };
    let mut change = StateChange { state: 0, who: nobody, info: Info { room: [0; 24] } };
    // SAFETY: the structure is a live place with room for the answer, and the timeout is live too.
    let status = unsafe { DbgUiWaitStateChange(&raw mut change, &raw const timeout) };
    if matches!(status, STATUS_TIMEOUT | STATUS_ALERTED | STATUS_USER_APC) {
        return Ok(None);
    }
    handle::succeeded_nt(status)?;
    let what = match change.state {
        state::CREATE_PROCESS => {
            // SAFETY: this is the part of the union that a change to this state has.
            let begins = unsafe { change.info.process };
            drop((owned(begins.thread), owned(begins.file)));
            let process = owned(begins.process);
            What::Begins(process.ok_or_else(|| io::Error::other("a process began without a handle to it"))?)
        }
        state::CREATE_THREAD => {
            // SAFETY: as above.
            drop(owned(unsafe { change.info.thread }));
            What::Other
        }
        state::LOAD_DLL => {
            // SAFETY: as above.
            drop(owned(unsafe { change.info.file }));
            What::Other
        }
        // SAFETY: as above.
        state::EXIT_PROCESS => What::Ends(unsafe { change.info.exit_code }),
        state::EXCEPTION | state::BREAKPOINT | state::SINGLE_STEP => {
            // SAFETY: as above.
            What::Raises(unsafe { change.info.exception }.into())
        }
        _ => What::Other,
    };
    let process = u32::try_from(change.who.process).map_err(io::Error::other)?;
    Ok(Some(Happened { process, who: change.who, what }))
}

/// An owner for a handle that the system has opened for the debugger, if it has.
fn owned(handle: RawHandle) -> Option<OwnedHandle> {
    if handle.is_null() || handle.addr() == usize::MAX {
        return None;
    }
    // SAFETY: the system has opened it for this debugger just now, which has to close it, and nobody else knows it.
    Some(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Lets the process go on; as if there had been no exception if it is swallowed.
pub(crate) fn go_on(happened: &Happened, swallow: bool) -> io::Result<()> {
    fault("DbgUiContinue")?;
    let status = if swallow { DBG_CONTINUE } else { DBG_EXCEPTION_NOT_HANDLED };
    // SAFETY: the id is live, and only read.
    let status = unsafe { DbgUiContinue(&raw const happened.who, status) };
    handle::succeeded_nt(status)
}

/// Makes this thread debug nothing any more, as its end would. The system ends what it debugged and what hasn't ended yet.
pub(crate) fn stop() {
    // SAFETY: the call takes nothing, and reads this thread's own record.
    let object = unsafe { DbgUiGetThreadDebugObject() };
    // SAFETY: nothing is waited for by this thread any more.
    unsafe { DbgUiSetThreadDebugObject(null_mut()) };
    // The record was the owner.
    drop(owned(object));
}
