use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use expect_test::expect;
use handover::Stdio;
use handover_tests::{Ended, left_out};

/// What each strategy shows, in the order of their names on the command line.
pub(crate) const CALLS: [&[&str]; 4] = [
    &["eventfd2(", "clone+execve(", "write(", "ppoll(", "close("],
    &["eventfd2(", "clone+execve(", "sendmsg(", "recvmsg(", "write(", "ppoll("],
    &["eventfd2(", "bind(", "connect(", "recvmsg(", "write(", "ppoll("],
    &["eventfd2(", "sendmsg(", "recvmsg(", "write(", "ppoll("],
];

/// A call that only asks, and that each of them makes.
pub(crate) const ASKS: &str = "fstat(";

pub(crate) fn expect_table(text: &str) {
    expect![[r#"
        VALUE  KIND           ACCESS  RIGHTS                         FLAGS    NAME
        <event>    event          0xc02   read, write, append, nonblock  inherit
        <shared memory>    shared memory  0x8002  read, write                    inherit  /memfd:handover (deleted)
        <semaphore>    semaphore      0x802   read, write, nonblock          inherit

        3 handles of the 7 of process <child>: 1 event, 1 semaphore, 1 shared memory
    "#]]
    .assert_eq(text);
}

/// A command that was killed ends as shells have it.
pub(crate) fn exit_codes_are_passed_on(_: impl Fn(&str) -> Ended) {
    let program = Path::new(env!("CARGO_BIN_EXE_handover"));
    let words = ["run", "--", "sh", "-c", "kill -TERM $$"];
    handover_tests::run(program, words, std::time::Duration::from_secs(60)).expect_code(128 + 15);
}

/// A file that can't be started: it has no right to be.
pub(crate) fn not_a_program(folder: &Path) -> PathBuf {
    let path = folder.join("not-a-program");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    path
}

/// A FIFO would open when somebody opens its other side.
pub(crate) fn a_file_that_waits_is_refused(program: &Path) {
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

/// Nobody may look at this process, which is root's.
pub(crate) fn another_users_process_is_refused(program: &Path) {
    // Where everybody can start it.
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
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{said}");
                assert!(
                    said.contains(&this) && said.contains("run this as the process's own user or as root"),
                    "{said}"
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
