//! The templates, compiled and checked as their README says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use handover_tests::{Ended, Test, left_out, run, tests};

use super::super::{Folder, LONG, NOT_DONE, STRATEGIES, check, new};

/// The remarks on the solution of the exercise on names. An eventfd has no name, and a semaphore has one.
pub(crate) const REMARKS_ON_NAMING: &[&str] = &["stand-in"];

pub(crate) const TESTS: &[Test] = tests![
    templates_in_c_and_cpp_are_built_by_make,
    templates_in_rust_are_built_by_cargo,
    templates_in_python_run,
];

/// Returns whether these programs are installed. If not, prints that the test leaves something out.
fn are_there(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        !command.status().is_ok_and(|status| status.success())
    });
    if let Some(missing) = missing {
        left_out(&format!("templates that need {missing}, which was not found"));
    }
    missing.is_none()
}

/// Runs a program in a folder.
fn run_in(folder: &Path, words: &[&str]) -> Ended {
    let arguments = ["--chdir".into(), folder.as_os_str().to_owned()];
    run(Path::new("env"), arguments.into_iter().chain(words.iter().map(Into::into)), LONG)
}

/// Asserts that a fresh template runs, and that its check says what to do first.
fn assert_not_done(strategy: &str, parent: &[&str]) {
    let ended = run(Path::new(parent[0]), &parent[1..], LONG).expect_code(NOT_DONE);
    assert!(
        ended.err.contains("parent: not done yet") && ended.err.contains("child: not done yet"),
        "{ended:#?}"
    );
    let (code, report) = check(strategy, parent);
    assert_eq!(code, Some(1), "{report:#}");
    let first = &report["requirements"][0];
    assert_eq!((&first["id"], &first["verdict"]), (&"creates-event".into(), &"fails".into()), "{report:#}");
    let advice = first["try"].as_str().unwrap();
    assert!(advice.contains("create the event in the parent"), "{advice}");
}

fn templates_in_c_and_cpp_are_built_by_make() {
    for (language, compiler, flags) in
        [("c", "cc", "CFLAGS=-Wall -Wextra -Werror"), ("c++", "c++", "CXXFLAGS=-Wall -Wextra -Werror")]
    {
        if !are_there(&["make", compiler]) {
            continue;
        }
        let all = Folder::new("make");
        for strategy in STRATEGIES {
            let folder = all.0.join(strategy);
            new(strategy, language, &folder).expect_code(0);
            run_in(&folder, &["make", flags]).expect_code(0);
            assert_not_done(strategy, &[folder.join("parent").to_str().unwrap()]);
            run_in(&folder, &["make", "clean"]).expect_code(0);
            assert!(!folder.join("parent").exists());
        }
    }
}

fn templates_in_rust_are_built_by_cargo() {
    if !are_there(&["cargo"]) {
        return;
    }
    let all = Folder::new("cargo");
    // One build folder, so that the dependencies are compiled once.
    let target = all.0.join("target");
    for strategy in STRATEGIES {
        let folder = all.0.join(strategy);
        new(strategy, "rust", &folder).expect_code(0);
        let target = format!("CARGO_TARGET_DIR={}", target.display());
        // The build of these tests has downloaded the dependencies.
        let words = [&target, "RUSTFLAGS=-D warnings", "cargo", "build", "--quiet", "--offline"];
        run_in(&folder, &words).expect_code(0);
        assert_not_done(strategy, &[all.0.join("target/debug/parent").to_str().unwrap()]);
    }
}

/// Returns the path of the Python interpreter itself, without scripts that start it.
fn python() -> Option<PathBuf> {
    let find = "import sys; assert sys.version_info >= (3, 10); print(sys.executable)";
    let found = Command::new("python3").args(["-c", find]).stderr(Stdio::null()).output().ok();
    let found = found.filter(|found| found.status.success());
    if found.is_none() {
        left_out("the templates in Python, because Python 3.10 was not found");
    }
    Some(String::from_utf8(found?.stdout).unwrap().trim().into())
}

fn templates_in_python_run() {
    let Some(python) = python() else { return };
    let all = Folder::new("python");
    for strategy in STRATEGIES {
        let folder = all.0.join(strategy);
        new(strategy, "python", &folder).expect_code(0);
        let parent = folder.join("parent.py");
        assert_not_done(strategy, &[python.to_str().unwrap(), "-W", "error", parent.to_str().unwrap()]);
    }
}
