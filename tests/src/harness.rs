//! Each test in a process of its own, under a deadline.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{Ended, foreign, run, table};

/// The slowest test starts a thousand processes, which takes a loaded machine a minute.
const DEADLINE: Duration = Duration::from_secs(180);

/// How a line begins with which a test says that it has left something out.
const LEFT_OUT: &str = "left out: ";

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

/// Tests and roles of one file, where a program has several; names stand behind the suite's.
#[derive(Debug, Clone, Copy)]
pub struct Suite {
    /// The file's name; empty if it is the program's only one.
    pub name: &'static str,
    /// What is tested.
    pub tests: &'static [Test],
    /// What other processes do in it.
    pub roles: &'static [Role],
}

/// The suite that this process plays a part in.
static SUITE: OnceLock<&'static str> = OnceLock::new();

/// The arguments that make this program play a role of the suite whose test or role this process runs.
#[must_use]
pub fn role(name: &str, arguments: &[&str]) -> Vec<OsString> {
    let name = full(SUITE.get().copied().unwrap_or_default(), name);
    [PLAY_ROLE, &name].iter().chain(arguments).map(OsString::from).collect()
}

fn full(suite: &str, name: &str) -> String {
    if suite.is_empty() { name.to_owned() } else { format!("{suite}::{name}") }
}

/// Says that a test leaves something out, and why.
pub fn left_out(why: &str) {
    println!("{LEFT_OUT}{why}");
}

/// The main function of a test program with one suite.
#[must_use]
pub fn main(tests: &'static [Test], roles: &'static [Role]) -> ExitCode {
    main_of(&[Suite { name: "", tests, roles }])
}

/// The main function of a test program with several suites.
#[must_use]
pub fn main_of(suites: &[Suite]) -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(code) = foreign::substitute(&words) {
        return code;
    }
    match words.as_slice() {
        [flag, name] if flag == RUN_TEST => {
            table::keep_what_is_left_open();
            named(suites, |suite| suite.tests, name)();
        }
        [flag, name, arguments @ ..] if flag == PLAY_ROLE => {
            named(suites, |suite| suite.roles, name)(arguments);
        }
        _ => {
            let names =
                suites.iter().flat_map(|suite| suite.tests.iter().map(|(name, _)| full(suite.name, name)));
            let trials = names.map(|name| Trial::test(name.clone(), move || run_apart(&name))).collect();
            return libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
        }
    }
    ExitCode::SUCCESS
}

fn named<F: Copy + 'static>(
    suites: &[Suite],
    functions: impl Fn(&Suite) -> &'static [(&'static str, F)],
    name: &str,
) -> F {
    let (suite, rest) = name.split_once("::").unwrap_or(("", name));
    let suite = suites.iter().find(|other| other.name == suite);
    let found = suite.and_then(|suite| {
        SUITE.set(suite.name).expect("a process plays one part");
        functions(suite).iter().find(|(other, _)| *other == rest)
    });
    match found {
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
            Some(0) => {
                // Nobody else sees what a test that succeeds has said.
                for line in ended.out.lines().filter(|line| line.starts_with(LEFT_OUT)) {
                    eprintln!("{name}: {line}");
                }
                return Ok(());
            }
            Some(code) => format!("exit code {code}"),
            None => format!("killed, by a signal or after {DEADLINE:?}"),
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
