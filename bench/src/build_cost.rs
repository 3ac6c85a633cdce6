//! Measures what it costs to depend on a crate: its number of dependencies, the time of a clean build, and the size of
//! a minimal program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Outcome;
use crate::measure::{Bench, Way, in_turn, median, ratio, timed};
use crate::results::{Ratio, Unit};

const TABLE: &str = "weight";
/// The number of clean builds of each crate. One of each already takes minutes.
const BUILDS: usize = 1;

/// The program that uses a channel. It differs from the first one only in its size.
const CHANNEL: &str = "handover, a channel";

/// A crate, and a minimal program that uses it.
struct Subject {
    name: &'static str,
    package: &'static str,
    /// The dependency as in a `Cargo.toml`. `ROOT` stands for the path of this workspace, and nothing for what it says itself.
    dependency: &'static str,
    /// The only system that the crate supports; `None` for a portable crate.
    system: Option<&'static str>,
    program: &'static str,
}

const SUBJECTS: [Subject; 8] = [
    Subject {
        name: "handover",
        package: "handover",
        dependency: "{ path = \"ROOT/crates/handover\" }",
        system: None,
        program: "let event = handover::Event::manual_reset().unwrap();
            handover::Command::new(\"true\").inherit(\"event\", &event).spawn().unwrap();",
    },
    Subject {
        name: CHANNEL,
        package: "handover",
        dependency: "{ path = \"ROOT/crates/handover\" }",
        system: None,
        program: "let (channel, _other) = handover::Channel::pair().unwrap();
            let memory = handover::SharedMemory::new(64).unwrap();
            channel.send(handover::Message::new(b\"\").with(\"memory\", &memory)).unwrap();",
    },
    Subject {
        name: "rustix alone",
        package: "rustix",
        dependency: "",
        system: Some("linux"),
        program: "println!(\"{:?}\", rustix::process::getpid());",
    },
    Subject {
        name: "command-fds",
        package: "command-fds",
        dependency: "\"0.3\"",
        system: Some("linux"),
        program: "use command_fds::CommandFdExt;
            let file = std::fs::File::open(\"/dev/null\").unwrap();
            std::process::Command::new(\"true\").preserved_fds(vec![file.into()]).spawn().unwrap();",
    },
    Subject {
        name: "windows-spawn",
        package: "windows-spawn",
        dependency: "\"0.1\"",
        system: Some("windows"),
        program: "let file = std::fs::File::open(\"nul\").unwrap();
            windows_spawn::Command::new(\"true\").arg_handle(&file).unwrap().spawn().unwrap();",
    },
    Subject {
        name: "sendfd",
        package: "sendfd",
        dependency: "\"0.4\"",
        system: Some("linux"),
        program: "use sendfd::SendWithFd;
            let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
            socket.send_with_fd(b\"go\", &[0]).unwrap();",
    },
    Subject {
        name: "ipmb",
        package: "ipmb",
        dependency: "\"0.8\"",
        system: None,
        program: "let options = ipmb::Options::new(\"bus\", ipmb::label!(\"one\"), \"\");
            let (sender, _receiver) = ipmb::join::<String, String>(options, None).unwrap();
            sender.send(ipmb::Message::new(ipmb::Selector::unicast(\"two\"), String::new())).unwrap();",
    },
    Subject {
        name: "ipc-channel",
        package: "ipc-channel",
        dependency: "\"0.23\"",
        system: None,
        program: "use ipc_channel::ipc;
            let (sender, _receiver) = ipc::channel::<Vec<ipc::IpcSharedMemory>>().unwrap();
            sender.send(vec![ipc::IpcSharedMemory::from_byte(1, 64)]).unwrap();",
    },
];

impl Subject {
    fn supports(&self, system: &str) -> bool {
        self.system.is_none_or(|only| only == system)
    }

    fn unsupported_reason(&self) -> String {
        format!("{} only", self.system.map_or("all", display_name))
    }
}

fn display_name(system: &str) -> &str {
    if system == "windows" { "Windows" } else { "Linux" }
}

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    let root = std::env::current_dir()?;
    let version = Command::new("cargo").arg("--version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) || !root.join("crates/handover").is_dir() {
        // Wine has no cargo.
        bench.push(TABLE, "all", "handover", Unit::Count, Err("the native run measures both systems".into()));
        return Ok(());
    }
    if bench.effort.is_quick {
        let result = count_dependencies(&root, "handover", None)?;
        bench.push(TABLE, "dependencies", "handover", Unit::Count, Ok((result as f64, None)));
        return Ok(());
    }
    let folders: Vec<PathBuf> =
        SUBJECTS.iter().map(|subject| create_package(&root, subject)).collect::<Outcome<_>>()?;
    measure_dependencies(bench, &folders)?;
    measure_builds(bench, &folders)?;
    measure_sizes(bench, &root, &folders)
}

/// Creates the package of a subject, outside of the workspace.
fn create_package(root: &Path, subject: &Subject) -> Outcome<PathBuf> {
    let folder = root.join("target/weight").join(subject.name.replace(", ", "-").replace(' ', "-"));
    std::fs::create_dir_all(folder.join("src"))?;
    let root_text = root.display().to_string().replace('\\', "/");
    let dependency = match subject.dependency {
        "" => dependency_of_workspace(root, subject.package)?,
        dependency => dependency.replace("ROOT", &root_text),
    };
    let manifest = format!(
        "[package]\nname = \"smallest\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{} = {dependency}\n\
         [profile.release]\nstrip = true\n",
        subject.package
    );
    std::fs::write(folder.join("Cargo.toml"), manifest)?;
    std::fs::write(folder.join("src/main.rs"), format!("fn main() {{\n{}\n}}\n", subject.program))?;
    Ok(folder)
}

/// Returns how the workspace depends on a package, with its version and features.
fn dependency_of_workspace(root: &Path, package: &str) -> Outcome<String> {
    let manifest = std::fs::read_to_string(root.join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix(" = "));
    Ok(line.ok_or_else(|| format!("the workspace doesn't depend on {package}"))?.to_owned())
}

fn cargo(folder: &Path, arguments: &[&str]) -> Outcome<String> {
    let mut command = Command::new("cargo");
    let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(format!("cargo {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Counts the crates that are built for a package, without the package itself.
fn count_dependencies(folder: &Path, package: &str, target: Option<&str>) -> Outcome<usize> {
    let mut arguments = vec!["tree", "--package", package, "--edges", "normal,build", "--prefix", "none"];
    arguments.extend(target.map(|target| ["--target", target]).into_iter().flatten());
    let tree = cargo(folder, &arguments)?;
    let unique: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split(" (").next()).map(str::trim).collect();
    Ok(unique.len() - 1)
}

fn measure_dependencies(bench: &mut Bench, folders: &[PathBuf]) -> Outcome {
    for (system, target) in [("linux", "x86_64-unknown-linux-gnu"), ("windows", "x86_64-pc-windows-gnu")] {
        let x = format!("dependencies on {}", display_name(system));
        let mut ours = None;
        for (subject, folder) in SUBJECTS.iter().zip(folders) {
            eprintln!("   … {x}: {}", subject.name);
            let result = if subject.supports(system) {
                let count = count_dependencies(folder, subject.package, Some(target))? as f64;
                let base = *ours.get_or_insert(count);
                Ok((count, Some(Ratio::exact(count / base))))
            } else {
                Err(subject.unsupported_reason())
            };
            bench.push(TABLE, &x, subject.name, Unit::Count, result);
        }
    }
    Ok(())
}

fn measure_builds(bench: &mut Bench, folders: &[PathBuf]) -> Outcome {
    const X: &str = "clean release build";
    let mut effort = bench.effort;
    (effort.fewest, effort.most) = (BUILDS, BUILDS);
    let ways = SUBJECTS.iter().zip(folders).map(|(subject, folder)| {
        if !subject.supports(std::env::consts::OS) {
            return Way::missing(subject.name, subject.unsupported_reason());
        }
        if subject.name == CHANNEL {
            return Way::missing(subject.name, "as handover");
        }
        Way::new(subject.name, move || build(subject.package, folder))
    });
    let (names, times) = in_turn(effort, ways.collect())?;
    let base = times[0].clone()?;
    for (name, times) in names.iter().zip(times) {
        let result = times.map(|times| (median(times.clone()), Some(ratio(&times, &base))));
        bench.push(TABLE, X, name, Unit::Seconds, result);
    }
    Ok(())
}

/// Builds a package after deleting its target folder. The sources of its dependencies are downloaded before.
fn build(package: &str, folder: &Path) -> Outcome<Duration> {
    eprintln!("   … clean release build: {package}");
    cargo(folder, &["fetch", "--quiet"])?;
    match std::fs::remove_dir_all(folder.join("target")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let build =
        ["build", "--quiet", "--release", "--offline", "--target-dir", "target", "--package", package];
    Ok(timed(|| cargo(folder, &build))?.0)
}

fn measure_sizes(bench: &mut Bench, root: &Path, folders: &[PathBuf]) -> Outcome {
    const X: &str = "smallest program, minus an empty program";
    let nothing =
        Subject { name: "nothing", package: "nothing", dependency: "{}", system: None, program: "" };
    let folder = root.join("target/weight/nothing");
    create_package(root, &nothing)?;
    std::fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"smallest\"\nedition = \"2024\"\n[workspace]\n[profile.release]\nstrip = true\n",
    )?;
    let empty = program_size(&folder)?;
    let mut ours = None;
    for (subject, folder) in SUBJECTS.iter().zip(folders) {
        eprintln!("   … smallest program: {}", subject.name);
        let result = if subject.supports(std::env::consts::OS) {
            let beyond = program_size(folder)?.saturating_sub(empty) as f64;
            let base = *ours.get_or_insert(beyond);
            Ok((beyond, Some(Ratio::exact(beyond / base))))
        } else {
            Err(subject.unsupported_reason())
        };
        bench.push(TABLE, X, subject.name, Unit::Bytes, result);
    }
    Ok(())
}

fn program_size(folder: &Path) -> Outcome<u64> {
    cargo(folder, &["build", "--quiet", "--release", "--target-dir", "target"])?;
    let program = folder.join("target/release/smallest").with_extension(std::env::consts::EXE_EXTENSION);
    Ok(std::fs::metadata(program)?.len())
}
