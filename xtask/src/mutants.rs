//! `cargo xtask mutants`: cargo-mutants breaks what has changed in the library, and sees whether a test fails.

use std::process::Command;

use crate::debian::succeeds;
use crate::step::{Failed, Step};
use crate::tools::Tool;
use crate::{native, win32};

/// The folder of the library's source: only what is in it is broken.
const LIBRARY: &str = "crates/handover/src";
/// Where the difference to the revision is kept, for cargo-mutants to read.
const DIFF: &str = "target/mutants.diff";

/// Breaks what has changed since a revision; `more` is what cargo-mutants is told beyond, such as `--list`.
pub(crate) fn mutants(revision: &str, more: &[&str]) -> Result<(), Failed> {
    const MUTANTS: Tool =
        Tool { name: "mutants", what: "which breaks code and runs its tests", is_slow: false };
    native::check()?;
    let folder = crate::root().join("target");
    std::fs::create_dir_all(&folder).map_err(|error| Failed(format!("{}: {error}", folder.display())))?;
    let mut git = Command::new("git");
    // As cargo-mutants reads it, whatever the user's git is set to.
    git.args(["diff", "--no-ext-diff", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"]);
    git.arg(format!("--output={DIFF}")).args([revision, "--", LIBRARY]);
    Step::new("what has changed", &mut git).run()?;
    let mut cargo = MUTANTS.ready()?;
    cargo.args(arguments(more));
    Step::new("mutants", &mut apart(cargo)).run()
}

/// What cargo-mutants is told. What else holds for this project is in `.cargo/mutants.toml`.
fn arguments(more: &[&str]) -> Vec<String> {
    // cargo-mutants doesn't see that the other system's files aren't compiled: no test would fail.
    let other = if win32::IS_HERE { "linux" } else { "windows" };
    let not_compiled = format!("{LIBRARY}/*/{other}/**");
    let own = ["--package", "handover", "--in-diff", DIFF, "--exclude", &not_compiled, "--output", "target"];
    own.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

/// The command in a process-id namespace of its own, if this user may make one. A broken library may kill any process
/// that it sees; there it sees only its own.
fn apart(command: Command) -> Command {
    const NAMESPACE: [&str; 4] = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    // The first process of the namespace is the parent of all orphans. A shell that waits for one child reaps them all.
    const SHELL: [&str; 3] = ["sh", "-c", "\"$0\" \"$@\"; exit $?"];
    if !succeeds("unshare", &[NAMESPACE.as_slice(), &["true"]].concat()) {
        eprintln!(
            "No process-id namespace can be made here: that takes Linux, and root. A broken library may kill any \
             process of this user."
        );
        return command;
    }
    let mut apart = Command::new("unshare");
    apart.args(NAMESPACE).args(SHELL).arg(command.get_program()).args(command.get_args());
    apart.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_compiled_here_is_broken() {
        let told = arguments(&["--list"]);
        let excluded = told.iter().position(|word| word == "--exclude").map(|place| told[place + 1].as_str());
        let other = if win32::IS_HERE { "linux" } else { "windows" };
        assert_eq!(excluded, Some(format!("crates/handover/src/*/{other}/**").as_str()));
        for part in ["channel", "sys"] {
            assert!(crate::root().join(LIBRARY).join(part).join(other).is_dir(), "{part}/{other}");
        }
        assert_eq!(told.last().map(String::as_str), Some("--list"));
    }

    #[test]
    fn a_command_that_runs_apart_is_in_another_namespace() {
        let here = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let mut asks = Command::new("sh");
        asks.args(["-c", "readlink /proc/self/ns/pid; echo $KEPT"]).env("KEPT", "kept");
        let mut apart = apart(asks);
        if apart.get_program() != "unshare" {
            return;
        }
        let output = apart.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = text.lines().collect();
        assert!(matches!(lines[..], [there, "kept"] if there.starts_with("pid:")), "{text}");
        assert_ne!(lines[0], here.to_string_lossy());
    }
}
