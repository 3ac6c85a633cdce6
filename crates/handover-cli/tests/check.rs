//! Tests of `handover check`, run as its users run it.

#[path = "os/check/mod.rs"]
mod check;

use std::process::ExitCode;

fn main() -> ExitCode {
    handover_tests::main([check::TESTS, check::LEVELS].concat().leak(), check::ROLES)
}
