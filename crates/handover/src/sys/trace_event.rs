//! Reports each system call to subscribers as one `tracing` event.

#![allow(clippy::missing_const_for_thread_local, reason = "it is const; on Windows the lint doesn't see it")]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tracing::Level;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};

use super::call_info::{Argument, Arguments, Effects, Outcome};

type CallResult<'a> = Result<&'a dyn Outcome, &'a io::Error>;

/// Returns the time at which a call begins, if a subscriber may want to know its duration.
pub(super) fn begins() -> Option<Instant> {
    (LevelFilter::current() >= Level::DEBUG).then(Instant::now)
}

/// Reports a call that changes something.
pub(super) fn done(
    name: &'static str,
    arguments: &Arguments<'_>,
    began: Option<Instant>,
    outcome: CallResult<'_>,
) {
    report(Level::DEBUG, name, arguments, began, outcome);
}

/// Reports a call that only queries.
pub(super) fn asked(
    name: &'static str,
    arguments: &Arguments<'_>,
    began: Option<Instant>,
    outcome: CallResult<'_>,
) {
    report(Level::TRACE, name, arguments, began, outcome);
}

fn report(
    level: Level,
    name: &'static str,
    arguments: &Arguments<'_>,
    began: Option<Instant>,
    outcome: CallResult<'_>,
) {
    // Without a subscriber, the level filter is all that is read.
    if level > STATIC_MAX_LEVEL || level > LevelFilter::current() {
        return;
    }
    undisturbed(|state| {
        // A subscriber that was added during the call has no start time.
        let elapsed = began.map_or(0, |began| began.elapsed().as_nanos());
        let event = Event {
            level,
            name,
            arguments: Listed(arguments),
            result: Answer(outcome),
            failed: outcome.is_err(),
            nanoseconds: u64::try_from(elapsed).unwrap_or(u64::MAX),
            effects: Changes(outcome),
        };
        if state.deferrals.get() == 0 {
            event.emit();
        } else if level <= state.wanted.get() {
            state.deferred.borrow_mut().push(event.to_text());
        }
    });
}

/// The content of one event.
struct Event<A, R, E> {
    level: Level,
    name: &'static str,
    arguments: A,
    result: R,
    failed: bool,
    nanoseconds: u64,
    effects: E,
}

impl<A: fmt::Display, R: fmt::Display, E: fmt::Display> Event<A, R, E> {
    fn to_text(&self) -> Event<String, String, String> {
        Event {
            level: self.level,
            name: self.name,
            arguments: self.arguments.to_string(),
            result: self.result.to_string(),
            failed: self.failed,
            nanoseconds: self.nanoseconds,
            effects: self.effects.to_string(),
        }
    }

    /// Calls the subscriber.
    fn emit(&self) {
        macro_rules! emit {
            ($level:expr) => {
                tracing::event!(
                    target: "handover::call",
                    $level,
                    call = self.name,
                    arguments = %self.arguments,
                    result = %self.result,
                    failed = self.failed,
                    nanoseconds = self.nanoseconds,
                    effects = %self.effects
                )
            };
        }
        caught(|| if self.level == Level::DEBUG { emit!(Level::DEBUG) } else { emit!(Level::TRACE) });
    }
}

/// Runs a subscriber's code. A panic of it ends here, because the caller may be in the middle of an operation. The
/// panic hook has reported it.
fn caught(code: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(code)) {
        // Dropping it could panic again.
        std::mem::forget(payload);
    }
}

/// A thread's state.
struct State {
    /// Whether a subscriber is running. Calls that it makes through this crate aren't reported, because each event
    /// would cause the next one.
    is_reporting: Cell<bool>,
    /// The number of [`DeferredEvents`] that exist.
    deferrals: Cell<usize>,
    /// The level that the subscriber wanted when the first of them began.
    wanted: Cell<LevelFilter>,
    deferred: RefCell<Vec<Event<String, String, String>>>,
}

thread_local! {
    static STATE: State = const {
        State {
            is_reporting: Cell::new(false),
            deferrals: Cell::new(0),
            wanted: Cell::new(LevelFilter::OFF),
            deferred: RefCell::new(Vec::new()),
        }
    };
}

