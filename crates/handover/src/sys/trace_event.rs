//! Telling whoever listens of each call: one event of `tracing`.

#![allow(clippy::missing_const_for_thread_local, reason = "it is; on Windows the lint does not see it")]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::time::Instant;

use tracing::Level;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};

use super::call_info::{Argument, Arguments, Effects, Outcome};

type CallResult<'a> = Result<&'a dyn Outcome, &'a io::Error>;

macro_rules! event {
    ($level:expr, $name:expr, $arguments:expr, $began:expr, $came:expr) => {
        // Where nobody listens, that is known from one number, and nothing else is looked at.
        if $level <= STATIC_MAX_LEVEL && $level <= LevelFilter::current() {
            undisturbed(|| {
                // A listener that has come during the call doesn't know when it began.
                let took = $began.map_or(0, |began| began.elapsed().as_nanos());
                tracing::event!(
                    target: "handover::call",
                    $level,
                    call = $name,
                    arguments = %Listed($arguments),
                    result = %Answer($came),
                    failed = $came.is_err(),
                    nanoseconds = u64::try_from(took).unwrap_or(u64::MAX),
                    effects = %Changes($came)
                );
            });
        }
    };
}

/// When a call begins, if anybody may want to know.
pub(super) fn begins() -> Option<Instant> {
    (LevelFilter::current() >= Level::DEBUG).then(Instant::now)
}

/// Tells of a call that has done something.
pub(super) fn done(
    name: &'static str,
    arguments: &Arguments<'_>,
    began: Option<Instant>,
    came: CallResult<'_>,
) {
    event!(Level::DEBUG, name, arguments, began, came);
}

/// Tells of a call that has only asked.
pub(super) fn asked(
    name: &'static str,
    arguments: &Arguments<'_>,
    began: Option<Instant>,
    came: CallResult<'_>,
) {
    event!(Level::TRACE, name, arguments, began, came);
}

thread_local! {
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

/// Does it as if it weren't done: the system's last error is as before, and what a listener calls of this crate makes no
/// event of its own, which would make the next.
fn undisturbed(tell: impl FnOnce()) {
    // Read before anything else: on Windows, even a look at a thread's own variables can change it.
    let _last = LastError(io::Error::last_os_error().raw_os_error().unwrap_or(0));
    // A thread that has given up its own variables tells of nothing more.
    if TELLING.try_with(|telling| telling.replace(true)).unwrap_or(true) {
        return;
    }
    let _telling = Telling;
    tell();
}

/// Is as before afterwards, also if the listener panics.
struct LastError(i32);

impl Drop for LastError {
    fn drop(&mut self) {
        super::set_last_error(self.0);
    }
}

struct Telling;

impl Drop for Telling {
    fn drop(&mut self) {
        let _ = TELLING.try_with(|telling| telling.set(false));
    }
}

struct Listed<'a>(&'a Arguments<'a>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (label, argument)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
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
