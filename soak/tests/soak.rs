//! Checks that a short soak test passes, and that it detects leaks.

use std::path::Path;
use std::time::Duration;

use handover_tests::{run, table, wine_failure};

/// The timeout of a short soak test, which takes seconds, and ten times as long under a busy Wine.
const DEADLINE: Duration = Duration::from_secs(150);

/// The exit code of a soak test in which no thread made progress.
const STALLED: i32 = 3;

/// Runs a short soak test, again if Wine made it fail or stopped its progress.
fn soak(options: &[&str]) -> (Option<i32>, String) {
    let mut tries = if table::is_wine() { 3 } else { 1 };
    loop {
        tries -= 1;
        let words = ["--short"].iter().chain(options);
        let ended = run(Path::new(env!("CARGO_BIN_EXE_soak")), words, DEADLINE);
        let output = format!("{:?}\n{}\n{}", ended.code, ended.out, ended.err);
        let has_stalled = (ended.code == Some(STALLED)).then_some("no thread made progress");
        match has_stalled.or_else(|| wine_failure(ended.code, &output)) {
            Some(fault) if tries > 0 => eprintln!("the soak test runs again: {fault}: {output}"),
            _ => return (ended.code, output),
        }
    }
}

#[track_caller]
fn assert_not_flat(options: &[&str], part: &str) {
    let (code, output) = soak(options);
    assert!(code == Some(1) && output.contains("not flat: ") && output.contains(part), "{output}");
}

#[test]
fn short_soak_is_flat() {
    let (code, output) = soak(&[]);
    assert!(code == Some(0) && output.contains("flat: nothing leaks"), "{output}");
    eprintln!("{output}");
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
    let (code, output) = soak(&["--leak", "sockets"]);
    assert!(code == Some(2) && output.contains("expected handles or memory"), "{output}");
}
