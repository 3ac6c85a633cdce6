//! Compiles the floor: the same work in C, against the bare system alone.

use std::io::ErrorKind;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=floor");
    let sources = Path::new("floor").join(std::env::var("CARGO_CFG_TARGET_OS")?);
    if !sources.is_dir() {
        return Ok(());
    }
    // For C, Windows 7 is no target of its own.
    let target = std::env::var("TARGET")?.replace("-win7-", "-pc-");
    let mut floor = cc::Build::new();
    floor.target(&target).opt_level(2);
    for file in ["spawn.c", "hand_over.c", "signal.c", "process.c"] {
        floor.file(sources.join(file));
    }
    let compiler = floor.try_get_compiler()?;
    match compiler.to_command().arg("--version").output() {
        // Nothing but Rust is needed to check the code; to run the benchmark, the linker says what it lacks.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let compiler = compiler.path().display();
            println!("cargo::warning=no C compiler was found ({compiler}); the benchmark can't be linked");
        }
        _ => floor.try_compile("floor")?,
    }
    Ok(())
}
