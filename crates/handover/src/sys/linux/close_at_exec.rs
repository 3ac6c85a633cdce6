//! Marks the descriptors close-on-exec that a new program isn't to get. It runs in the new process, by the rules of
//! `super::child_exec`: no allocation, no lock, no panic.

use std::os::fd::RawFd;

use libc::c_int;

use super::child_call::{Call, Failure, checked_raw, fcntl};
use super::handle::FIRST;

/// Makes all descriptors close-on-exec, except the standard streams: those that other code left inheritable, and those
/// that this library doesn't know about.
pub(super) fn close_the_rest_at_exec() -> Result<(), Failure> {
    let first = FIRST.unsigned_abs();
    // SAFETY: all arguments of `close_range` are numbers. The descriptor table is the new process's own copy, so no
    // descriptor of the parent is affected.
    let range = checked_raw(Call::CloseRange, || unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    });
    match range {
        // A kernel before 5.11, or a seccomp filter.
        Err(Failure { code: libc::ENOSYS | libc::EINVAL | libc::EPERM | libc::EACCES, .. }) => {
            close_each_at_exec()
        }
        other => other,
    }
}

/// Does the same for one descriptor after the other: for those that `/proc` shows, or without it for all that the limit
/// allows.
fn close_each_at_exec() -> Result<(), Failure> {
    const FLAGS: c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let mut folder = -1;
    let opened = checked_raw(Call::OpenAt, || {
        // This thread's own table: where the program replaces this process's, the other threads have another one.
        let path = c"/proc/thread-self/fd".as_ptr();
        // SAFETY: the path ends with NUL and lives as long as the program, and the other arguments are numbers.
        folder = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, FLAGS) };
        folder
    });
    if opened.is_err() {
        return close_up_to_limit_at_exec();
    }
    let mut entries = Entries([0; 4096]);
    loop {
        let mut length = 0;
        checked_raw(Call::GetDEnts, || {
            let to = &mut entries.0;
            // SAFETY: the pointer and the length describe a live, writable array. The kernel checks the descriptor.
            length = unsafe { libc::syscall(libc::SYS_getdents64, folder, to.as_mut_ptr(), to.len()) };
            length
        })?;
        match usize::try_from(length).unwrap_or(0) {
            0 => return Ok(()),
            length => {
                for number in entries.numbers(length) {
                    if number >= FIRST {
                        fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC)?;
                    }
                }
            }
        }
    }
}

/// A buffer for `getdents64`, aligned as the kernel's structures.
#[repr(align(8))]
struct Entries([u8; 4096]);

impl Entries {
    /// Returns the entries whose names are numbers.
    fn numbers(&self, length: usize) -> impl Iterator<Item = RawFd> {
        /// Where an entry has its own length, and where its name begins.
        const LENGTH: usize = 16;
        const NAME: usize = 19;
        let mut rest = self.0.get(..length).unwrap_or_default();
        std::iter::from_fn(move || {
            let [low, high] = [*rest.get(LENGTH)?, *rest.get(LENGTH + 1)?];
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let entry = rest.get(..length)?;
            rest = rest.get(length.max(1)..)?;
            entry.get(NAME..)
        })
        .filter_map(|name| {
            let digits = name.split(|byte| *byte == 0).next()?;
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            is_number.then(|| {
                digits.iter().fold(0, |number: RawFd, digit| {
                    number.saturating_mul(10).saturating_add(RawFd::from(digit - b'0'))
                })
            })
        })
    }
}

/// Makes each descriptor close-on-exec that this process can have by its limit. A limit that is too high to try each
/// number is an error.
fn close_up_to_limit_at_exec() -> Result<(), Failure> {
    const HIGHEST: libc::rlim_t = 1 << 20;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    checked_raw(Call::GetRLimit, || {
        // SAFETY: the pointer refers to a live, writable `rlimit`.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }.into()
    })?;
    if limit.rlim_max > HIGHEST {
        return Err(Failure::new(Call::CloseRange, libc::ENOSYS));
    }
    for number in FIRST..RawFd::try_from(limit.rlim_max).unwrap_or(RawFd::MAX) {
        match fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) {
            Err(Failure { code: libc::EBADF, .. }) | Ok(_) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
