//! `cargo xtask mutants`: runs cargo-mutants on changed code of the library.

use std::process::Command;

use crate::debian::succeeds;
use crate::step::{Failed, Step};
use crate::tools::Tool;
use crate::{native, win32};

/// The library's source, the only folder in which code is broken.
const LIBRARY: &str = "crates/handover/src";
/// The file with the difference to the revision, which cargo-mutants reads.
const DIFF: &str = "target/mutants.diff";

/// Runs cargo-mutants on the changes since a revision, with further arguments such as `--list`.
pub(crate) fn mutants(revision: &str, more: &[&str]) -> Result<(), Failed> {
    const MUTANTS: Tool =
        Tool { name: "mutants", purpose: "breaks code and runs its tests", is_optimized: false };
    native::check()?;
    let folder = crate::root().join("target");
    std::fs::create_dir_all(&folder).map_err(Failed::at(&folder))?;
    let mut git = Command::new("git");
    // The options override the user's git configuration: cargo-mutants reads only this format.
    git.args(["diff", "--no-ext-diff", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"]);
    git.arg(format!("--output={DIFF}")).args([revision, "--", LIBRARY]);
    Step::new("changes", &mut git).run()?;
    let mut cargo = MUTANTS.ready()?;
    cargo.args(arguments(more));
    Step::new("mutants", &mut isolated(cargo)).run()
}

/// Returns the arguments for cargo-mutants. The other options of this project are in `.cargo/mutants.toml`.
fn arguments(more: &[&str]) -> Vec<String> {
    // cargo-mutants doesn't know that files of the other system aren't compiled, and no test could fail for them.
    let other = if win32::IS_NATIVE { "linux" } else { "windows" };
    let not_compiled = format!("{LIBRARY}/*/{other}/**");
    let own = ["--package", "handover", "--in-diff", DIFF, "--exclude", &not_compiled, "--output", "target"];
    own.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

/// Returns the command in its own process-id namespace, if this user may create one. A broken library may kill any
/// process that it sees, and in the namespace it sees only its own.
fn isolated(command: Command) -> Command {
    const NAMESPACE: [&str; 4] = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    // The first process of the namespace is the parent of all orphans. A shell that waits for one child reaps them all.
    const SHELL: [&str; 3] = ["sh", "-c", "\"$0\" \"$@\"; exit $?"];
    if !succeeds("unshare", &[NAMESPACE.as_slice(), &["true"]].concat()) {
        eprintln!(
            "Cannot create a process-id namespace, which needs Linux and root. Without it, a broken library may kill any \
             process of this user."
        );
        return command;
    }
    let mut isolated = Command::new("unshare");
    isolated.args(NAMESPACE).args(SHELL).arg(command.get_program()).args(command.get_args());
    isolated.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    isolated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_other_system_are_excluded() {
        let passed = arguments(&["--list"]);
        let option = passed.iter().position(|word| word == "--exclude");
        let excluded = option.map(|index| passed[index + 1].as_str());
        let other = if win32::IS_NATIVE { "linux" } else { "windows" };
        assert_eq!(excluded, Some(format!("crates/handover/src/*/{other}/**").as_str()));
        for part in ["channel", "sys"] {
            assert!(crate::root().join(LIBRARY).join(part).join(other).is_dir(), "{part}/{other}");
        }
        assert_eq!(passed.last().map(String::as_str), Some("--list"));
    }

    #[test]
    fn an_isolated_command_runs_in_another_namespace() {
        let here = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let mut query = Command::new("sh");
        query.args(["-c", "readlink /proc/self/ns/pid; echo $KEPT"]).env("KEPT", "kept");
        let mut isolated = isolated(query);
        if isolated.get_program() != "unshare" {
            return;
        }
        let output = isolated.output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = text.lines().collect();
        assert!(matches!(lines[..], [there, "kept"] if there.starts_with("pid:")), "{text}");
        assert_ne!(lines[0], here.to_string_lossy());
    }
}
