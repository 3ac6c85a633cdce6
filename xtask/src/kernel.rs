//! `cargo xtask kernel`: runs tests on older Linux kernels, in a virtual machine.
//!
//! The kernels are those of Debian's releases. The machine's root is an archive with `BusyBox` and the test programs,
//! which are linked statically with musl. Its first process runs them, prints their output to the serial port and
//! powers the machine off.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;

use crate::debian::{self, Need, Release};
use crate::linux::{self, Machine};
use crate::step::{Failed, Step};

const NEEDS: [Need; 3] = [
    ("qemu-system-x86", "runs the virtual machine"),
    ("busybox-static", "the shell and the commands in the virtual machine"),
    ("cpio", "packs the root of the virtual machine"),
];

/// The time limit for a virtual machine. Without support by the processor, it is much slower than this machine.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// A kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kernel {
    /// Linux 6.1
    #[value(name = "6.1")]
    Bookworms,
    /// Linux 5.10, the oldest on which the library works
    #[value(name = "5.10")]
    Bullseyes,
}

impl Kernel {
    const ALL: [Self; 2] = [Self::Bookworms, Self::Bullseyes];

    fn version(self) -> &'static str {
        match self {
            Self::Bookworms => "6.1",
            Self::Bullseyes => "5.10",
        }
    }

    /// Returns the release of Debian that has this kernel.
    fn release(self) -> &'static str {
        match self {
            Self::Bookworms => "bookworm",
            Self::Bullseyes => "bullseye",
        }
    }
}

/// The test programs that run on these kernels beside those that run in each emulator. The others take too long
/// without hardware support.
const MORE_PROGRAMS: [&str; 4] = ["handover", "audit", "os", "tracing"];

fn programs() -> impl Iterator<Item = &'static str> {
    MORE_PROGRAMS.into_iter().chain(linux::EMULATED)
}

/// Tests of those programs that are left out, by a part of their names, because they take too long: they send megabytes
/// or thousands of messages, start processes as fast as they can, or make each system call of a scenario fail in turn.
pub(crate) const SKIPPED: [&str; 6] = [
    "bytes_of_each_length_arrive",
    "large_messages",
    "ten_thousand",
    "no_signal_handler_runs_in_new_process",
    "never_mix_them",
    "each_failing_call",
];

/// Arguments for each test program. Two tests at once would miss their deadlines.
const ARGUMENTS: &str = "--color never --test-threads 1";

/// The line that the first process prints before it powers off.
const FINISHED: &str = "handover: all programs have exited";

/// Runs tests on these kernels.
pub(crate) fn kernel(kernel: Option<Kernel>) -> Result<(), Failed> {
    debian::check_machine()?;
    debian::install("This command runs a virtual machine.", &NEEDS, "run this command on Debian")?;
    let built =
        build(&["test", "--no-run", "--tests", "--package", "handover", "--package", "handover-tests"])?;
    let skipped = SKIPPED.iter().map(|test| format!(" --skip {test}")).collect::<String>();
    let mut script = String::new();
    let mut files = Vec::new();
    for name in programs() {
        let program = built.executable(name)?;
        // Writing to a string can't fail.
        let _ = writeln!(script, "run {} {ARGUMENTS}{skipped}", program.display());
        files.push(program);
    }
    files.extend(built.foreign.iter().cloned());
    for kernel in kernel.map_or(Kernel::ALL.to_vec(), |kernel| vec![kernel]) {
        let folder = crate::root().join("target").join("kernel").join(kernel.version());
        fs::create_dir_all(&folder).map_err(Failed::at(&folder))?;
        let (image, root) = (image(kernel, &folder)?, folder.join("root"));
        let output = run(kernel, &image, &root, &files, &script)?;
        check(kernel, &output)?;
    }
    Ok(())
}

/// Returns the path of a kernel's image, downloaded and unpacked.
fn image(kernel: Kernel, folder: &Path) -> Result<PathBuf, Failed> {
    let unpacked = folder.join("package");
    if !unpacked.exists() {
        let release = Release::ready(kernel.release(), &folder.join("release"))?;
        // This package depends on the newest kernel's.
        let package = release.dependency("linux-image-amd64", "linux-image-")?;
        release.unpack(&package, &unpacked)?;
    }
    let boot = unpacked.join("boot");
    let files = fs::read_dir(&boot).map_err(Failed::at(&boot))?;
    let is_image =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
    let image = files.flatten().map(|entry| entry.path()).find(is_image);
    image.ok_or_else(|| Failed(format!("{}: there is no kernel", boot.display())))
}

