//! Debugging another process, so that each of its events stops it until this process resumes it.
//!
//! It uses the native calls beneath `WaitForDebugEvent` and the related functions. Those functions open handles that
//! they close only at a later event (and under Wine never). With the native calls, each handle gets an owner at once.

use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::os::windows::process::CommandExt;
use std::process::Command;
use std::ptr::{null_mut, with_exposed_provenance};

use windows_sys::Win32::Foundation::{
    DBG_CONTINUE, DBG_EXCEPTION_NOT_HANDLED, ERROR_NOT_SUPPORTED, STATUS_ALERTED, STATUS_BREAKPOINT,
    STATUS_HANDLE_NOT_CLOSABLE, STATUS_INVALID_HANDLE, STATUS_TIMEOUT, STATUS_USER_APC,
    STATUS_WX86_BREAKPOINT,
};
use windows_sys::Win32::System::ProcessStatus::K32GetMappedFileNameW;
use windows_sys::Win32::System::Threading::{
    DEBUG_ONLY_THIS_PROCESS, DEBUG_PROCESS, GetProcessMitigationPolicy, ProcessStrictHandleCheckPolicy,
};

use super::handle;
use super::io::Owned;
use super::{
    Argument, Effects, Length, Outcome, Slot, SysError, SysResult, Table, ask, call, code, size_of_u32,
    succeeded,
};

/// The native `CLIENT_ID`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct ClientId {
    process: usize,
    thread: usize,
}

/// The part of the native `DBGUI_WAIT_STATE_CHANGE` that is used in this module.
#[repr(C)]
struct StateChange {
    state: u32,
    client: ClientId,
    info: Info,
}

/// The data of a state change; the state says which field is valid.
#[repr(C)]
#[derive(Clone, Copy)]
union Info {
    process: NewProcess,
    thread: RawHandle,
    file: RawHandle,
    exit_code: u32,
    exception: Raised,
    /// Makes the union larger than the largest of the kernel's variants, the exception.
    room: [usize; 48],
}

/// The first fields of an `EXCEPTION_RECORD`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Raised {
    code: i32,
    flags: u32,
    next: usize,
    address: usize,
}

/// The first fields of the native `DBGUI_CREATE_PROCESS`.
#[repr(C)]
#[derive(Clone, Copy)]
struct NewProcess {
    process: RawHandle,
    thread: RawHandle,
    subsystem_key: u32,
    file: RawHandle,
}

// The offsets of the kernel's structures, for 32 and for 64 bits.
const _: () = {
    let word = size_of::<usize>();
    assert!(std::mem::offset_of!(StateChange, client) == word);
    assert!(std::mem::offset_of!(StateChange, info) == 3 * word);
    assert!(std::mem::offset_of!(NewProcess, file) == 3 * word);
    assert!(std::mem::offset_of!(Raised, address) == 8 + word);
};

/// The values of the native `DBG_STATE` that are used in this module.
mod state {
    pub(super) const CREATE_THREAD: u32 = 2;
    pub(super) const CREATE_PROCESS: u32 = 3;
    pub(super) const EXIT_THREAD: u32 = 4;
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
// SAFETY: the declarations match the functions that ntdll exports since Windows XP. windows-sys doesn't declare them.
unsafe extern "system" {
    fn DbgUiConnectToDbg() -> i32;
    fn DbgUiWaitStateChange(change: *mut StateChange, timeout: *const i64) -> i32;
    fn DbgUiContinue(client: *const ClientId, status: i32) -> i32;
    fn DbgUiGetThreadDebugObject() -> RawHandle;
    fn DbgUiSetThreadDebugObject(object: RawHandle);
}

/// An event in a debugged process. All threads of the process are suspended until [`go_on`].
#[derive(Debug)]
pub(crate) struct Happened {
    pub(crate) process: u32,
    client: ClientId,
    pub(crate) what: What,
    /// The handle to a new thread, or to the first thread of a new process.
    #[cfg_attr(
        not(all(feature = "observe", target_arch = "x86_64")),
        allow(dead_code, reason = "only the tracer reads threads")
    )]
    pub(crate) new_thread: Option<Owned>,
}

#[cfg_attr(
    not(all(feature = "observe", target_arch = "x86_64")),
    allow(dead_code, reason = "only the tracer reads threads")
)]
impl Happened {
    /// Returns the id of the thread in which it happened.
    pub(crate) fn thread(&self) -> u32 {
        u32::try_from(self.client.thread).unwrap_or_default()
    }
}

#[derive(Debug)]
pub(crate) enum What {
    /// A new process is about to run.
    Begins(Owned),
    /// The process exits with this code.
    Ends(u32),
    Raises(Exception),
    /// A thread exits, and its process goes on.
    ThreadEnds,
    Other,
}

