use std::path::{Path, PathBuf};

use expect_test::expect;
use handover_tests::Ended;

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
        VALUE  KIND       ACCESS  RIGHTS                         FLAGS    NAME
        <event>    event      0xc02   read, write, append, nonblock  inherit
        <section>    section    0x8002  read, write                    inherit  /memfd:handover (deleted)
        <semaphore>    semaphore  0x802   read, write, nonblock          inherit

        3 handles of the 7 of process <child>: 1 event, 1 section, 1 semaphore
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
