//! How the programs are built and run on this system itself: with cargo, and nothing else.

use std::process::Command;

use crate::debian::{self, Need};
use crate::step::{Failed, Step};

/// Foreign peers that the tests meet if they are there: the program that is looked for, and what it comes from. There
/// is a C compiler wherever Rust can link.
const PEERS: [(&str, Need); 2] = [
    ("python3", ("python3", "a foreign peer: its standard library sends and receives descriptors")),
    ("systemd-socket-activate", ("systemd", "a foreign parent: starts services as systemd does")),
];

/// Refuses a system that the library isn't for.
pub(crate) fn check() -> Result<(), Failed> {
    if cfg!(any(windows, target_os = "linux")) {
        return Ok(());
    }
    Err(Failed("the programs run on Windows and on Linux; not here".into()))
}

/// Installs the foreign peers that are missing. Without them, their tests are left out.
pub(crate) fn install_peers() -> Result<(), Failed> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let missing = PEERS.iter().filter(|(program, _)| !debian::succeeds(program, &["--version"]));
    let needs: Vec<Need> = missing.map(|(_, need)| *need).collect();
    debian::install(
        "The tests share objects with programs that aren't ours.",
        &needs,
        "leave their tests out with --native",
    )
}

/// Runs cargo.
pub(crate) fn cargo(title: &str, arguments: &[&str]) -> Result<(), Failed> {
    Step::new(title, Command::new("cargo").args(arguments)).run()
}

/// Runs cargo with variables of the environment.
pub(crate) fn cargo_with(title: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), Failed> {
    let mut command = Command::new("cargo");
    command.args(arguments).envs(variables.iter().copied());
    Step::new(title, &mut command).run()
}

/// Builds the documentation; a warning is an error.
pub(crate) fn documentation() -> Result<(), Failed> {
    let mut command = Command::new("cargo");
    command.args(["doc", "--quiet", "--workspace", "--no-deps"]);
    Step::new("documentation", &mut command).env("RUSTDOCFLAGS", "-D warnings").run()
}

/// Runs a program of a package that was built with these options, with the terminal as its own.
pub(crate) fn program(name: &str, options: &[&str], arguments: &[&str]) -> Result<(), Failed> {
    // By cargo, which knows where it has put the program.
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--bin", name]).args(options).arg("--").args(arguments);
    let status = Step::new(name, &mut command).run_quietly()?;
    if status.success() { Ok(()) } else { Err(Failed(format!("{name} failed ({status})"))) }
}

/// Keeps what is started from here on on the last core, if the system has the program for it: what is measured is then the
/// work of all who take part, and not whether the scheduler happens to wake one of them on a core that sleeps.
pub(crate) fn stay_on_one_core() {
    let last = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "--pid", &last.to_string(), &std::process::id().to_string()]);
    if !command.stdout(std::process::Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("the programs aren't kept on one core, so their times are spread more");
    }
}
