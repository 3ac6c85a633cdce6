//! On Windows the command exists, and says that it needs Linux.

use std::path::PathBuf;
use std::time::Duration;

use handover_tests::{Role, Test, run, tests, this_program};

pub(crate) const TESTS: &[Test] = tests![check_says_that_it_needs_linux];
pub(crate) const LEVELS: &[Test] = &[];
pub(crate) const ROLES: &[Role] = &[];

fn check_says_that_it_needs_linux() {
    let this = this_program().into_os_string().into_string().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_handover"));
    let ended = run(&program, ["check", "inheritance", "--", &this], Duration::from_secs(60));
    ended.expect_code(2).expect_text("check it on 64-bit Linux");
}
