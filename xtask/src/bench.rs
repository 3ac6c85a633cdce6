//! `cargo xtask bench`: the benchmark on each system, and the page that is made of it.

use crate::step::Failed;
use crate::win32::Win32;
use crate::{Which, beside_native, native};

/// What the benchmark is built with, after the command.
const BENCH: [&str; 5] = ["--release", "--package", "bench", "--features", "peers"];
/// What it measures.
pub(crate) const MEASURED: [&str; 7] =
    ["spawn", "hand-over", "signal", "bytes", "growth", "allocations", "weight"];

/// Whether the benchmark's ways all do their work. It is built as the tests are, and no time is looked at.
pub(crate) fn try_all() -> Result<(), Failed> {
    const OPTIONS: [&str; 4] = ["--package", "bench", "--features", "peers"];
    native::cargo("build the benchmark", &[&["build", "--quiet", "--bins"], OPTIONS.as_slice()].concat())?;
    native::cargo("test the benchmark", &[&["test", "--quiet", "--bins"], OPTIONS.as_slice()].concat())?;
    native::program("bench", &OPTIONS, &["--quick"])
}

/// Medians beside the same calls in C and other crates, and the page with all that is known.
pub(crate) fn measure(which: Which, is_quick: bool, what: &[&str]) -> Result<(), Failed> {
    native::check()?;
    let build = [&["build", "--quiet", "--bins"], BENCH.as_slice()].concat();
    native::cargo("build the benchmark", &build)?;
    // On each system, a program for each part: what one leaves behind is not the next one's.
    let run_each = |system: &str, run: &dyn Fn(&[&str]) -> Result<(), Failed>| {
        for part in what {
            println!("\n{part}, {system}");
            if is_quick {
                run(&["--quick", part])?;
            } else {
                run(&["--save", &format!("docs/performance/{system}.tsv"), part])?;
            }
        }
        Ok(())
    };
    run_each(std::env::consts::OS, &|arguments| native::program("bench", &BENCH, arguments))?;
    if let Some(win32) = beside_native(which)? {
        win32.cargo("build the benchmark for Windows", &build)?;
        // Wine's server is begun anew, so that it is on the same core as its programs.
        drop(win32);
        native::stay_on_one_core();
        let win32 = Win32::ready()?;
        run_each("wine", &|arguments| win32.program("release", "bench", arguments))?;
    }
    if is_quick { Ok(()) } else { native::program("bench", &BENCH, &["render"]) }
}
