//! `cargo xtask wine10`: builds Win32 programs of both widths, and runs them under Wine 10 in a Debian sid of its own.
//!
//! Debian 12 has Wine 8, which runs 64-bit programs alone. Debian sid's Wine 10 runs 32-bit programs on a 64-bit system
//! too. It can't be installed on Debian 12, so it gets a root folder of its own, `target/wine10/root`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::debian::{self, Need};
use crate::step::{Failed, Step};
use crate::win32::{self, BOOT_LIMIT};

const DEBIAN: [Need; 6] = [
    ("rustc-web", "a rustc with the source of std, which is built for Windows"),
    ("cargo-web", "the cargo of rustc-web"),
    ("rust-web-src", "the source of std"),
    ("gcc-mingw-w64-x86-64-win32", "the linker and C compiler for 64-bit programs"),
    ("gcc-mingw-w64-i686-win32", "the linker and C compiler for 32-bit programs"),
    ("debootstrap", "makes the Debian sid that Wine 10 runs in"),
];

/// The test programs whose roles can be programs of another width, without those that take long.
const ACROSS: [&str; 10] = [
    "adoption",
    "audit",
    "channel",
    "disconnect",
    "duplicate_from",
    "inheritance",
    "listener",
    "naming",
    "objects",
    "tables",
];

/// The variable that tells a test program in which folder the programs are that play the roles.
const ROLE_PROGRAMS: &str = "HANDOVER_ROLE_PROGRAMS";

const PARENTS: [&str; 3] = ["naming-parent", "inheritance-parent", "duplication-parent"];
const CHILDREN: [&str; 3] = ["naming-child", "inheritance-child", "duplication-child"];

/// Debian sid has no link to Wine's server in /usr/bin.
const SERVER: &str = "/usr/lib/x86_64-linux-gnu/wine/wineserver";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Build 32-bit programs, if the arguments are for cargo
    #[arg(long = "32")]
    is_32_bit: bool,
    /// `test`: run the suite in 64 bits, in 32 bits, and with tests and roles of different widths. `across`: only the last
    /// of these. `demo`: run the exercises in all four pairs of widths. Anything else: arguments for cargo
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn wine10(options: &Options) -> Result<(), Failed> {
    let wine = Wine10::ready()?;
    let arguments = crate::as_strs(&options.arguments);
    match *arguments.as_slice() {
        ["test"] => {
            for width in Width::ALL {
                wine.cargo(width, &format!("test in {width}"), &win32::TEST)?;
            }
            wine.across()?;
            wine.demo()
        }
        ["across"] => wine.across(),
        ["demo"] => wine.demo(),
        _ => {
            let width = if options.is_32_bit { Width::Bits32 } else { Width::Bits64 };
            wine.cargo(width, "cargo for Wine 10", &arguments)
        }
    }
}

/// The width of a program's addresses and handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Bits64,
    Bits32,
}

impl Width {
    const ALL: [Self; 2] = [Self::Bits64, Self::Bits32];

    fn target(self) -> &'static str {
        match self {
            Self::Bits64 => "x86_64-pc-windows-gnu",
            Self::Bits32 => "i686-pc-windows-gnu",
        }
    }
}

impl std::fmt::Display for Width {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bits64 => "64 bits",
            Self::Bits32 => "32 bits",
        })
    }
}

/// A Debian sid with Wine 10, whose server runs as long as this value lives.
struct Wine10 {
    /// Held while Wine's programs may run: each command stops all programs of the prefix when it finishes.
    _lock: File,
}

