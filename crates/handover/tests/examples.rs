//! Runs each example as a user does, under a deadline: it exits with 0, and prints what its description says.

#[path = "../../../tests/src/wine.rs"]
mod wine;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wine::wine_failure;

/// The time that an example may take on a machine under load. Alone, each needs less than three seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs an example, and asserts that its output has these parts, in any order.
fn run(name: &str, parts: &[&str]) {
    let mut tries = if std::env::consts::OS == "windows" { 3 } else { 1 };
    let (code, output) = loop {
        tries -= 1;
        let (code, output) = output_of(name);
        match wine_failure(code, &output) {
            Some(fault) if tries > 0 => eprintln!("{name} runs again: {fault}: {output}"),
            _ => break (code, output),
        }
    };
    assert_eq!(code, Some(0), "{name}: {output}");
    for part in parts {
        assert!(output.contains(part), "{name} doesn't print {part:?}: {output}");
    }
}

/// As [`run`], for an example that needs Linux and says so on Windows.
fn run_on_linux(name: &str, parts: &[&str]) {
    let is_linux = std::env::consts::OS == "linux";
    run(name, if is_linux { parts } else { &["needs Linux"] });
}

/// Returns an example's exit code, or `None` if it was killed at the deadline, and all that it printed.
fn output_of(name: &str) -> (Option<i32>, String) {
    let started = Instant::now();
    let mut command = Command::new(path_of(name));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The examples print less than a pipe holds, so they don't block while nothing reads.
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if started.elapsed() > DEADLINE {
            // The example may exit in this moment, and then it can't be killed.
            let _ = child.kill();
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (code, String::from_utf8_lossy(&text).into_owned())
}

/// Returns the path of an example, which cargo has built for this test, in the folder beside that of the test.
fn path_of(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|folder| folder.parent()).expect("a test is in target/PROFILE/deps");
    let path = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{}: build it with `cargo build -p handover --examples`", path.display());
    path
}

#[test]
fn worker_pool_does_all_jobs_and_survives_a_crash() {
    run("worker_pool", &["1 squared is 1", "6 squared is 36", "during job 4"]);
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_server_outlives_a_crashed_worker() {
    run("tokio_server", &["three: 5 letters", "five: 4 letters", "crash: not done: "]);
}

#[test]
#[cfg(feature = "serde")]
fn typed_worker_pool_renders_all_frames() {
    run("typed_worker_pool", &["rendered shade 1, right", "rendered shade 3, right", "1 frame in all"]);
}

#[test]
fn broker_exits_and_the_two_talk() {
    run("broker", &["the broker, process", "3 squared is 9", "has replied to process"]);
}

#[test]
fn plugin_host_uses_one_plugin_and_stops_three() {
    let parts = [
        "counts-words: \"6 words\"",
        "writes: \"this plug-in can't write",
        "sends-a-file: ",
        "a file",
        "hangs: timed out",
    ];
    run("plugin_host", &parts);
}

#[test]
fn single_instance_passes_on_its_command_line() {
    run(
        "single_instance",
        &["opens [\"report.txt\"]", "has passed on [\"report.txt\"]", "the first start exited"],
    );
}

#[cfg(all(feature = "serde", feature = "tokio"))]
#[test]
fn tcp_restart_keeps_its_connections() {
    run(
        "tcp_restart",
        &[
            "request 1: before the restart",
            "request 2: restart",
            ": after the restart, on the same connection",
            "request 1: on a new connection",
        ],
    );
}

#[test]
fn foreign_children_use_handles_by_number() {
    run_on_linux("foreign_children", &["a line from the shell", "shell: wrote to descriptor"]);
}

#[test]
fn ring_delivers_each_message_once() {
    run("ring", &["10000 messages with the sum 49995000"]);
}

#[test]
fn audit_in_a_test_finds_the_leak() {
    run("audit_in_a_test", &["careful: 3 processes, no leak", "(an event) leaked into process"]);
}
