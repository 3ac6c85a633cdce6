//! What looks for faults that tests don't show: sanitizers, Miri, and what dependencies bring.

use std::process::Command;

use crate::debian::{self, succeeds};
use crate::step::{Failed, Step};
use crate::tools::Tool;

/// The tests of what needs no operating system, by parts of their names: Miri has none, and for valgrind they are enough.
const PURE: [&str; 11] = [
    "channel::wire::",
    "channel::answer::",
    "inherit::manifest::",
    "inherit::activation::",
    "name::text::",
    "process::environment::",
    "process::identity::",
    "process::quote::",
    "process::template::",
    "sys::number::",
    "value::tests::",
];

/// What looks on while tests run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sanitizer {
    /// Memory that is used after its end or beyond it, and what is never given back: the native tests of the library,
    /// and all suites in which it works with the system.
    Address,
    /// Memory that is read before it is written: the tests of what is pure, under valgrind.
    Memory,
}

/// The suites that trace processes, in which leaks can't be looked for: that is done by tracing too.
const AUDITING: [&str; 3] = ["audit", "os", "tracing"];

/// Tests that can't work there: two whose commands don't get the variable that says so, and one that counts what the
/// sanitizer does too.
const NOT_UNDER_IT: [&str; 3] = [
    "what_a_spawn_in_the_parents_memory_leaks_is_seen",
    "a_program_that_can_not_be_read_is_not_clean",
    "each_way_to_make_a_process_does_the_same",
];

/// The names of all suites.
fn suites() -> Result<Vec<String>, Failed> {
    let folder = crate::root().join("tests").join("tests");
    let failed = |error| Failed(format!("{}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// Runs the native tests under a sanitizer; `what` is what cargo is told beyond, such as `--test channel`.
pub(crate) fn sanitize(sanitizer: Sanitizer, what: &[&str]) -> Result<(), Failed> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Failed("the sanitizers run on Linux, on x86-64; not here".into()));
    }
    match sanitizer {
        Sanitizer::Address if !what.is_empty() => address("tests under AddressSanitizer", what, true),
        Sanitizer::Address => {
            let all = suites()?;
            let of = |audits: bool| {
                let those = all.iter().filter(move |suite| AUDITING.contains(&suite.as_str()) == audits);
                those.flat_map(|suite| ["--test", suite])
            };
            let others: Vec<&str> = std::iter::once("--lib").chain(of(false)).collect();
            let outcome = address("tests under AddressSanitizer", &others, true);
            let without = NOT_UNDER_IT.iter().flat_map(|test| ["--skip", test]);
            let auditing: Vec<&str> = of(true).chain(["--"]).chain(without).collect();
            outcome.and(address("tests that audit, under AddressSanitizer", &auditing, false))
        }
        Sanitizer::Memory => {
            let need = [("valgrind", "runs a program on a processor of its own making, and looks on")];
            if !succeeds("valgrind", &["--version"]) {
                debian::install("The tests of what is pure run under valgrind.", &need, "leave this out")?;
            }
            let mut cargo = Command::new("cargo");
            cargo.args(["test", "--package", "handover", "--lib"]).args(what).arg("--").args(PURE);
            cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "valgrind --quiet --error-exitcode=99");
            // A program is forty times slower there.
            cargo.env("PROPTEST_CASES", "16").env("PROPTEST_FAILURE_PERSISTENCE", "off");
            Step::new("tests of what is pure under valgrind", &mut cargo).run()
        }
    }
}

fn address(title: &str, what: &[&str], leaks: bool) -> Result<(), Failed> {
    const HERE: &str = "x86_64-unknown-linux-gnu";
    let mut cargo = Command::new("cargo");
    // Of the standard library, only what is generic is looked into: the rest comes as it was built.
    cargo.args(["test", "--target", HERE, "--target-dir", "target/sanitize", "--package", "handover"]);
    cargo.args(["--package", "handover-tests", "--no-fail-fast"]).args(what);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    cargo.env("PROPTEST_FAILURE_PERSISTENCE", "off");
    cargo.env("ASAN_OPTIONS", format!("detect_leaks={}", u8::from(leaks)));
    Step::new(title, &mut cargo).run()
}

/// Runs the tests of what is pure under Miri, if the toolchain has it.
pub(crate) fn miri() -> Result<(), Failed> {
    if !succeeds("cargo", &["+nightly", "miri", "--version"]) {
        return Err(Failed(
            "there is no Miri here. It comes with rustup: rustup toolchain install nightly --profile minimal \
             --component miri,rust-src\nUntil then, `cargo xtask sanitize memory` runs the same tests under valgrind"
                .into(),
        ));
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["+nightly", "miri", "test", "--package", "handover", "--lib", "--target-dir", "target/miri"]);
    cargo.arg("--").args(PURE);
    // Chance is asked of the system.
    cargo.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "4");
    cargo.env("PROPTEST_FAILURE_PERSISTENCE", "off");
    Step::new("tests of what is pure under Miri", &mut cargo).run()
}

/// Licences, duplicates and sources of all that users build; and what is known against it, for which the list of
/// advisories is fetched.
pub(crate) fn deny(with_advisories: bool) -> Result<(), Failed> {
    const DENY: Tool =
        Tool { name: "deny", what: "which looks at licences and sources of dependencies", is_slow: false };
    let mut cargo = DENY.ready()?;
    // The benchmark has other crates in it, to be measured beside them.
    cargo.args(["--exclude", "bench", "check", "licenses", "bans", "sources"]);
    if with_advisories {
        cargo.arg("advisories");
    }
    Step::new("what dependencies bring", &mut cargo).run()
}

/// Whether what users write still compiles and means the same as at a revision of before.
pub(crate) fn semver(revision: &str) -> Result<(), Failed> {
    const SEMVER: Tool = Tool {
        name: "semver-checks",
        what: "which compares the public interface with that of before",
        is_slow: false,
    };
    let mut cargo = SEMVER.ready()?;
    // What is behind the other features is nobody's interface.
    cargo.args([
        "--package",
        "handover",
        "--only-explicit-features",
        "--features",
        "tracing",
        "--baseline-rev",
    ]);
    Step::new("the public interface", cargo.arg(revision)).run()
}
