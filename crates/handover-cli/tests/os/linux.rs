use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::time::Duration;

use expect_test::expect;
use handover::{Child, Command, Stdio};
use handover_tests::{Ended, left_out};

/// Texts in the output of each strategy, in the order of `STRATEGIES`.
pub(crate) const CALLS: [&[&str]; 4] = [
    &["eventfd2(", "clone+execve(", "write(", "ppoll(", "close("],
    &["eventfd2(", "clone+execve(", "sendmsg(", "recvmsg(", "write(", "ppoll("],
    &["eventfd2(", "bind(", "connect(", "recvmsg(", "write(", "ppoll("],
    &["eventfd2(", "sendmsg(", "recvmsg(", "write(", "ppoll("],
];

/// A call that only queries something, and that every strategy makes.
pub(crate) const QUERY: &str = "fstat(";

pub(crate) fn expect_table(text: &str) {
    expect![[r#"
        VALUE  KIND           ACCESS  RIGHTS                 FLAGS    NAME
        <event>    event          0x802   read, write, nonblock  inherit
        <shared memory>    shared memory  0x8002  read, write            inherit  /memfd:handover (deleted)
        <semaphore>    semaphore      0x802   read, write, nonblock  inherit

        3 of <all> handles of process <child>: 1 event, 1 semaphore, 1 shared memory
    "#]]
    .assert_eq(text);
}

/// Asserts that a command killed by a signal gives 128 plus the signal, as in shells.
pub(crate) fn expect_exit_codes_passed_on(_: impl Fn(&str) -> Ended) {
    let program = Path::new(env!("CARGO_BIN_EXE_handover"));
    let words = ["run", "--", "sh", "-c", "kill -TERM $$"];
    handover_tests::run(program, words, Duration::from_secs(60)).expect_code(128 + 15);
    let words = ["audit", "--", "sh", "-c", "kill -KILL $$"];
    let ended = handover_tests::run(program, words, Duration::from_secs(60)).expect_code(3);
    let reason = "no handle leaks, but the command was killed (signal: 9 (SIGKILL))";
    assert!(ended.err.contains(reason), "{ended:?}");
}

/// Creates a file that can't be started, because it is not executable.
pub(crate) fn not_a_program(folder: &Path) -> PathBuf {
    let path = folder.join("not-a-program");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    path
}

/// Returns a text that is no Unicode, as a file's name can be.
pub(crate) fn not_unicode() -> OsString {
    OsString::from_vec(vec![0xff])
}

/// Asserts that a FIFO is rejected, because opening it would block until another process opens its other side.
pub(crate) fn fifo_is_rejected(program: &Path) {
    let fifo = std::env::temp_dir().join(format!("handover-cli-fifo-{}", std::process::id()));
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let option = format!("f={}", fifo.display());
    let ended =
        handover_tests::run(program, ["run", "--file", &option, "--", "true"], Duration::from_secs(20));
    std::fs::remove_file(&fifo).unwrap();
    ended.expect_code(125).expect_text("is a FIFO");
}

/// Asserts that a program of another user may not inspect this process, which belongs to root.
pub(crate) fn process_of_another_user_is_denied(program: &Path) {
    // The folder is one in which every user can start the program.
    let folder = std::env::temp_dir().join(format!("handover-cli-everybody-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let copy = folder.join("handover");
    std::fs::copy(program, &copy).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let this = std::process::id().to_string();
    for words in [&["table", &this][..], &["shared", &this, "1"]] {
        let mut command = Command::new(&copy);
        let child =
            command.args(words).current_dir(&folder).uid(65534).gid(65534).stderr(Stdio::piped()).spawn();
        match child {
            Ok(child) => {
                let output = child.wait_with_output().unwrap();
                let message = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{message}");
                assert!(
                    message.contains(&this)
                        && message.contains("run this as that process's user, or as root"),
                    "{message}"
                );
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error}");
                left_out("only root can start a program as another user");
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

const SOON: Duration = Duration::from_secs(20);

/// Asserts that processes are ended too that are in another session, or whose parent has exited.
pub(crate) fn detached_processes_are_ended_at_the_timeout(program: &Path) {
    let script = "setsid sleep 60 & (sleep 60 &); wait";
    let ended = handover_tests::run(program, ["run", "--timeout", "1", "--", "sh", "-c", script], SOON);
    ended.expect_code(124).expect_within(Duration::from_secs(10));
}

/// Starts the program with a shell command that says "ready", in a process group of its own.
fn in_own_group(program: &Path, words: &[&str], script: &str) -> (Child, BufReader<ChildStdout>) {
    // If the tests run in the background of a shell, SIGINT is ignored, and a shell can't trap it.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,TERM").arg(program).args(words);
    command.args(["--", "sh", "-c", script]).process_group(0);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, out)
}

fn send(signal: &str, target: &str) {
    assert!(Command::new("kill").args([signal, "--", target]).status().unwrap().success());
}

pub(crate) fn signals_are_left_to_the_command(program: &Path) {
    let cleans_up = "trap 'sleep 0.3; echo cleaned up; exit 7' INT; echo ready; while :; do sleep 0.05; done";
    for (words, code, report) in
        [(&["run", "-q"][..], 7, "cleaned up\n"), (&["audit"], 3, "result: no leaks")]
    {
        let (mut child, mut out) = in_own_group(program, words, cleans_up);
        send("-INT", &format!("-{}", child.id()));
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("cleaned up\n") && text.contains(report), "{text}");
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(code), "{words:?}");
    }
    let passed_on = "trap 'echo got it; exit 8' TERM; echo ready; while :; do sleep 0.05; done";
    let (mut child, mut out) = in_own_group(program, &["run", "-q"], passed_on);
    send("-TERM", &child.id().to_string());
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), child.wait_timeout(SOON).unwrap().code()), ("got it\n", Some(8)));
    // As the first process of a PID namespace, it reaps orphans.
    let orphans = "(sleep 0.1 &); sleep 0.5; grep -l 'State:.Z' /proc/[0-9]*/status || echo no zombies";
    let words = ["--pid", "--fork", "--mount-proc", program.to_str().unwrap(), "run", "-q", "--"];
    let unshare =
        handover_tests::run(Path::new("unshare"), ["--pid", "--fork", "--mount-proc", "true"], SOON);
    if unshare.code != Some(0) {
        return left_out("this user can't create a namespace");
    }
    let ended =
        handover_tests::run(Path::new("unshare"), words.into_iter().chain(["sh", "-c", orphans]), SOON);
    assert_eq!(ended.out, "no zombies\n", "{}", ended.err);
}

pub(crate) fn ignored_sigchld_is_no_obstacle(program: &Path) {
    let program = program.to_str().unwrap();
    for words in ["run -- true", "audit -- true", "demo inheritance"] {
        let script = format!("trap '' CHLD; exec {program} {words}");
        handover_tests::run(Path::new("bash"), ["-c", &script], SOON).expect_code(0);
    }
}
