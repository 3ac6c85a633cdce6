//! Letting each system call of a scenario fail in turn.

use std::io::Write;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use handover::{Child, Error, Event, Result, faults};

use crate::{settled, table, until};

/// The variable that names the file to which each sweep adds a line, if it is set: what was swept, how many calls it
/// makes, and how many of them were made to fail.
const SWEPT: &str = "HANDOVER_SWEPT";

/// How long one point may take. Nothing in a scenario waits for longer.
const LONGEST: Duration = Duration::from_secs(40);

/// A call whose failure is made light of on purpose, and why.
pub type Harmless = (&'static str, &'static str);

/// A scenario of which each call fails in turn.
#[derive(Debug, Default)]
pub struct Sweep<'a> {
    name: &'a str,
    harmless: &'a [Harmless],
    beside: Vec<u32>,
}

impl<'a> Sweep<'a> {
    /// One with this name.
    #[must_use]
    pub fn of(name: &'a str) -> Self {
        Self { name, ..Self::default() }
    }

    /// In which failures of these calls may turn out not to matter.
    #[must_use]
    pub fn harmless(mut self, calls: &'a [Harmless]) -> Self {
        self.harmless = calls;
        self
    }

    /// In which these processes take part: nothing is left in their tables either.
    #[must_use]
    pub fn beside(mut self, processes: &[u32]) -> Self {
        self.beside = processes.to_vec();
        self
    }

    /// Lets each call of the scenario fail in turn. After a failure there is no process more than before, all tables are
    /// as before, with each handle's access and flag, and the error names the call that has failed.
    ///
    /// # Panics
    ///
    /// If anything is otherwise.
    pub fn run<T>(self, scenario: impl Fn() -> Result<T>, undo: impl Fn(T)) {
        watch(&format!("the scenario {:?}", self.name));
        // What is made once for the whole process is made before anything is counted, and so is what the first wait or
        // first error needs.
        undo(scenario().expect("without a fault it succeeds"));
        let (outcome, calls) = faults::run(None, &scenario);
        undo(outcome.expect("without a fault it succeeds"));
        assert!(calls > 0);
        let children = || sorted(table::children_of(std::process::id()));
        until("the children have ended", || children().len() <= self.children_before());
        // Another process closes what it had for the two that succeeded in a moment.
        for process in &self.beside {
            let _ = settled(*process);
        }
        let before = (self.tables(), children());
        let (mut points, mut made_light_of) = (0, Vec::new());
        for call in 0..calls {
            watch(&format!("call {call} of {calls} of {:?}", self.name));
            let (outcome, made) = faults::run(Some(call), &scenario);
            let Some(failed) = faults::failed() else {
                // Another process was quicker, and fewer calls were needed than the first time.
                assert!(made <= call);
                undo(outcome.unwrap_or_else(|error| panic!("no call failed, and there is {error:?}")));
                continue;
            };
            points += 1;
            let said = format!("{:?}, call {call} of {calls}, {failed}", self.name);
            match outcome {
                Err(error) => names_the_call(&said, failed, &error),
                Ok(done) => {
                    undo(done);
                    let is_harmless = self.harmless.iter().any(|(name, _)| *name == failed);
                    assert!(is_harmless, "{said}: failed, and nobody said so");
                    made_light_of.push(failed);
                }
            }
            // What another process has put into this one's table is closed by that one, in a moment.
            let started = Instant::now();
            while let Some(otherwise) = difference(&before, &(self.tables(), children())) {
                assert!(started.elapsed() < Duration::from_secs(10), "{said}: {otherwise}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        watch("");
        swept(self.name, calls, points, &made_light_of);
    }

    /// The one that takes part, if there is one.
    fn children_before(&self) -> usize {
        self.beside.len().max(1)
    }

    fn tables(&self) -> Vec<Vec<Kept>> {
        let processes = std::iter::once(std::process::id()).chain(self.beside.iter().copied());
        processes.map(|process| sorted(table::of(process).iter().map(kept).collect())).collect()
    }
}

/// The tables of all that take part, this process's first; and its children.
type State = (Vec<Vec<Kept>>, Vec<u32>);

/// What is to be as before of a handle: its access and its flag. Its value needn't be: under Wine, the system's own handles
/// in a process come and go.
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

/// Asserts that an error is about the call that was made to fail.
///
/// # Panics
///
/// If it isn't.
pub fn names_the_call(said: &str, failed: &str, error: &Error) {
    assert_eq!(error.raw_os_error(), Some(faults::CODE), "{said}: {error:?}");
    // What is told of as one, std does by several, and the error names one of them.
    let is_named = failed.split('+').any(|name| error.to_string().contains(name));
    assert!(is_named, "{said}: the error names another: {error}");
}

/// As [`Sweep::run`], for a scenario of this process alone in which each failure matters.
///
/// # Panics
///
/// If anything is otherwise.
pub fn sweep<T>(name: &str, scenario: impl Fn() -> Result<T>, undo: impl Fn(T)) {
    Sweep::of(name).run(scenario, undo);
}

/// Says what was swept.
///
/// # Panics
///
/// If the file can't be written that is to have it.
pub fn swept(name: &str, calls: u32, points: u32, made_light_of: &[&str]) {
    let mut names = made_light_of.to_vec();
    names.sort_unstable();
    names.dedup();
    let line = format!("{name}\t{calls}\t{points}\t{}\t{}\n", made_light_of.len(), names.join(" "));
    print!("{line}");
    if let Some(path) = std::env::var_os(SWEPT) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        // In one piece, because several tests run at once.
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file can be written");
    }
}

/// Says what is being done, and ends this process if that takes too long: a test that hangs says where. Nothing is done
/// while the text is empty.
///
/// # Panics
///
/// If somebody else has, in the middle of this.
pub fn watch(doing: &str) {
    static DOING: Mutex<Option<(String, Instant)>> = Mutex::new(None);
    static CHANGES: Condvar = Condvar::new();
    let mut now = DOING.lock().expect("nobody panics with it");
    let is_first = now.is_none();
    *now = Some((doing.to_owned(), Instant::now()));
    drop(now);
    if !is_first {
        return;
    }
    std::thread::spawn(|| {
        let mut now = DOING.lock().expect("nobody panics with it");
        loop {
            // Unlike a sleep of std's, this opens no handle for a while.
            (now, _) = CHANGES.wait_timeout(now, Duration::from_millis(500)).expect("nobody panics with it");
            let Some((doing, since)) = &*now else { continue };
            if !doing.is_empty() && since.elapsed() > LONGEST {
                eprintln!("{doing} did not end within {LONGEST:?}");
                if table::is_wine() {
                    // The harness runs a test again in which Wine hangs.
                    return;
                }
                std::process::abort();
            }
        }
    });
}

/// An event, and one that somebody has left inheritable.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn events() -> (Event, Event) {
    let (event, inheritable) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    table::make_inheritable(&inheritable);
    (event, inheritable)
}

/// Asserts that nobody has touched the two.
///
/// # Panics
///
/// If somebody has.
pub fn flags_are_as_before(event: &Event, inheritable: &Event) {
    assert!(!table::is_inheritable(event) && table::is_inheritable(inheritable));
}

/// Ends a child that doesn't end by itself.
///
/// # Panics
///
/// If it doesn't end.
pub fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait_timeout(Duration::from_secs(10)).unwrap();
}
