//! `cargo xtask linux`: builds and tests the library for another C library or another processor than this machine's.
//!
//! Debian's Rust builds std from source for the target, as for Windows (`win32.rs`), and Debian's C compilers link.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::ValueEnum;

use crate::debian::{self, Need};
use crate::step::{Failed, Step};

const RUST: [Need; 3] = [
    ("rustc-web", "a rustc with the source of std, which is built for each target"),
    ("cargo-web", "the cargo of rustc-web"),
    ("rust-web-src", "the source of std"),
];

/// A Linux other than this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Machine {
    /// 64-bit x86 with the C library musl, linked statically
    Musl,
    /// 32-bit x86
    I686,
    /// 64-bit ARM, emulated
    Aarch64,
    /// 32-bit ARM with hardware floating point, emulated
    Armhf,
}

impl Machine {
    const ALL: [Self; 4] = [Self::Musl, Self::I686, Self::Aarch64, Self::Armhf];

    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Musl => "x86_64-unknown-linux-musl",
            Self::I686 => "i686-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
            Self::Armhf => "armv7-unknown-linux-gnueabihf",
        }
    }

    /// Returns the C compiler, which links.
    fn linker(self) -> &'static str {
        match self {
            Self::Musl => "musl-gcc",
            Self::I686 => "i686-linux-gnu-gcc",
            Self::Aarch64 => "aarch64-linux-gnu-gcc",
            Self::Armhf => "arm-linux-gnueabihf-gcc",
        }
    }

    fn emulator(self) -> Option<Emulator> {
        match self {
            Self::Musl | Self::I686 => None,
            Self::Aarch64 => Some(Emulator { path: "/usr/bin/qemu-aarch64", class: 2, processor: 0xb7 }),
            Self::Armhf => Some(Emulator { path: "/usr/bin/qemu-arm", class: 1, processor: 0x28 }),
        }
    }

    fn needs(self) -> &'static [Need] {
        match self {
            Self::Musl => &[("musl-tools", "the C library musl")],
            Self::I686 => &[
                ("gcc-i686-linux-gnu", "the C compiler for 32-bit x86"),
                ("libc6-dev-i386-cross", "the C library to link with"),
                ("libc6-i386", "the C library, with which the tests run"),
                ("lib32gcc-s1", "unwinds the tests' stacks"),
            ],
            Self::Aarch64 => &[
                ("gcc-aarch64-linux-gnu", "the C compiler for 64-bit ARM"),
                ("libc6-dev-arm64-cross", "the C library to link with"),
                ("qemu-user", "runs the programs"),
            ],
            Self::Armhf => &[
                ("gcc-arm-linux-gnueabihf", "the C compiler for 32-bit ARM"),
                ("libc6-dev-armhf-cross", "the C library to link with"),
                ("qemu-user", "runs the programs"),
            ],
        }
    }
}

/// The test programs that run in an emulator beside the library's unit tests. The emulator lacks ptrace(2), and the
/// system-specific tests and the sweeps take too long in it.
pub(crate) const EMULATED: [&str; 13] = [
    "adoption",
    "builder",
    "channel",
    "disconnect",
    "duplicate_from",
    "inheritance",
    "lifetime",
    "listener",
    "naming",
    "objects",
    "protocol_violations",
    "tables",
    "waiting",
];

/// Tests of those programs that can't succeed in QEMU 7.2. It lacks preadv2(2), with which a wait takes an auto-reset
/// event, a semaphore or a timer. A failed start of a program isn't reported to std's `Command`. Sixteen megabytes take
/// too long.
pub(crate) const NOT_EMULATED: [&str; 15] = [
    "cancelled_timer_stops_and_keeps_its_state",
    "child_inherits_a_thousand_objects",
    "std_program_works_with_changed_import",
    "bytes_of_each_length_arrive",
    "duplicate_from_copies_object_and_leaves_original_open",
    "race_free_child_gets_listed_objects",
    "each_kind_travels_by_each_strategy",
    "semaphore_counts",
    "semaphore_excludes_two_processes",
    "timer_expires",
    "events_reset_manually_or_by_one_waiter",
    "wait_any_accepts_all_kinds",
    "wait_any_returns_and_takes_one_object",
    "wait_any_returns_when_another_thread_signals",
    "wait_any_accepts_many_objects",
];

/// Builds and tests for these machines, with these arguments for `cargo test`, such as `--test channel`.
pub(crate) fn linux(machine: Option<Machine>, arguments: &[&str]) -> Result<(), Failed> {
    debian::check_machine()?;
    let machines = machine.map_or(Machine::ALL.to_vec(), |machine| vec![machine]);
    let mut failures = Vec::new();
    for machine in machines {
        if let Err(Failed(reason)) = test(machine, arguments) {
            failures.push(reason);
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failed(failures.join("\n"))) }
}

fn test(machine: Machine, arguments: &[&str]) -> Result<(), Failed> {
    let mut test = ready(machine)?;
    test.args(["test", "--no-fail-fast"]).args(target_arguments(machine));
    test.args(["--package", "handover", "--package", "handover-tests"]).args(arguments);
    let mut test = match machine.emulator() {
        None => test,
        Some(emulator) => {
            if arguments.is_empty() {
                test.arg("--lib").args(EMULATED.iter().flat_map(|program| ["--test", program]));
                test.arg("--").args(NOT_EMULATED.iter().flat_map(|test| ["--skip", test]));
            }
            emulated(&test, &emulator)?
        }
    };
    Step::new(&format!("test for {}", machine.target()), &mut test).run()
}

