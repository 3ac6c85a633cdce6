//! A short soak is flat, and one that leaks isn't.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A short soak takes seconds; Wine, when it is busy, ten times as long.
const DEADLINE: Duration = Duration::from_secs(150);

/// The exit code of a soak in which nothing went on any more.
const STOOD_STILL: i32 = 3;

fn soak(options: &[&str]) -> Output {
    // Wine stands still now and then when it is busy, in creating a process; the same run succeeds a moment later.
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
        let mut child = command.spawn().expect("the soak starts");
        let started = Instant::now();
        while started.elapsed() < DEADLINE && child.try_wait().expect("it can be asked").is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        // What it says fits into a pipe. One that has ended can't be killed, which is as good.
        let _ = child.kill();
        let output = child.wait_with_output().expect("it can be waited for");
        if tries == 0 || output.status.code().is_some_and(|code| code != STOOD_STILL) {
            return output;
        }
        eprintln!("the soak runs again: {}", said(&output));
    }
}

fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

#[track_caller]
fn is_not_flat(options: &[&str], part: &str) {
    let output = soak(options);
    let said = said(&output);
    assert!(output.status.code() == Some(1) && said.contains("not flat: ") && said.contains(part), "{said}");
}

#[test]
fn a_soak_is_flat() {
    let output = soak(&[]);
    let said = said(&output);
    assert!(output.status.success() && said.contains("flat: nothing is left behind"), "{said}");
    eprintln!("{said}");
}

#[test]
fn one_handle_left_in_a_thousand_hand_overs_is_found() {
    is_not_flat(&["--leak", "handles", "--hand-overs", "8000", "--spawns", "8"], "handles at rest at first");
}

#[test]
fn some_bytes_left_in_each_hand_over_are_found() {
    is_not_flat(&["--leak", "memory", "--hand-overs", "16000", "--spawns", "8"], "has grown");
}

#[test]
fn wrong_usage_is_said() {
    let output = soak(&["--leak", "sockets"]);
    assert!(output.status.code() == Some(2) && said(&output).contains("expected handles or memory"));
}
