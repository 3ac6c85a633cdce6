//! The foreign programs: C, written against the bare system alone, and what stands in for them where there is no C
//! compiler.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::{expect, left_out, this_program};

/// One of the foreign programs. Whether it is there, [`is_foreign_there`] says: natively on Linux it needs a C compiler.
#[must_use]
pub fn foreign(name: &str) -> PathBuf {
    Path::new(env!("FOREIGN_PROGRAMS")).join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

/// Whether a foreign program could be compiled. If not, this says that the test leaves something out.
#[must_use]
pub fn is_foreign_there(name: &str) -> bool {
    let is_there = foreign(name).exists();
    if !is_there {
        left_out(&format!("{name}.c was not compiled, because no C compiler was found"));
    }
    is_there
}

/// One of the foreign programs that are scripts.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign").join(std::env::consts::OS).join(name)
}

const SUBSTITUTE: &str = "--instead-of";

/// A foreign program that does so little that this program can stand in for it where it wasn't compiled: the program
/// and its first arguments.
#[must_use]
pub fn bare(name: &str) -> (PathBuf, Vec<OsString>) {
    let program = foreign(name);
    if program.exists() {
        return (program, Vec::new());
    }
    (this_program(), [SUBSTITUTE, name].map(OsString::from).to_vec())
}

/// Plays the foreign program if the arguments say so.
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
    // Whoever has heard enough closes the pipe.
    let _ = std::io::stdout().write_all(out.as_bytes());
}
