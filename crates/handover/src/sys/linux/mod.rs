//! The Linux implementation: file descriptors, and the kernel objects that stand for each kind.

#![allow(unsafe_code)]

pub(crate) mod call;
mod child_call;
mod child_exec;
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
pub(crate) mod clock;
mod clone;
mod clone3;
mod close_at_exec;
pub(crate) mod create_object;
#[cfg(feature = "_async")]
pub(crate) mod descriptor;
pub(crate) mod epoll;
pub(crate) mod exec;
pub(crate) mod fork;
pub(crate) mod handle;
pub(crate) mod io;
mod kind_probe;
pub(crate) mod lock;
pub(crate) mod memory;
mod number;
pub(crate) mod pre_exec;
#[cfg(feature = "inspect")]
pub(crate) mod proc_fd;
pub(crate) mod proc_pid;
pub(crate) mod process;
mod progress;
#[cfg_attr(not(feature = "inspect"), allow(dead_code, reason = "only `inspect` uses some of its items"))]
pub(crate) mod ptrace;
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
pub(crate) mod ptrace_inject;
pub(crate) mod recipient;
pub(crate) mod reset_mode;
pub(crate) mod rights;
pub(crate) mod shared_descriptor;
pub(crate) mod size_limit;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod spawn_plan;
pub(crate) mod stream;
pub(crate) mod table;
#[cfg(feature = "inspect")]
pub(crate) mod temporary_file;
pub(crate) mod text;
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
pub(crate) mod tracee_memory;
pub(crate) mod unix_socket;
pub(crate) mod user;
pub(crate) mod value;
pub(crate) mod wait;

#[cfg(feature = "faults")]
pub(super) use clone::shared_board;

use super::call_info::{Answered, Argument, Duplicated, Effects, Length, Moved, Outcome, Slot, Table};
use super::error::{SysError, SysResult};
use super::fault;
use super::fault_in_new_process;
use super::syscall::{always, ask, call, composed};

/// Returns this thread's `errno`. `io::Error` costs more instructions than a call that only asks.
fn last_error() -> i32 {
    // SAFETY: the call takes no arguments and only returns an address.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address is that of this thread's `errno`, an `int` that lives as long as the thread and that no
    // other thread accesses.
    unsafe { errno.read() }
}

/// Sets this thread's `errno`.
#[cfg(feature = "tracing")]
pub(super) fn set_last_error(code: i32) {
    // SAFETY: the call takes no arguments and only returns an address.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address is that of this thread's `errno`, an `int` that lives as long as the thread and that no
    // other thread accesses.
    unsafe { errno.write(code) };
}