/// An exception in the process, which is reported to the debugger first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exception {
    /// A breakpoint: its exception code, and the address of its instruction.
    Breakpoint { code: i32, address: usize },
    /// An exception with the code of those that a system call raises under a debugger, instead of returning an error. Its
    /// address tells whether it is one: [`is_of_debugged_call`].
    OfACall { address: usize },
    /// Any other exception, raised by the program itself.
    Own,
}

impl From<Raised> for Exception {
    fn from(raised: Raised) -> Self {
        match raised.code {
            STATUS_BREAKPOINT | STATUS_WX86_BREAKPOINT => {
                Self::Breakpoint { code: raised.code, address: raised.address }
            }
            STATUS_INVALID_HANDLE | STATUS_HANDLE_NOT_CLOSABLE => Self::OfACall { address: raised.address },
            _ => Self::Own,
        }
    }
}

/// Returns whether a system call raised the exception at this address only because the process is debugged. The system
/// raises such exceptions in ntdll, and also without a debugger if the process has asked for strict checks of its handles.
/// `RaiseException` is in another module.
pub(crate) fn is_of_debugged_call(process: BorrowedHandle<'_>, address: usize) -> bool {
    is_in_ntdll(process, address) && !has_strict_handle_checks(process)
}

/// Returns whether an address of the process is in ntdll. Memory without a file isn't.
fn is_in_ntdll(process: BorrowedHandle<'_>, address: usize) -> bool {
    let mut path = [0_u16; 512];
    let room = size_of_u32::<[u16; 512]>() / 2;
    let arguments = [("of", Argument::Process(process)), ("at", Argument::Raw(address as u64))];
    let length = ask("K32GetMappedFileNameW", &arguments, || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a process. The address isn't used in
        // this process. `path` is live and writable, and `room` is its number of units.
        let length = unsafe {
            K32GetMappedFileNameW(
                process.as_raw_handle(),
                with_exposed_provenance(address),
                path.as_mut_ptr(),
                room,
            )
        };
        if length == 0 { Err(io::Error::last_os_error()) } else { Ok(Length(length as usize)) }
    });
    let Ok(Length(length)) = length else { return false };
    let path = String::from_utf16_lossy(&path[..length.min(path.len())]);
    path.rsplit('\\').next().is_some_and(|file| file.eq_ignore_ascii_case("ntdll.dll"))
}

/// Returns whether the process has asked the system to raise an exception for each invalid handle.
fn has_strict_handle_checks(process: BorrowedHandle<'_>) -> bool {
    let arguments = [("of", Argument::Process(process)), ("strict handle checks", Argument::Yes)];
    let strict = ask("GetProcessMitigationPolicy", &arguments, || {
        let mut flags = 0_u32;
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a process. This policy consists of 32
        // flags, `flags` is live and writable, and the length is its size.
        let answer = unsafe {
            GetProcessMitigationPolicy(
                process.as_raw_handle(),
                ProcessStrictHandleCheckPolicy,
                (&raw mut flags).cast(),
                size_of::<u32>(),
            )
        };
        succeeded(answer)?;
        // `RaiseExceptionOnInvalidHandleReference`.
        Ok(flags & 1 != 0)
    });
    strict.unwrap_or(false)
}

/// Makes this thread a debugger. Creating a process with `DEBUG_PROCESS` would also do so, but then no event would
/// show the handle that is opened for it.
pub(crate) fn begin() -> SysResult<()> {
    /// The handle to the debug object, which this thread's environment block owns until [`stop`].
    struct Connected(RawHandle);
    impl Outcome for Connected {
        #[inline]
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(to, "{:#x}", self.0.expose_provenance())
        }

        #[inline]
        fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
            to.opened(Slot::new(self.0.expose_provenance() as u64, Table::Own), None)
        }
    }
    let connected = call("DbgUiConnectToDbg", &[], || {
        // SAFETY: the call takes no arguments.
        handle::succeeded_nt(unsafe { DbgUiConnectToDbg() })?;
        // SAFETY: the call takes no arguments and only reads this thread's environment block.
        Ok(Connected(unsafe { DbgUiGetThreadDebugObject() }))
    });
    connected.map(drop)
}

/// Returns whether a process couldn't be created because this one can't debug it.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    code(error) == Some(ERROR_NOT_SUPPORTED)
}

/// A process that std has created for a command.
#[derive(Debug)]
pub(crate) struct Spawned {
    process: Owned,
    pub(crate) id: u32,
    /// Whether a standard stream was piped to this process. The pipe's end in this process is already closed.
    pub(crate) is_piped: bool,
}

