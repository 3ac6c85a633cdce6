//! `cargo xtask std-tests`: runs std's own tests and examples of `std::process` on `handover::process`.
//!
//! std's source is read when the command runs, and nothing of it is stored in the repository. Each test and each example
//! becomes an example of the documentation of a scratch crate in the folder `target/std-tests`, so rustdoc compiles each
//! one alone and runs it in a process of its own.

mod expected;
mod extract;
mod within;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use expected::{Expected, REPLACEMENTS, expected};
use extract::{Case, examples, items, unit_tests};

use crate::step::{Failed, Step};
use crate::win32;
use crate::{Systems, debian, native, win32_beside_native};

pub(crate) use within::{Within, within};

/// The page with all differences from std.
const PAGE: &str = "crates/handover/docs/command.md";
const RESULTS: &str = "docs/verified";
const SCRATCH_LIB: &str = include_str!("scratch_lib.rs");
/// The time limit of each test, in seconds.
const LIMIT: u64 = 60;

/// A system whose programs are tested.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum System {
    Linux,
    Windows,
    Wine,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
            Self::Wine => "wine",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Content {
    Examples,
    UnitTests,
    /// A program that is a test as a whole.
    Program,
}

use Content::{Examples, Program, UnitTests};

/// The files of std's source with tests and examples: the name of the module, and the path in the folder `library/std`.
const BOTH: [(&str, Content, &str); 5] = [
    ("process", Examples, "src/process.rs"),
    ("process::tests", UnitTests, "src/process/tests.rs"),
    ("io::pipe", Examples, "src/io/pipe.rs"),
    ("process_spawning", UnitTests, "tests/process_spawning.rs"),
    ("pipe_subprocess", Program, "tests/pipe_subprocess.rs"),
];
const LINUX: [(&str, Content, &str); 5] = [
    ("os::unix::process", Examples, "src/os/unix/process.rs"),
    ("os::linux::process", Examples, "src/os/linux/process.rs"),
    ("sys::unix::common::tests", UnitTests, "src/sys/process/unix/common/tests.rs"),
    ("sys::unix::tests", UnitTests, "src/sys/process/unix/unix/tests.rs"),
    ("sys::linux::pidfd::tests", UnitTests, "src/sys/pal/unix/linux/pidfd/tests.rs"),
];
const WINDOWS: [(&str, Content, &str); 2] = [
    ("os::windows::process", Examples, "src/os/windows/process.rs"),
    ("sys::windows::tests", UnitTests, "src/sys/process/windows/tests.rs"),
];
/// The files whose public items the page must name.
const INTERFACE: [&str; 4] =
    ["src/process.rs", "src/os/unix/process.rs", "src/os/linux/process.rs", "src/os/windows/process.rs"];
/// std's own types, which `handover::process` exports. Their methods are std's too.
const STDS_OWN: [&str; 9] = [
    "ChildStdin",
    "ChildStdout",
    "ChildStderr",
    "ExitCode",
    "ExitCodeExt",
    "ExitStatus",
    "ExitStatusExt",
    "Output",
    "Termination",
];

/// Runs std's tests natively, and under Wine.
pub(crate) fn std_tests(systems: Systems) -> Result<(), Failed> {
    native::check()?;
    let source = Source::find(!systems.native)?;
    let page = crate::root().join(PAGE);
    let page = std::fs::read_to_string(&page).map_err(Failed::at(&page))?;
    check_version(&page, &source.version)?;
    let missing = source.missing_on(&page)?;
    if !missing.is_empty() {
        return Err(Failed(format!(
            "{PAGE} names each stable item of std::process, but not: {}",
            missing.join(", ")
        )));
    }
    let system = if win32::IS_NATIVE { System::Windows } else { System::Linux };
    run(system, &source, &page, Command::new("cargo"), &[], &[])?;
    let Some(win32) = win32_beside_native(systems)? else { return Ok(()) };
    let mut cargo = win32.cargo_command();
    // The scratch crate's own runner has a time limit.
    for variable in win32::RUNNER_VARIABLES {
        cargo.env_remove(variable);
    }
    run(System::Wine, &source, &page, cargo, win32.target_arguments(), win32::runner())
}

/// std's source.
struct Source {
    /// The folder `library/std`.
    folder: PathBuf,
    /// The version of Rust.
    version: String,
}

