//! Compiles the floor: the same work in C, against Win32 alone.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=floor");
    if std::env::var("CARGO_CFG_WINDOWS").is_ok() {
        // For C, Windows 7 is no target of its own.
        let target = std::env::var("TARGET")?.replace("-win7-", "-pc-");
        cc::Build::new()
            .target(&target)
            .opt_level(2)
            .file("floor/spawn.c")
            .file("floor/hand_over.c")
            .try_compile("floor")?;
    }
    Ok(())
}
