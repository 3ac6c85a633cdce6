//! Compiles the foreign programs: C, written against Win32 alone, so that they share no mistake with us.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=foreign");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo::rustc-env=FOREIGN_PROGRAMS={}", out.display());
    if std::env::var("CARGO_CFG_WINDOWS").is_err() {
        return Ok(());
    }
    // For C, Windows 7 is no target of its own.
    let target = std::env::var("TARGET")?.replace("-win7-", "-pc-");
    let compiler = cc::Build::new().target(&target).get_compiler();
    for entry in std::fs::read_dir("foreign")? {
        let source = entry?.path();
        let name = source.file_stem().ok_or("a source file has a name")?;
        let program = out.join(name).with_extension("exe");
        let mut command: Command = compiler.to_command();
        command.arg(&source);
        if compiler.is_like_msvc() {
            command.arg(format!("/Fe{}", program.display())).arg(format!("/Fo{}\\", out.display()));
        } else {
            command.arg("-municode").arg("-o").arg(&program);
        }
        if !command.status()?.success() {
            return Err(
                format!("{} does not compile with {}", source.display(), compiler.path().display()).into()
            );
        }
    }
    Ok(())
}
