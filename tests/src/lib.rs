//! What the integration tests stand on.
//!
//! Each test is a process of its own, under a deadline: a hang is a failure, a crash is a failure of that test alone,
//! and handle counts are not disturbed by a neighbour. A test that needs another process starts its own program
//! again in a *role*, so both halves stand in one file:
//!
//! ```no_run
//! use handover_tests::{Role, Test, tests};
//!
//! fn the_child_hears_of_it() {
//!     let mut child = handover::Command::new(handover_tests::this_program());
//!     child.args(handover_tests::role("listener", &[]));
//! }
//!
//! fn listener(_: &[String]) {}
//!
//! fn main() -> std::process::ExitCode {
//!     handover_tests::main(tests![the_child_hears_of_it], tests![listener])
//! }
//! ```
//!
//! Suites run on each system from the same source. What they need of the system is in `os`, with one face for all; what
//! only one system can do is tested in `tests/os`.

pub mod attacks;
mod audited;
mod broken;
mod foreign;
pub mod frame;
mod harness;
mod listen;
mod os;
mod run;
mod sweep;
mod waiting;

pub use audited::{audit, in_role_of_std};
pub use broken::{breaks_a_rule, ends_for_good};
pub use foreign::{bare, foreign, is_foreign_there, script};
pub use harness::{Role, Suite, Test, left_out, main, main_of, role, this_program};
pub use listen::listen;
pub use os::{door, expect, raw, table, weaker};
pub use run::{Ended, run, run_with_input};
pub use sweep::{Harmless, Sweep, end, events, flags_are_as_before, names_the_call, sweep, swept, watch};
pub use waiting::{begun, waits};

use std::time::{Duration, Instant};

use handover::{HandleValue, Object, Result};

/// Makes an owner of the handle whose value the test's parent passed by hand.
///
/// # Errors
///
/// As [`HandleValue::adopt`].
#[allow(unsafe_code, reason = "tests of what the checks find, also where the promise is broken")]
pub fn adopt<T: Object>(value: HandleValue) -> Result<T> {
    // SAFETY: the parent made the handle for this process; where a test adopts one twice, it expects an error.
    unsafe { value.adopt() }
}

/// Asks again and again until the answer is yes.
///
/// # Panics
///
/// If it isn't within ten seconds.
pub fn until(what: &str, yes: impl Fn() -> bool) {
    let started = Instant::now();
    while !yes() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until another process has as many handles as a moment before, and says how many.
///
/// # Panics
///
/// If that isn't within ten seconds.
#[must_use]
pub fn settled(process: u32) -> usize {
    let handles = std::cell::Cell::new(usize::MAX);
    until("the process stands still", || {
        let before = handles.replace(table::of(process).len());
        std::thread::sleep(Duration::from_millis(100));
        handles.get() == before
    });
    handles.get()
}
