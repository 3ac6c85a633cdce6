//! Tests of audits of programs that replace themselves by `execve`, and of signals and stops during an audit.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use handover::inspect::{Audit, AuditReport, Origin};
use handover::{Error, Event, ObjectKind};
use handover_tests::{Suite, in_role_of_std, raw, role, table, tests, this_program};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::calls;

const LONG: Duration = Duration::from_secs(60);

pub(super) const SUITE: Suite = Suite {
    name: "audit",
    tests: tests![
        command_killed_before_its_program_is_no_timeout,
        process_that_execs_is_reported_twice,
        exec_of_a_thread_is_reported,
        leaks_of_posix_spawn_are_reported,
        listen_fds_are_reported_as_listed,
        audit_waits_for_descendants_of_exited_command,
        signals_are_delivered_as_without_audit,
        stopped_child_stays_stopped_until_continued,
        status_of_killed_command_is_reported,
        audit_handles_many_short_threads,
        audit_fails_if_command_is_already_traced,
        audit_fails_if_sigchld_is_ignored,
        unreadable_program_is_incomplete_and_not_clean,
        audit_sees_command_of_another_user,
        audit_sees_32_bit_program,
    ],
    roles: tests![
        exits,
        sleeps,
        execs_in_a_thread,
        spawns_by_posix_spawn,
        stops_and_continues_a_child,
        has_many_threads,
        audits_unreadable_program
    ],
};

fn shell(script: &str, then: &Command) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).arg(then.get_program()).args(then.get_args());
    command
}

fn audit(command: Command) -> AuditReport {
    let audit = Audit::new(command).run(LONG).unwrap();
    assert!(audit.processes.iter().all(|started| started.incomplete.is_none()), "{audit}");
    audit
}

fn leaking() -> Event {
    let event = Event::manual_reset().unwrap();
    table::make_inheritable(&event);
    event
}

fn exits(_: &[String]) {}

fn sleeps(_: &[String]) {
    std::thread::sleep(LONG);
}

fn process_that_execs_is_reported_twice() {
    let audit = audit(shell("exec 7</dev/null; exec \"$@\"", &in_role_of_std("exits", &[])));
    let [before, after] = audit.processes.as_slice() else { panic!("{audit}") };
    assert_eq!((before.id, before.parent), (after.id, after.parent));
    assert_eq!(after.program, Ok(this_program()));
    assert_eq!(before.leaks().count(), 0);
    let leaks: Vec<_> = after.leaks().map(|leak| (leak.value().get(), leak.kind().cloned())).collect();
    assert_eq!(leaks, [(7, Ok(ObjectKind::File))]);
    assert_eq!(audit.status.code(), Some(0));
}

fn execs_in_a_thread(_: &[String]) {
    let _event = leaking();
    for _ in 0..3 {
        std::thread::spawn(|| std::thread::sleep(LONG));
    }
    std::thread::spawn(|| panic!("{}", in_role_of_std("exits", &[]).exec())).join().unwrap();
}

fn exec_of_a_thread_is_reported() {
    let audit = audit(in_role_of_std("execs_in_a_thread", &[]));
    let [before, after] = audit.processes.as_slice() else { panic!("{audit}") };
    assert_eq!(before.id, after.id);
    assert_eq!(after.leaks().map(|leak| leak.kind().cloned()).collect::<Vec<_>>(), [Ok(ObjectKind::Event)]);
    assert_eq!(audit.status.code(), Some(0));
}

fn spawns_by_posix_spawn(_: &[String]) {
    let _event = leaking();
    let child = calls::posix_spawn(&this_program(), &role("exits", &[]));
    let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0));
}

fn leaks_of_posix_spawn_are_reported() {
    let audit = audit(in_role_of_std("spawns_by_posix_spawn", &[]));
    let [command, child] = audit.processes.as_slice() else { panic!("{audit}") };
    assert_eq!(child.parent, command.id);
    assert_eq!(child.leaks().map(|leak| leak.kind().cloned()).collect::<Vec<_>>(), [Ok(ObjectKind::Event)]);
    assert_eq!(audit.status.code(), Some(0));
}

