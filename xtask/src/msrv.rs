//! `cargo xtask msrv`: builds and tests with the oldest Rust that the library supports.
//!
//! The first of these toolchains that the machine has is used:
//! 1. rustup's.
//! 2. Debian's, which is unpacked into `target/msrv` and not installed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::debian::{self, succeeds};
use crate::native;
use crate::step::{Failed, Step};

/// The oldest supported Rust. The packages' `rust-version` must be the same.
const OLDEST: &str = "1.85";

/// Debian's packages of one Rust: the compiler, cargo, and std. Their names differ between Debian's releases.
const DEBIAN: [[&str; 3]; 2] =
    [["rustc-web", "cargo-web", "libstd-rust-web-dev"], ["rustc", "cargo", "libstd-rust-dev"]];

/// The packages with the workspace's `rust-version`.
const TEST: [&str; 8] = [
    "test",
    "--no-fail-fast",
    "--package",
    "handover",
    "--package",
    "handover-tests",
    "--package",
    "exercises",
];

/// Builds and tests with the oldest supported Rust.
pub(crate) fn msrv() -> Result<(), Failed> {
    native::check()?;
    let manifest = crate::root().join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).map_err(Failed::at(&manifest))?;
    check_promise(&text)?;
    let toolchain = Toolchain::ready()?;
    toolchain.check_version()?;
    Step::new("test with the oldest Rust", toolchain.cargo().args(TEST)).run()
}

/// Fails unless the workspace's manifest promises the version that this command tests.
fn check_promise(manifest: &str) -> Result<(), Failed> {
    let promised = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .map(|version| version.trim_matches('"'));
    if promised == Some(OLDEST) {
        return Ok(());
    }
    let promised = promised.unwrap_or("none");
    Err(Failed(format!(
        "Cargo.toml has the rust-version {promised}, but this command tests {OLDEST}. Change OLDEST in \
         xtask/src/msrv.rs, or the rust-version"
    )))
}

#[derive(Debug)]
enum Toolchain {
    Rustup,
    /// Unpacked in this folder.
    Debian(PathBuf),
}

impl Toolchain {
    /// Chooses the toolchain, and unpacks Debian's if it is needed.
    fn ready() -> Result<Self, Failed> {
        if succeeds("rustup", &["run", OLDEST, "rustc", "--version"]) {
            return Ok(Self::Rustup);
        }
        let none = || {
            Failed(format!(
                "there is no Rust {OLDEST}. Install it with rustup: rustup toolchain install {OLDEST} --profile minimal"
            ))
        };
        let compilers = DEBIAN.map(|[compiler, ..]| compiler);
        let (found, version) = debian::find(&compilers, &format!("{OLDEST}."))?.ok_or_else(none)?;
        let folder = crate::root().join("target").join("msrv").join(&version);
        if !folder.exists() {
            let packages = DEBIAN.iter().find(|packages| packages[0] == found).ok_or_else(none)?;
            let packages = packages.map(|package| format!("{package}={version}"));
            eprintln!("Rust {OLDEST} is missing. Debian's is now unpacked into {}.", folder.display());
            debian::unpack(&packages, &folder)?;
        }
        Ok(Self::Debian(folder))
    }

    /// Fails unless the compiler has the oldest version.
    fn check_version(&self) -> Result<(), Failed> {
        let mut query = match self {
            Self::Rustup => {
                let mut rustup = Command::new("rustup");
                rustup.args(["run", OLDEST, "rustc"]);
                rustup
            }
            Self::Debian(folder) => {
                let mut rustc = Command::new(programs(folder).join("rustc"));
                rustc.env("LD_LIBRARY_PATH", libraries(folder));
                rustc
            }
        };
        query.arg("--version").stderr(Stdio::inherit());
        let output = query.output().map_err(|error| Failed(format!("cannot run rustc: {error}")))?;
        let version = String::from_utf8_lossy(&output.stdout);
        eprintln!("{}", version.trim());
        if output.status.success() && version.starts_with(&format!("rustc {OLDEST}.")) {
            return Ok(());
        }
        Err(Failed(format!("the compiler of Rust {OLDEST} prints another version: {}", version.trim())))
    }

    /// Returns this toolchain's cargo, with a build folder of its own.
    fn cargo(&self) -> Command {
        let mut cargo = match self {
            Self::Rustup => {
                let mut cargo = Command::new("rustup");
                cargo.args(["run", OLDEST, "cargo"]);
                cargo
            }
            Self::Debian(folder) => {
                let mut cargo = debian::cargo_in(&programs(folder));
                cargo.env("LD_LIBRARY_PATH", libraries(folder));
                cargo
            }
        };
        cargo.env("CARGO_TARGET_DIR", crate::root().join("target").join("msrv").join("target"));
        cargo
    }
}

fn programs(folder: &Path) -> PathBuf {
    folder.join("usr").join("bin")
}

/// Returns the search path of the unpacked programs for their libraries.
fn libraries(folder: &Path) -> OsString {
    let name = format!("{}-linux-gnu", std::env::consts::ARCH);
    let mut paths = folder.join("usr/lib").join(&name).into_os_string();
    paths.push(":");
    paths.push(folder.join("lib").join(&name));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_promise_the_oldest_rust_that_is_tested() {
        let manifest = std::fs::read_to_string(crate::root().join("Cargo.toml")).expect("it is readable");
        assert!(check_promise(&manifest).is_ok());
    }

    #[test]
    fn another_promise_is_reported() {
        for (manifest, promised) in [("rust-version = \"1.99\"", "1.99"), ("[package]", "none")] {
            let Failed(reason) = check_promise(manifest).expect_err("it differs");
            assert!(reason.contains(&format!("the rust-version {promised}, but this command tests 1.85")));
        }
    }
}