/// Keeps the events of this thread's calls back. They are emitted when the last of these values is dropped.
///
/// A subscriber is code of the user. It may wait, panic, or call this crate. So it must not run while this crate holds
/// a lock or has made a call whose result isn't noted yet.
#[must_use]
#[derive(Debug)]
pub(crate) struct DeferredEvents {
    /// The state is a thread's.
    _not_send: PhantomData<*const ()>,
}

impl DeferredEvents {
    pub(crate) fn begin() -> Self {
        let first = STATE.try_with(|state| state.deferrals.get() == 0).unwrap_or(false);
        if first && LevelFilter::current() >= Level::DEBUG {
            // Asked now, because the answer may come from the subscriber.
            undisturbed(|state| caught(|| state.wanted.set(wanted())));
        }
        let _ = STATE.try_with(|state| state.deferrals.set(state.deferrals.get() + 1));
        Self { _not_send: PhantomData }
    }
}

impl Drop for DeferredEvents {
    fn drop(&mut self) {
        let is_last = STATE.try_with(|state| {
            state.deferrals.set(state.deferrals.get().saturating_sub(1));
            state.deferrals.get() == 0 && !state.deferred.borrow().is_empty()
        });
        if is_last.unwrap_or(false) {
            undisturbed(|state| state.deferred.take().iter().for_each(Event::emit));
        }
    }
}

/// Returns the level that the subscriber wants.
fn wanted() -> LevelFilter {
    macro_rules! is_wanted {
        ($level:expr) => {
            tracing::event_enabled!(
                target: "handover::call",
                $level,
                call,
                arguments,
                result,
                failed,
                nanoseconds,
                effects
            )
        };
    }
    if is_wanted!(Level::TRACE) {
        LevelFilter::TRACE
    } else if is_wanted!(Level::DEBUG) {
        LevelFilter::DEBUG
    } else {
        LevelFilter::OFF
    }
}

/// Runs `report` without side effects for the caller. The system's last error is restored afterwards.
fn undisturbed(report: impl FnOnce(&State)) {
    // The last error is read before anything else: on Windows, even an access to a thread-local variable can change it.
    let _last = LastError(io::Error::last_os_error().raw_os_error().unwrap_or(0));
    // A thread whose thread-local variables are already destroyed reports nothing.
    let _ = STATE.try_with(|state| {
        if !state.is_reporting.replace(true) {
            let _reporting = Reporting(&state.is_reporting);
            report(state);
        }
    });
}

/// Restores the system's last error on drop.
struct LastError(i32);

impl Drop for LastError {
    fn drop(&mut self) {
        super::set_last_error(self.0);
    }
}

struct Reporting<'a>(&'a Cell<bool>);

impl Drop for Reporting<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

struct Listed<'a>(&'a Arguments<'a>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A program without arguments has no list of them either.
        let shown = self.0.iter().filter(|(_, argument)| !matches!(argument, Argument::Texts([])));
        for (index, (label, argument)) in shown.enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let gap = if label.is_empty() || matches!(argument, Argument::Yes) { "" } else { " " };
            write!(to, "{comma}{label}{gap}{argument}")?;
        }
        Ok(())
    }
}

struct Answer<'a>(CallResult<'a>);

impl fmt::Display for Answer<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(outcome) => outcome.result(to),
            Err(error) => fmt::Display::fmt(error, to),
        }
    }
}

struct Changes<'a>(CallResult<'a>);

impl fmt::Display for Changes<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(outcome) => outcome.effects(&mut Effects::new(to)),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_list_of_arguments_is_left_out() {
        let shown = |arguments: &[std::ffi::CString]| {
            let program = ("program", Argument::Text("worker"));
            Listed(&[program, ("arguments", Argument::Texts(arguments)), ("inherits", Argument::Raws(&[3]))])
                .to_string()
        };
        assert_eq!(shown(&[c"one".to_owned()]), r#"program "worker", arguments "one", inherits 0x3"#);
        assert_eq!(shown(&[]), r#"program "worker", inherits 0x3"#);
    }
}
