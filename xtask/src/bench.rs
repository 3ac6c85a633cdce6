//! `cargo xtask bench`: runs the benchmark on each system and writes docs/performance.md.

use crate::step::Failed;
use crate::win32::Win32;
use crate::{Systems, native, win32_beside_native};

/// The options of the benchmark's build.
const BENCH: [&str; 5] = ["--release", "--package", "bench", "--features", "peers"];
/// The measurements of the benchmark.
pub(crate) const MEASUREMENTS: [&str; 14] = [
    "spawn",
    "hand-over",
    "signal",
    "bytes",
    "copies",
    "call",
    "async",
    "wait-set",
    "growth",
    "in-flight",
    "open-handles",
    "children",
    "allocations",
    "weight",
];

/// Checks that each measurement works, with a debug build. The times are ignored.
pub(crate) fn try_all() -> Result<(), Failed> {
    const OPTIONS: [&str; 4] = ["--package", "bench", "--features", "peers"];
    native::cargo("build the benchmark", &[&["build", "--quiet", "--bins"], OPTIONS.as_slice()].concat())?;
    native::cargo("test the benchmark", &[&["test", "--quiet", "--bins"], OPTIONS.as_slice()].concat())?;
    native::program("bench", &OPTIONS, &["--quick"])
}

/// Runs these measurements and renders the page.
pub(crate) fn measure(systems: Systems, is_quick: bool, measurements: &[&str]) -> Result<(), Failed> {
    native::check()?;
    let build = [&["build", "--quiet", "--bins"], BENCH.as_slice()].concat();
    native::cargo("build the benchmark", &build)?;
    // Each measurement runs in its own process, so that none depends on the state that another leaves.
    let run_each = |system: &str, run: &dyn Fn(&[&str]) -> Result<(), Failed>| {
        for measurement in measurements {
            println!("\n{measurement}, {system}");
            if is_quick {
                run(&["--quick", measurement])?;
            } else {
                run(&["--save", &format!("docs/performance/{system}.tsv"), measurement])?;
            }
        }
        Ok(())
    };
    run_each(std::env::consts::OS, &|arguments| native::program("bench", &BENCH, arguments))?;
    if let Some(win32) = win32_beside_native(systems)? {
        win32.cargo("build the benchmark for Windows", &build)?;
        // Restart Wine's server, so that it runs on the same core as its programs.
        drop(win32);
        native::stay_on_one_core();
        let win32 = Win32::ready()?;
        run_each("wine", &|arguments| win32.program("release", "bench", arguments))?;
    }
    if is_quick { Ok(()) } else { native::program("bench", &BENCH, &["render"]) }
}