impl Source {
    /// Finds the source of rustup's Rust or of Debian's. If neither is there, Debian's is installed, or the error says how
    /// to install one.
    fn find(may_install: bool) -> Result<Self, Failed> {
        const NEEDS: [debian::Need; 2] =
            [("rustc-web", "the version of std's source"), ("rust-web-src", "the source of std")];
        const ADVICE: &str = "run `rustup component add rust-src`";
        let debians = Path::new("/usr/bin/rustc");
        if let Some(source) = Self::of(Path::new("rustc")).or_else(|| Self::of(debians)) {
            return Ok(source);
        }
        if !may_install || !cfg!(target_os = "linux") {
            return Err(Failed(format!(
                "the source of std is not installed: {ADVICE}, or on Debian install the packages rustc-web and \
                 rust-web-src, as this command does without --native"
            )));
        }
        debian::install("This command runs std's own tests.", &NEEDS, ADVICE)?;
        Self::of(debians).ok_or_else(|| {
            Failed(format!("{} has no source of std beside it; {ADVICE} instead", debians.display()))
        })
    }

    /// Returns the source that belongs to this compiler, if it is installed.
    fn of(rustc: &Path) -> Option<Self> {
        let ask = |arguments: &[&str]| {
            let output = Command::new(rustc).args(arguments).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| text.trim().to_owned())
        };
        let folder = Path::new(&ask(&["--print", "sysroot"])?).join("lib/rustlib/src/rust/library/std");
        let version = ask(&["--version"])?.split(' ').nth(1)?.to_owned();
        folder.join("src/process.rs").exists().then_some(Self { folder, version })
    }

    fn read(&self, file: &str) -> Result<String, Failed> {
        let path = self.folder.join(file);
        std::fs::read_to_string(&path).map_err(Failed::at(&path))
    }

    /// Returns all tests and examples for a system.
    fn cases(&self, system: System) -> Result<Vec<Case>, Failed> {
        let own = if system == System::Linux { LINUX.as_slice() } else { WINDOWS.as_slice() };
        let mut cases = Vec::new();
        for (module, content, file) in BOTH.iter().chain(own) {
            let text = self.read(file)?;
            let found = match content {
                Examples => examples(module, &text),
                UnitTests => unit_tests(module, &text, system),
                Program => vec![Case {
                    name: (*module).to_owned(),
                    attributes: String::new(),
                    code: text,
                    features: Vec::new(),
                }],
            };
            // A change of the source's format must not make the tests disappear.
            if found.is_empty() {
                return Err(Failed(format!(
                    "{file} of Rust {} has no test that this command finds",
                    self.version
                )));
            }
            cases.extend(found);
        }
        for case in &mut cases {
            for (from, to) in REPLACEMENTS {
                case.code = case.code.replace(from, to);
            }
        }
        Ok(cases)
    }

    /// Returns the stable items of std that the page's table doesn't name.
    fn missing_on(&self, page: &str) -> Result<Vec<String>, Failed> {
        let mut missing = Vec::new();
        for file in INTERFACE {
            missing.extend(unnamed(&self.read(file)?, page));
        }
        missing.sort_unstable();
        missing.dedup();
        Ok(missing)
    }
}

/// Fails if the page describes an older Rust than this version.
fn check_version(page: &str, version: &str) -> Result<(), Failed> {
    let minor = |text: &str| -> Option<u32> {
        text.trim().strip_prefix("1.")?.split(['.', ',']).next()?.parse().ok()
    };
    let described = page.split_once("as of Rust ").and_then(|(_, rest)| minor(rest.split(' ').next()?));
    if described.is_some() && described >= minor(version) {
        return Ok(());
    }
    Err(Failed(format!(
        "{PAGE} must say \"as of Rust {version}\" or newer, because that version's source is installed. Check the page against \
         the release notes first"
    )))
}

