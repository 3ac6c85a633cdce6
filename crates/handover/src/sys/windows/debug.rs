//! Debugging: being the one without whom a process doesn't go on.

use std::io;
use std::os::windows::io::{BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{
    DBG_CONTINUE, DBG_EXCEPTION_NOT_HANDLED, ERROR_SEM_TIMEOUT, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Diagnostics::Debug::{
    CREATE_PROCESS_DEBUG_EVENT, ContinueDebugEvent, DEBUG_EVENT, EXCEPTION_DEBUG_EVENT,
    EXIT_PROCESS_DEBUG_EVENT, LOAD_DLL_DEBUG_EVENT, OUTPUT_DEBUG_STRING_EVENT, WaitForDebugEvent,
};
use windows_sys::Win32::System::Threading::DEBUG_PROCESS;

use super::{fault, handle, succeeded};

/// The creation flag of a process that is debugged, with all that it creates, by the thread that creates it.
pub(crate) const DEBUGGED: u32 = DEBUG_PROCESS;

/// What has happened in a process that is debugged. All of it stands still until [`go_on`].
#[derive(Debug)]
pub(crate) struct Happened {
    pub(crate) process: u32,
    thread: u32,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A process is about to begin.
    Begins(OwnedHandle),
    /// It ends, with this code.
    Ends(u32),
    /// An exception, which nothing in the process has been asked about yet.
    Exception(i32),
    /// It speaks to a debugger.
    Says,
    Other,
}

/// The next that happens in what this thread debugs; `None` if nothing does for so many milliseconds.
pub(crate) fn next(milliseconds: u32) -> io::Result<Option<Happened>> {
    fault("WaitForDebugEvent")?;
    let mut event = DEBUG_EVENT::default();
    // SAFETY: the event is a live place for the answer.
    let answer = unsafe { WaitForDebugEvent(&raw mut event, milliseconds) };
    match succeeded(answer) {
        Ok(()) => {}
        Err(error) if matches!(super::code(&error), Some(ERROR_SEM_TIMEOUT | WAIT_TIMEOUT)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let what = match event.dwDebugEventCode {
        CREATE_PROCESS_DEBUG_EVENT => {
            // SAFETY: this is the part of the union that an event of this code has.
            let begins = unsafe { event.u.CreateProcessInfo };
            close(begins.hFile);
            // SAFETY: the system has opened the handle for this debugger, and closes it with the event of its end.
            let process = unsafe { BorrowedHandle::borrow_raw(begins.hProcess) };
            What::Begins(handle::duplicate_here(process, None, false)?)
        }
        EXIT_PROCESS_DEBUG_EVENT => {
            // SAFETY: as above.
            let ends = unsafe { event.u.ExitProcess };
            What::Ends(ends.dwExitCode)
        }
        EXCEPTION_DEBUG_EVENT => {
            // SAFETY: as above.
            let exception = unsafe { event.u.Exception };
            What::Exception(exception.ExceptionRecord.ExceptionCode)
        }
        LOAD_DLL_DEBUG_EVENT => {
            // SAFETY: as above.
            let loaded = unsafe { event.u.LoadDll };
            close(loaded.hFile);
            What::Other
        }
        OUTPUT_DEBUG_STRING_EVENT => What::Says,
        _ => What::Other,
    };
    Ok(Some(Happened { process: event.dwProcessId, thread: event.dwThreadId, what }))
}

/// Closes a file that the system has opened for the debugger, if it has.
fn close(file: RawHandle) {
    if !file.is_null() && file.addr() != usize::MAX {
        // SAFETY: the system has opened it for this debugger, which has to close it, and nobody else knows it.
        drop(unsafe { OwnedHandle::from_raw_handle(file) });
    }
}

/// Lets the process go on; without the exception, if there was one and this is to be its end.
pub(crate) fn go_on(happened: &Happened, swallow: bool) -> io::Result<()> {
    fault("ContinueDebugEvent")?;
    let status = if swallow { DBG_CONTINUE } else { DBG_EXCEPTION_NOT_HANDLED };
    // SAFETY: the call takes numbers.
    let answer = unsafe { ContinueDebugEvent(happened.process, happened.thread, status) };
    succeeded(answer)
}

#[cfg_attr(
    target_arch = "x86",
    link(name = "ntdll.dll", kind = "raw-dylib", modifiers = "+verbatim", import_name_type = "undecorated")
)]
#[cfg_attr(not(target_arch = "x86"), link(name = "ntdll.dll", kind = "raw-dylib", modifiers = "+verbatim"))]
// SAFETY: windows-sys doesn't have the two. Each debugger of the system has lived by them since Windows XP.
unsafe extern "system" {
    fn DbgUiGetThreadDebugObject() -> RawHandle;
    fn DbgUiSetThreadDebugObject(object: RawHandle);
}

/// Makes this thread debug nothing any more. The system ends what it debugged and what hasn't ended yet.
///
/// Windows does that with the end of the thread, Wine only with that of the process.
pub(crate) fn stop() {
    // SAFETY: the call takes nothing, and reads this thread's own record.
    let object = unsafe { DbgUiGetThreadDebugObject() };
    // SAFETY: this thread has no event any more that it could wait for.
    unsafe { DbgUiSetThreadDebugObject(null_mut()) };
    close(object);
}
