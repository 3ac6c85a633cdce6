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

#[cfg(not(windows))]
compile_error!("these are tests of Win32 programs; `cargo xtask test` builds and runs them here too");

mod harness;
pub mod raw;
mod run;
pub mod table;

pub use harness::{Role, Test, main, role, this_program};
pub use run::{Ended, run, run_with_input};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One of the foreign programs: C, written against Win32 alone.
#[must_use]
pub fn foreign(name: &str) -> PathBuf {
    Path::new(env!("FOREIGN_PROGRAMS")).join(name).with_extension("exe")
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