impl Wine10 {
    /// Installs the packages, makes the root folder, and starts Wine with a prefix of its own.
    fn ready() -> Result<Self, Failed> {
        debian::check_machine()?;
        if !debian::is_root() {
            return Err(Failed(
                "making a Debian root folder and changing into it needs root: run this command as root, in a container \
                 for example"
                    .into(),
            ));
        }
        debian::install(
            "This command builds Win32 programs and runs them under Wine 10.",
            &DEBIAN,
            "use Debian 12",
        )?;
        std::fs::create_dir_all(folder()).map_err(Failed::at(&folder()))?;
        let this = Self { _lock: win32::lock(&folder().join("lock"))? };
        make_root()?;
        make_startup_objects()?;
        std::fs::create_dir_all(prefix()).map_err(Failed::at(&prefix()))?;
        for (title, words) in [
            ("Wine's server", &[SERVER, "--persistent"][..]),
            ("Wine's prefix", &["wine", "wineboot", "--init"]),
        ] {
            let mut command = in_root(words);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            Step::new(title, &mut command).within(BOOT_LIMIT).run_quietly()?;
        }
        Ok(this)
    }

    fn cargo(&self, width: Width, title: &str, arguments: &[&str]) -> Result<(), Failed> {
        Step::new(title, &mut self.cargo_command(width, arguments)).run()
    }

    fn cargo_command(&self, width: Width, arguments: &[&str]) -> Command {
        let (subcommand, rest) =
            arguments.split_first().map_or(("help", arguments), |(first, rest)| (*first, rest));
        let target = width.target();
        let mut cargo = debian::cargo();
        cargo
            .arg("--config")
            .arg(format!("target.{target}.runner={:?}", [&runner()[..], &["wine".into()]].concat()));
        cargo.args([subcommand, "-Zbuild-std=std,panic_unwind", "--target", target]).args(rest);
        let flags = format!("--cfg windows_raw_dylib -L {}", startup_objects().display());
        // The examples of the documentation are linked too.
        for tool in ["RUSTFLAGS", "RUSTDOCFLAGS"] {
            cargo.env(format!("CARGO_TARGET_{}_{tool}", target.replace('-', "_").to_uppercase()), &flags);
        }
        cargo.env("CARGO_TARGET_DIR", win32::build_folder()).envs(environment());
        cargo
    }

    /// Runs the suites in one width, with roles that are programs of the other.
    fn across(&self) -> Result<(), Failed> {
        let test = |tests: Width| {
            let mut test = vec!["test", "--no-fail-fast", "--package", "handover-tests"];
            // Windows doesn't let a debugger of 32 bits, which an audit is, start a process of 64 bits.
            let is_possible = |program: &&&str| tests == Width::Bits64 || **program != "audit";
            test.extend(ACROSS.iter().filter(is_possible).flat_map(|program| ["--test", *program]));
            test
        };
        for width in Width::ALL {
            self.cargo(
                width,
                &format!("build the tests in {width}"),
                &[&test(Width::Bits64)[..], &["--no-run"]].concat(),
            )?;
        }
        for (tests, roles) in [(Width::Bits64, Width::Bits32), (Width::Bits32, Width::Bits64)] {
            let title = format!("tests in {tests}, their roles in {roles}");
            let mut command = self.cargo_command(tests, &test(tests));
            let folder = windows_path(&built(roles, "deps"));
            Step::new(&title, &mut command).env(ROLE_PROGRAMS, &folder).run()?;
            let refusal = ["test", "--package", "handover-tests", "--test", "os", "--", "narrow_build"];
            let mut command = self.cargo_command(tests, &refusal);
            Step::new("the audit of a wider program", &mut command).env(ROLE_PROGRAMS, folder).run()?;
        }
        Ok(())
    }

    /// Runs the exercises in all four pairs of widths, and the channel demo in both widths.
    fn demo(&self) -> Result<(), Failed> {
        for width in Width::ALL {
            let title = format!("build the programs in {width}");
            self.cargo(
                width,
                &title,
                &["build", "--quiet", "--package", "exercises", "--package", "handover-cli", "--bins"],
            )?;
        }
        for parent in Width::ALL {
            for child in Width::ALL {
                let pair = folder().join("pairs").join(format!("{}-to-{}", parent.target(), child.target()));
                std::fs::create_dir_all(&pair).map_err(Failed::at(&pair))?;
                for (width, programs) in [(parent, PARENTS), (child, CHILDREN)] {
                    for program in programs {
                        let (from, to) = (
                            built(width, program).with_extension("exe"),
                            pair.join(program).with_extension("exe"),
                        );
                        std::fs::copy(&from, to).map_err(Failed::at(&from))?;
                    }
                }
                for program in PARENTS {
                    println!("\n{program}, parent in {parent}, child in {child}");
                    run(program, &[&pair.join(program).with_extension("exe").to_string_lossy()])?;
                }
            }
        }
        for width in Width::ALL {
            println!("\nhandover demo channel in {width}");
            run("demo", &[&built(width, "handover.exe").to_string_lossy(), "demo", "channel"])?;
        }
        Ok(())
    }
}

