//! Reading and changing the registers, the code and the threads of a process that this thread debugs.

use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::ptr::with_exposed_provenance;

use windows_sys::Win32::System::Diagnostics::Debug::{
    CONTEXT, CONTEXT_CONTROL_AMD64, CONTEXT_INTEGER_AMD64, FlushInstructionCache, GetThreadContext,
    SetThreadContext, WriteProcessMemory,
};
use windows_sys::Win32::System::JobObjects::AssignProcessToJobObject;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Threading::{SuspendThread, TerminateThread};
use windows_sys::core::{PCSTR, PCWSTR};

use super::{Argument, Length, Outcome, SysError, SysResult, ask, call, succeeded};

/// The registers of a stopped thread: the integer registers, the stack pointer and the instruction pointer.
#[repr(align(16))]
pub(crate) struct Registers(CONTEXT);

impl Registers {
    /// The four arguments of a function that are in registers.
    pub(crate) fn arguments(&self) -> [u64; 4] {
        [self.0.Rcx, self.0.Rdx, self.0.R8, self.0.R9]
    }

    pub(crate) fn stack(&self) -> u64 {
        self.0.Rsp
    }

    /// The value that a function returns.
    pub(crate) fn result(&self) -> u64 {
        self.0.Rax
    }

    /// Lets the thread go on at another instruction.
    pub(crate) fn go_to(&mut self, address: usize) {
        self.0.Rip = address as u64;
    }

    /// Executes `mov r10, rcx`, the first instruction of the functions through which programs call the kernel.
    pub(crate) fn copy_first_argument(&mut self) {
        self.0.R10 = self.0.Rcx;
    }
}

impl Outcome for Box<Registers> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "at {:#x}", self.0.Rip)
    }
}

/// Returns the registers of a thread that is stopped at a debug event.
pub(crate) fn registers(thread: BorrowedHandle<'_>) -> SysResult<Box<Registers>> {
    ask("GetThreadContext", &[("thread", thread.into())], || {
        let mut registers = Box::new(Registers(CONTEXT {
            ContextFlags: CONTEXT_CONTROL_AMD64 | CONTEXT_INTEGER_AMD64,
            ..CONTEXT::default()
        }));
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a thread. The structure is live and
        // writable, its flags are set, and it has the alignment of 16 bytes that the call needs.
        let answer = unsafe { GetThreadContext(thread.as_raw_handle(), &raw mut registers.0) };
        succeeded(answer)?;
        Ok(registers)
    })
}

/// Changes the registers of a thread that is stopped at a debug event.
pub(crate) fn set_registers(thread: BorrowedHandle<'_>, registers: &Registers) -> SysResult<()> {
    call("SetThreadContext", &[("thread", thread.into()), ("at", Argument::Raw(registers.0.Rip))], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a thread. The structure is live, was
        // filled by the kernel, and has the alignment of 16 bytes that the call needs. The thread belongs to a debugged
        // process: the memory of this process isn't touched.
        let answer = unsafe { SetThreadContext(thread.as_raw_handle(), &raw const registers.0) };
        succeeded(answer)
    })
}

/// Suspends a thread once more.
pub(crate) fn suspend(thread: BorrowedHandle<'_>) -> SysResult<()> {
    call("SuspendThread", &[("thread", thread.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a thread.
        match unsafe { SuspendThread(thread.as_raw_handle()) } {
            u32::MAX => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    })
}

/// Ends a thread. Succeeds for one that is ending already.
pub(crate) fn terminate_thread(thread: BorrowedHandle<'_>) -> SysResult<()> {
    call("TerminateThread", &[("thread", thread.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a thread. It belongs to a debugged
        // process, so it holds no lock of this one.
        let answer = unsafe { TerminateThread(thread.as_raw_handle(), 1) };
        succeeded(answer)
    })
}

/// Writes to the memory of a debugged process, also to its code.
pub(crate) fn write(process: BorrowedHandle<'_>, address: usize, bytes: &[u8]) -> SysResult<()> {
    const WRITE: &str = "WriteProcessMemory";
    let arguments = [
        ("of", Argument::Process(process)),
        ("at", Argument::Raw(address as u64)),
        ("", Argument::Bytes(bytes)),
    ];
    let Length(written) = call(WRITE, &arguments, || {
        let mut written = 0;
        // SAFETY: the handle is borrowed, so it is open; it is one of a debugged process, so this process's memory isn't
        // written to. `bytes` is live, and its length is passed with it.
        let answer = unsafe {
            WriteProcessMemory(
                process.as_raw_handle(),
                with_exposed_provenance(address),
                bytes.as_ptr().cast(),
                bytes.len(),
                &raw mut written,
            )
        };
        succeeded(answer)?;
        Ok(Length(written))
    })?;
    if written != bytes.len() {
        return Err(SysError::unexpected(WRITE, "the process has less memory at that address"));
    }
    call("FlushInstructionCache", &arguments[..2], || {
        // SAFETY: the handle is borrowed, so it is open. The address isn't used in this process.
        let answer = unsafe {
            FlushInstructionCache(process.as_raw_handle(), with_exposed_provenance(address), bytes.len())
        };
        succeeded(answer)
    })
}

/// The address of a function.
struct At(usize);

impl Outcome for At {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:#x}", self.0)
    }
}

/// Returns the address of a function of ntdll, if this system has it. The module has the same address in all processes of
/// one width.
pub(crate) fn function_of_ntdll(name: &'static std::ffi::CStr) -> SysResult<Option<usize>> {
    const NTDLL: PCWSTR = windows_sys::core::w!("ntdll.dll");
    let shown = [("function", Argument::Text(name.to_str().unwrap_or_default()))];
    let found = ask("GetProcAddress", &shown, || {
        // SAFETY: the name is a constant that ends with NUL. The module is loaded in every process until it exits.
        let module = unsafe { GetModuleHandleW(NTDLL) };
        if module.is_null() {
            return Err(io::Error::last_os_error());
        }
        let name: PCSTR = name.as_ptr().cast();
        // SAFETY: the module is loaded, and the name ends with NUL. The function isn't called; only its address is used.
        let function = unsafe { GetProcAddress(module, name) };
        Ok(At(function.map_or(0, |function| (function as *const ()).expose_provenance())))
    })?;
    Ok((found.0 != 0).then_some(found.0))
}

/// Returns the Win32 code of a native status that is an error.
pub(crate) fn error_of(status: i32) -> i32 {
    let error = super::handle::succeeded_nt(status).err();
    error.and_then(|error| error.raw_os_error()).unwrap_or(status)
}

/// Puts a process into a job, with the processes that it will create.
pub(crate) fn assign(job: BorrowedHandle<'_>, process: BorrowedHandle<'_>) -> SysResult<()> {
    call("AssignProcessToJobObject", &[("job", job.into()), ("", Argument::Process(process))], || {
        // SAFETY: both handles are borrowed, so they are open; the kernel checks that they are a job and a process.
        let answer = unsafe { AssignProcessToJobObject(job.as_raw_handle(), process.as_raw_handle()) };
        succeeded(answer)
    })
}
