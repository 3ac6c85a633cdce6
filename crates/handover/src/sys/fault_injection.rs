//! Fault injection for this crate's own tests: makes chosen system calls fail, and puts a time limit on one that can
//! hang.

#![allow(unsafe_code)]
#![allow(
    clippy::missing_const_for_thread_local,
    reason = "they are const; on Windows the lint doesn't see it"
)]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Counters that a thread shares with a process that it starts, even if that process has a copy of all other memory.
/// They are: the number of calls so far, and the address and the length of the name of the call that was made to
/// fail. The length is zero until a call was made to fail.
pub(super) type Board = [AtomicUsize; 3];

thread_local! {
    static BOARD: Cell<Option<&'static Board>> = const { Cell::new(None) };
    static FAIL_AT: Cell<Option<u32>> = const { Cell::new(None) };
    static TURNS: Cell<&'static [Turn]> = const { Cell::new(&[]) };
}

/// The error code of an injected failure. No test provokes it in any other way: on Windows it is
/// `ERROR_NO_SYSTEM_RESOURCES`, and on Linux no error has this number.
pub const CODE: i32 = 1450;

/// Runs `scenario` and makes this thread's system call number `fail_at` fail. Calls are counted from 0; with `None`,
/// all of them are made. Returns the scenario's outcome and the number of calls. The count includes the calls that a
/// new process makes for this thread before it executes its program.
pub fn run<T>(fail_at: Option<u32>, scenario: impl FnOnce() -> T) -> (T, u32) {
    // Each thread that uses fault injection gets one board, which is never freed.
    let board = BOARD.get().unwrap_or_else(super::shared_board);
    BOARD.set(Some(board));
    let [calls, _, length] = board;
    calls.store(0, Relaxed);
    length.store(0, Relaxed);
    FAIL_AT.set(fail_at);
    let outcome = scenario();
    FAIL_AT.set(None);
    (outcome, u32::try_from(calls.load(Relaxed)).unwrap_or(u32::MAX))
}

/// A planned intervention in calls of one name: a failure as another system would report it, or an action at a moment
/// between two calls.
pub struct Turn {
    call: &'static str,
    which: Range<u32>,
    what: Effect,
    calls: AtomicU32,
}

enum Effect {
    Fails(i32),
    RunsBefore(Box<dyn Fn() + Send + Sync>),
}

impl fmt::Debug for Turn {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {:?}", self.call, self.which)
    }
}

impl Turn {
    /// Makes the calls named `call` whose numbers are in `which` fail with `code`. The calls are counted from 0, and
    /// the failing ones aren't made.
    pub fn fails(call: &'static str, which: Range<u32>, code: i32) -> Self {
        Self { call, which, what: Effect::Fails(code), calls: AtomicU32::new(0) }
    }

    /// Runs `what` before the call named `call` with this number, as if another thread or process did it at that
    /// moment. It doesn't run before the calls that a new process makes on Linux until it executes its program.
    pub fn comes_after(call: &'static str, number: u32, what: impl Fn() + Send + Sync + 'static) -> Self {
        let what = Effect::RunsBefore(Box::new(what));
        Self { call, which: number..number + 1, what, calls: AtomicU32::new(0) }
    }

    /// Takes the turn before a call. In a new process that shares this one's memory, no action of a test runs: it could
    /// wait, allocate or leave something on the stack, which is freed when the process executes its program.
    fn take(&self, is_new_process: bool) -> io::Result<()> {
        if !self.which.contains(&self.calls.fetch_add(1, Relaxed)) {
            return Ok(());
        }
        match &self.what {
            Effect::Fails(code) => Err(io::Error::from_raw_os_error(*code)),
            Effect::RunsBefore(_) if is_new_process => Ok(()),
            Effect::RunsBefore(what) => {
                // The system calls of the action itself are neither counted nor made to fail.
                let own = (BOARD.take(), TURNS.take());
                what();
                BOARD.set(own.0);
                TURNS.set(own.1);
                Ok(())
            }
        }
    }

    fn was_taken(&self) -> bool {
        self.calls.load(Relaxed) > self.which.start
    }
}

/// Runs `scenario` on this thread with these interventions. Returns the scenario's outcome, and whether all
/// interventions took place.
pub fn taking<T>(turns: impl Into<Box<[Turn]>>, scenario: impl FnOnce() -> T) -> (T, bool) {
    // They are leaked, a few words for each scenario, because a process that is being started reads them too.
    static KEPT: Mutex<Vec<&[Turn]>> = Mutex::new(Vec::new());
    let turns: &[Turn] = Box::leak(turns.into());
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(turns);
    TURNS.set(turns);
    let outcome = scenario();
    TURNS.set(&[]);
    (outcome, turns.iter().all(Turn::was_taken))
}

/// The failures that a test has planned for a thread's calls, for use by another thread that makes some of these
/// calls on its behalf.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand(Option<&'static Board>, Option<u32>, &'static [Turn]);

