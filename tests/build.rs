//! Compiles the foreign programs. They are C programs that call only the system's own interface, so they share no code
//! and no mistakes with the library. Extracts the asynchronous example of the README, which a test runs.

use std::error::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the README's first Rust example that contains this text.
fn example_with(text: &str) -> Result<String, Box<dyn Error>> {
    let readme = std::fs::read_to_string("../README.md")?;
    let mut examples = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let example = examples.find(|example| example.contains(text));
    Ok(example.ok_or_else(|| format!("the README has no example with {text}"))?.to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=foreign");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo::rustc-env=FOREIGN_PROGRAMS={}", out.display());
    println!("cargo::rerun-if-changed=../README.md");
    std::fs::write(out.join("readme_async.rs"), example_with("handover::tokio::")?)?;
    let system = std::env::var("CARGO_CFG_TARGET_OS")?;
    let sources = Path::new("foreign").join(&system);
    if !sources.is_dir() {
        return Ok(());
    }
    // The cc crate has no separate target for Windows 7.
    let target = std::env::var("TARGET")?.replace("-win7-", "-pc-");
    let compiler = cc::Build::new().target(&target).get_compiler();
    for entry in std::fs::read_dir(sources)? {
        let source = entry?.path();
        // The other files are scripts.
        if source.extension() != Some("c".as_ref()) {
            continue;
        }
        let name = source.file_stem().ok_or("a source file has a name")?;
        let mut program = out.join(name);
        let mut command: Command = compiler.to_command();
        command.arg(&source);
        if system == "windows" {
            program.set_extension("exe");
        }
        if compiler.is_like_msvc() {
            command.arg(format!("/Fe{}", program.display())).arg(format!("/Fo{}\\", out.display()));
        } else {
            // Older C libraries have semaphores in a library of their own.
            let option = if system == "windows" { "-municode" } else { "-pthread" };
            command.arg(option).arg("-o").arg(&program);
        }
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(_) => {
                let compiler = compiler.path().display();
                return Err(format!("{} does not compile with {compiler}", source.display()).into());
            }
            // The tests need only Rust: without a C compiler, tests that use these programs skip that part and say so.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!(
                    "cargo::warning=no C compiler was found ({}); some tests run without foreign programs",
                    compiler.path().display()
                );
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
