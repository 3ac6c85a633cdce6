//! Cargo subcommands that are built from crates.io into `target/tools` when they are first needed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::debian::succeeds;
use crate::step::{Failed, Step};

/// A cargo subcommand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// The name after `cargo`.
    pub(crate) name: &'static str,
    /// What it does, for the message before it is built: "checks licenses".
    pub(crate) purpose: &'static str,
    /// Whether it is built with optimizations, because it runs for more than seconds.
    pub(crate) is_optimized: bool,
}

impl Tool {
    /// Returns a command that runs cargo with this subcommand. Builds the subcommand first if the user hasn't
    /// installed it.
    pub(crate) fn ready(self) -> Result<Command, Failed> {
        let package = format!("cargo-{}", self.name);
        let is_installed = || succeeds_in(&[self.name, "--version"]);
        if !is_installed() {
            eprintln!(
                "{package} is missing; it {}. It is now built from crates.io into target/tools, which takes minutes.",
                self.purpose
            );
            let folder = folder();
            let mut install = Command::new("cargo");
            install.args(["install", &package, "--locked", "--root"]).arg(&folder);
            install.arg("--target-dir").arg(folder.join("build"));
            if !self.is_optimized {
                install.arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "0");
            }
            Step::new("install", &mut install).run()?;
            if !is_installed() {
                return Err(Failed(format!("{package} was built but does not run")));
            }
        }
        let mut command = cargo();
        command.arg(self.name);
        Ok(command)
    }
}

fn folder() -> PathBuf {
    crate::root().join("target").join("tools")
}

/// Returns cargo with the folder of the tools in its search path.
fn cargo() -> Command {
    let mut command = Command::new("cargo");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(folder().join("bin")).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(paths).unwrap_or(path));
    command
}

fn succeeds_in(arguments: &[&str]) -> bool {
    let mut command = cargo();
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether a C++ compiler is installed, which libFuzzer needs.
pub(crate) fn has_cpp() -> bool {
    succeeds("c++", &["--version"])
}
