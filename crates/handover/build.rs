//! Sets `has_std_pipe` if std has `std::io::pipe` (Rust 1.87), which the oldest Rust that this crate supports lacks.

use std::env::var_os;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(has_std_pipe)");
    // Without an answer, the crate does without these items.
    if minor_version().is_some_and(|minor| minor >= 87) {
        println!("cargo::rustc-cfg=has_std_pipe");
    }
}

/// Returns 87 for a compiler that calls itself "rustc 1.87.0 (…)".
fn minor_version() -> Option<u32> {
    let output = Command::new(var_os("RUSTC")?).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}
