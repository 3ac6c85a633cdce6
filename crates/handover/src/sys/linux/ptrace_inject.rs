//! Makes a stopped thread of another process execute a system call of the tracer's choice.
//!
//! The thread is stopped before a call of its own. The tracer exchanges the call's number and arguments, lets the
//! kernel execute it, and then moves the thread back in front of its own call with all registers as they were.

use std::io;

use super::SysResult;
use super::ptrace::{Request, request_at};
use super::{Argument, Outcome, ask, call};

/// The general registers of a thread.
#[derive(Clone, Copy)]
pub(crate) struct Registers(machine::Registers);

impl Outcome for Registers {}

/// Returns whether this machine's registers are known here.
pub(crate) const IS_SUPPORTED: bool = machine::IS_SUPPORTED;

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
mod machine {
    pub(super) type Registers = libc::user_regs_struct;
    pub(super) const IS_SUPPORTED: bool = true;

    pub(super) fn set_call(registers: &mut Registers, number: u64, [a, b, c]: [u64; 3]) {
        (registers.orig_rax, registers.rdi, registers.rsi, registers.rdx) = (number, a, b, c);
    }

    /// Moves back by the length of the instruction `syscall`. The negative number of the finished call tells the
    /// kernel that it has none to restart.
    pub(super) fn again(registers: &mut Registers) {
        registers.rip -= 2;
        registers.rax = registers.orig_rax;
        registers.orig_rax = u64::MAX;
    }
}

#[cfg(target_arch = "aarch64")]
mod machine {
    pub(super) type Registers = libc::user_regs_struct;
    pub(super) const IS_SUPPORTED: bool = true;

    pub(super) fn set_call(registers: &mut Registers, number: u64, arguments: [u64; 3]) {
        registers.regs[8] = number;
        registers.regs[..3].copy_from_slice(&arguments);
    }

    /// Moves back by the length of the instruction `svc`. The first argument and the number are still in place.
    pub(super) fn again(registers: &mut Registers) {
        registers.pc -= 4;
    }
}

#[cfg(not(any(all(target_arch = "x86_64", target_pointer_width = "64"), target_arch = "aarch64")))]
mod machine {
    pub(super) type Registers = [u64; 1];
    pub(super) const IS_SUPPORTED: bool = false;

    pub(super) fn set_call(_: &mut Registers, _: u64, _: [u64; 3]) {}
    pub(super) fn again(_: &mut Registers) {}
}

/// The general registers, as a set of the kernel.
const GENERAL: usize = 1;
/// The number of the call at which a thread is stopped; a set of its own on aarch64.
#[cfg(target_arch = "aarch64")]
const CALL_NUMBER: usize = 0x404;

const GET_SET: Request = 0x4204;
const SET_SET: Request = 0x4205;

/// Returns the registers of a stopped thread.
pub(crate) fn registers(thread: u32) -> SysResult<Registers> {
    let arguments = [("thread", thread.into()), ("PTRACE_GETREGSET", Argument::Yes)];
    ask("ptrace", &arguments, || {
        if !IS_SUPPORTED {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        let mut registers = std::mem::MaybeUninit::<machine::Registers>::zeroed();
        let mut buffer =
            libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size_of::<machine::Registers>() };
        request_at(GET_SET, thread, GENERAL, (&raw mut buffer).expose_provenance())?;
        // SAFETY: the registers are integers, of which zeros and everything that the kernel wrote are valid values.
        Ok(Registers(unsafe { registers.assume_init() }))
    })
}

/// Sets the registers of a stopped thread.
fn set_registers(thread: u32, mut registers: machine::Registers) -> SysResult<()> {
    let arguments = [("thread", thread.into()), ("PTRACE_SETREGSET", Argument::Yes)];
    call("ptrace", &arguments, || {
        let mut buffer =
            libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of::<machine::Registers>() };
        request_at(SET_SET, thread, GENERAL, (&raw mut buffer).expose_provenance())
    })
}

/// Replaces the call before which a thread is stopped by another one.
pub(crate) fn replace_call(
    thread: u32,
    own: &Registers,
    number: libc::c_long,
    arguments: [u64; 3],
) -> SysResult<()> {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    let mut registers = own.0;
    machine::set_call(&mut registers, number, arguments);
    set_registers(thread, registers)?;
    #[cfg(target_arch = "aarch64")]
    call("ptrace", &[("thread", thread.into()), ("NT_ARM_SYSTEM_CALL", number.into())], || {
        let mut number = u32::try_from(number).unwrap_or(u32::MAX);
        let mut buffer = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of::<u32>() };
        request_at(SET_SET, thread, CALL_NUMBER, (&raw mut buffer).expose_provenance())
    })?;
    Ok(())
}

/// Writes a number into the memory of a stopped thread's process.
pub(crate) fn write_number(thread: u32, address: u64, number: u64) -> SysResult<()> {
    let arguments =
        [("thread", thread.into()), ("PTRACE_POKEDATA", Argument::Yes), ("address", address.into())];
    call("ptrace", &arguments, || {
        let out_of_range = |_| io::Error::from_raw_os_error(libc::EFAULT);
        let address = usize::try_from(address).map_err(out_of_range)?;
        let number = usize::try_from(number).map_err(out_of_range)?;
        request_at(libc::PTRACE_POKEDATA, thread, address, number)
    })
}

/// Moves a thread, which has returned from the other call, back in front of its own call.
pub(crate) fn restore_call(thread: u32, own: &Registers) -> SysResult<()> {
    let mut registers = own.0;
    machine::again(&mut registers);
    set_registers(thread, registers)
}
