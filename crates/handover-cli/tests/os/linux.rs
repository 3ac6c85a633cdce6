use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use expect_test::expect;
use handover::Stdio;
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
        VALUE  KIND           ACCESS  RIGHTS                         FLAGS    NAME
        <event>    event          0xc02   read, write, append, nonblock  inherit
        <shared memory>    shared memory  0x8002  read, write                    inherit  /memfd:handover (deleted)
        <semaphore>    semaphore      0x802   read, write, nonblock          inherit

        3 of <all> handles of process <child>: 1 event, 1 semaphore, 1 shared memory
    "#]]
    .assert_eq(text);
}

/// Asserts that a command killed by a signal gives 128 plus the signal, as in shells.
pub(crate) fn expect_exit_codes_passed_on(_: impl Fn(&str) -> Ended) {
    let program = Path::new(env!("CARGO_BIN_EXE_handover"));
    let words = ["run", "--", "sh", "-c", "kill -TERM $$"];
    handover_tests::run(program, words, std::time::Duration::from_secs(60)).expect_code(128 + 15);
}

/// Creates a file that can't be started, because it is not executable.
pub(crate) fn not_a_program(folder: &Path) -> PathBuf {
    let path = folder.join("not-a-program");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    path
}

/// Asserts that a FIFO is rejected, because opening it would block until another process opens its other side.
pub(crate) fn fifo_is_rejected(program: &Path) {
    let fifo = std::env::temp_dir().join(format!("handover-cli-fifo-{}", std::process::id()));
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let option = format!("f={}", fifo.display());
    let ended = handover_tests::run(
        program,
        ["run", "--file", &option, "--", "true"],
        std::time::Duration::from_secs(20),
    );
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
        let mut command = handover::Command::new(&copy);
        let child =
            command.args(words).current_dir(&folder).uid(65534).gid(65534).stderr(Stdio::piped()).spawn();
        match child {
            Ok(child) => {
                let output = child.wait_with_output().unwrap();
                let message = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{message}");
                assert!(
                    message.contains(&this)
                        && message.contains("run this as the process's own user or as root"),
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
