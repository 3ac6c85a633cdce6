//! Making one system call fail, and one not hang, for this crate's own tests.

#![allow(clippy::missing_const_for_thread_local, reason = "they are; on Windows the lint does not see it")]

use std::cell::Cell;
use std::io;

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
    static FAIL_AT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// What a call fails with that is made to, which no test provokes otherwise: on Windows `ERROR_NO_SYSTEM_RESOURCES`, on
/// Linux a number that stands for no error.
pub const CODE: i32 = 1450;

/// Runs this thread's part of a scenario and lets its system call number `fail_at` fail, counted from 0; `None` lets
/// all succeed. Returns the outcome and how many calls there were.
pub fn run<T>(fail_at: Option<u32>, scenario: impl FnOnce() -> T) -> (T, u32) {
    CALLS.set(0);
    FAIL_AT.set(fail_at);
    let outcome = scenario();
    FAIL_AT.set(None);
    (outcome, CALLS.get())
}

pub(super) fn fault(_call: &'static str) -> io::Result<()> {
    let number = CALLS.get();
    CALLS.set(number + 1);
    if FAIL_AT.get() == Some(number) { Err(io::Error::from_raw_os_error(CODE)) } else { Ok(()) }
}

/// Makes a call on a thread of its own, and goes on without it, and without an answer, if it doesn't end.
///
/// Wine closes a handle of another process by a signal to a thread of it. If that thread is in the middle of a call,
/// now and then neither of the two goes on. The tests then say so, and the harness runs the test again.
#[allow(dead_code, reason = "only one system needs it")]
pub(super) fn watched<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let thread = std::thread::spawn(call);
    let started = std::time::Instant::now();
    while !thread.is_finished() {
        if started.elapsed() > std::time::Duration::from_secs(5) {
            eprintln!("{HANGS}");
            return None;
        }
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
    // Whoever counts handles counts after the thread.
    thread.join().ok()
}

/// What is said then.
pub const HANGS: &str = "a handle in another process could not be closed: the system does not answer";

static NAMES_HANG: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether questions for a file's name are answered, from now on. On Windows the kernel doesn't answer them for a pipe that
/// somebody reads; Wine does.
pub fn let_names_hang(hang: bool) {
    NAMES_HANG.store(hang, std::sync::atomic::Ordering::Relaxed);
}

#[allow(dead_code, reason = "only one system needs it")]
pub(super) fn do_names_hang() -> bool {
    NAMES_HANG.load(std::sync::atomic::Ordering::Relaxed)
}

static REFUSED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
static USED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
static IS_COPIED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether a process is made as by a kernel or a filter that refuses these flags of `clone`, from now on. Linux only.
pub fn let_flags_be_refused(flags: i32) {
    REFUSED.store(flags, std::sync::atomic::Ordering::Relaxed);
}

/// Whether a process that is to be lent memory gets a copy, and nobody waits for it or says so, from now on. Linux only.
pub fn let_memory_be_copied(is_copied: bool) {
    IS_COPIED.store(is_copied, std::sync::atomic::Ordering::Relaxed);
}

/// The flags of `clone` with which the last process was made. Linux only.
pub fn used_flags() -> i32 {
    USED.load(std::sync::atomic::Ordering::Relaxed)
}

/// The flags with which such a system would make a process; `lent` are those that lend memory.
#[allow(dead_code, reason = "only one system needs it")]
pub(super) fn as_that_system(flags: i32, lent: i32) -> io::Result<i32> {
    if flags & REFUSED.load(std::sync::atomic::Ordering::Relaxed) != 0 {
        /// `EINVAL`.
        const UNKNOWN: i32 = 22;
        return Err(io::Error::from_raw_os_error(UNKNOWN));
    }
    USED.store(flags, std::sync::atomic::Ordering::Relaxed);
    let is_copied = IS_COPIED.load(std::sync::atomic::Ordering::Relaxed);
    Ok(if is_copied { flags & !lent } else { flags })
}
