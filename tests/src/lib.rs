//! Support code for the integration tests.
//!
//! Each test runs in a process of its own, with a timeout. A hang or a crash fails that test alone, and other tests
//! don't disturb its handle counts. A test that needs another process starts its own program again in a *role*, so
//! one file contains both sides:
//!
//! ```no_run
//! use handover_tests::{Role, Test, tests};
//!
//! fn child_waits_for_the_event() {
//!     let mut child = handover::Command::new(handover_tests::this_program());
//!     child.args(handover_tests::role("waiter", &[]));
//! }
//!
//! fn waiter(_: &[String]) {}
//!
//! fn main() -> std::process::ExitCode {
//!     handover_tests::main(tests![child_waits_for_the_event], tests![waiter])
//! }
//! ```
//!
//! The same suites run on each system. System-specific helpers are in `os`, with the same interface on each system;
//! tests of features that only one system has are in `tests/os`.

pub mod adapters;
pub mod attacks;
mod audited;
mod broken;
mod foreign;
pub mod frame;
mod harness;
mod linked;
mod listen;
mod os;
mod run;
mod sweep;
mod waiting;
mod wine;

pub use audited::{audit, in_role_of_std};
pub use broken::{assert_channel_closed_by_violation, assert_violation};
pub use foreign::{bare, foreign, is_foreign_there, script};
pub use harness::{
    Role, Suite, Test, has_roles_of_another_width, left_out, main, main_of, role, this_program,
};
pub use linked::{assert_exits_successfully, linked_in_role};
pub use listen::listen;
pub use os::{door, expect, raw, table, weaker};
pub use run::{Ended, run, run_with_input};
pub use sweep::{
    Harmless, Sweep, assert_flags_unchanged, assert_names_call, end, events, sweep, swept, watch,
};
pub use waiting::{begun, waits};
pub use wine::wine_failure;

use std::time::{Duration, Instant};

use handover::{HandleValue, Object, Result};

/// Adopts the handle whose value the test's parent passed.
///
/// # Errors
///
/// See [`HandleValue::adopt`].
#[allow(unsafe_code, reason = "tests of the checks, also where a value is adopted twice on purpose")]
pub fn adopt<T: Object>(value: HandleValue) -> Result<T> {
    // SAFETY: the parent created the handle for this process, and no other Rust object owns it. A test that adopts a
    // value twice expects the second call to fail.
    unsafe { value.adopt() }
}

/// Polls until the condition holds.
///
/// # Panics
///
/// Panics if it doesn't hold within ten seconds.
pub fn until(what: &str, yes: impl Fn() -> bool) {
    let started = Instant::now();
    while !yes() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a process's handle count stays the same for 100 ms, and returns that count.
///
/// # Panics
///
/// Panics if that takes more than ten seconds.
#[must_use]
pub fn settled(process: u32) -> usize {
    let handles = std::cell::Cell::new(usize::MAX);
    until("the handle count is stable", || {
        let before = handles.replace(table::of(process).len());
        std::thread::sleep(Duration::from_millis(100));
        handles.get() == before
    });
    handles.get()
}

/// Returns the number of this process's handles. Under Wine, waits first until the thread pool has closed its events, which it
/// does five seconds after the last wait of a set.
///
/// # Panics
///
/// Panics if that takes more than ten seconds.
#[must_use]
pub fn count_without_wine_pool() -> usize {
    until("Wine's thread pool waits for no handle", || table::wine_pool_waiters() == 0);
    table::count()
}
