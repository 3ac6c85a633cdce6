//! Making one system call fail, and one not hang, for this crate's own tests.

#![allow(unsafe_code)]
#![allow(clippy::missing_const_for_thread_local, reason = "they are; on Windows the lint does not see it")]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// What a thread counts on together with a process that it makes, which may have a copy of all other memory: the calls so
/// far; and the name of the one that was made to fail, where it stands and how long it is. None yet has no length.
pub(super) type Board = [AtomicUsize; 3];

thread_local! {
    static BOARD: Cell<Option<&'static Board>> = const { Cell::new(None) };
    static FAIL_AT: Cell<Option<u32>> = const { Cell::new(None) };
    static TURNS: Cell<&'static [Turn]> = const { Cell::new(&[]) };
}

/// What a call fails with that is made to, which no test provokes otherwise: on Windows `ERROR_NO_SYSTEM_RESOURCES`, on
/// Linux a number that stands for no error.
pub const CODE: i32 = 1450;

/// Runs this thread's part of a scenario and lets its system call number `fail_at` fail, counted from 0; `None` lets
/// all succeed. Returns the outcome and how many calls there were. Those count that a process makes which this thread is
/// making, before it is the program.
pub fn run<T>(fail_at: Option<u32>, scenario: impl FnOnce() -> T) -> (T, u32) {
    // There is one for each thread that was ever here.
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

/// What becomes of some calls of one name: a turn that things take on another system, or in a moment between two calls.
pub struct Turn {
    call: &'static str,
    which: Range<u32>,
    what: Become,
    calls: AtomicU32,
}

enum Become {
    Fails(i32),
    ComesAfter(Box<dyn Fn() + Send + Sync>),
}

impl fmt::Debug for Turn {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {:?}", self.call, self.which)
    }
}

impl Turn {
    /// Those calls of the name, which are counted from 0, fail with this code, and aren't made.
    pub fn fails(call: &'static str, which: Range<u32>, code: i32) -> Self {
        Self { call, which, what: Become::Fails(code), calls: AtomicU32::new(0) }
    }

    /// This is done before that call, as if somebody else did it.
    pub fn comes_after(call: &'static str, number: u32, what: impl Fn() + Send + Sync + 'static) -> Self {
        let what = Become::ComesAfter(Box::new(what));
        Self { call, which: number..number + 1, what, calls: AtomicU32::new(0) }
    }

    fn take(&self) -> io::Result<()> {
        if !self.which.contains(&self.calls.fetch_add(1, Relaxed)) {
            return Ok(());
        }
        match &self.what {
            Become::Fails(code) => Err(io::Error::from_raw_os_error(*code)),
            Become::ComesAfter(what) => {
                // Calls that it makes itself are nobody's.
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

/// Runs this thread's part of a scenario in which things take these turns. Returns the outcome and whether all were taken.
pub fn taking<T>(turns: impl Into<Box<[Turn]>>, scenario: impl FnOnce() -> T) -> (T, bool) {
    // A few words for each scenario, for good, as a process that is being made reads them too.
    static KEPT: Mutex<Vec<&[Turn]>> = Mutex::new(Vec::new());
    let turns: &[Turn] = Box::leak(turns.into());
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(turns);
    TURNS.set(turns);
    let outcome = scenario();
    TURNS.set(&[]);
    (outcome, turns.iter().all(Turn::was_taken))
}

/// What of a thread's calls is to fail, for another thread that makes some of them in its stead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand(Option<&'static Board>, Option<u32>, &'static [Turn]);

impl Errand {
    /// This thread's.
    pub(crate) fn of_this_thread() -> Self {
        Self(BOARD.get(), FAIL_AT.get(), TURNS.get())
    }

    /// Makes calls that count as that thread's.
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

/// The name of the call that this thread's last [`run`] has let fail, if it came to that.
pub fn failed() -> Option<&'static str> {
    let [_, name, length] = BOARD.get()?;
    let length = length.load(Relaxed);
    if length == 0 {
        return None;
    }
    let name = std::ptr::with_exposed_provenance(name.load(Relaxed));
    // SAFETY: they were stored of a text that lives for ever, by this program: also in a copy of its memory it is there.
    let name = unsafe { std::slice::from_raw_parts(name, length) };
    std::str::from_utf8(name).ok()
}

/// Whether a call is to fail now. In a new process too: it takes no memory, and no lock.
pub(super) fn fault(call: &'static str) -> io::Result<()> {
    for turn in TURNS.get().iter().filter(|turn| turn.call == call) {
        turn.take()?;
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
    NAMES_HANG.store(hang, Relaxed);
}

#[allow(dead_code, reason = "only one system needs it")]
pub(super) fn do_names_hang() -> bool {
    NAMES_HANG.load(Relaxed)
}

static REFUSED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
static USED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
static IS_COPIED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether a process is made as by a kernel or a filter that refuses these flags of `clone`, from now on. Linux only.
pub fn let_flags_be_refused(flags: i32) {
    REFUSED.store(flags, Relaxed);
}

/// Whether a process that is to be lent memory gets a copy, and nobody waits for it or says so, from now on. Linux only.
pub fn let_memory_be_copied(is_copied: bool) {
    IS_COPIED.store(is_copied, Relaxed);
}

/// The flags of `clone` with which the last process was made. Linux only.
pub fn used_flags() -> i32 {
    USED.load(Relaxed)
}

/// The flags with which such a system would make a process; `lent` are those that lend memory.
#[allow(dead_code, reason = "only one system needs it")]
pub(super) fn as_that_system(flags: i32, lent: i32) -> i32 {
    if flags & REFUSED.load(Relaxed) != 0 {
        /// `CLONE_THREAD` alone, which each kernel refuses as it refuses what it doesn't know.
        const IMPOSSIBLE: i32 = 0x0001_0000;
        return flags | IMPOSSIBLE;
    }
    USED.store(flags, Relaxed);
    let is_copied = IS_COPIED.load(Relaxed);
    if is_copied { flags & !lent } else { flags }
}