/// Returns the stable items of a module that the page doesn't name.
fn unnamed(module: &str, page: &str) -> Vec<String> {
    const PRIVATE: [&str; 6] = ["Sealed", "AsInner", "AsInnerMut", "FromInner", "IntoInner", "Iterator"];
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let words = |text: &str| -> Vec<String> {
        text.split(|letter| !is_word(letter)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    // The text in backticks in the rows of the table.
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let named: Vec<String> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).flat_map(words).collect();
    let mut missing = Vec::new();
    for item in items(module) {
        let owner = item.owner.rsplit(" for ").next().unwrap_or_default().trim_start_matches('&');
        if item.name.is_empty() {
            let parts: Vec<String> = words(&item.owner)
                .into_iter()
                .filter(|word| word != "for" && word != "a" && word != "fmt")
                .collect();
            let is_private = parts.iter().any(|part| PRIVATE.contains(&part.as_str()));
            let is_of_std = STDS_OWN.contains(&owner) || parts.iter().any(|part| part == "Termination");
            if !is_private && !is_of_std && !parts.iter().all(|part| named.contains(part)) {
                missing.push(format!("impl {}", item.owner));
            }
        } else if !STDS_OWN.contains(&owner) && !named.contains(&item.name) {
            missing.push(format!("{owner}::{}", item.name).trim_start_matches(':').to_owned());
        }
    }
    missing
}

/// The result of a test.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Passed,
    /// An example that std too only compiles.
    Compiled,
    /// It differs, for this reason.
    Differs(String),
    NotApplicable(String),
    /// It failed though nothing is listed, or passed though it is listed.
    Unexpected(String),
}

/// Runs the tests with this cargo. `runner` are the words before each program.
fn run(
    system: System,
    source: &Source,
    page: &str,
    mut cargo: Command,
    target: &[&str],
    runner: &[&str],
) -> Result<(), Failed> {
    let cases = source.cases(system)?;
    let expected: BTreeMap<&str, Expected> = expected(system).into_iter().collect();
    let applicable: Vec<(usize, &Case)> = cases
        .iter()
        .enumerate()
        .filter(|(_, case)| not_applicable(case, expected.get(case.name.as_str())).is_none())
        .collect();
    let folder = crate::root().join("target").join("std-tests");
    write_scratch(&folder, &applicable, runner)?;
    let log = folder.join(format!("{}.log", system.name()));
    cargo.arg("test").args(target).args(["--doc", "--", "--test-threads=2"]);
    cargo.stdout(File::create(&log).map_err(Failed::at(&log))?);
    eprintln!("\n== run {} of std's tests; their output: {}", applicable.len(), log.display());
    eprintln!("   cargo reports a failure below if one of them differs, even as expected");
    Step::new("std's tests", &mut cargo).in_folder(&folder).run_quietly()?;

    let output = std::fs::read_to_string(&log).map_err(Failed::at(&log))?;
    let results = results(&output);
    let mut outcomes = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let listed = expected.get(case.name.as_str());
        let outcome = match not_applicable(case, listed) {
            Some(reason) => Outcome::NotApplicable(reason),
            None => judge(results.get(&index), &case.attributes, listed, page),
        };
        outcomes.push((case.name.as_str(), outcome));
    }
    let known: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    for name in expected.keys().filter(|name| !known.contains(name)) {
        outcomes.push((name, Outcome::Unexpected("listed in expected.rs, but std has no such test".into())));
    }
    report(system, &source.version, &outcomes, &log)
}

/// Returns the reason why a test can't be run.
fn not_applicable(case: &Case, expected: Option<&Expected>) -> Option<String> {
    match expected {
        Some(Expected::Unstable(feature)) => return Some(format!("needs the unstable feature {feature}")),
        Some(Expected::Private(name)) => return Some(format!("tests `{name}`, which is private to std")),
        Some(Expected::Differs(_)) | None => {}
    }
    if !case.features.is_empty() {
        return Some(format!("needs the unstable feature {}", case.features.join(", ")));
    }
    let is_program = !["ignore", "text"].iter().any(|word| case.attributes.starts_with(word));
    (!is_program).then(|| "not a program: rustdoc doesn't run it for std either".to_owned())
}

/// Writes the scratch crate. The function `case_N` has the case with the index N as its example.
fn write_scratch(folder: &Path, cases: &[(usize, &Case)], runner: &[&str]) -> Result<(), Failed> {
    let library = crate::root().join("crates").join("handover");
    let manifest = format!(
        "[package]\nname = \"std_tests\"\nedition = \"2024\"\npublish = false\n\n[dependencies]\nhandover = {{ path = {library:?} \
         }}\nlibc = \"0.2\"\n\n[profile.dev]\ndebug = false\n\n[workspace]\n"
    );
    let xtask = std::env::current_exe().map_err(Failed::at(Path::new("xtask")))?;
    let mut words = vec![xtask.display().to_string(), "within".into(), LIMIT.to_string(), "--".into()];
    words.extend(runner.iter().map(|word| (*word).to_owned()));
    let config = format!("[target.'cfg(all())']\nrunner = {words:?}\n");
    let mut lib = SCRATCH_LIB.to_owned();
    for (index, case) in cases {
        // In one program, all examples would fail to compile if one of them does.
        let attributes = format!("{},standalone_crate", case.attributes);
        let _ = writeln!(lib, "\n/// ```{}", attributes.trim_start_matches(','));
        for line in case.code.lines() {
            let _ = writeln!(lib, "/// {line}");
        }
        let _ = writeln!(lib, "/// ```\npub fn case_{index}() {{}}");
    }
    for (name, text) in [("Cargo.toml", manifest), (".cargo/config.toml", config), ("src/lib.rs", lib)] {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(Failed::at(parent))?;
        std::fs::write(&path, text).map_err(Failed::at(&path))?;
    }
    Ok(())
}

