//! Compiles the floor: C code that does the same work as handover with system calls alone.

use std::io::ErrorKind;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=floor");
    let sources = Path::new("floor").join(std::env::var("CARGO_CFG_TARGET_OS")?);
    if !sources.is_dir() {
        return Ok(());
    }
    // C compilers have no separate target for Windows 7.
    let target = std::env::var("TARGET")?.replace("-win7-", "-pc-");
    let mut floor = cc::Build::new();
    floor.target(&target).opt_level(2);
    for file in std::fs::read_dir(&sources)? {
        floor.file(file?.path());
    }
    let compiler = floor.try_get_compiler()?;
    match compiler.to_command().arg("--version").output() {
        // `cargo check` works without a C compiler. Linking the benchmark then fails on the missing symbols.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let compiler = compiler.path().display();
            println!(
                "cargo::warning=found no C compiler at {compiler}: the benchmark cannot be linked; install one to run it"
            );
        }
        _ => floor.try_compile("floor")?,
    }
    Ok(())
}