impl Outcome for Spawned {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "process {}", self.id)
    }

    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        self.process.effects(to)
    }
}

/// Returns the creation flags of a process that the creating thread debugs, with all of its descendants.
pub(crate) fn flags(others: u32) -> u32 {
    others & !DEBUG_ONLY_THIS_PROCESS | DEBUG_PROCESS
}

/// Creates the command's process. This thread debugs it and all of its descendants. The call can't list the inherited
/// handles; the audit finds them.
pub(crate) fn spawn(command: &mut Command) -> SysResult<Spawned> {
    let program: Vec<u16> = std::os::windows::ffi::OsStrExt::encode_wide(command.get_program()).collect();
    let arguments = [("program", Argument::Wide(&program)), ("flags", Argument::Flags(DEBUG_PROCESS))];
    call("CreateProcessW", &arguments, || {
        let child = command.creation_flags(DEBUG_PROCESS).spawn()?;
        let id = child.id();
        let is_piped = child.stdin.is_some() || child.stdout.is_some() || child.stderr.is_some();
        // Converting `child` closes its pipes and the handle to its main thread, so only the process handle stays
        // open.
        Ok(Spawned { process: OwnedHandle::from(child).into(), id, is_piped })
    })
}

#[cfg(test)]
impl Spawned {
    pub(crate) fn process(&self) -> BorrowedHandle<'_> {
        std::os::windows::io::AsHandle::as_handle(&self.process)
    }
}

/// A debug event, and the other handles that were opened for the debugger with it.
struct Change {
    happened: Option<(ClientId, Reported)>,
    thread: Option<Owned>,
    file: Option<Owned>,
}

/// A [`What`] as it was received, before it is checked.
enum Reported {
    Begins(Option<Owned>),
    Ends(u32),
    Raises(Raised),
    ThreadEnds,
    Other,
}

impl Outcome for Change {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((client, reported)) = &self.happened else { return to.write_str("nothing") };
        write!(to, "process {}", client.process)?;
        match reported {
            Reported::Begins(_) => to.write_str(" begins"),
            Reported::Ends(code) => write!(to, " ends with {code:#x}"),
            Reported::Raises(raised) => write!(to, ", exception {:#010x}", raised.code),
            Reported::ThreadEnds | Reported::Other => Ok(()),
        }
    }

    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        if let Some((_, Reported::Begins(process))) = &self.happened {
            process.effects(to)?;
        }
        self.thread.effects(to)?;
        self.file.effects(to)
    }
}

/// Waits for the next event in a process that this thread debugs. Returns `None` after the timeout.
pub(crate) fn next(milliseconds: u32) -> SysResult<Option<Happened>> {
    const WAIT: &str = "DbgUiWaitStateChange";
    let arguments = [("for", Argument::Milliseconds(Some(milliseconds)))];
    let Change { happened, thread: new_thread, file } = call(WAIT, &arguments, || wait(milliseconds))?;
    drop(file);
    let Some((client, reported)) = happened else { return Ok(None) };
    let what = match reported {
        Reported::Begins(Some(process)) => What::Begins(process),
        Reported::Begins(None) => {
            return Err(SysError::unexpected(WAIT, "a process began without a handle to it"));
        }
        Reported::Ends(code) => What::Ends(code),
        Reported::Raises(raised) => What::Raises(raised.into()),
        Reported::ThreadEnds => What::ThreadEnds,
        Reported::Other => What::Other,
    };
    let process =
        u32::try_from(client.process).map_err(|error| SysError::new(WAIT, io::Error::other(error)))?;
    Ok(Some(Happened { process, client, what, new_thread }))
}

