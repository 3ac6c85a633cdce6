//! Reports each system call to subscribers as one `tracing` event.

#![allow(clippy::missing_const_for_thread_local, reason = "it is const; on Windows the lint doesn't see it")]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::time::Instant;

use tracing::Level;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};

use super::call_info::{Argument, Arguments, Effects, Outcome};

type CallResult<'a> = Result<&'a dyn Outcome, &'a io::Error>;

macro_rules! event {
    ($level:expr, $name:expr, $arguments:expr, $began:expr, $outcome:expr) => {
    // Without a subscriber, the level filter is all that is read.
        if $level <= STATIC_MAX_LEVEL && $level <= LevelFilter::current() {
            undisturbed(|| {
                // A subscriber that was added during the call has no start time.
                let elapsed = $began.map_or(0, |began| began.elapsed().as_nanos());
                tracing::event!(
                    target: "handover::call",
                    $level,
                    call = $name,
                    arguments = %Listed($arguments),
                    result = %Answer($outcome),
                    failed = $outcome.is_err(),
                    nanoseconds = u64::try_from(elapsed).unwrap_or(u64::MAX),
                    effects = %Changes($outcome)
                );
            });
        }
    };
}

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
    event!(Level::DEBUG, name, arguments, began, outcome);
}

/// Reports a call that only queries.
pub(super) fn asked(
    name: &'static str,
    arguments: &Arguments<'_>,
    began: Option<Instant>,
    outcome: CallResult<'_>,
) {
    event!(Level::TRACE, name, arguments, began, outcome);
}

thread_local! {
    static IS_REPORTING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `report` without side effects for the caller. The system's last error is restored afterwards. Calls that a
/// subscriber makes through this crate aren't reported, because each event would cause the next one.
fn undisturbed(report: impl FnOnce()) {
    // The last error is read before anything else: on Windows, even an access to a thread-local variable can change it.
    let _last = LastError(io::Error::last_os_error().raw_os_error().unwrap_or(0));
    // A thread whose thread-local variables are already destroyed reports nothing.
    if IS_REPORTING.try_with(|reporting| reporting.replace(true)).unwrap_or(true) {
        return;
    }
    let _reporting = Reporting;
    report();
}

/// Restores the system's last error on drop, so also if a subscriber panics.
struct LastError(i32);

impl Drop for LastError {
    fn drop(&mut self) {
        super::set_last_error(self.0);
    }
}

struct Reporting;

impl Drop for Reporting {
    fn drop(&mut self) {
        let _ = IS_REPORTING.try_with(|reporting| reporting.set(false));
    }
}

struct Listed<'a>(&'a Arguments<'a>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (label, argument)) in self.0.iter().enumerate() {
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
