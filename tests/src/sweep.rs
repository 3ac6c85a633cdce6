//! Fault sweeps: each system call of a scenario fails in turn.

use std::io::Write;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use handover::{Child, Error, Event, Result, faults};

use crate::{settled, table, until};

/// The variable with the path of the file to which each sweep appends a line: its name, its number of calls, and its
/// number of injected failures.
const SWEPT: &str = "HANDOVER_SWEPT";

/// The maximum time for one injected failure. No scenario waits longer.
const LONGEST: Duration = Duration::from_secs(40);

/// A call whose failure may be ignored, and the reason.
pub type Harmless = (&'static str, &'static str);

/// A scenario whose system calls fail in turn.
#[derive(Debug, Default)]
pub struct Sweep<'a> {
    name: &'a str,
    harmless: &'a [Harmless],
    beside: Vec<u32>,
    /// The part, counted from zero, and the number of parts.
    part: Option<(u32, u32)>,
}

impl<'a> Sweep<'a> {
    /// Creates a sweep with this name.
    #[must_use]
    pub fn of(name: &'a str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Allows failures of these calls to have no effect on the scenario's outcome.
    #[must_use]
    pub fn harmless(mut self, calls: &'a [Harmless]) -> Self {
        self.harmless = calls;
        self
    }

    /// Sweeps one of several parts, counted from zero. Each part has every second call if there are two. Parts in tests of
    /// their own run at the same time.
    #[must_use]
    pub fn part(mut self, part: u32, of: u32) -> Self {
        self.part = Some((part, of));
        self
    }

    /// Adds processes that take part: the sweep checks that no handles are left in their tables either.
    #[must_use]
    pub fn beside(mut self, processes: &[u32]) -> Self {
        self.beside = processes.to_vec();
        self
    }

    /// Makes each call of the scenario fail in turn. After each failure, it asserts that: the number of processes is as
    /// before, all handle tables are as before (with each handle's access and inherit flag), and the error names the
    /// call that failed.
    ///
    /// # Panics
    ///
    /// Panics if an assertion fails.
    pub fn run<T>(self, scenario: impl Fn() -> Result<T>, undo: impl Fn(T)) {
        watch(&format!("the scenario {:?}", self.name));
        // The first run creates what the process keeps, and what the first wait or error needs, before anything is
        // counted.
        undo(scenario().expect("it succeeds without an injected failure"));
        let (outcome, calls) = faults::run(None, &scenario);
        undo(outcome.expect("it succeeds without an injected failure"));
        assert!(calls > 0);
        let children = || sorted(table::children_of(std::process::id()));
        until("the children have exited", || children().len() <= self.children_before());
        // Other processes, and threads of this one, may still be closing handles of the two successful runs.
        for process in self.beside.iter().copied().chain([std::process::id()]) {
            let _ = settled(process);
        }
        let before = (self.tables(), children());
        let (mut points, mut ignored) = (0, Vec::new());
        let (part, parts) = self.part.unwrap_or((0, 1));
        let swept_calls = (0..calls).skip(part as usize).step_by(parts as usize);
        let number = u32::try_from(swept_calls.len()).unwrap_or(calls);
        for call in swept_calls {
            watch(&format!("call {call} of {calls} of {:?}", self.name));
            let (outcome, made) = faults::run(Some(call), &scenario);
            let Some(failed) = faults::failed() else {
                // The other process was quicker this time, so the scenario needed fewer calls.
                assert!(made <= call);
                undo(
                    outcome.unwrap_or_else(|error| {
                        panic!("no call was made to fail, and the result is {error:?}")
                    }),
                );
                continue;
            };
            points += 1;
            let said = format!("{:?}, call {call} of {calls}, {failed}", self.name);
            match outcome {
                Err(error) => assert_names_call(&said, failed, &error),
                Ok(done) => {
                    undo(done);
                    let is_harmless = self.harmless.iter().any(|(name, _)| *name == failed);
                    assert!(is_harmless, "{said}: the failure was ignored");
                    ignored.push(failed);
                }
            }
            // The other process closes the handles that it has put into this process, with a short delay.
            let started = Instant::now();
            while let Some(otherwise) = difference(&before, &(self.tables(), children())) {
                assert!(started.elapsed() < Duration::from_secs(10), "{said}: {otherwise}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        watch("");
        let name = match self.part {
            Some((part, parts)) => format!("{}, part {} of {parts}", self.name, part + 1),
            None => self.name.to_owned(),
        };
        swept(&name, number, points, &ignored);
    }

    /// Returns the number of children that take part, at least 1.
    fn children_before(&self) -> usize {
        self.beside.len().max(1)
    }

    fn tables(&self) -> Vec<Vec<Kept>> {
        let processes = std::iter::once(std::process::id()).chain(self.beside.iter().copied());
        processes.map(|process| sorted(table::of(process).iter().map(kept).collect())).collect()
    }
}

/// The tables of all processes that take part, this process's first, and this process's children.
type State = (Vec<Vec<Kept>>, Vec<u32>);

/// The compared properties of a handle: its access and its inherit flag. Handle values are not compared: under Wine,
/// the system's own handles in a process change.
type Kept = (u32, bool);

fn kept(entry: &table::Entry) -> Kept {
    (entry.access, entry.inheritable)
}

fn difference(before: &State, after: &State) -> Option<String> {
    if before == after {
        return None;
    }
    let mut said = format!("children before {:?}, after {:?}", before.1, after.1);
    for (place, (before, after)) in before.0.iter().zip(&after.0).enumerate() {
        said += &format!("; in table {place} was {before:?}, and is {after:?}");
    }
    Some(said)
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all
}

/// Asserts that an error names the call that was made to fail.
///
/// # Panics
///
/// Panics if it doesn't.
pub fn assert_names_call(said: &str, failed: &str, error: &Error) {
    assert_eq!(error.raw_os_error(), Some(faults::CODE), "{said}: {error:?}");
    // Some of std's functions are reported as one event and make several calls; the error names one of them.
    let is_named = failed.split('+').any(|name| error.to_string().contains(name));
    assert!(is_named, "{said}: the error names another: {error}");
}

/// Runs [`Sweep::run`] for a scenario of this process alone, in which no failure may be ignored.
///
/// # Panics
///
/// Panics if an assertion fails.
pub fn sweep<T>(name: &str, scenario: impl Fn() -> Result<T>, undo: impl Fn(T)) {
    Sweep::of(name).run(scenario, undo);
}

/// Reports a finished sweep.
///
/// # Panics
///
/// Panics if the report file can't be written.
pub fn swept(name: &str, calls: u32, points: u32, ignored: &[&str]) {
    let mut names = ignored.to_vec();
    names.sort_unstable();
    names.dedup();
    let line = format!("{name}\t{calls}\t{points}\t{}\t{}\n", ignored.len(), names.join(" "));
    print!("{line}");
    if let Some(path) = std::env::var_os(SWEPT) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        // One write for the line, because several tests append at the same time.
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file can be written");
    }
}

/// Sets the current activity, and aborts this process with its description if it takes too long, so that a hanging test
/// says where it hangs. An empty text means no activity.
///
/// # Panics
///
/// Panics if another thread panicked while it held the lock.
pub fn watch(doing: &str) {
    static DOING: Mutex<Option<(String, Instant)>> = Mutex::new(None);
    static CHANGES: Condvar = Condvar::new();
    let mut now = DOING.lock().expect("no thread panics while it holds the lock");
    let is_first = now.is_none();
    *now = Some((doing.to_owned(), Instant::now()));
    drop(now);
    if !is_first {
        return;
    }
    std::thread::spawn(|| {
        let mut now = DOING.lock().expect("no thread panics while it holds the lock");
        loop {
            // Unlike std's sleep on Windows, this wait opens no handle.
            (now, _) = CHANGES
                .wait_timeout(now, Duration::from_millis(500))
                .expect("no thread panics while it holds the lock");
            let Some((doing, since)) = &*now else { continue };
            if !doing.is_empty() && since.elapsed() > LONGEST {
                eprintln!("{doing} did not end within {LONGEST:?}");
                if table::is_wine() {
                    // The harness repeats a test in which Wine hangs.
                    return;
                }
                std::process::abort();
            }
        }
    });
}

/// Creates an event, and another one that is inheritable.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn events() -> (Event, Event) {
    let (event, inheritable) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    table::make_inheritable(&inheritable);
    (event, inheritable)
}

/// Asserts that the inherit flags of the two events are unchanged.
///
/// # Panics
///
/// Panics if a flag has changed.
pub fn assert_flags_unchanged(event: &Event, inheritable: &Event) {
    assert!(!table::is_inheritable(event) && table::is_inheritable(inheritable));
}

/// Kills a child and waits for its exit.
///
/// # Panics
///
/// Panics if it doesn't exit.
pub fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait_timeout(Duration::from_secs(10)).unwrap();
}