impl Drop for Wine10 {
    /// Stops the processes that Wine leaves running, only those of this prefix.
    fn drop(&mut self) {
        // This fails if the server has already exited, which is fine.
        let _ = in_root(&[SERVER, "-k"]).stderr(Stdio::null()).status();
    }
}

/// Runs a Win32 program, which inherits the terminal.
fn run(title: &str, words: &[&str]) -> Result<(), Failed> {
    let mut command = in_root(&[&["wine"], words].concat());
    let status = Step::new(title, &mut command).run_quietly()?;
    if status.success() { Ok(()) } else { Err(Failed(format!("{title} failed ({status})"))) }
}

/// Makes the root folder, if it doesn't exist.
fn make_root() -> Result<(), Failed> {
    if root().exists() {
        return Ok(());
    }
    eprintln!(
        "Debian 12 has Wine 8. A Debian sid with Wine 10 is now made in {}: 2 GB, a minute or more.",
        root().display()
    );
    // An interrupted debootstrap leaves an incomplete folder, so the finished one gets its name last.
    let unfinished = folder().join("unfinished");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(Failed::at(&unfinished))?;
    }
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", "--include=wine,wine64", "sid"]).arg(&unfinished);
    Step::new("make the root folder", &mut command).run()?;
    std::fs::rename(&unfinished, root()).map_err(Failed::at(&root()))
}

/// Compiles the two objects at the beginning and the end of each 32-bit program, which Debian's Rust has as source
/// only.
fn make_startup_objects() -> Result<(), Failed> {
    std::fs::create_dir_all(startup_objects()).map_err(Failed::at(&startup_objects()))?;
    for name in ["rsbegin", "rsend"] {
        let object = startup_objects().join(name).with_extension("o");
        if object.exists() {
            continue;
        }
        let source = Path::new("/usr/lib/rustlib/src/rust/library/rtstartup").join(name).with_extension("rs");
        let mut command = Command::new("/usr/bin/rustc");
        command.args(["--target", Width::Bits32.target(), "--emit=obj", "-o"]).arg(object).arg(source);
        Step::new("32-bit startup object", command.env("RUSTC_BOOTSTRAP", "1")).run()?;
    }
    Ok(())
}

/// Returns the words before a program and its arguments that run it in the root folder.
fn runner() -> [String; 4] {
    let script = crate::root().join("xtask/src/in-wine10.sh");
    ["sh".into(), display(&script), display(&root()), display(&crate::root())]
}

fn in_root(words: &[&str]) -> Command {
    let [shell, rest @ ..] = runner();
    let mut command = Command::new(shell);
    command.args(rest).args(words).envs(environment());
    command
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

/// Returns a path as a Win32 program sees it: Wine's drive Z is the root folder.
fn windows_path(path: &Path) -> String {
    format!("Z:{}", display(path).replace('/', "\\"))
}

fn built(width: Width, name: &str) -> PathBuf {
    win32::build_folder().join(width.target()).join("debug").join(name)
}

fn environment() -> Vec<(&'static str, PathBuf)> {
    // Wine's Wayland driver prints an error without a runtime directory.
    win32::wine_environment(prefix()).into_iter().chain([("XDG_RUNTIME_DIR", "/tmp".into())]).collect()
}

fn folder() -> PathBuf {
    crate::root().join("target").join("wine10")
}

fn root() -> PathBuf {
    folder().join("root")
}

fn prefix() -> PathBuf {
    folder().join("prefix")
}

fn startup_objects() -> PathBuf {
    folder().join("startup")
}
