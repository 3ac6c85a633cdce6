//! The foreign programs (C programs that call only the system's own interface), and substitutes for them where no C
//! compiler is installed.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::{expect, left_out, this_program};

/// Returns the path of a foreign program. It exists if [`is_foreign_there`] says so; on Linux, that requires a C
/// compiler.
#[must_use]
pub fn foreign(name: &str) -> PathBuf {
    Path::new(env!("FOREIGN_PROGRAMS")).join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

/// Returns whether a foreign program was compiled. If not, prints that the test leaves something out.
#[must_use]
pub fn is_foreign_there(name: &str) -> bool {
    let is_there = foreign(name).exists();
    if !is_there {
        left_out(&format!("{name}.c was not compiled, because no C compiler was found"));
    }
    is_there
}

/// Returns the path of a foreign program that is a script.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign").join(std::env::consts::OS).join(name)
}

const SUBSTITUTE: &str = "--instead-of";

/// Returns the command for a simple foreign program: the program and its first arguments. Where the C program was not
/// compiled, this test program takes its place.
#[must_use]
pub fn bare(name: &str) -> (PathBuf, Vec<OsString>) {
    let program = foreign(name);
    if program.exists() {
        return (program, Vec::new());
    }
    (this_program(), [SUBSTITUTE, name].map(OsString::from).to_vec())
}

/// Plays the foreign program that the arguments name, if they name one.
pub(crate) fn substitute(words: &[String]) -> Option<ExitCode> {
    let [flag, name, ..] = words else { return None };
    if flag != SUBSTITUTE {
        return None;
    }
    match name.as_str() {
        "ends_at_once" => return Some(ExitCode::from(9)),
        "ends_with_3" => return Some(ExitCode::from(3)),
        "never_ends" => std::thread::sleep(Duration::from_secs(60)),
        "says_what_it_got" => says_what_it_got(),
        _ => return Some(ExitCode::FAILURE),
    }
    Some(ExitCode::SUCCESS)
}

fn says_what_it_got() {
    let mut out = String::new();
    for argument in std::env::args_os().skip(3) {
        out += &format!("arg {}\n", expect::to_hex(&argument));
    }
    for (name, value) in std::env::vars_os() {
        out += &format!(
            "env {}{}{}\n",
            expect::to_hex(&name),
            expect::to_hex("=".as_ref()),
            expect::to_hex(&value)
        );
    }
    // The reader may close the pipe early.
    let _ = std::io::stdout().write_all(out.as_bytes());
}
