//! What is taken from Debian's packages, and how it gets there.

use std::process::{Command, Stdio};

use crate::step::{Failed, Step};

/// One package and what it is needed for.
pub(crate) type Need = (&'static str, &'static str);

/// Installs the packages that are missing, after saying which and why. `what` says in a sentence what is done with them;
/// where there is no Debian, `otherwise` is another way.
pub(crate) fn install(what: &str, needs: &[Need], otherwise: &str) -> Result<(), Failed> {
    let missing: Vec<Need> = needs.iter().copied().filter(|(package, _)| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("{what} Of Debian's packages these are missing:");
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
            "there is no apt-get here to install them with. Install by other means: {}, or {otherwise}; then call \
             this again",
            packages.join(", ")
        )));
    }
    let shell = if is_root() {
        vec!["sh", "-c"]
    } else if succeeds("sudo", &["-n", "true"]) {
        vec!["sudo", "-n", "sh", "-c"]
    } else {
        return Err(Failed(format!(
            "installing needs root, and this user has no passwordless sudo. Run this line as root, then call this \
             again:\n\n  {line}"
        )));
    };
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(&line).stdin(Stdio::null());
    Step::new("install", &mut command).run()
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether a program is there and can do what it is asked.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