/// Returns the command so that it and its children can execute an emulator's programs.
///
/// The kernel starts the emulator for them (`binfmt_misc`), because tests start programs too. It does so only in a user
/// namespace of the command, so nothing changes for other processes of the machine.
fn emulated(command: &Command, emulator: &Emulator) -> Result<Command, Failed> {
    const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];
    const REGISTER: &str = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && \
        echo \"$0\" > /proc/sys/fs/binfmt_misc/register && exec \"$@\"";
    let format = emulator.format();
    let isolated = |words: &[&str]| {
        let mut isolated = Command::new("unshare");
        isolated.args(NAMESPACE).args(["sh", "-c", REGISTER, &format]).args(words);
        isolated
    };
    if !isolated(&["true"]).status().is_ok_and(|status| status.success()) {
        return Err(Failed(
            "cannot register the emulator in a user namespace, which needs Linux 6.7 or newer, with binfmt_misc".into(),
        ));
    }
    let mut isolated = isolated(&[]);
    isolated.arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => isolated.env(key, value),
            None => isolated.env_remove(key),
        };
    }
    Ok(isolated)
}

/// An emulator, and the part of a program's first bytes that says that the program is for its processor.
#[derive(Debug)]
struct Emulator {
    path: &'static str,
    /// The class of the file: 1 for 32 bits, 2 for 64.
    class: u8,
    processor: u8,
}

impl Emulator {
    /// Returns the line that registers the emulator for executable files of its processor.
    fn format(&self) -> String {
        let Self { path, class, processor } = self;
        let zeros = r"\x00".repeat(9);
        let magic = format!(r"\x7fELF\x{class:02x}\x01\x01{zeros}\x02\x00\x{processor:02x}\x00");
        // The eighth byte names the system. The type of a file that can be moved in memory is 3 instead of 2.
        let all = |count| r"\xff".repeat(count);
        let mask = format!(r"{}\x00{}\xfe{}", all(7), all(8), all(3));
        format!(":handover:M::{magic}:{mask}:{path}:PF")
    }
}

/// Installs the packages that a machine's programs need, and returns a cargo that can build them.
pub(crate) fn ready(machine: Machine) -> Result<Command, Failed> {
    let needs = [RUST.as_slice(), machine.needs()].concat();
    debian::install(
        &format!("This command builds programs for {}.", machine.target()),
        &needs,
        "run this command on Debian",
    )?;
    let mut cargo = cargo();
    let variable =
        |name: &str| format!("CARGO_TARGET_{}_{name}", machine.target().to_uppercase().replace('-', "_"));
    cargo.env(variable("LINKER"), machine.linker());
    let flags = match machine {
        Machine::Musl => {
            format!("{STATIC} -C link-self-contained=no -L native={}", unwinder_of_musl()?.display())
        }
        // An emulated program would look for its libraries in this machine's folders.
        Machine::Aarch64 | Machine::Armhf => STATIC.into(),
        Machine::I686 => String::new(),
    };
    // The second variable is for the examples in the documentation, which rustdoc links.
    cargo.env(variable("RUSTFLAGS"), &flags).env(variable("RUSTDOCFLAGS"), &flags);
    Ok(cargo)
}

/// Flags that link all libraries into the programs.
const STATIC: &str = "-C target-feature=+crt-static -C relocation-model=static";

pub(crate) fn target_arguments(machine: Machine) -> [&'static str; 3] {
    ["-Zbuild-std=std,panic_unwind", "--target", machine.target()]
}

fn cargo() -> Command {
    let mut cargo = debian::cargo();
    cargo.env("CARGO_TARGET_DIR", build_folder());
    cargo
}

/// The build folder of all these targets, apart from that of the native compiler.
pub(crate) fn build_folder() -> PathBuf {
    crate::root().join("target").join("linux")
}

/// Creates a folder with a library `unwind`, which std links statically for musl. Debian has none for musl, but GCC's
/// own has the same functions. It was built for glibc, so `musl_unwind.c` adds the rest.
fn unwinder_of_musl() -> Result<PathBuf, Failed> {
    let folder = build_folder().join("musl-libraries");
    fs::create_dir_all(&folder).map_err(Failed::at(&folder))?;
    let mut compile = Command::new("musl-gcc");
    compile.args(["-O2", "-c", "xtask/src/musl_unwind.c", "-o"]).arg(folder.join("musl_unwind.o"));
    Step::new("compile for musl", &mut compile).run()?;
    let library = folder.join("libunwind.a");
    fs::write(&library, "INPUT(musl_unwind.o -lgcc_eh -lc)\n").map_err(Failed::at(&library))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_registered_for_its_processor_alone() {
        let format = Emulator { path: "/usr/bin/qemu-arm", class: 1, processor: 0x28 }.format();
        let zeros = r"\x00".repeat(9);
        let magic = format!(r"\x7fELF\x01\x01\x01{zeros}\x02\x00\x28\x00");
        let mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";
        assert_eq!(format, format!(":handover:M::{magic}:{mask}:/usr/bin/qemu-arm:PF"));
    }
}
