//! How the Win32 programs are built and run on this machine.
//!
//! On Windows that is cargo itself. Elsewhere it is one of two ways, the first that this machine has:
//! 1. rustup's `x86_64-pc-windows-gnu` and a linker for it, if Wine is 9 or newer (older ones lack a DLL which that
//!    target imports);
//! 2. Debian's own Rust, which builds std from source for the `win7` target, and Debian's Wine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::debian::{self, Need};
use crate::step::{Failed, Step};

const DEBIAN: [Need; 8] = [
    ("rustc-web", "a rustc that comes with the source of std, which is built for Windows"),
    ("cargo-web", "its cargo"),
    ("rust-web-src", "the source of std"),
    ("rust-web-clippy", "the lints for the Windows code"),
    ("gcc-mingw-w64-x86-64-win32", "the linker, and the C compiler for the foreign test programs"),
    ("binutils-mingw-w64-i686", "import libraries for the check of the 32-bit target"),
    ("wine", "runs Win32 programs"),
    ("wine64", "its 64-bit half"),
];

/// Wine hangs now and then when it starts, and has no deadline of its own. It takes seconds.
const START_OF_WINE: Duration = Duration::from_secs(30 * 60);

/// Whether this is Windows itself.
pub(crate) const IS_HERE: bool = cfg!(windows);

/// A cargo that builds Win32 programs, and a way to run them.
#[derive(Debug)]
pub(crate) struct Win32 {
    how: How,
    /// Held for as long as Wine's programs may run here: the end of one command ends all of the prefix.
    _lock: Option<File>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// This is Windows.
    Native,
    Rustup,
    Debian,
}

impl Win32 {
    /// Finds the way, installs what it needs, and starts an emulated Windows of the project's own.
    pub(crate) fn ready() -> Result<Self, Failed> {
        if IS_HERE {
            return Ok(Self { how: How::Native, _lock: None });
        }
        if !cfg!(target_os = "linux") {
            return Err(Failed(
                "the Win32 programs run on Windows, and under Wine on Linux; not here".into(),
            ));
        }
        let how = if rustup_has_target() && has_linker() && wine_version().is_some_and(|major| major >= 9) {
            How::Rustup
        } else {
            debian::install(
                "The Win32 programs are built and run on this machine too.",
                &DEBIAN,
                "let rustup add x86_64-pc-windows-gnu beside Wine 9 or newer and the mingw-w64 linker",
            )?;
            How::Debian
        };
        let this = Self { how, _lock: Some(lock()?) };
        this.boot()?;
        Ok(this)
    }

    /// Whether this is not Windows itself.
    pub(crate) fn is_emulated(&self) -> bool {
        self.how != How::Native
    }

    /// Runs cargo for the Win32 target.
    pub(crate) fn cargo(&self, title: &str, arguments: &[&str]) -> Result<(), Failed> {
        self.cargo_with(title, arguments, &[])
    }

    /// The same with variables of the environment.
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

    /// Builds the documentation of the API as Windows has it; a warning is an error.
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

    /// Checks the types for other Windows targets, where no linker is needed.
    pub(crate) fn check(&self, targets: &[&str]) -> Result<(), Failed> {
        for target in targets {
            let mut command = self.cargo_command();
            command.args([
                "check",
                "--quiet",
                "--package",
                "handover",
                "--package",
                "handover-cli",
                "--package",
                "exercises",
                "--target",
                target,
            ]);
            match self.how {
                How::Debian => {
                    command.arg("-Zbuild-std");
                }
                How::Native | How::Rustup => {
                    let mut add = Command::new("rustup");
                    add.args(["target", "add", target]);
                    Step::new("a target to check", &mut add).run()?;
                }
            }
            Step::new("type check", &mut command).run()?;
        }
        Ok(())
    }

    /// Runs a program that was built for Win32, with the terminal as its own.
    pub(crate) fn program(&self, profile: &str, name: &str, arguments: &[&str]) -> Result<(), Failed> {
        let path = self.target_folder().join(profile).join(name).with_extension("exe");
        let mut command = match self.how {
            How::Native => Command::new(path),
            How::Rustup | How::Debian => {
                let mut wine = Command::new("wine");
                wine.arg(path).envs(wine_environment());
                wine
            }
        };
        command.args(arguments);
        let status = Step::new(name, &mut command).run_quietly()?;
        if status.success() { Ok(()) } else { Err(Failed(format!("{name} failed ({status})"))) }
    }