/// The programs that cargo has built.
#[derive(Debug)]
struct Built {
    executables: Vec<PathBuf>,
    /// The C programs that tests start.
    foreign: Vec<PathBuf>,
}

impl Built {
    /// Returns the program of this name, which cargo may have lengthened by a hash.
    fn executable(&self, name: &str) -> Result<PathBuf, Failed> {
        let is_it = |path: &&PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file == name
                || file.rsplit_once('-').is_some_and(|(start, hash)| start == name && hash.len() == 16)
        };
        let found = self.executables.iter().find(is_it);
        found.cloned().ok_or_else(|| Failed(format!("cargo has not built {name}")))
    }
}

/// Builds programs for musl.
fn build(arguments: &[&str]) -> Result<Built, Failed> {
    let machine = Machine::Musl;
    let messages = linux::build_folder().join("messages.json");
    let mut cargo = linux::ready(machine)?;
    cargo
        .args(arguments)
        .args(linux::target_arguments(machine))
        .arg("--message-format=json-render-diagnostics");
    cargo.stdout(fs::File::create(&messages).map_err(Failed::at(&messages))?);
    Step::new("build for the virtual machine", &mut cargo).run()?;
    let text = fs::read_to_string(&messages).map_err(Failed::at(&messages))?;
    let executables = text.lines().filter_map(|line| value(line, "executable")).map(PathBuf::from).collect();
    let mut foreign = Vec::new();
    for folder in
        text.lines().filter(|line| line.contains("handover-tests")).filter_map(|line| value(line, "out_dir"))
    {
        let files = fs::read_dir(&folder).map_err(Failed::at(folder.as_ref()))?;
        let files = files.flatten().map(|entry| entry.path());
        // Sources have an extension, and programs have none.
        foreign.extend(files.filter(|path| path.extension().is_none()));
    }
    Ok(Built { executables, foreign })
}

