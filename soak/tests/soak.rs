//! Checks that a short soak test passes, and that it detects leaks.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The timeout of a short soak test, which takes seconds, and ten times as long under a busy Wine.
const DEADLINE: Duration = Duration::from_secs(150);

/// The exit code of a soak test in which no thread made progress.
const STALLED: i32 = 3;

fn soak(options: &[&str]) -> Output {
    // A busy Wine sometimes hangs when it creates a process. The same run succeeds a moment later.
    let mut tries = 3;
    loop {
        tries -= 1;
        let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
        command
            .arg("--short")
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the soak test starts");
        let started = Instant::now();
        while started.elapsed() < DEADLINE && child.try_wait().expect("its status can be queried").is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        // The output fits into a pipe, so the process never blocks on it. `kill` fails if the process has already
        // exited.
        let _ = child.kill();
        let output = child.wait_with_output().expect("waiting for it succeeds");
        if tries == 0 || output.status.code().is_some_and(|code| code != STALLED) {
            return output;
        }
        eprintln!("the soak test runs again: {}", transcript(&output));
    }
}

fn transcript(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

#[track_caller]
fn assert_not_flat(options: &[&str], part: &str) {
    let output = soak(options);
    let transcript = transcript(&output);
    assert!(
        output.status.code() == Some(1) && transcript.contains("not flat: ") && transcript.contains(part),
        "{transcript}"
    );
}

#[test]
fn short_soak_is_flat() {
    let output = soak(&[]);
    let transcript = transcript(&output);
    assert!(output.status.success() && transcript.contains("flat: nothing leaks"), "{transcript}");
    eprintln!("{transcript}");
}

#[test]
fn soak_detects_one_leaked_handle_in_a_thousand_hand_overs() {
    assert_not_flat(
        &["--leak", "handles", "--hand-overs", "8000", "--spawns", "8"],
        "handles at rest at first",
    );
}

#[test]
fn soak_detects_leaked_bytes_in_each_hand_over() {
    assert_not_flat(&["--leak", "memory", "--hand-overs", "16000", "--spawns", "8"], "has grown");
}

#[test]
fn wrong_usage_exits_with_code_2() {
    let output = soak(&["--leak", "sockets"]);
    assert!(output.status.code() == Some(2) && transcript(&output).contains("expected handles or memory"));
}
