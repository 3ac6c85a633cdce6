//! Builds and runs Win32 programs.
//!
//! On Windows, cargo does. On Linux, the first of these toolchains that the machine has is used:
//! 1. rustup's `x86_64-pc-windows-gnu` with a linker, if Wine is 9 or newer. Older versions lack a DLL that the target
//!    imports.
//! 2. Debian's Rust, which builds std from source for the `win7` target, and Debian's Wine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use crate::debian::{self, Need};
use crate::step::{Failed, Step};

const DEBIAN: [Need; 8] = [
    ("rustc-web", "a rustc with the source of std, which is built for Windows"),
    ("cargo-web", "the cargo of rustc-web"),
    ("rust-web-src", "the source of std"),
    ("rust-web-clippy", "the lints for the Windows code"),
    ("gcc-mingw-w64-x86-64-win32", "the linker, and the C compiler for the foreign test programs"),
    ("binutils-mingw-w64-i686", "import libraries for the check of the 32-bit target"),
    ("wine", "runs Win32 programs"),
    ("wine64", "the 64-bit part of Wine"),
];

/// The time limit for starting Wine, which takes seconds, but sometimes hangs.
pub(crate) const BOOT_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The arguments of cargo for all tests under Wine. The benchmark takes long to build and has no tests of Windows;
/// clippy has checked it.
pub(crate) const TEST: [&str; 6] = ["test", "--workspace", "--exclude", "xtask", "--exclude", "bench"];

/// The words before a Win32 program that run it on Linux.
const RUNNER: [&str; 3] = ["setarch", "--addr-no-randomize", "wine"];

