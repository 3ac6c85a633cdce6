//! Each test in a process of its own, under a deadline.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{Ended, run, table};

/// The slowest test starts a thousand processes, which takes a loaded machine a minute.
const DEADLINE: Duration = Duration::from_secs(300);

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
    /// What Wine answers now and then to a CreateProcess when it is busy: the child has died in Wine's own start.
    const INTERNAL_ERROR: [&str; 2] = ["code: 1359", "os error 1359"];
    let is_internal_error = |ended: &Ended| {
        INTERNAL_ERROR.iter().any(|text| ended.err.contains(text) || ended.out.contains(text))
    };
    let mut tries = 3;
    loop {
        tries -= 1;
        let ended = run(&this_program(), [RUN_TEST, name], DEADLINE);
        match ended.code {
            Some(0) => return Ok(()),
            Some(_) if tries > 0 && table::is_wine() && is_internal_error(&ended) => {
                eprintln!("{name} runs again: Wine has failed to start a process (error 1359)");
            }
            Some(code) => return Err(format!("exit code {code}\n{}{}", ended.out, ended.err).into()),
            None => return Err(format!("killed after {DEADLINE:?}\n{}{}", ended.out, ended.err).into()),
        }
    }
}
