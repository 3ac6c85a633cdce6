//! Processes: creating one from a finished plan, ending it, and what identifies it.

use std::io;
use std::mem::zeroed;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::System::Threading::{
    CREATE_UNICODE_ENVIRONMENT, CreateProcessW, DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT,
    GetExitCodeProcess, GetProcessTimes, InitializeProcThreadAttributeList, LPPROC_THREAD_ATTRIBUTE_LIST,
    PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROCESS_INFORMATION, STARTF_USESTDHANDLES, STARTUPINFOEXW,
    TerminateProcess, UpdateProcThreadAttribute,
};

use super::{handle, succeeded};
use crate::HandleValue;

/// All that `CreateProcessW` is told. Texts end with NUL.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) application: Vec<u16>,
    pub(crate) command_line: Vec<u16>,
    /// `None`: a copy of ours.
    pub(crate) environment: Option<Vec<u16>>,
    /// `None`: ours.
    pub(crate) directory: Option<Vec<u16>>,
    pub(crate) creation_flags: u32,
    /// The three standard streams; those that the child has must be in `inherit` too.
    pub(crate) streams: [Option<HandleValue>; 3],
    /// Exactly these inheritable handles reach the child.
    pub(crate) inherit: Vec<HandleValue>,
}

/// A process that was just created, and its first thread.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) process: OwnedHandle,
    pub(crate) thread: OwnedHandle,
    pub(crate) id: u32,
}

/// Creates a process.
///
/// 1. Without handles to inherit there is no list: an empty one is an error, and inheritance is switched off whole.
/// 2. The streams are always given, if only as NULL: without them a console program would get copies of ours.
/// 3. The list holds pointers into `inherit`, so both live until the process is there.
pub(crate) fn create(plan: &Plan) -> io::Result<Created> {
    let inherit: Vec<RawHandle> = plan.inherit.iter().copied().map(handle::raw).collect();
    let attributes = if inherit.is_empty() { None } else { Some(AttributeList::with_handles(&inherit)?) };

    // SAFETY: these structures of integers and pointers are documented to start as zeros.
    let mut startup: STARTUPINFOEXW = unsafe { zeroed() };
    startup.StartupInfo.cb = super::size_of_u32::<STARTUPINFOEXW>();
    startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    let [input, output, error] = plan.streams.map(|stream| stream.map_or(null_mut(), handle::raw));
    startup.StartupInfo.hStdInput = input;
    startup.StartupInfo.hStdOutput = output;
    startup.StartupInfo.hStdError = error;
    startup.lpAttributeList = attributes.as_ref().map_or(null_mut(), AttributeList::as_ptr);

    // The call may write into the command line.
    let mut command_line = plan.command_line.clone();
    let mut created =
        PROCESS_INFORMATION { hProcess: null_mut(), hThread: null_mut(), dwProcessId: 0, dwThreadId: 0 };
    // SAFETY: all texts end with NUL (the environment with two) and live through the call, the command line in a
    // buffer of our own; the startup structure has the size that it names, and its attribute list and the handles
    // that the list points to live until the end of this function; `created` is a live place for the answer.
    let answer = unsafe {
        CreateProcessW(
            plan.application.as_ptr(),
            command_line.as_mut_ptr(),
            null(),
            null(),
            i32::from(attributes.is_some()),
            plan.creation_flags | EXTENDED_STARTUPINFO_PRESENT | CREATE_UNICODE_ENVIRONMENT,
            plan.environment.as_ref().map_or(null(), |block| block.as_ptr().cast()),
            plan.directory.as_ref().map_or(null(), Vec::as_ptr),
            (&raw const startup).cast(),
            &raw mut created,
        )
    };
    succeeded(answer)?;
    Ok(Created {
        // SAFETY: the call succeeded, so this is a handle made for us just now.
        process: unsafe { OwnedHandle::from_raw_handle(created.hProcess) },
        // SAFETY: likewise.
        thread: unsafe { OwnedHandle::from_raw_handle(created.hThread) },
        id: created.dwProcessId,
    })
}

/// The attributes of a process to be created, which point into what they were made from.
struct AttributeList<'a> {
    // Of usize, so that it is aligned as the list wants it.
    buffer: Vec<usize>,
    _handles: &'a [RawHandle],
}

impl<'a> AttributeList<'a> {
    fn with_handles(handles: &'a [RawHandle]) -> io::Result<Self> {
        const COUNT: u32 = 1;
        let mut size = 0;
        // SAFETY: without a buffer the call only writes the size, and is documented to fail.
        let _ = unsafe { InitializeProcThreadAttributeList(null_mut(), COUNT, 0, &raw mut size) };
        let mut buffer = vec![0_usize; size.div_ceil(size_of::<usize>())];
        // SAFETY: the buffer has the size that the same call asked for.
        let answer =
            unsafe { InitializeProcThreadAttributeList(buffer.as_mut_ptr().cast(), COUNT, 0, &raw mut size) };
        succeeded(answer)?;
        // From here on the list is deleted whatever happens.
        let list = Self { buffer, _handles: handles };
        // SAFETY: the list was initialized with room for one attribute; the handles outlive it by its lifetime.
        let answer = unsafe {
            UpdateProcThreadAttribute(
                list.as_ptr(),
                0,
                PROC_THREAD_ATTRIBUTE_HANDLE_LIST as usize,
                handles.as_ptr().cast(),
                size_of_val(handles),
                null_mut(),
                null_mut(),
            )
        };
        succeeded(answer)?;
        Ok(list)
    }

    fn as_ptr(&self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.buffer.as_ptr().cast_mut().cast()
    }
}

impl Drop for AttributeList<'_> {
    fn drop(&mut self) {
        // SAFETY: the list was initialized, and nobody uses it any more.
        unsafe { DeleteProcThreadAttributeList(self.as_ptr()) };
    }
}

/// Ends a process with this exit code. Only begins it: the process is gone when a wait for it says so.
pub(crate) fn terminate(process: BorrowedHandle<'_>, exit_code: u32) -> io::Result<()> {
    // SAFETY: the handle is borrowed, so it is open.
    let answer = unsafe { TerminateProcess(process.as_raw_handle(), exit_code) };
    succeeded(answer)
}

/// The exit code of a process that has ended. A running one answers 259, which an ended one can too.
pub(crate) fn exit_code(process: BorrowedHandle<'_>) -> io::Result<u32> {
    let mut code = 0;
    // SAFETY: the handle is borrowed, so it is open; `code` is a live place for the answer.
    let answer = unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) };
    succeeded(answer)?;
    Ok(code)
}

/// When a process was created, in units of 100 ns since 1601.
pub(crate) fn creation_time(process: BorrowedHandle<'_>) -> io::Result<u64> {
    let zero = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let [mut created, mut exited, mut kernel, mut user] = [zero; 4];
    // SAFETY: the handle is borrowed, so it is open; the four are live places for the answers.
    let answer = unsafe {
        GetProcessTimes(
            process.as_raw_handle(),
            &raw mut created,
            &raw mut exited,
            &raw mut kernel,
            &raw mut user,
        )
    };
    succeeded(answer)?;
    Ok(u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime))
}