    fn cargo_command(&self) -> Command {
        match self.how {
            How::Native => Command::new("cargo"),
            How::Rustup => {
                let mut cargo = Command::new("cargo");
                cargo.env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine");
                cargo.env("CARGO_TARGET_DIR", build_folder()).envs(wine_environment());
                cargo
            }
            How::Debian => {
                let mut cargo = Command::new("/usr/bin/cargo");
                // rustup's proxies come first on many a PATH, and what they pass on would name the wrong compiler.
                let path = std::env::var_os("PATH").unwrap_or_default();
                let paths = std::iter::once(PathBuf::from("/usr/bin")).chain(std::env::split_paths(&path));
                if let Ok(path) = std::env::join_paths(paths) {
                    cargo.env("PATH", path);
                }
                for key in
                    ["CARGO", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME"]
                {
                    cargo.env_remove(key);
                }
                cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTDOC", "/usr/bin/rustdoc");
                cargo.env("RUSTC_BOOTSTRAP", "1");
                cargo.env("CARGO_TARGET_X86_64_WIN7_WINDOWS_GNU_RUNNER", "wine");
                // Older versions of the windows crate, which the benchmark's peers need, have no import library for
                // this target's name, and can do without one.
                cargo.env("CARGO_TARGET_X86_64_WIN7_WINDOWS_GNU_RUSTFLAGS", "--cfg windows_raw_dylib");
                cargo.env("CARGO_TARGET_DIR", build_folder()).envs(wine_environment());
                cargo
            }
        }
    }

    fn target_arguments(&self) -> &'static [&'static str] {
        match self.how {
            How::Native => &[],
            How::Rustup => &["--target", "x86_64-pc-windows-gnu"],
            How::Debian => &["-Zbuild-std=std,panic_unwind", "--target", "x86_64-win7-windows-gnu"],
        }
    }

    fn target_folder(&self) -> PathBuf {
        match self.how {
            How::Native => crate::root().join("target"),
            How::Rustup => build_folder().join("x86_64-pc-windows-gnu"),
            How::Debian => build_folder().join("x86_64-win7-windows-gnu"),
        }
    }

    /// Makes the emulated Windows, the first time, and starts it: for all programs of this command, so that none of
    /// them runs beside the start of another's.
    fn boot(&self) -> Result<(), Failed> {
        let is_there = prefix().join("system.reg").exists();
        std::fs::create_dir_all(prefix())
            .map_err(|error| Failed(format!("{}: {error}", prefix().display())))?;
        let mut server = Command::new("wineserver");
        server.arg("--persistent").envs(wine_environment()).stdin(Stdio::null());
        Step::new("Wine's server", &mut server).within(START_OF_WINE).run_quietly()?;
        let mut boot = Command::new("wineboot");
        boot.arg("--init").envs(wine_environment()).stdin(Stdio::null()).stdout(Stdio::null());
        let step = Step::new("a Windows of the project's own, for Wine", &mut boot).within(START_OF_WINE);
        if is_there { step.run_quietly().map(drop) } else { step.run() }
    }
}

impl Drop for Win32 {
    /// Ends what Wine leaves running, for the project's prefix only.
    fn drop(&mut self) {
        if self.is_emulated() {
            // A server that has gone by itself makes this fail, which is as good.
            let _ =
                Command::new("wineserver").arg("-k").envs(wine_environment()).stderr(Stdio::null()).status();
        }
    }
}

/// Waits until no other command of the project's runs Win32 programs on this machine.
fn lock() -> Result<File, Failed> {
    let path = crate::root().join("target").join("wine.lock");
    let failed = |error| Failed(format!("{}: {error}", path.display()));
    let file = File::create(&path).map_err(failed)?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another cargo xtask to end");
        file.lock().map_err(failed)?;
    }
    Ok(file)
}

/// Apart from the native build's: the two compilers must not rebuild over each other.
fn build_folder() -> PathBuf {
    crate::root().join("target").join("win32")
}

fn prefix() -> PathBuf {
    crate::root().join("target").join("wine")
}

fn wine_environment() -> [(&'static str, PathBuf); 3] {
    [
        ("WINEPREFIX", prefix()),
        ("WINEDEBUG", "-all".into()),
        // .NET and HTML engines: not used, and asked for in a window when missing.
        ("WINEDLLOVERRIDES", "mscoree,mshtml=".into()),
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