/// Returns the result of each case, from the text that rustdoc printed: the output of a case that failed, and `None` for
/// one that passed.
fn results(printed: &str) -> BTreeMap<usize, Option<&str>> {
    let index = |rest: &str| rest.split_once(' ')?.0.parse::<usize>().ok();
    let mut found = BTreeMap::new();
    for line in printed.lines().filter(|line| line.starts_with("test ") && line.ends_with("... ok")) {
        let passed = line.split_once(" - case_").and_then(|(_, rest)| index(rest));
        found.extend(passed.map(|index| (index, None)));
    }
    for section in printed.split("\n---- ").skip(1) {
        let failed = section.split_once(" - case_").and_then(|(_, rest)| index(rest));
        found.extend(failed.map(|index| (index, Some(section))));
    }
    found
}

/// Compares the result of a case with the list. `result` is as in [`results`].
fn judge(result: Option<&Option<&str>>, attributes: &str, listed: Option<&Expected>, page: &str) -> Outcome {
    match (result, listed) {
        (None, _) => Outcome::Unexpected("did not run".into()),
        (Some(None), None) if attributes.contains("no_run") => Outcome::Compiled,
        (Some(None), None) => Outcome::Passed,
        (Some(None), Some(_)) => Outcome::Unexpected("passed, but is listed in expected.rs".into()),
        (Some(Some(output)), Some(Expected::Differs(listed))) if output.contains(listed.output) => {
            match difference(listed.row, page) {
                Some(difference) => Outcome::Differs(format!("{}: {difference}", listed.row)),
                None => Outcome::Unexpected(format!("differs, but {PAGE} has no row {:?}", listed.row)),
            }
        }
        (Some(Some(_)), Some(_)) => {
            Outcome::Unexpected("failed for another reason than the listed one".into())
        }
        (Some(Some(_)), None) => Outcome::Unexpected("failed, but is not listed in expected.rs".into()),
    }
}

/// Returns the second cell of the page's row with this first cell.
fn difference<'a>(row: &str, page: &'a str) -> Option<&'a str> {
    page.lines()
        .find_map(|line| line.strip_prefix("| ")?.strip_prefix(row)?.strip_prefix(" | ")?.strip_suffix(" |"))
}

/// Prints the results, and saves them if all are as expected.
fn report(system: System, version: &str, outcomes: &[(&str, Outcome)], log: &Path) -> Result<(), Failed> {
    let of = |word: &str| outcomes.iter().filter(|(_, outcome)| words(outcome).0 == word).count();
    let summary = format!(
        "{} tests and examples of Rust {version}: {} passed, {} compiled (std doesn't run them either), {} differ, {} are not \
         applicable",
        outcomes.len(),
        of("passed"),
        of("compiled"),
        of("differs"),
        of("not applicable")
    );
    let date = jiff::Timestamp::now().strftime("%F").to_string();
    let mut table = format!("# {date}\n# {summary}\ntest\tresult\treason\n");
    for (name, outcome) in outcomes {
        let (word, reason) = words(outcome);
        println!("{word:<16}{name}{}{reason}", if reason.is_empty() { "" } else { ": " });
        let _ = writeln!(table, "{}", format!("{name}\t{word}\t{reason}").trim_end());
    }
    println!("\n{summary}");
    let unexpected = of("UNEXPECTED");
    if unexpected > 0 {
        return Err(Failed(format!(
            "{unexpected} results are unexpected. Mend the library, or add a row to {PAGE} and the test to \
             xtask/src/std_tests/expected.rs. The output of the tests is in {}",
            log.display()
        )));
    }
    let path = crate::root().join(RESULTS).join(format!("std-tests-{}.tsv", system.name()));
    std::fs::write(&path, table).map_err(Failed::at(&path))
}

