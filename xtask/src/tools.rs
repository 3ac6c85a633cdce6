//! Programs of cargo's that are built from crates.io into `target/tools`, once, and are nobody's otherwise.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::debian::succeeds;
use crate::step::{Failed, Step};

/// A subcommand of cargo's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// What stands behind `cargo`.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) what: &'static str,
    /// Whether it is worth an hour of the optimizer's time, because it works for more than seconds.
    pub(crate) is_slow: bool,
}

impl Tool {
    /// Cargo with this subcommand, which is installed if it is missing: here, or wherever the user has it.
    pub(crate) fn ready(self) -> Result<Command, Failed> {
        let package = format!("cargo-{}", self.name);
        let is_there = || succeeds_in(&[self.name, "--version"]);
        if !is_there() {
            eprintln!(
                "{package}, {}, is missing. It is built from crates.io into target/tools; that takes minutes, once.",
                self.what
            );
            let folder = folder();
            let mut install = Command::new("cargo");
            install.args(["install", &package, "--locked", "--root"]).arg(&folder);
            install.arg("--target-dir").arg(folder.join("build"));
            if !self.is_slow {
                install.arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "0");
            }
            Step::new("install", &mut install).run()?;
            if !is_there() {
                return Err(Failed(format!("{package} was installed, and doesn't run")));
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

/// Cargo, which finds what is installed here.
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

/// Whether there is a compiler for C++, which libFuzzer is written in.
pub(crate) fn has_cpp() -> bool {
    succeeds("c++", &["--version"])
}
