//! Checks beyond the tests: sanitizers, Miri, dependencies and the public interface.

use std::process::Command;

use clap::ValueEnum;

use crate::debian::{self, succeeds};
use crate::step::{Failed, Step};
use crate::tools::Tool;

/// Modules whose tests make no system calls. Miri supports no others, and valgrind runs the others too slowly.
pub(crate) const PURE_TESTS: [&str; 14] = [
    "channel::wire::",
    "channel::handshake::",
    "inherit::listen_fds::",
    "inherit::manifest::",
    "name::text::",
    "process::env_block::",
    "process::command_line::",
    "process::placeholder::",
    "handle::escaped::",
    "handle::identity::",
    "handle::kind::",
    "handle::range::",
    "handle::value::",
    "wait::table::",
];

/// A tool that checks memory accesses while tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sanitizer {
    /// AddressSanitizer finds accesses to freed memory, accesses out of bounds, and leaks, in the native tests
    Address,
    /// valgrind finds reads of uninitialized memory, in the tests that make no system calls
    Memory,
}

/// Suites that trace processes. The leak check also traces the process, and a process can have only one tracer.
pub(crate) const TRACING_SUITES: [&str; 4] = ["audit", "os", "sockets", "tracing"];

/// Tests that fail under AddressSanitizer: two start commands without `ASAN_OPTIONS`, and two count allocations or mappings,
/// to which the sanitizer adds its own.
pub(crate) const SKIPPED_WITH_ADDRESS_SANITIZER: [&str; 4] = [
    "leaks_of_posix_spawn_are_reported",
    "unreadable_program_is_incomplete_and_not_clean",
    "each_way_to_create_a_process_behaves_the_same",
    "later_spawns_use_the_first_ones_stack",
];

/// Returns the names of all test suites.
fn suites() -> Result<Vec<String>, Failed> {
    let folder = crate::root().join("tests").join("tests");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Failed::at(&folder))? {
        let path = entry.map_err(Failed::at(&folder))?.path();
        names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    // The sources that several suites share.
    names.retain(|name| name != "shared");
    names.sort_unstable();
    Ok(names)
}

/// Runs the native tests under a sanitizer, with these arguments for `cargo test`, such as `--test channel`.
pub(crate) fn sanitize(sanitizer: Sanitizer, arguments: &[&str]) -> Result<(), Failed> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Failed("the sanitizers run only on x86-64 Linux".into()));
    }
    match sanitizer {
        Sanitizer::Address if !arguments.is_empty() => {
            address("tests under AddressSanitizer", arguments, true)
        }
        Sanitizer::Address => {
            let all = suites()?;
            let options = |is_tracing: bool| {
                let suites =
                    all.iter().filter(move |suite| TRACING_SUITES.contains(&suite.as_str()) == is_tracing);
                suites.flat_map(|suite| ["--test", suite])
            };
            let others: Vec<&str> = std::iter::once("--lib").chain(options(false)).collect();
            let outcome = address("tests under AddressSanitizer", &others, true);
            let skipped = SKIPPED_WITH_ADDRESS_SANITIZER.iter().flat_map(|test| ["--skip", test]);
            let tracing: Vec<&str> = options(true).chain(["--"]).chain(skipped).collect();
            outcome.and(address("tests that trace processes, under AddressSanitizer", &tracing, false))
        }
        Sanitizer::Memory => {
            let need = [("valgrind", "checks each memory access of a program")];
            if !succeeds("valgrind", &["--version"]) {
                debian::install("These tests need valgrind.", &need, "leave this command out")?;
            }
            let mut cargo = Command::new("cargo");
            cargo.args(["test", "--package", "handover", "--lib"]).args(arguments).arg("--").args(PURE_TESTS);
            cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "valgrind --quiet --error-exitcode=99");
            // valgrind makes a program forty times slower.
            cargo.env("PROPTEST_CASES", "16").env("PROPTEST_FAILURE_PERSISTENCE", "off");
            Step::new("tests under valgrind", &mut cargo).run()
        }
    }
}

fn address(title: &str, arguments: &[&str], detect_leaks: bool) -> Result<(), Failed> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let mut cargo = Command::new("cargo");
    // The sanitizer sees only generic code of the standard library, because the rest of it is already compiled.
    cargo.args(["test", "--target", TARGET, "--target-dir", "target/sanitize", "--package", "handover"]);
    cargo.args(["--package", "handover-tests", "--no-fail-fast"]).args(arguments);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    cargo.env("PROPTEST_FAILURE_PERSISTENCE", "off");
    cargo.env("ASAN_OPTIONS", format!("detect_leaks={}", u8::from(detect_leaks)));
    Step::new(title, &mut cargo).run()
}

/// Runs the tests that make no system calls under Miri, if the toolchain has it.
pub(crate) fn miri() -> Result<(), Failed> {
    if !succeeds("cargo", &["+nightly", "miri", "--version"]) {
        return Err(Failed(
            "Miri is not installed. Install it with rustup: rustup toolchain install nightly --profile minimal \
             --component miri,rust-src\nWithout Miri, `cargo xtask sanitize memory` runs the same tests under valgrind"
                .into(),
        ));
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["+nightly", "miri", "test", "--package", "handover", "--lib", "--target-dir", "target/miri"]);
    cargo.arg("--").args(PURE_TESTS);
    // Random numbers come from the system.
    cargo.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "4");
    cargo.env("PROPTEST_FAILURE_PERSISTENCE", "off");
    Step::new("tests under Miri", &mut cargo).run()
}

/// Checks the licenses, duplicates and sources of the dependencies, and if asked, downloads the list of security
/// advisories and checks against it.
pub(crate) fn deny(with_advisories: bool) -> Result<(), Failed> {
    const DENY: Tool = Tool {
        name: "deny",
        purpose: "checks the licenses and sources of dependencies",
        is_optimized: false,
    };
    let mut cargo = DENY.ready()?;
    // The benchmark depends on other crates only to compare with them.
    cargo.args(["--exclude", "bench", "check", "licenses", "bans", "sources"]);
    if with_advisories {
        cargo.arg("advisories");
    }
    Step::new("dependencies", &mut cargo).run()
}

/// Compares the public interface with that of a revision.
pub(crate) fn semver(revision: &str) -> Result<(), Failed> {
    const SEMVER: Tool =
        Tool { name: "semver-checks", purpose: "compares public interfaces", is_optimized: false };
    let mut cargo = SEMVER.ready()?;
    // The other features are for this project's tests and not part of the public interface.
    cargo.args([
        "--package",
        "handover",
        "--only-explicit-features",
        "--features",
        "async-io,inspect,serde,tokio,tracing",
        "--baseline-rev",
    ]);
    Step::new("the public interface", cargo.arg(revision)).run()
}