fn words(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Passed => ("passed", ""),
        Outcome::Compiled => ("compiled", ""),
        Outcome::Differs(reason) => ("differs", reason),
        Outcome::NotApplicable(reason) => ("not applicable", reason),
        Outcome::Unexpected(reason) => ("UNEXPECTED", reason),
    }
}

#[cfg(test)]
mod tests {
    use super::expected::Difference;
    use super::*;

    const PAGE: &str = "as of Rust 1.96, with more\n| std | here |\n|---|---|\n| `Tool::run` | runs |\n| the error | ours |\n";

    #[test]
    fn results_are_read_from_the_output_of_rustdoc() {
        let printed = "test src/lib.rs - case_3 (line 7) - compile ... ok\n\
            test src/lib.rs - case_12 (line 9) ... ok\ntest src/lib.rs - case_4 (line 8) ... FAILED\n\nfailures:\n\n\
            ---- src/lib.rs - case_4 (line 8) stdout ----\nno method named `run`\n";
        let results = results(printed);
        assert_eq!(results.keys().copied().collect::<Vec<_>>(), [3, 4, 12]);
        assert_eq!((results[&3], results[&12]), (None, None));
        assert!(results[&4].is_some_and(|output| output.contains("no method named `run`")));
    }

    #[test]
    fn only_listed_tests_may_fail_and_they_must() {
        let listed = Expected::Differs(Difference { row: "the error", output: "E0599" });
        let differs = Outcome::Differs("the error: ours".into());
        assert_eq!(judge(Some(&Some("error[E0599]")), "", Some(&listed), PAGE), differs);
        assert_eq!(judge(Some(&None), "should_panic", None, PAGE), Outcome::Passed);
        assert_eq!(judge(Some(&None), "no_run", None, PAGE), Outcome::Compiled);
        let without_row = Expected::Differs(Difference { row: "`Tool::stop`", output: "E0599" });
        for (result, listed, reason) in [
            (Some(&Some("error[E0599]")), None, "is not listed"),
            (Some(&Some("panicked")), Some(&listed), "another reason"),
            (Some(&Some("error[E0599]")), Some(&without_row), "has no row \"`Tool::stop`\""),
            (Some(&None), Some(&listed), "passed, but"),
            (None, None, "did not run"),
        ] {
            let outcome = judge(result, "no_run", listed, PAGE);
            let Outcome::Unexpected(text) = &outcome else { panic!("{reason}: {outcome:?}") };
            assert!(text.contains(reason), "{text}");
        }
    }

    #[test]
    fn stable_items_that_the_page_lacks_are_found() {
        let module = "pub struct Tool {\n    x: u8,\n}\n\nimpl Tool {\n    pub fn run(&self) {\n    }\n\n    pub fn stop(&self) {\n    \
            }\n\n    #[unstable(feature = \"pause\", issue = \"1\")]\n    pub fn pause(&self) {\n    }\n}\n\nimpl From<u8> for \
            Tool {\n    fn from(x: u8) -> Self {\n        Tool { x }\n    }\n}\n";
        assert_eq!(unnamed(module, PAGE), ["Tool::stop", "impl From<u8> for Tool"]);
        let page = format!("{PAGE}| `Tool::stop`, `Tool: From<u8>` | same |\n");
        assert_eq!(unnamed(module, &page), [""; 0]);
    }

    #[test]
    fn page_for_an_older_rust_is_reported() {
        for version in ["1.96.0", "1.95.1"] {
            check_version(PAGE, version).expect("the page is new enough");
        }
        let Failed(reason) = check_version(PAGE, "1.97.0").expect_err("the page is too old");
        assert!(reason.contains("as of Rust 1.97.0"), "{reason}");
        check_version("no version", "1.97.0").expect_err("the page names no version");
    }

    #[test]
    fn each_difference_has_a_row() {
        let path = crate::root().join(super::PAGE);
        let page = std::fs::read_to_string(path).expect("the page can be read");
        for system in [System::Linux, System::Windows] {
            for (name, listed) in expected(system) {
                let Expected::Differs(listed) = listed else { continue };
                assert!(difference(listed.row, &page).is_some(), "{name}: {:?}", listed.row);
            }
        }
    }
}
