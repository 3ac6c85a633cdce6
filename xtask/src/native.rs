//! Builds and runs programs for this system, with cargo.

use std::process::Command;

use crate::debian::{self, Need};
use crate::step::{Failed, Step};

/// Programs that the tests share objects with, if they are installed: the program and its Debian package. A C compiler
/// isn't listed, because Rust needs one to link.
const PEERS: [(&str, Need); 2] = [
    ("python3", ("python3", "its standard library sends and receives descriptors")),
    ("systemd-socket-activate", ("systemd", "starts services as systemd does")),
];

/// Fails on systems that the library doesn't support.
pub(crate) fn check() -> Result<(), Failed> {
    if cfg!(any(windows, target_os = "linux")) {
        return Ok(());
    }
    Err(Failed("the programs run only on Windows and Linux".into()))
}

/// Installs the missing programs of [`PEERS`]. Their tests are skipped without them.
pub(crate) fn install_peers() -> Result<(), Failed> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let missing = PEERS.iter().filter(|(program, _)| !debian::succeeds(program, &["--version"]));
    let needs: Vec<Need> = missing.map(|(_, need)| *need).collect();
    debian::install("Some tests share objects with other programs.", &needs, "skip their tests with --native")
}

/// Runs cargo.
pub(crate) fn cargo(title: &str, arguments: &[&str]) -> Result<(), Failed> {
    Step::new(title, Command::new("cargo").args(arguments)).run()
}

/// Runs cargo with these environment variables.
pub(crate) fn cargo_with(title: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), Failed> {
    let mut command = Command::new("cargo");
    command.args(arguments).envs(variables.iter().copied());
    Step::new(title, &mut command).run()
}

/// Builds the documentation, with warnings as errors.
pub(crate) fn documentation() -> Result<(), Failed> {
    let mut command = Command::new("cargo");
    command.args(["doc", "--quiet", "--workspace", "--no-deps"]);
    Step::new("documentation", &mut command).env("RUSTDOCFLAGS", "-D warnings").run()
}

/// Runs a program of a package that was built with these options. The program inherits the terminal.
pub(crate) fn program(name: &str, options: &[&str], arguments: &[&str]) -> Result<(), Failed> {
    // `cargo run` knows the folder of the program.
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--bin", name]).args(options).arg("--").args(arguments);
    let status = Step::new(name, &mut command).run_quietly()?;
    if status.success() { Ok(()) } else { Err(Failed(format!("{name} failed ({status})"))) }
}

/// Binds this process and its future children to the last core, if `taskset` is installed. Measurements then don't
/// depend on whether the scheduler wakes a process on a sleeping core.
pub(crate) fn stay_on_one_core() {
    let last = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "--pid", &last.to_string(), &std::process::id().to_string()]);
    if !command.stdout(std::process::Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("taskset failed, so the programs run on all cores and their times vary more");
    }
}