fn listen_fds_are_reported_as_listed() {
    let become_it =
        "exec 3</dev/null 4</dev/null; export LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID=$WHO; exec \"$@\"";
    for (who, is_listed) in [("$$", true), ("1", false)] {
        let audit = audit(shell(&become_it.replace("$WHO", who), &in_role_of_std("exits", &[])));
        let last = &audit.processes[1];
        let origin = |value: u32| {
            last.handles.iter().find(|(entry, _)| entry.value().get() == value).map(|(_, origin)| origin)
        };
        let three = if is_listed { Origin::Listed("web".into()) } else { Origin::Leaked };
        assert_eq!((origin(3), origin(4)), (Some(&three), Some(&Origin::Leaked)), "{audit}");
    }
}

fn audit_waits_for_descendants_of_exited_command() {
    let begun = Instant::now();
    let audit = audit(shell("(sleep 1; exec \"$@\") & exit 4", &in_role_of_std("exits", &[])));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(audit.status.code(), Some(4), "the status is the command's, and not the last process's");
    assert_eq!(audit.processes.len(), 3, "{audit}");
    assert_eq!(audit.processes[2].program, Ok(this_program()));
}

fn signals_are_delivered_as_without_audit() {
    let script = "got=; trap 'got=\"$got usr1\"' USR1; trap 'got=\"$got trap\"' TRAP
        kill -USR1 $$; kill -TRAP $$; (trap '' TERM; kill -TERM $$) 2>/dev/null
        test \"$got\" = ' usr1 trap' && exit 5; exit 6";
    let script = script.replace(
        "(trap '' TERM; kill -TERM $$) 2>/dev/null",
        "sh -c 'kill -TERM $$'; test $? = 143 || exit 7",
    );
    assert_eq!(shell(&script, &in_role_of_std("exits", &[])).status().unwrap().code(), Some(5));
    assert_eq!(audit(shell(&script, &in_role_of_std("exits", &[]))).status.code(), Some(5));
}

