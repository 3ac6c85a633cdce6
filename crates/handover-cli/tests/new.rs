//! Tests of `handover new`, run as its users run it, and of the programs that it writes.

#[path = "os/new/mod.rs"]
mod os;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use handover_tests::{Ended, Test, foreign, is_foreign_there, run, tests};
use serde_json::Value;

const STRATEGIES: [&str; 3] = ["inheritance", "duplication", "naming"];
const LANGUAGES: [&str; 4] = ["c", "c++", "rust", "python"];
const SOON: Duration = Duration::from_secs(60);
/// The time for a build and for a check, on a machine under load.
const LONG: Duration = Duration::from_secs(240);
/// The exit code of a program whose steps aren't done.
const NOT_DONE: i32 = 4;

fn main() -> ExitCode {
    let everywhere: &[Test] = tests![
        each_template_has_a_parent_a_child_and_the_steps,
        empty_folder_is_filled,
        folder_with_a_file_stays_as_it_is,
        path_that_cannot_become_a_folder_is_explained,
        wrong_usage_names_the_languages,
        templates_in_c_run_and_say_that_they_are_not_done,
        solutions_in_c_share_the_event,
        solutions_in_c_pass_the_check,
        solutions_keep_the_lines_of_their_templates,
        rust_templates_have_the_workspaces_dependencies,
    ];
    handover_tests::main([everywhere, os::TESTS].concat().leak(), &[])
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_handover"))
}

