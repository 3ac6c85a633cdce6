//! Each test in a process of its own, under a deadline.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{Ended, run, table};

/// The slowest test starts a thousand processes, which takes a loaded machine a minute.
const DEADLINE: Duration = Duration::from_secs(180);

const RUN_TEST: &str = "--run-one-test";
const PLAY_ROLE: &str = "--play-role";

/// A test by its name.
pub type Test = (&'static str, fn());

/// What another process does in a test, by its name.
pub type Role = (&'static str, fn(&[String]));

/// Functions with their names.
#[macro_export]
macro_rules! tests {
    ($($function:ident),* $(,)?) => {
        &[$((stringify!($function), $function as _)),*]
    };
}

/// The program's own file.
///
/// # Panics
///
/// If the system doesn't tell.
#[must_use]
pub fn this_program() -> PathBuf {
    std::env::current_exe().expect("the system knows a process's program")
}

/// The arguments that make this program play a role.
#[must_use]
pub fn role(name: &str, arguments: &[&str]) -> Vec<OsString> {
    [PLAY_ROLE, name].iter().chain(arguments).map(OsString::from).collect()
}

/// The main function of a test program.
#[must_use]
pub fn main(tests: &'static [Test], roles: &'static [Role]) -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match words.as_slice() {
        [flag, name] if flag == RUN_TEST => named(tests, name)(),
        [flag, name, arguments @ ..] if flag == PLAY_ROLE => named(roles, name)(arguments),
        _ => {
            let trials = tests.iter().map(|(name, _)| Trial::test(*name, || run_apart(name))).collect();
            return libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
        }
    }
    ExitCode::SUCCESS
}

fn named<F: Copy>(functions: &[(&'static str, F)], name: &str) -> F {
    match functions.iter().find(|(other, _)| *other == name) {
        Some((_, function)) => *function,
        None => panic!("{name} is not listed in the test program's main"),
    }
}

fn run_apart(name: &str) -> Result<(), Failed> {
    let mut tries = if table::is_wine() { 3 } else { 1 };
    loop {
        tries -= 1;
        let ended = run(&this_program(), [RUN_TEST, name], DEADLINE);
        let why = match ended.code {
            Some(0) => return Ok(()),
            Some(code) => format!("exit code {code}"),
            None => format!("killed after {DEADLINE:?}"),
        };
        match wines_fault(&ended) {
            Some(fault) if tries > 0 => eprintln!("{name} runs again ({why}): {fault}"),
            _ => return Err(format!("{why}\n{}{}", ended.out, ended.err).into()),
        }
    }
}

/// What Wine does wrong now and then when it is busy, if that may be why a test has failed. The same test succeeds a
/// moment later; one that is at fault itself fails each time.
fn wines_fault(ended: &Ended) -> Option<&'static str> {
    let says = |text: &str| ended.err.contains(text) || ended.out.contains(text);
    if says("code: 1359") || says("os error 1359") {
        return Some("a process has died in Wine's own start");
    }
    if says(handover::faults::HANGS) {
        return Some("Wine has not closed a handle of a busy process");
    }
    ended.code.is_none().then_some("Wine may have hung in creating a process")
}
