//! Tests of features that only one system has. Each system has its own folder; only this file chooses between them.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as here;

#[cfg(any(windows, target_pointer_width = "64"))]
mod observe;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as here;

fn main() -> ExitCode {
    handover_tests::main_of(here::SUITES)
}
