//! `clone3`, the call that can create a process without signal handlers.
//!
//! The C libraries don't offer it, and their `syscall` can't make it with another stack: both processes return from the
//! call, and the new one finds no return address there. So it is made by assembly code, on x86-64. On other processors it
//! fails as on an old kernel.

use std::io;

use libc::{c_int, c_void};

/// `CLONE_CLEAR_SIGHAND`, since Linux 5.5.
pub(super) const CLEAR_HANDLERS: u64 = 1 << 32;

/// `struct clone_args` as of its first version.
#[repr(C, align(8))]
#[derive(Debug, Default)]
pub(super) struct CloneArgs {
    pub(super) flags: u64,
    /// The address of the number of the process's descriptor.
    pub(super) process: u64,
    pub(super) child_id: u64,
    pub(super) parent_id: u64,
    pub(super) exit_signal: u64,
    /// The lowest address of the stack, and its size in bytes.
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) thread_local: u64,
}

const _: () = assert!(size_of::<CloneArgs>() == 64);

/// Creates a process that calls `begin` with `argument`, and ends with the exit code that it returns. Returns the id of the
/// process.
///
/// # Safety
///
/// The addresses in `arguments` are those of memory that is alive and writable during the call. With these flags the new
/// process can't affect this one's memory but by `begin`, which may run on that stack with `argument`.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub(super) unsafe fn clone3(
    arguments: &CloneArgs,
    begin: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
) -> io::Result<c_int> {
    let answer: i64;
    // SAFETY: the first instruction makes the call. It changes only `rax`, `rcx`, `r11` and the memory that the caller
    // names. In this process it returns a number other than 0, and no other instruction changes a register or the stack.
    // In the new process it returns 0, with the other registers as here and `rsp` at the end of the new stack, which is a
    // multiple of 16 as at the call of each function. That process never leaves these instructions: it calls `begin`, which
    // the caller permits and which doesn't unwind, and makes the call `exit`, whose number `r12` keeps meanwhile.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            // No frame is below that of `begin`.
            "xor ebp, ebp",
            "mov rdi, r9",
            "call r8",
            "mov edi, eax",
            "mov rax, r12",
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => answer,
            in("rdi") arguments,
            in("rsi") size_of::<CloneArgs>(),
            in("r8") begin,
            in("r9") argument,
            in("r12") libc::SYS_exit,
            out("rcx") _,
            out("r11") _,
        );
    }
    let answer = i32::try_from(answer).unwrap_or(-libc::EOVERFLOW);
    if answer < 0 { Err(io::Error::from_raw_os_error(-answer)) } else { Ok(answer) }
}

/// Fails as on a kernel that doesn't know the call.
///
/// # Safety
///
/// The call has no effect.
#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64")))]
pub(super) unsafe fn clone3(
    _: &CloneArgs,
    _: extern "C" fn(*mut c_void) -> c_int,
    _: *mut c_void,
) -> io::Result<c_int> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
