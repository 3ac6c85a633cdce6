//! Runs each test in a process of its own, with a timeout.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{foreign, run, table, wine_failure};

/// Long enough for the slowest test: it makes each call of an audit fail once, which takes three minutes under Wine 10.
const DEADLINE: Duration = Duration::from_secs(400);

/// The number of tests that run at the same time under Wine, where they mostly wait for its server. With four, they take two
/// thirds of the time that they take with one for each of two processors.
const WINE_THREADS: usize = 4;

/// The prefix of a line by which a test reports that it leaves something out.
const LEFT_OUT: &str = "left out: ";

const RUN_TEST: &str = "--run-one-test";
const PLAY_ROLE: &str = "--play-role";

/// A test: its name and its function.
pub type Test = (&'static str, fn());

/// A role, which another process plays in a test: its name and its function.
pub type Role = (&'static str, fn(&[String]));

/// Lists functions with their names.
#[macro_export]
macro_rules! tests {
    ($($function:ident),* $(,)?) => {
        &[$((stringify!($function), $function as _)),*]
    };
}

/// The variable with the folder of the programs that play the roles, if those are other builds of the test programs:
/// their handles have another width.
const ROLE_PROGRAMS: &str = "HANDOVER_ROLE_PROGRAMS";

/// Returns the path of the program that plays the roles: of this test program, or of its build for another width.
///
/// # Panics
///
/// Panics if the system cannot tell the path, or if the other build is missing.
#[must_use]
pub fn this_program() -> PathBuf {
    let own = own_program();
    let Some(folder) = std::env::var_os(ROLE_PROGRAMS) else { return own };
    // Cargo appends a hash to the name, another one for each build.
    let name = own.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.rsplit_once('-'));
    let (name, _) = name.expect("cargo names test programs `name-hash`");
    let builds = std::fs::read_dir(folder).expect("the folder is there").filter_map(Result::ok);
    let of_this_test = builds.filter(|build| {
        let path = build.path();
        let stem = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.rsplit_once('-'));
        path.extension() == own.extension() && stem.is_some_and(|(other, _)| other == name)
    });
    let newest = of_this_test.max_by_key(|build| build.metadata().and_then(|data| data.modified()).ok());
    newest.expect("this test was built for the other width").path()
}

/// Whether the roles are played by a program of another width.
#[must_use]
pub fn has_roles_of_another_width() -> bool {
    std::env::var_os(ROLE_PROGRAMS).is_some()
}

fn own_program() -> PathBuf {
    // Without `/proc`, Linux doesn't say it. The tests start their programs by absolute paths.
    let started_as = || std::env::args_os().next().expect("a program is started by a path").into();
    std::env::current_exe().unwrap_or_else(|_| started_as())
}

/// The tests and roles of one file. In a program with several files, the names are prefixed with the suite's name.
#[derive(Debug, Clone, Copy)]
pub struct Suite {
    /// The file's name; empty if the program has a single file.
    pub name: &'static str,
    /// The tests.
    pub tests: &'static [Test],
    /// The roles.
    pub roles: &'static [Role],
}

/// The suite of the test or role that this process runs.
static SUITE: OnceLock<&'static str> = OnceLock::new();

/// Returns the arguments that make this program play a role of the current suite.
#[must_use]
pub fn role(name: &str, arguments: &[&str]) -> Vec<OsString> {
    let name = full(SUITE.get().copied().unwrap_or_default(), name);
    [PLAY_ROLE, &name].iter().chain(arguments).map(OsString::from).collect()
}

fn full(suite: &str, name: &str) -> String {
    if suite.is_empty() { name.to_owned() } else { format!("{suite}::{name}") }
}

/// Reports that the test leaves something out, and why.
pub fn left_out(reason: &str) {
    println!("{LEFT_OUT}{reason}");
}

/// Runs a test program with one suite.
#[must_use]
pub fn main(tests: &'static [Test], roles: &'static [Role]) -> ExitCode {
    main_of(&[Suite { name: "", tests, roles }])
}

/// Runs a test program with several suites.
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
            let trials =
                names.map(|name| Trial::test(name.clone(), move || run_in_own_process(&name))).collect();
            let mut arguments = Arguments::from_args();
            if table::is_wine() {
                arguments.test_threads.get_or_insert(WINE_THREADS);
            }
            return libtest_mimic::run(&arguments, trials).exit_code();
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
    // A program can have several suites with one name.
    let mut found = suites.iter().filter(|other| other.name == suite).filter_map(|suite| {
        let (_, function) = functions(suite).iter().find(|(other, _)| *other == rest)?;
        Some((suite.name, *function))
    });
    match found.next() {
        Some((suite, function)) => {
            SUITE.set(suite).expect("a process runs one test or role");
            function
        }
        None => panic!("{name} is not listed in the test program's main"),
    }
}

fn run_in_own_process(name: &str) -> Result<(), Failed> {
    let mut tries = if table::is_wine() { 3 } else { 1 };
    loop {
        tries -= 1;
        let ended = run(&own_program(), [RUN_TEST, name], DEADLINE);
        let reason = match ended.code {
            Some(0) => {
                // The harness discards the output of a successful test, so these lines are printed again.
                for line in ended.out.lines().filter(|line| line.starts_with(LEFT_OUT)) {
                    eprintln!("{name}: {line}");
                }
                return Ok(());
            }
            Some(code) => format!("exit code {code}"),
            None => format!("killed, by a signal or after {DEADLINE:?}"),
        };
        let output = format!("{}{}", ended.out, ended.err);
        let fault = if output.contains(handover::faults::HANGS) {
            Some("Wine has not closed a handle of a busy process")
        } else {
            wine_failure(ended.code, &output)
        };
        match fault {
            Some(fault) if tries > 0 => eprintln!("{name} runs again ({reason}): {fault}"),
            _ => return Err(format!("{reason}\n{output}").into()),
        }
    }
}
