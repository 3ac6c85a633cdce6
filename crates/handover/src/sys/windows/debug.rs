//! Debugging: being the one without whom a process doesn't go on.
//!
//! By the calls on which `WaitForDebugEvent` and its kin stand, because those open handles that they close at
//! a time of their own (and under Wine never). Here each handle that comes has an owner at once.

use std::fmt;
use std::io;
use std::os::windows::io::{FromRawHandle, OwnedHandle, RawHandle};
use std::os::windows::process::CommandExt;
use std::process::Command;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{
    DBG_CONTINUE, DBG_EXCEPTION_NOT_HANDLED, STATUS_ALERTED, STATUS_BREAKPOINT, STATUS_HANDLE_NOT_CLOSABLE,
    STATUS_INVALID_HANDLE, STATUS_TIMEOUT, STATUS_USER_APC, STATUS_WX86_BREAKPOINT,
};
use windows_sys::Win32::System::Threading::DEBUG_PROCESS;

use super::handle;
use super::io::Owned;
use super::{Argument, Effects, Outcome, Slot, SysError, SysResult, Table, call};

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
    room: [usize; 48],
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

// As the kernel lays them out, for both widths.
const _: () = {
    let word = size_of::<usize>();
    assert!(std::mem::offset_of!(StateChange, who) == word);
    assert!(std::mem::offset_of!(StateChange, info) == 3 * word);
    assert!(std::mem::offset_of!(NewProcess, file) == 3 * word);
};

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
    fn DbgUiConnectToDbg() -> i32;
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
    Begins(Owned),
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

/// Makes this thread one that can debug. Creating a process with the flag would do it otherwise, without
/// telling of the handle that is opened for it.
pub(crate) fn begin() -> SysResult<()> {
    /// What the thread's record has from now on, to the end.
    struct Connected(RawHandle);
    impl Outcome for Connected {
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(to, "{:#x}", self.0.expose_provenance())
        }

        fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
            to.opened(Slot::new(self.0.expose_provenance() as u64, Table::Own), None)
        }
    }
    let connected = call("DbgUiConnectToDbg", &[], || {
        // SAFETY: the call takes nothing.
        handle::succeeded_nt(unsafe { DbgUiConnectToDbg() })?;
        // SAFETY: likewise; it reads this thread's own record.
        Ok(Connected(unsafe { DbgUiGetThreadDebugObject() }))
    });
    connected.map(drop)
}

/// A command that was created, by std.
#[derive(Debug)]
pub(crate) struct Spawned {
    process: Owned,
    pub(crate) id: u32,
    /// Whether it had a pipe to this process for a stream, whose end here is closed by now.
    pub(crate) is_piped: bool,
}

impl Outcome for Spawned {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "process {}", self.id)
    }

    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        self.process.effects(to)
    }
}

/// Creates the command's process; this thread debugs it, and all that it creates. What it inherits, the audit
/// tells, and nothing of it is known here.
pub(crate) fn spawn(command: &mut Command) -> SysResult<Spawned> {
    let program: Vec<u16> = std::os::windows::ffi::OsStrExt::encode_wide(command.get_program()).collect();
    let arguments = [("program", Argument::Wide(&program)), ("flags", Argument::Flags(DEBUG_PROCESS))];
    call("CreateProcessW", &arguments, || {
        let child = command.creation_flags(DEBUG_PROCESS).spawn()?;
        let id = child.id();
        let is_piped = child.stdin.is_some() || child.stdout.is_some() || child.stderr.is_some();
        // Here nothing else of it stays open: std closes its pipes and the handle to its thread with this.
        Ok(Spawned { process: OwnedHandle::from(child).into(), id, is_piped })
    })
}

#[cfg(test)]
impl Spawned {
    pub(crate) fn process(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        std::os::windows::io::AsHandle::as_handle(&self.process)
    }
}

/// What has happened, and what else was opened for the debugger to see it.
struct Change {
    happened: Option<(ClientId, Reported)>,
    beside: [Option<Owned>; 2],
}

/// [`What`], before anything of it is looked at more closely.
enum Reported {
    Begins(Option<Owned>),
    Ends(u32),
    Raises(i32),
    Other,
}

impl Outcome for Change {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((who, told)) = &self.happened else { return to.write_str("nothing") };
        write!(to, "process {}", who.process)?;
        match told {
            Reported::Begins(_) => to.write_str(" begins"),
            Reported::Ends(code) => write!(to, " ends with {code:#x}"),
            Reported::Raises(code) => write!(to, ", exception {code:#010x}"),
            Reported::Other => Ok(()),
        }
    }

    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        if let Some((_, Reported::Begins(process))) = &self.happened {
            process.effects(to)?;
        }
        self.beside.iter().try_for_each(|opened| opened.effects(to))
    }
}