/// The variables with which cargo is told so, one for each toolchain.
pub(crate) const RUNNER_VARIABLES: [&str; 2] =
    ["CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "CARGO_TARGET_X86_64_WIN7_WINDOWS_GNU_RUNNER"];

/// Whether this is Windows.
pub(crate) const IS_NATIVE: bool = cfg!(windows);

/// A toolchain for Win32 programs.
#[derive(Debug)]
pub(crate) struct Win32 {
    toolchain: Toolchain,
    /// Held while Wine's programs may run: each command stops all programs of the prefix when it finishes.
    _lock: Option<File>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Toolchain {
    /// The one of this system, which is Windows.
    Native,
    Rustup,
    Debian,
}

impl Win32 {
    /// Chooses the toolchain, installs its packages, and starts Wine with the project's own prefix.
    pub(crate) fn ready() -> Result<Self, Failed> {
        if IS_NATIVE {
            return Ok(Self { toolchain: Toolchain::Native, _lock: None });
        }
        if !cfg!(target_os = "linux") {
            return Err(Failed("the Win32 programs run only on Windows and, under Wine, on Linux".into()));
        }
        let toolchain = if rustup_has_target()
            && has_linker()
            && wine_version().is_some_and(|major| major >= 9)
        {
            Toolchain::Rustup
        } else {
            debian::install(
                "This command also builds and runs Win32 programs.",
                &DEBIAN,
                "install Wine 9 or newer, the mingw-w64 linker, and rustup's target x86_64-pc-windows-gnu",
            )?;
            Toolchain::Debian
        };
        let this = Self { toolchain, _lock: Some(lock(&crate::root().join("target").join("wine.lock"))?) };
        this.boot()?;
        Ok(this)
    }

    /// Whether the programs run under Wine.
    pub(crate) fn is_emulated(&self) -> bool {
        self.toolchain != Toolchain::Native
    }

    /// Runs cargo for the Win32 target.
    pub(crate) fn cargo(&self, title: &str, arguments: &[&str]) -> Result<(), Failed> {
        self.cargo_with(title, arguments, &[])
    }

    /// Runs cargo for the Win32 target with these environment variables.
    pub(crate) fn cargo_with(
        &self,
        title: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<(), Failed> {
        let (subcommand, rest) =
            arguments.split_first().ok_or_else(|| Failed("cargo needs a command".into()))?;
        let mut command = self.cargo_command();
        command.arg(subcommand).args(self.target_arguments()).args(rest).envs(variables.iter().copied());
        Step::new(title, &mut command).run()
    }

    /// Builds the documentation of the Windows API, with warnings as errors.
    pub(crate) fn documentation(&self) -> Result<(), Failed> {
        let mut command = self.cargo_command();
        command.arg("doc").args(self.target_arguments()).args([
            "--quiet",
            "--package",
            "handover",
            "--no-deps",
        ]);
        Step::new("documentation for Windows", &mut command).env("RUSTDOCFLAGS", "-D warnings").run()
    }

    /// Type checks these packages for these targets, which needs no linker.
    pub(crate) fn check(&self, packages: &[&str], targets: &[&str]) -> Result<(), Failed> {
        let mut command = self.cargo_command();
        command.args(["check", "--quiet"]).args(packages.iter().flat_map(|package| ["--package", package]));
        command.args(targets.iter().flat_map(|target| ["--target", target]));
        match self.toolchain {
            Toolchain::Debian => {
                command.arg("-Zbuild-std=std,panic_unwind");
            }
            Toolchain::Native | Toolchain::Rustup => {
                let mut add = Command::new("rustup");
                add.args(["target", "add"]).args(targets);
                Step::new("add targets", &mut add).run()?;
            }
        }
        Step::new("type check", &mut command).run()
    }

    /// Runs a program that was built for Win32. The program inherits the terminal.
    pub(crate) fn program(&self, profile: &str, name: &str, arguments: &[&str]) -> Result<(), Failed> {
        let path = self.target_folder().join(profile).join(name).with_extension("exe");
        let mut command = match self.toolchain {
            Toolchain::Native => Command::new(path),
            Toolchain::Rustup | Toolchain::Debian => {
                let mut wine = Command::new(runner()[0]);
                wine.args(&runner()[1..]).arg(path).envs(wine_environment(prefix()));
                wine
            }
        };
        command.args(arguments);
        let status = Step::new(name, &mut command).run_quietly()?;
        if status.success() { Ok(()) } else { Err(Failed(format!("{name} failed ({status})"))) }
    }

    /// Returns a command that runs cargo.
    pub(crate) fn cargo_command(&self) -> Command {
        match self.toolchain {
            Toolchain::Native => Command::new("cargo"),
            Toolchain::Rustup => {
                let mut cargo = Command::new("cargo");
                cargo.env(RUNNER_VARIABLES[0], runner().join(" "));
                cargo.env("CARGO_TARGET_DIR", build_folder()).envs(wine_environment(prefix()));
                cargo
            }
            Toolchain::Debian => {
                let mut cargo = debian::cargo();
                cargo.env(RUNNER_VARIABLES[1], runner().join(" "));
                // The benchmark needs older versions of the windows crate. They have no import library for this
                // target, and raw-dylib makes that library unnecessary.
                cargo.env("CARGO_TARGET_X86_64_WIN7_WINDOWS_GNU_RUSTFLAGS", "--cfg windows_raw_dylib");
                cargo.env("CARGO_TARGET_DIR", build_folder()).envs(wine_environment(prefix()));
                cargo
            }
        }
    }

    /// Returns cargo's arguments for the target.
    pub(crate) fn target_arguments(&self) -> &'static [&'static str] {
        match self.toolchain {
            Toolchain::Native => &[],
            Toolchain::Rustup => &["--target", "x86_64-pc-windows-gnu"],
            Toolchain::Debian => &["-Zbuild-std=std,panic_unwind", "--target", "x86_64-win7-windows-gnu"],
        }
    }

    fn target_folder(&self) -> PathBuf {
        match self.toolchain {
            Toolchain::Native => crate::root().join("target"),
            Toolchain::Rustup => build_folder().join("x86_64-pc-windows-gnu"),
            Toolchain::Debian => build_folder().join("x86_64-win7-windows-gnu"),
        }
    }

    /// Creates Wine's prefix if it doesn't exist, and starts Wine's server for all programs of this command. A
    /// program that starts the server itself sometimes hangs.
    fn boot(&self) -> Result<(), Failed> {
        let exists = prefix().join("system.reg").exists();
        std::fs::create_dir_all(prefix()).map_err(Failed::at(&prefix()))?;
        let mut server = Command::new("wineserver");
        server.arg("--persistent").envs(wine_environment(prefix())).stdin(Stdio::null());
        Step::new("Wine's server", &mut server).within(BOOT_LIMIT).run_quietly()?;
        let mut boot = Command::new(runner()[0]);
        boot.args(&runner()[1..])
            .args(["wineboot", "--init"])
            .envs(wine_environment(prefix()))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let step = Step::new("create Wine's prefix", &mut boot).within(BOOT_LIMIT);
        if exists { step.run_quietly().map(drop) } else { step.run() }
    }
}

impl Drop for Win32 {
    /// Stops the processes that Wine leaves running, only those of the project's prefix.
    fn drop(&mut self) {
        if self.is_emulated() {
            // This fails if the server has already exited, which is fine.
            let _ = Command::new("wineserver")
                .arg("-k")
                .envs(wine_environment(prefix()))
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// Returns the words before a Win32 program that run it on Linux.
///
/// Linux places the heap of Wine's loader at random within a gigabyte. In one process of some thousands it then covers
/// the page at 0x7FFE0000 that each Win32 program has, and the process exits: its creator gets error 1359.
pub(crate) fn runner() -> &'static [&'static str] {
    static IS_FIXED: LazyLock<bool> = LazyLock::new(|| {
        // Containers often forbid it.
        let mut fixed = Command::new(RUNNER[0]);
        fixed.args([RUNNER[1], "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        fixed.status().is_ok_and(|status| status.success())
    });
    if *IS_FIXED { &RUNNER } else { &RUNNER[2..] }
}

/// Waits until no other command of this checkout runs Win32 programs.
pub(crate) fn lock(path: &Path) -> Result<File, Failed> {
    if let Some(folder) = path.parent() {
        // It doesn't exist if cargo builds elsewhere (CARGO_TARGET_DIR).
        std::fs::create_dir_all(folder).map_err(Failed::at(folder))?;
    }
    let file = File::create(path).map_err(Failed::at(path))?;
    if file.try_lock().is_err() {
        eprintln!("waiting until another cargo xtask exits");
        file.lock().map_err(Failed::at(path))?;
    }
    Ok(file)
}

/// The build folder for Win32. With one folder, the two compilers would rebuild each other's results.
pub(crate) fn build_folder() -> PathBuf {
    crate::root().join("target").join("win32")
}

fn prefix() -> PathBuf {
    crate::root().join("target").join("wine")
}

pub(crate) fn wine_environment(prefix: PathBuf) -> [(&'static str, PathBuf); 3] {
    [
        ("WINEPREFIX", prefix),
        ("WINEDEBUG", "-all".into()),
        // Wine would ask in a window whether to install the .NET and HTML engines, which no program here uses. Its debugger
        // would attach to a program that crashes, and change the exit code.
        ("WINEDLLOVERRIDES", "mscoree,mshtml,winedbg.exe=".into()),
    ]
}

fn wine_version() -> Option<u32> {
    let output = Command::new("wine").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().strip_prefix("wine-")?.split(['.', '-', ' ']).next()?.parse().ok()
}

fn has_linker() -> bool {
    Command::new("x86_64-w64-mingw32-gcc")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

fn rustup_has_target() -> bool {
    Command::new("rustc").args(["--print", "sysroot"]).output().is_ok_and(|output| {
        let sysroot = String::from_utf8_lossy(&output.stdout);
        Path::new(sysroot.trim()).join("lib/rustlib/x86_64-pc-windows-gnu/lib").exists()
    })
}
