//! Installs Debian packages.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::step::{Failed, Step};

/// A package and what it is needed for.
pub(crate) type Need = (&'static str, &'static str);

/// Installs the missing packages, after printing their names and purposes. `purpose` is a sentence for that message;
/// `alternative` is the advice for systems other than Debian.
pub(crate) fn install(purpose: &str, needs: &[Need], alternative: &str) -> Result<(), Failed> {
    let missing: Vec<Need> = needs.iter().copied().filter(|(package, _)| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("{purpose} These Debian packages are missing and are now installed:");
    for (package, reason) in &missing {
        eprintln!("  {package:<28} {reason}");
    }
    let packages: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    let line = format!(
        "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {}",
        packages.join(" ")
    );
    if !succeeds("apt-get", &["--version"]) {
        return Err(Failed(format!(
            "apt-get is not installed. Install {} in another way, or {alternative}; then run this command again",
            packages.join(", ")
        )));
    }
    let shell = if is_root() {
        vec!["sh", "-c"]
    } else if succeeds("sudo", &["-n", "true"]) {
        vec!["sudo", "-n", "sh", "-c"]
    } else {
        return Err(Failed(format!(
            "installing packages needs root, and this user has no passwordless sudo. Run this line as root, then run \
             this command again:\n\n  {line}"
        )));
    };
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(&line).stdin(Stdio::null());
    Step::new("install", &mut command).run()
}

/// Returns a command that runs the cargo of Debian's Rust, which can build std from source.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("/usr/bin/cargo");
    // rustup's proxies are often first in PATH, and the variables that they set name the wrong compiler.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(PathBuf::from("/usr/bin")).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(paths) {
        cargo.env("PATH", path);
    }
    for key in ["CARGO", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME"] {
        cargo.env_remove(key);
    }
    cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTDOC", "/usr/bin/rustdoc").env("RUSTC_BOOTSTRAP", "1");
    cargo
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether a program is installed and exits successfully with these arguments.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