/// The next that happens in what this thread debugs; `None` if nothing does for so many milliseconds.
pub(crate) fn next(milliseconds: u32) -> SysResult<Option<Happened>> {
    const WAIT: &str = "DbgUiWaitStateChange";
    let arguments = [("for", Argument::Milliseconds(Some(milliseconds)))];
    let Change { happened, beside } = call(WAIT, &arguments, || wait(milliseconds))?;
    drop(beside);
    let Some((who, told)) = happened else { return Ok(None) };
    let what = match told {
        Reported::Begins(Some(process)) => What::Begins(process),
        Reported::Begins(None) => {
            return Err(SysError::unexpected(WAIT, "a process began without a handle to it"));
        }
        Reported::Ends(code) => What::Ends(code),
        Reported::Raises(code) => What::Raises(code.into()),
        Reported::Other => What::Other,
    };
    let process = u32::try_from(who.process).map_err(|error| SysError::new(WAIT, io::Error::other(error)))?;
    Ok(Some(Happened { process, who, what }))
}

fn wait(milliseconds: u32) -> io::Result<Change> {
    // Negative: from now on.
    let timeout = -i64::from(milliseconds) * 10_000;
    let nobody = ClientId { process: 0, thread: 0 };
    let mut change = StateChange { state: 0, who: nobody, info: Info { room: [0; 48] } };
    // SAFETY: the structure is a live place with room for the answer, and the timeout is live too.
    let status = unsafe { DbgUiWaitStateChange(&raw mut change, &raw const timeout) };
    if matches!(status, STATUS_TIMEOUT | STATUS_ALERTED | STATUS_USER_APC) {
        return Ok(Change { happened: None, beside: [None, None] });
    }
    handle::succeeded_nt(status)?;
    let mut beside = [None, None];
    let told = match change.state {
        state::CREATE_PROCESS => {
            // SAFETY: this is the part of the union that a change to this state has.
            let begins = unsafe { change.info.process };
            beside = [owned(begins.thread), owned(begins.file)];
            Reported::Begins(owned(begins.process))
        }
        state::CREATE_THREAD => {
            // SAFETY: as above.
            beside[0] = owned(unsafe { change.info.thread });
            Reported::Other
        }
        state::LOAD_DLL => {
            // SAFETY: as above.
            beside[0] = owned(unsafe { change.info.file });
            Reported::Other
        }
        // SAFETY: as above.
        state::EXIT_PROCESS => Reported::Ends(unsafe { change.info.exit_code }),
        state::EXCEPTION | state::BREAKPOINT | state::SINGLE_STEP => {
            // SAFETY: as above.
            Reported::Raises(unsafe { change.info.exception })
        }
        _ => Reported::Other,
    };
    Ok(Change { happened: Some((change.who, told)), beside })
}

/// An owner for a handle that the system has opened for the debugger, if it has.
fn owned(handle: RawHandle) -> Option<Owned> {
    if handle.is_null() || handle.addr() == usize::MAX {
        return None;
    }
    // SAFETY: the system has opened it for this debugger just now, which has to close it, and nobody else
    // knows it.
    Some(unsafe { OwnedHandle::from_raw_handle(handle) }.into())
}

/// Lets the process go on; as if there had been no exception if it is swallowed.
pub(crate) fn go_on(happened: &Happened, swallow: bool) -> SysResult<()> {
    let arguments = [
        ("", Argument::ProcessId(happened.process)),
        ("thread", happened.who.thread.into()),
        (if swallow { "DBG_CONTINUE" } else { "DBG_EXCEPTION_NOT_HANDLED" }, Argument::Yes),
    ];
    call("DbgUiContinue", &arguments, || {
        let status = if swallow { DBG_CONTINUE } else { DBG_EXCEPTION_NOT_HANDLED };
        // SAFETY: the id is live, and only read.
        let status = unsafe { DbgUiContinue(&raw const happened.who, status) };
        handle::succeeded_nt(status)
    })
}

/// Makes this thread debug nothing any more, as its end would. The system ends what it debugged and what
/// hasn't ended yet.
pub(crate) fn stop() {
    // Neither of the two is a call to the system: they read and write the thread's record.
    // SAFETY: the call takes nothing, and reads this thread's own record.
    let object = unsafe { DbgUiGetThreadDebugObject() };
    // SAFETY: nothing is waited for by this thread any more.
    unsafe { DbgUiSetThreadDebugObject(null_mut()) };
    // The record was the owner.
    drop(owned(object));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn an_exception_is_the_programs_a_breakpoint_or_a_debugged_calls() {
        for kind in [STATUS_BREAKPOINT, STATUS_WX86_BREAKPOINT] {
            assert_eq!(Exception::from(kind), Exception::Breakpoint(kind));
        }
        for code in [STATUS_INVALID_HANDLE, STATUS_HANDLE_NOT_CLOSABLE] {
            assert_eq!(Exception::from(code), Exception::OfADebuggedCall);
        }
        assert_eq!(Exception::from(windows_sys::Win32::Foundation::STATUS_ACCESS_VIOLATION), Exception::Own);
    }

    #[test]
    fn nothing_happens_where_nothing_is_debugged_and_that_takes_its_time() -> io::Result<()> {
        begin()?;
        let started = Instant::now();
        assert!(next(200)?.is_none());
        // A time to wait, not one that has passed long ago.
        assert!(started.elapsed() > Duration::from_millis(100), "{:?}", started.elapsed());
        stop();
        Ok(())
    }

    #[test]
    fn what_the_system_has_not_opened_has_no_owner() {
        assert!(owned(null_mut()).is_none());
        assert!(owned(std::ptr::without_provenance_mut(usize::MAX)).is_none());
    }
}