fn wait(milliseconds: u32) -> io::Result<Change> {
    // A negative time is relative to now.
    let timeout = -i64::from(milliseconds) * 10_000;
    let no_client = ClientId { process: 0, thread: 0 };
    let mut change = StateChange { state: 0, client: no_client, info: Info { room: [0; 48] } };
    // SAFETY: `change` is live and writable, and at least as large as the kernel's structure. `timeout` is live.
    let status = unsafe { DbgUiWaitStateChange(&raw mut change, &raw const timeout) };
    if matches!(status, STATUS_TIMEOUT | STATUS_ALERTED | STATUS_USER_APC) {
        return Ok(Change { happened: None, thread: None, file: None });
    }
    handle::succeeded_nt(status)?;
    let (mut thread, mut file) = (None, None);
    let reported = match change.state {
        state::CREATE_PROCESS => {
            // SAFETY: for this state, the kernel has filled this variant of the union. All of its bytes are
            // initialized, because the whole union was zeroed, and any bits are valid for it.
            let begins = unsafe { change.info.process };
            (thread, file) = (owned(begins.thread), owned(begins.file));
            Reported::Begins(owned(begins.process))
        }
        state::CREATE_THREAD => {
            // SAFETY: for this state, the kernel has filled this variant of the union. All of its bytes are
            // initialized, because the whole union was zeroed, and any bits are valid for it.
            thread = owned(unsafe { change.info.thread });
            Reported::Other
        }
        state::LOAD_DLL => {
            // SAFETY: for this state, the kernel has filled this variant of the union. All of its bytes are
            // initialized, because the whole union was zeroed, and any bits are valid for it.
            file = owned(unsafe { change.info.file });
            Reported::Other
        }
        // SAFETY: for this state, the kernel has filled this variant of the union. All of its bytes are initialized,
        // because the whole union was zeroed, and any bits are valid for it.
        state::EXIT_PROCESS => Reported::Ends(unsafe { change.info.exit_code }),
        state::EXCEPTION | state::BREAKPOINT | state::SINGLE_STEP => {
            // SAFETY: for these states, the kernel has filled this variant of the union. All of its bytes are
            // initialized, because the whole union was zeroed, and any bits are valid for it.
            Reported::Raises(unsafe { change.info.exception })
        }
        state::EXIT_THREAD => Reported::ThreadEnds,
        _ => Reported::Other,
    };
    Ok(Change { happened: Some((change.client, reported)), thread, file })
}

/// Takes ownership of a handle that the system has opened for the debugger. Returns `None` if it has opened none.
fn owned(handle: RawHandle) -> Option<Owned> {
    if handle.is_null() || handle.addr() == usize::MAX {
        return None;
    }
    // SAFETY: the callers pass a handle that the system has opened in this process for this thread as a debugger,
    // which must close it. Each is passed once, so no other owner exists.
    Some(unsafe { OwnedHandle::from_raw_handle(handle) }.into())
}

/// Resumes the process after an event. With `swallow`, an exception is treated as handled, so the program doesn't
/// notice it.
pub(crate) fn go_on(happened: &Happened, swallow: bool) -> SysResult<()> {
    let arguments = [
        ("", Argument::ProcessId(happened.process)),
        ("thread", happened.client.thread.into()),
        (if swallow { "DBG_CONTINUE" } else { "DBG_EXCEPTION_NOT_HANDLED" }, Argument::Yes),
    ];
    call("DbgUiContinue", &arguments, || {
        let status = if swallow { DBG_CONTINUE } else { DBG_EXCEPTION_NOT_HANDLED };
        // SAFETY: the pointer refers to a live structure, which the call only reads.
        let status = unsafe { DbgUiContinue(&raw const happened.client, status) };
        handle::succeeded_nt(status)
    })
}

/// Makes this thread stop debugging, as if it exited. The system terminates the debugged processes that are still
/// running.
pub(crate) fn stop() {
    // Neither of the two functions makes a system call: they read and write this thread's environment block.
    // SAFETY: the call takes no arguments and only reads this thread's environment block.
    let object = unsafe { DbgUiGetThreadDebugObject() };
    // SAFETY: the call only stores a null pointer in this thread's environment block. This thread makes no further
    // debugger calls, and the previous handle is closed below.
    unsafe { DbgUiSetThreadDebugObject(null_mut()) };
    // The environment block owned the handle; it has been removed from there.
    drop(owned(object));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn exceptions_are_sorted_into_breakpoints_debugger_effects_and_others() {
        let sorted = |code| Exception::from(Raised { code, flags: 0, next: 0, address: 0x1234 });
        for kind in [STATUS_BREAKPOINT, STATUS_WX86_BREAKPOINT] {
            assert_eq!(sorted(kind), Exception::Breakpoint { code: kind, address: 0x1234 });
        }
        for code in [STATUS_INVALID_HANDLE, STATUS_HANDLE_NOT_CLOSABLE] {
            assert_eq!(sorted(code), Exception::OfACall { address: 0x1234 });
        }
        assert_eq!(sorted(windows_sys::Win32::Foundation::STATUS_ACCESS_VIOLATION), Exception::Own);
    }

    #[test]
    fn next_returns_none_after_its_timeout_if_no_process_is_debugged() -> io::Result<()> {
        begin()?;
        let started = Instant::now();
        assert!(next(200)?.is_none());
        // The timeout must be relative to now; an absolute one would have passed long ago.
        assert!(started.elapsed() > Duration::from_millis(100), "{:?}", started.elapsed());
        stop();
        Ok(())
    }

    #[test]
    fn null_and_invalid_handles_get_no_owner() {
        assert!(owned(null_mut()).is_none());
        assert!(owned(std::ptr::without_provenance_mut(usize::MAX)).is_none());
    }
}
