//! The project's commands, `cargo xtask COMMAND`. They do all the set-up there is.

mod debian;
mod step;
mod win32;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use step::{Failed, Step};
use win32::Win32;

const USAGE: &str = "\
cargo xtask COMMAND

  demo          run the exercises and show what they print
  test          run everything that CI runs
  bench [WHAT]  measure beside the same calls in C: spawn, hand-over, or both
  win32 ARGS…   run `cargo ARGS…` for the Win32 target, e.g. `cargo xtask win32 test -p exercises`

On Linux the Win32 programs run under Wine. What is missing for that is installed from Debian's packages, after
saying what and why; on other systems the commands stop and say what to install.";

/// The targets that Windows users build for and that nobody needs a linker to check.
const CHECKED_TARGETS: [&str; 3] =
    ["x86_64-pc-windows-msvc", "aarch64-pc-windows-msvc", "i686-pc-windows-gnu"];

const DENY_WARNINGS: &[&str] = &["--", "-D", "warnings"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["demo"] => demo(),
        ["test"] => test(),
        ["bench", rest @ ..] => bench(rest),
        ["win32", rest @ ..] if !rest.is_empty() => win32(rest),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("\nxtask: {failed}");
            ExitCode::FAILURE
        }
    }
}

/// The exercises, as a newcomer would run them.
fn demo() -> Result<(), Failed> {
    let win32 = Win32::ready()?;
    win32.cargo("build the exercises", &["build", "--quiet", "--package", "exercises", "--bins"])?;
    for parent in ["naming-parent", "inheritance-parent", "duplication-parent"] {
        println!("\n{parent}");
        win32.program("debug", parent, &[])?;
    }
    Ok(())
}

/// Everything that CI runs.
fn test() -> Result<(), Failed> {
    // On Windows all of the workspace is native; elsewhere its default members are.
    let all: &[&str] = if cfg!(windows) { &["--workspace"] } else { &[] };
    cargo("format", &["fmt", "--all", "--check"], &[])?;
    cargo("lint", &["clippy", "--quiet", "--all-targets"], &[all, DENY_WARNINGS].concat())?;
    cargo("test", &["test"], all)?;
    Step::new("documentation", Command::new("cargo").args(["doc", "--quiet", "--no-deps"]).args(all))
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;

    let win32 = Win32::ready()?;
    if win32.is_emulated() {
        let lint = [&["clippy", "--quiet", "--workspace", "--all-targets"], DENY_WARNINGS].concat();
        win32.cargo("lint for Windows", &lint)?;
        win32.cargo("test under Wine", &["test", "--workspace", "--exclude", "xtask"])?;
        win32.documentation()?;
    }
    win32.check(&CHECKED_TARGETS)
}

fn bench(arguments: &[&str]) -> Result<(), Failed> {
    let win32 = Win32::ready()?;
    win32.cargo(
        "build the benchmark",
        &["build", "--quiet", "--release", "--package", "bench", "--bins", "--features", "peers"],
    )?;
    win32.program("release", "bench", arguments)
}

fn win32(arguments: &[&str]) -> Result<(), Failed> {
    Win32::ready()?.cargo("cargo for the Win32 target", arguments)
}

fn cargo(what: &str, arguments: &[&str], more: &[&str]) -> Result<(), Failed> {
    Step::new(what, Command::new("cargo").args(arguments).args(more)).run()
}

/// The repository's root, wherever the command was called from.
fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}
