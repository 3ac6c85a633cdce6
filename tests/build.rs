//! Compiles the foreign programs. They are C programs that call only the system's own interface, so they share no code
//! and no mistakes with the library. Compiles the C programs of `handover new` and their solutions too. Extracts the
//! asynchronous example of the README, which a test runs.

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

/// The folders of C programs in `crates/handover-cli`: the prefix of the compiled programs' folders, and the sources.
const PAIRS: [(&str, &str); 2] = [("template", "templates"), ("solution", "tests/data/solutions")];
const STRATEGIES: [&str; 3] = ["inheritance", "duplication", "naming"];

/// Returns the sources of `handover new` and of the solutions, each with the path of the program.
fn pairs(out: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Box<dyn Error>> {
    let mut pairs = Vec::new();
    for (prefix, sources) in PAIRS {
        for strategy in STRATEGIES {
            let sources = Path::new("../crates/handover-cli").join(sources).join(strategy);
            println!("cargo::rerun-if-changed={}", sources.display());
            // A parent starts the child from its own folder.
            let folder = out.join(format!("{prefix}-{strategy}"));
            std::fs::create_dir_all(&folder)?;
            for role in ["parent", "child"] {
                pairs.push((sources.join(role).with_extension("c"), folder.join(role)));
            }
        }
    }
    Ok(pairs)
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
    let mut programs = pairs(&out)?;
    let own = programs.len();
    for entry in std::fs::read_dir(sources)? {
        let source = entry?.path();
        // The other files are scripts.
        if source.extension() == Some("c".as_ref()) {
            let name = source.file_stem().ok_or("a source file has a name")?;
            programs.push((source.clone(), out.join(name)));
        }
    }
    for (index, (source, mut program)) in programs.into_iter().enumerate() {
        let is_pair = index < own;
        let mut command: Command = compiler.to_command();
        command.arg(&source);
        if system == "windows" {
            program.set_extension("exe");
        }
        if compiler.is_like_msvc() {
            let folder = program.parent().unwrap_or(&out).display();
            command.arg("/W3").arg(format!("/Fe{}", program.display())).arg(format!("/Fo{folder}\\"));
        } else {
            // Older C libraries have semaphores in a library of their own. A pair's entry is `main` on both systems.
            let option = match system.as_str() {
                "windows" if is_pair => "-mconsole",
                "windows" => "-municode",
                _ => "-pthread",
            };
            // A learner sees the warnings of a pair.
            let options = if is_pair { &["-Wall", "-Wextra", "-Werror", option][..] } else { &[option] };
            command.args(options).arg("-o").arg(&program);
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