/// Acts as a shell with job control.
fn stops_and_continues_a_child(_: &[String]) {
    let mut child = in_role_of_std("sleeps", &[]).spawn().unwrap();
    let id = Pid::from_child(&child);
    for _ in 0..3 {
        kill_process(id, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(id), WaitOptions::UNTRACED).unwrap().unwrap();
        assert_eq!(status.stopping_signal(), Some(Signal::STOP.as_raw()));
        let state = || {
            let page = std::fs::read_to_string(format!("/proc/{}/status", id.as_raw_nonzero())).unwrap();
            page.lines().find_map(|line| line.strip_prefix("State:")).unwrap().trim().to_owned()
        };
        std::thread::sleep(Duration::from_millis(100));
        assert!(state().starts_with(['T', 't']), "{}", state());
        kill_process(id, Signal::CONT).unwrap();
        let (_, status) = waitpid(Some(id), WaitOptions::CONTINUED).unwrap().unwrap();
        assert!(status.continued());
        handover_tests::until("the process is running", || state().starts_with('S'));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
}

fn stopped_child_stays_stopped_until_continued() {
    let audit = audit(in_role_of_std("stops_and_continues_a_child", &[]));
    assert_eq!(audit.status.code(), Some(0), "{audit}");
}

fn status_of_killed_command_is_reported() {
    for signal in ["KILL", "TERM", "SEGV"] {
        let script = format!("ulimit -c 0; kill -{signal} $$");
        let expected = shell(&script, &in_role_of_std("exits", &[])).status().unwrap();
        let audit = audit(shell(&script, &in_role_of_std("exits", &[])));
        assert!(audit.status.signal().is_some());
        assert_eq!(audit.status, expected);
    }
}

fn has_many_threads(_: &[String]) {
    let _event = leaking();
    for _ in 0..10 {
        std::thread::scope(|scope| {
            for number in 0..20 {
                scope.spawn(move || {
                    if number % 10 == 0 {
                        assert_eq!(in_role_of_std("exits", &[]).status().unwrap().code(), Some(0));
                    }
                });
            }
        });
    }
}

fn audit_handles_many_short_threads() {
    let audit = audit(in_role_of_std("has_many_threads", &[]));
    assert_eq!(audit.status.code(), Some(0));
    assert_eq!(audit.processes.len(), 21, "{audit}");
    assert!(audit.processes[1..].iter().all(|child| child.leaks().count() >= 1), "{audit}");
}

fn audit_fails_if_command_is_already_traced() {
    let handles = table::count();
    let mut command = in_role_of_std("sleeps", &[]);
    calls::trace_from_the_start(&mut command);
    let error = Audit::new(command).run(LONG).unwrap_err();
    assert!(matches!(error, Error::System { call: "ptrace", .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("is already traced by process {}", std::process::id())), "{text}");
    assert_eq!((table::children_of(std::process::id()), table::count()), (Vec::new(), handles));
}

fn audit_fails_if_sigchld_is_ignored() {
    calls::ignore_children();
    match Audit::new(in_role_of_std("exits", &[])).run(LONG) {
        Err(error @ Error::InvalidInput { .. }) => {
            assert!(error.to_string().contains("SIGCHLD"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// Audits a program that its user can execute but not read.
fn audits_unreadable_program(arguments: &[String]) {
    let mut command = Command::new(&arguments[0]);
    command.args(role("exits", &[])).stdin(Stdio::null()).stdout(Stdio::null());
    let audit = Audit::new(command).run(LONG).unwrap();
    assert_eq!(audit.status.code(), Some(0), "{audit}");
    assert!(!audit.is_clean() && audit.processes[0].incomplete.is_some(), "{audit}");
    assert!(audit.to_string().contains("incomplete: "), "{audit}");
}

const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Copies this program into a folder that all users can access.
fn copy_for_everybody(mode: u32) -> (std::path::PathBuf, std::path::PathBuf) {
    let folder = std::env::temp_dir().join(format!("handover-audit-{}-{mode:o}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let program = folder.join("program");
    std::fs::copy(this_program(), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    (folder, program)
}

fn unreadable_program_is_incomplete_and_not_clean() {
    let (folder, secret) = copy_for_everybody(0o111);
    let (other, readable) = copy_for_everybody(0o755);
    let mut auditor = Command::new(&readable);
    auditor.args(role("audits_unreadable_program", &[secret.to_str().unwrap()]));
    if is_root() {
        auditor.uid(NOBODY).gid(NOBODY);
    }
    let status = auditor.status();
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::remove_dir_all(other).unwrap();
    assert_eq!(status.unwrap().code(), Some(0));
}

fn audit_sees_command_of_another_user() {
    if !is_root() {
        handover_tests::left_out("only root can start programs as another user");
        return;
    }
    let _event = leaking();
    let mut command = Command::new("/bin/true");
    command.uid(NOBODY).gid(NOBODY);
    let audit = audit(command);
    assert_eq!(
        audit.leaks().map(|(_, leak)| leak.kind().cloned()).collect::<Vec<_>>(),
        [Ok(ObjectKind::Event)]
    );
}

/// Returns a 32-bit x86 program that exits with 5: its headers and three instructions.
fn program_of_32_bits() -> Vec<u8> {
    const AT: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    let code = [0xb8, 1, 0, 0, 0, 0xbb, 5, 0, 0, 0, 0xcd, 0x80];
    let size = HEADERS + 12;
    let mut program = b"\x7fELF\x01\x01\x01".to_vec();
    program.resize(16, 0);
    let half = |numbers: &[u16]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let word = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    program.extend(half(&[2, 3]));
    program.extend(word(&[1, AT + HEADERS, 52, 0, 0]));
    program.extend(half(&[52, 32, 1, 0, 0, 0]));
    program.extend(word(&[1, 0, AT, AT, size, size, 5, 0x1000]));
    program.extend(code);
    program
}

fn audit_sees_32_bit_program() {
    let path = std::env::temp_dir().join(format!("handover-audit-32-{}", std::process::id()));
    std::fs::write(&path, program_of_32_bits()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let can_run = Command::new(&path).status().is_ok_and(|status| status.code() == Some(5));
    if can_run {
        let _event = leaking();
        let audit = audit(Command::new(&path));
        assert_eq!(audit.status.code(), Some(5));
        assert_eq!(
            audit.leaks().map(|(_, leak)| leak.kind().cloned()).collect::<Vec<_>>(),
            [Ok(ObjectKind::Event)]
        );
    } else {
        handover_tests::left_out("this machine runs no programs for 32-bit x86");
    }
    std::fs::remove_file(path).unwrap();
}

fn command_killed_before_its_program_is_no_timeout() {
    let before = table::count();
    let mut command = in_role_of_std("exits", &[]);
    raw::die_before_the_program(&mut command);
    let error = Audit::new(command).run(LONG).unwrap_err();
    assert!(error.to_string().contains("killed before"), "{error}");
    assert_eq!(table::count(), before);
}