/// A folder that is removed with its content.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("handover-new-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn names(&self) -> Vec<String> {
        names(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder in the system's temporary folder that is left behind fails no test.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

fn new(strategy: &str, language: &str, folder: &Path) -> Ended {
    run(&program(), ["new", strategy, "--language", language, folder.to_str().unwrap()], SOON)
}

fn each_template_has_a_parent_a_child_and_the_steps() {
    let all = Folder::new("all");
    for (strategy, language) in
        STRATEGIES.iter().flat_map(|strategy| LANGUAGES.map(|language| (*strategy, language)))
    {
        let folder = all.0.join(format!("{strategy}-{language}"));
        let ended = new(strategy, language, &folder).expect_code(0);
        for part in [&format!("handover check {strategy} -- "), "marked TODO", "README.md", "cd "] {
            assert!(ended.out.contains(part), "no {part:?}: {ended:#?}");
        }
        let (extension, others): (_, &[&str]) = match language {
            "c" => ("c", &["Makefile", "README.md"]),
            "c++" => ("cpp", &["Makefile", "README.md"]),
            "rust" => ("rs", &[".gitignore", "Cargo.toml", "README.md"]),
            _ => ("py", &["README.md"]),
        };
        let sources = ["parent", "child"].map(|role| format!("{role}.{extension}"));
        let mut expected: Vec<&str> =
            sources.iter().map(String::as_str).chain(others.iter().copied()).collect();
        expected.sort_unstable();
        assert_eq!(names(&folder), expected, "{strategy}, {language}");
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        for name in &sources {
            let text = read(name);
            assert!(text.contains(&format!("the exercise \"{strategy}\"")), "{name}: {strategy}, {language}");
            assert!(text.contains("Step 1. TODO: "), "{name}: {strategy}, {language}");
        }
        let readme = read("README.md");
        assert!(readme.starts_with(&format!("# Exercise: {strategy}, in ")), "{readme}");
        assert!(!others.iter().any(|name| read(name).contains('{') && read(name).contains("strategy}")));
    }
}

fn empty_folder_is_filled() {
    let folder = Folder::new("empty");
    new("naming", "python", &folder.0).expect_code(0);
    assert_eq!(folder.names(), ["README.md", "child.py", "parent.py"]);
}

fn folder_with_a_file_stays_as_it_is() {
    let folder = Folder::new("full");
    fs::write(folder.0.join("parent.c"), "mine").unwrap();
    let ended = new("inheritance", "c", &folder.0).expect_code(1);
    for part in ["isn't empty, it contains \"parent.c\"", "an empty one; give another path"] {
        assert!(ended.err.contains(part), "no {part:?}: {ended:#?}");
    }
    assert_eq!(folder.names(), ["parent.c"]);
    assert_eq!(fs::read_to_string(folder.0.join("parent.c")).unwrap(), "mine");
    // A second run finds the files of the first.
    let second = folder.0.join("second");
    new("inheritance", "c", &second).expect_code(0);
    new("inheritance", "c", &second).expect_code(1).expect_text("isn't empty");
}

fn path_that_cannot_become_a_folder_is_explained() {
    let folder = Folder::new("paths");
    let file = folder.0.join("file");
    fs::write(&file, "mine").unwrap();
    let ended = new("naming", "c", &file).expect_code(1);
    assert!(ended.err.contains("expected a folder that doesn't exist yet"), "{ended:#?}");
    let ended = new("naming", "c", &folder.0.join("missing").join("exercise")).expect_code(1);
    assert!(ended.err.contains("create that one first"), "{ended:#?}");
    assert_eq!(folder.names(), ["file"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

fn wrong_usage_names_the_languages() {
    for (words, part) in [
        (&["new"][..], "<STRATEGY>"),
        (&["new", "naming", "x"], "--language <LANGUAGE>"),
        (&["new", "naming", "--language", "java", "x"], "possible values: c, c++, rust, python"),
        (&["new", "channel", "--language", "c", "x"], "possible values: inheritance, duplication, naming"),
    ] {
        run(&program(), words, SOON).expect_code(2).expect_text(part);
    }
    assert!(!Path::new("x").exists());
}

/// Returns the parent of a pair that the build of the tests has compiled, and its folder.
fn compiled(prefix: &str, strategy: &str) -> Option<PathBuf> {
    let name = format!("{prefix}-{strategy}/parent");
    is_foreign_there(&name).then(|| foreign(&name))
}

fn templates_in_c_run_and_say_that_they_are_not_done() {
    for parent in STRATEGIES.into_iter().filter_map(|strategy| compiled("template", strategy)) {
        let ended = run(&parent, [] as [&str; 0], SOON).expect_code(NOT_DONE);
        // A child of Windows that inherits no handle may have no standard error. The tests of Linux look for its line.
        for part in ["parent: not done yet", "marked TODO"] {
            assert!(ended.err.contains(part), "no {part:?}: {ended:#?}");
        }
    }
}

fn solutions_in_c_share_the_event() {
    for parent in STRATEGIES.into_iter().filter_map(|strategy| compiled("solution", strategy)) {
        let ended = run(&parent, [] as [&str; 0], SOON).expect_code(0);
        assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", ""), "{ended:#?}");
        assert!(ended.after < Duration::from_secs(10), "the child waited until its deadline: {ended:#?}");
    }
    // Without its handle or name, each child refuses to start.
    for strategy in STRATEGIES {
        if let Some(parent) = compiled("solution", strategy) {
            let ended = run(&parent.with_file_name(parent_to_child(&parent)), ["nothing"], SOON);
            assert!(matches!(ended.code, Some(1 | 2)), "{strategy}: {ended:#?}");
            assert!(ended.err.contains("child: "), "{strategy}: {ended:#?}");
        }
    }
}

/// Checks a pair. Returns the exit code and the report.
fn check(strategy: &str, parent: &[&str]) -> (Option<i32>, Value) {
    let words = [&["check", strategy, "--json", "--"], parent].concat();
    let ended = run(&program(), words, LONG);
    let report = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:#?}"));
    (ended.code, report)
}

fn solutions_in_c_pass_the_check() {
    for strategy in STRATEGIES {
        let Some(parent) = compiled("solution", strategy) else { continue };
        let (code, report) = check(strategy, &[parent.to_str().unwrap()]);
        assert_eq!((code, &report["holds"]), (Some(0), &true.into()), "{strategy}: {report:#}");
        let remarks: Vec<&str> = report["remarks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|remark| remark["id"].as_str().unwrap())
            .collect();
        let expected = if strategy == "naming" { os::REMARKS_ON_NAMING } else { &[] };
        assert_eq!(remarks, expected, "{strategy}");
    }
}

/// Returns the file name of the child beside a parent.
fn parent_to_child(parent: &Path) -> String {
    parent.file_name().unwrap().to_str().unwrap().replace("parent", "child")
}

/// The solutions are what a learner makes of the templates, so most lines of a template are in its solution.
fn solutions_keep_the_lines_of_their_templates() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (strategy, role) in
        STRATEGIES.iter().flat_map(|strategy| ["parent", "child"].map(|role| (strategy, role)))
    {
        let read = |folder: &str| {
            fs::read_to_string(crate_folder.join(folder).join(strategy).join(format!("{role}.c"))).unwrap()
        };
        let (template, solution) = (read("templates"), read("tests/data/solutions"));
        let is_code = |line: &&str| !line.starts_with(['/', '*']) && !line.is_empty();
        let code: Vec<&str> = template.lines().map(str::trim).filter(is_code).collect();
        let kept = code.iter().filter(|line| solution.lines().any(|other| other.trim() == **line)).count();
        assert!(kept * 10 >= code.len() * 7, "{strategy}, {role}: {kept} of {} lines", code.len());
        assert!(!solution.contains("TODO") && !solution.contains("not done"), "{strategy}, {role}");
    }
}

fn rust_templates_have_the_workspaces_dependencies() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(crate_folder.join(path)).unwrap();
    let (template, workspace) = (read("templates/shared/Cargo.toml.txt"), read("../../Cargo.toml"));
    for name in ["windows-sys", "rustix"] {
        let after = |text: &str, key: &str| {
            let rest = text.split(key).nth(1).unwrap_or_else(|| panic!("no {key}")).to_owned();
            rest.split('"').nth(1).unwrap().to_owned()
        };
        let version = after(&template, &format!("dependencies.{name}]"));
        assert_eq!(version, after(&workspace, &format!("\n{name} = ")), "{name}");
    }
}