/// Returns the text with this key in one of cargo's messages, which are lines of JSON. Paths with quotes aren't
/// supported.
fn value(message: &str, key: &str) -> Option<String> {
    let (_, rest) = message.split_once(&format!("\"{key}\":\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// Runs programs in a virtual machine and returns what it prints.
fn run(kernel: Kernel, image: &Path, root: &Path, files: &[PathBuf], script: &str) -> Result<String, Failed> {
    pack(root, files, script)?;
    let log = root.with_extension("log");
    let mut machine = Command::new("qemu-system-x86_64");
    machine.args([
        "-accel",
        if can_virtualize() { "kvm" } else { "tcg" },
        "-smp",
        "2",
        "-m",
        "2048",
        "-nodefaults",
        "-no-reboot",
    ]);
    machine.args(["-display", "none", "-append", "console=ttyS0 quiet panic=-1"]).arg("-kernel").arg(image);
    machine.arg("-initrd").arg(root.with_extension("cpio"));
    machine.arg("-chardev").arg(format!("stdio,id=serial,signal=off,logfile={}", log.display()));
    machine.args(["-serial", "chardev:serial"]).stdin(Stdio::null());
    Step::new(&format!("Linux {}", kernel.version()), &mut machine).within(LIMIT).run()?;
    let output = fs::read(&log).map_err(Failed::at(&log))?;
    Ok(String::from_utf8_lossy(&output).replace('\r', ""))
}

/// Returns whether this machine's processor can run a virtual machine. The device alone doesn't say so: it also exists
/// in virtual machines in which the kernel stops at once.
fn can_virtualize() -> bool {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_flag = processor.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    has_flag && fs::File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Packs the files, and a first process that runs this script, as the root of a virtual machine.
fn pack(root: &Path, files: &[PathBuf], script: &str) -> Result<(), Failed> {
    if root.exists() {
        fs::remove_dir_all(root).map_err(Failed::at(root))?;
    }
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(root))
            .and_then(|()| fs::write(&path, text))
            .map_err(Failed::at(&path))
    };
    write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")?;
    write("etc/group", "root:x:0:\nnogroup:x:65534:\n")?;
    write("etc/shadow", "root:*:1:0:99999:7:::\n")?;
    write("init", &format!("{INIT}{script}echo '{FINISHED}'\npoweroff -f\n"))?;
    let mut prepare = Command::new("sh");
    prepare.args(["-e", "-c", PREPARE]).arg(root).args(files);
    Step::new("pack the programs", &mut prepare).run()
}

/// The beginning of the first process. A program's name is printed before its output, and its exit code behind it.
const INIT: &str = "#!/bin/busybox sh
export PATH=/bin HOME=/root PROPTEST_CASES=16
busybox mkdir -p /proc /sys /dev /tmp /run /root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=1777 shm /dev/shm
ip link set lo up
chmod 600 /etc/shadow
ulimit -n 8192
echo \"handover: Linux $(uname -r)\"
run() {
    echo \"handover: $*\"
    \"$@\" < /dev/null 2>&1
    echo \"handover: exit code $?\"
}
";

/// Copies the files without debug information to the folder `$0`, under their own paths, adds `BusyBox`, and packs
/// them.
const PREPARE: &str = "
chmod 755 \"$0\"/init
mkdir -p \"$0\"/bin
cp /bin/busybox \"$0\"/bin
for name in $(busybox --list); do [ $name = busybox ] || ln \"$0\"/bin/busybox \"$0\"/bin/$name; done
for file; do
    mkdir -p \"$0$(dirname \"$file\")\"
    strip -o \"$0$file\" \"$file\"
done
cd \"$0\"
find . | cpio --quiet -o -H newc > \"$0\".cpio
";

/// Fails unless the output has the results that are expected on this kernel.
fn check(kernel: Kernel, output: &str) -> Result<(), Failed> {
    let wrong = |reason: String| Err(Failed(format!("Linux {}: {reason}", kernel.version())));
    if !output.contains(FINISHED) {
        return wrong("the virtual machine stopped before all programs had exited".into());
    }
    let booted = output.lines().find_map(|line| line.strip_prefix("handover: Linux "));
    if !booted.is_some_and(|version| version.starts_with(&format!("{}.", kernel.version()))) {
        return wrong(format!("another kernel was started: {booted:?}"));
    }
    let codes: Vec<&str> =
        output.lines().filter_map(|line| line.strip_prefix("handover: exit code ")).collect();
    let (passed, failed) = counts(output);
    println!("\nLinux {}: {passed} tests passed, {failed} failed", kernel.version());
    let is_well = failed == 0 && passed > 0 && codes == vec!["0"; programs().count()];
    if is_well { Ok(()) } else { wrong(format!("tests failed; the exit codes are {codes:?}")) }
}

/// Returns the numbers of passed and failed tests of all programs.
fn counts(output: &str) -> (usize, usize) {
    let mut sum = (0, 0);
    for line in output.lines().filter(|line| line.starts_with("test result: ")) {
        let number = |what: &str| {
            let words: Vec<&str> = line.split([' ', ';', '.']).collect();
            words
                .windows(2)
                .find(|pair| pair[1] == what)
                .and_then(|pair| pair[0].parse::<usize>().ok())
                .unwrap_or(0)
        };
        sum.0 += number("passed");
        sum.1 += number("failed");
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(version: &str, rest: &str) -> String {
        format!("handover: Linux {version}-amd64\n{rest}{FINISHED}\n")
    }

    #[test]
    fn results_of_all_programs_are_added() {
        let line = |passed, failed| {
            format!("test result: ok. {passed} passed; {failed} failed; 0 ignored; 2 filtered out\n")
        };
        assert_eq!(counts(&format!("{}running\n{}", line(3, 0), line(20, 4))), (23, 4));
    }

    #[test]
    fn failures_are_reported() {
        let well =
            "handover: exit code 0\n".repeat(programs().count()) + "test result: ok. 1 passed; 0 failed;\n";
        assert!(check(Kernel::Bookworms, &output("6.1.0-1", &well)).is_ok());
        for (wrong, reason) in [
            (output("6.1.0-1", &well.replacen("code 0", "code 101", 1)), "101"),
            (output("6.1.0-1", &well.replace("0 failed", "1 failed")), "tests failed"),
            (output("6.12.0", &well), "another kernel"),
            (well.clone(), "stopped"),
        ] {
            let Failed(text) = check(Kernel::Bookworms, &wrong).expect_err("it is wrong");
            assert!(text.contains(reason), "{text}");
        }
    }

    #[test]
    fn paths_are_found_in_the_messages_of_cargo() {
        let message = r#"{"reason":"compiler-artifact","executable":"/a/b-0","fresh":true}"#;
        assert_eq!(value(message, "executable").as_deref(), Some("/a/b-0"));
        assert_eq!(value(&message.replace("\"/a/b-0\"", "null"), "executable"), None);
    }
}
