//! What only one system can do, or does in a way of its own. Each has its folder; this is the one place that chooses.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as here;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as here;

fn main() -> ExitCode {
    handover_tests::main_of(here::SUITES)
}