impl Errand {
    /// Returns the planned failures of this thread.
    pub(crate) fn of_this_thread() -> Self {
        Self(BOARD.get(), FAIL_AT.get(), TURNS.get())
    }

    /// Runs `work` so that its calls count as those of the thread that this was created on.
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> T {
        let Self(board, fail_at, turns) = self;
        let own = (BOARD.replace(board), FAIL_AT.replace(fail_at), TURNS.replace(turns));
        let done = work();
        BOARD.set(own.0);
        FAIL_AT.set(own.1);
        TURNS.set(own.2);
        done
    }
}

/// Returns the name of the call that this thread's last [`run`] made fail, or `None` if no call failed.
pub fn failed() -> Option<&'static str> {
    let [_, name, length] = BOARD.get()?;
    let length = length.load(Relaxed);
    if length == 0 {
        return None;
    }
    let name = std::ptr::with_exposed_provenance(name.load(Relaxed));
    // SAFETY: `fault` stored the address and the length of a `&'static str` of this program. The failing call may
    // have been made in a process that is being started, but that process has the same program at the same addresses,
    // so the text is also in this process, and nothing ever frees or changes it.
    let name = unsafe { std::slice::from_raw_parts(name, length) };
    std::str::from_utf8(name).ok()
}

/// Fails if a test has planned a failure for this call. A new process calls it before it executes its program, so it
/// neither allocates nor locks.
pub(super) fn fault(call: &'static str) -> io::Result<()> {
    fault_in(call, false)
}

/// Does the same in a new process that shares this one's memory.
#[allow(dead_code, reason = "only Linux has such processes")]
pub(super) fn fault_in_new_process(call: &'static str) -> io::Result<()> {
    fault_in(call, true)
}

fn fault_in(call: &'static str, is_new_process: bool) -> io::Result<()> {
    for turn in TURNS.get().iter().filter(|turn| turn.call == call) {
        turn.take(is_new_process)?;
    }
    let Some([calls, name, length]) = BOARD.get() else { return Ok(()) };
    let number = calls.fetch_add(1, Relaxed);
    if FAIL_AT.get().is_none_or(|fails| fails as usize != number) {
        return Ok(());
    }
    name.store(call.as_ptr().expose_provenance(), Relaxed);
    length.store(call.len(), Relaxed);
    Err(io::Error::from_raw_os_error(CODE))
}

/// Makes a call on a new thread. If the call hasn't returned after 5 s, gives up on it and returns `None`.
///
/// Wine closes a handle in another process by sending a signal to one of that process's threads. If this thread is in
/// the middle of a system call, the two occasionally deadlock. Then the test prints [`HANGS`], and the harness
/// repeats the test.
#[allow(dead_code, reason = "used on one system only")]
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
    // The thread has to be gone before the caller counts handles.
    thread.join().ok()
}

/// The message that `watched` prints when a call doesn't return. The test harness looks for it.
pub const HANGS: &str = "a handle in another process could not be closed: the system does not answer";

static NAMES_HANG: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Sets whether queries for the name of a file hang from now on. On Windows the kernel doesn't answer such a query
/// for a pipe while another thread reads from it; Wine does, so tests simulate it.
pub fn let_names_hang(hang: bool) {
    NAMES_HANG.store(hang, Relaxed);
}

#[allow(dead_code, reason = "used on one system only")]
pub(super) fn do_names_hang() -> bool {
    NAMES_HANG.load(Relaxed)
}

static REFUSED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
static USED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
static IS_COPIED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Makes `clone` fail from now on if it is called with one of these flags, as a kernel or a seccomp filter that
/// refuses them would. Linux only.
pub fn let_flags_be_refused(flags: u64) {
    REFUSED.store(flags, Relaxed);
}

/// Sets whether, from now on, a new process that should share this process's memory gets a copy instead, and `clone`
/// returns without waiting for it, as some emulators do. Linux only.
pub fn let_memory_be_copied(is_copied: bool) {
    IS_COPIED.store(is_copied, Relaxed);
}

/// Returns the `clone` flags with which the last process was made. Linux only.
pub fn used_flags() -> u64 {
    USED.load(Relaxed)
}

/// Returns the flags to pass to `clone` to simulate the system that the test has chosen. `lent` are the flags that
/// share memory.
#[allow(dead_code, reason = "used on one system only")]
pub(super) fn as_simulated_system(flags: u64, lent: u64) -> u64 {
    if flags & REFUSED.load(Relaxed) != 0 {
        /// `CLONE_THREAD` without the flags that it requires, which every kernel refuses with the same error as an
        /// unknown flag.
        const IMPOSSIBLE: u64 = 0x0001_0000;
        return flags | IMPOSSIBLE;
    }
    USED.store(flags, Relaxed);
    let is_copied = IS_COPIED.load(Relaxed);
    if is_copied { flags & !lent } else { flags }
}
