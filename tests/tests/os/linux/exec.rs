//! Tests of `Command::exec`, which replaces the program of its process, and of `pre_exec`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use handover::{Channel, Command, Error, Event, Result, Stdio, faults};
use handover_tests::{
    Suite, Sweep, bare, end, left_out, raw, role, sweep, table, tests, this_program, until,
};
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;
use rustix::process::{Signal, getpgid, getpid, getppid, getsid, setsid};

use super::unprivileged::{NOBODY, PublicCopy};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "exec",
    tests: tests![
        exec_keeps_the_process_and_passes_only_the_listed_objects,
        exec_from_any_thread_ends_the_others,
        exec_as_another_user,
        exec_keeps_the_signal_of_the_parents_death,
        executed_program_has_the_default_sigpipe,
        exec_releases_record_locks_and_keeps_others,
        failed_exec_leaves_the_process_unchanged,
        failed_exec_is_not_seen_by_other_threads,
        concurrent_execs_share_the_handler_of_sigpipe,
        concurrent_failed_execs_restore_the_process_group,
        exec_works_without_close_range,
        exec_refuses_channels,
        exec_reports_refused_clone,
        exec_reports_each_failing_call,
        functions_run_in_order_in_the_new_process,
        function_sees_the_state_of_the_child,
        function_sees_the_listed_objects,
        error_of_a_function_is_reported,
        function_that_ends_the_process_is_reported,
        functions_may_close_every_descriptor,
        failure_after_a_function_closed_the_pipe_is_reported,
        functions_may_let_the_program_inherit_every_descriptor,
        functions_run_while_other_threads_allocate,
        exec_runs_functions_in_this_process,
        spawn_with_functions_reports_each_failing_call,
    ],
    roles: tests![execs, execs_cat, execs_with_locks, reports, execs_for_its_parent, starts_one_that_execs],
};

// The program that replaces the first one.

/// Returns a line of a process's status in `/proc`.
fn status_line(process: &str, name: &str) -> String {
    let page = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    page.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
}

/// Returns the id of this process's group, which is zero if the group belongs to another PID namespace.
fn group() -> String {
    status_line("self", "NSpgid:").split_whitespace().last().unwrap().to_owned()
}

/// Moves this process to a group of its own, if its group belongs to another PID namespace: no call brings it back there.
fn be_in_known_group() {
    if group() == "0" {
        rustix::process::setpgid(None, None).unwrap();
    }
}

/// Prints what this process is, and sets the event that it inherited.
fn reports(arguments: &[String]) {
    let inherited = handover::inherited().unwrap();
    let event: Event = inherited.take("event").unwrap();
    let others: Vec<u32> =
        table::of(std::process::id()).iter().map(|entry| entry.value).filter(|value| *value > 2).collect();
    println!("id={}", std::process::id());
    println!("threads={}", table::threads());
    println!("others={}", others.iter().filter(|value| **value != table::value(&event)).count());
    println!("arguments={arguments:?}");
    println!("arg0={:?}", std::env::args_os().next().unwrap());
    println!("variable={:?}", std::env::var("VARIABLE").ok());
    println!("cwd={}", std::env::current_dir().unwrap().display());
    println!("blocked={}", status_line("self", "SigBlk:"));
    println!("user={}", status_line("self", "Uid:"));
    println!("group={}", group());
    event.set().unwrap();
}

fn said(output: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    text.lines().filter_map(|line| line.split_once('=')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// Executes this program in the role `reports`, as the arguments say.
fn execs(arguments: &[String]) {
    let event: Event = handover::inherited().unwrap().take("event").unwrap();
    // Objects that the new program must not get, with and without the flag.
    let leaked = raw::opened_by_c();
    assert!(table::is_inheritable(&leaked));
    let other = Event::manual_reset().unwrap();
    let mut command = Command::new(this_program());
    command.args(role("reports", &["one", "two words"])).inherit("event", &event);
    command.env("VARIABLE", "value").current_dir("/").arg0("the name");
    if arguments[0] == "nobody" {
        command.uid(NOBODY).gid(NOBODY);
    }
    if arguments[0] == "group" {
        command.process_group(0);
    }
    if arguments[0] == "old" {
        // As a kernel before 5.11 answers.
        let refused = faults::Turn::fails("close_range", 0..1, libc::ENOSYS);
        let (error, _) = faults::taking([refused], || command.exec());
        panic!("{error:?}");
    }
    if arguments[0] != "thread" {
        let error = command.exec();
        panic!("{error:?}");
    }
    let others: Vec<_> = (0..10)
        .map(|number| {
            let leaked = leaked.try_clone().unwrap();
            std::thread::spawn(move || {
                loop {
                    let _ = rustix::io::read(&leaked, &mut [0; 8]);
                    std::thread::sleep(Duration::from_millis(number));
                }
            })
        })
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| panic!("{:?}", command.exec()));
    });
    drop((others, other));
}

/// Starts this program in the role `execs`. Returns what its last program printed, and checks that it set the event.
fn executed(program: &Path, how: &str) -> BTreeMap<String, String> {
    let event = Event::auto_reset().unwrap();
    let mut command = Command::new(program);
    command.args(role("execs", &[how])).inherit("event", &event).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (id, mut output) = (child.id(), Vec::new());
    child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    let said = said(&output);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0), "{said:?}");
    event.wait_timeout(Duration::ZERO).unwrap();
    let expected = |name: &str, value: &str| {
        assert_eq!(said.get(name).map(String::as_str), Some(value), "{name}: {said:?}");
    };
    expected("id", &id.to_string());
    expected("threads", "1");
    expected("others", "0");
    expected("arguments", "[\"one\", \"two words\"]");
    expected("arg0", "\"the name\"");
    expected("variable", "Some(\"value\")");
    expected("cwd", "/");
    expected("blocked", &status_line("thread-self", "SigBlk:"));
    said
}

fn exec_keeps_the_process_and_passes_only_the_listed_objects() {
    let before = table::count();
    let said = executed(&this_program(), "plain");
    assert_eq!(said["group"], group());
    let said = executed(&this_program(), "group");
    assert_eq!(said["group"], said["id"]);
    assert_eq!(table::count(), before);
}

fn exec_from_any_thread_ends_the_others() {
    for _ in 0..5 {
        executed(&this_program(), "thread");
    }
}

fn exec_as_another_user() {
    if handover::User::current().unwrap().uid() != 0 {
        left_out("only root can become another user");
        return;
    }
    let public_copy = PublicCopy::new("exec");
    let said = executed(&public_copy.program(), "nobody");
    assert_eq!(said["user"], [NOBODY.to_string().as_str(); 4].join("\t"));
}

/// Executes a program that never ends.
fn execs_for_its_parent(_: &[String]) {
    let (program, arguments) = bare("never_ends");
    panic!("{:?}", Command::new(program).args(arguments).exec());
}

fn exec_keeps_the_signal_of_the_parents_death() {
    let mut command = Command::new(this_program());
    command.args(role("starts_one_that_execs", &[])).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut parent = command.kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let child: u32 = line.trim().parse().unwrap();
    until("the program is executed", || {
        let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap();
        !line.is_empty() && !String::from_utf8_lossy(&line).contains("execs_for_its_parent")
    });
    end(parent);
    assert!(table::ends_within(child, 5000));
}

/// Starts a child that is killed with this process.
fn starts_one_that_execs(_: &[String]) {
    let mut command = Command::new(this_program());
    command.args(role("execs_for_its_parent", &[])).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.kill_with_parent(true).spawn().unwrap();
    println!("{}", child.id());
    std::thread::sleep(Duration::from_secs(60));
}

fn ignores_sigpipe(ignored: &str) -> bool {
    u64::from_str_radix(ignored, 16).unwrap() & 1 << (libc::SIGPIPE - 1) != 0
}

/// Executes a program that prints its own status. It isn't one in Rust, because those set SIGPIPE by themselves.
fn execs_cat(_: &[String]) {
    assert!(ignores_sigpipe(&status_line("self", "SigIgn:")));
    panic!("{:?}", Command::new("cat").args(["/proc/self/status"]).exec());
}

fn executed_program_has_the_default_sigpipe() {
    let mut command = Command::new(this_program());
    let output = command.args(role("execs_cat", &[])).stdin(Stdio::null()).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    let ignored = page.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    assert!(page.starts_with("Name:\tcat\n"), "{page}");
    assert!(!ignores_sigpipe(ignored.trim()), "{page}");
}

fn file_at(path: &Path) -> std::fs::File {
    std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

/// Locks two files, and passes them to a program that never ends.
fn execs_with_locks(arguments: &[String]) {
    let [record, whole] = [0, 1].map(|index| file_at(Path::new(&arguments[index])));
    fcntl_lock(&record, FlockOperation::NonBlockingLockExclusive).unwrap();
    flock(&whole, FlockOperation::NonBlockingLockExclusive).unwrap();
    // A failed `exec` keeps both, although a table with copies of the descriptors was closed.
    let error = Command::new("/etc/passwd").inherit("record", &record).exec();
    assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error:?}");
    println!("locked");
    std::io::stdin().read_exact(&mut [0]).unwrap();
    let (program, arguments) = bare("never_ends");
    let mut command = Command::new(program);
    panic!("{:?}", command.args(arguments).inherit("record", &record).inherit("whole", &whole).exec());
}

fn exec_releases_record_locks_and_keeps_others() {
    let folder = folder("locks");
    let paths = ["record", "whole"].map(|name| folder.join(name));
    let arguments = paths.each_ref().map(|path| path.to_str().unwrap());
    let mut command = Command::new(this_program());
    command.args(role("execs_with_locks", &arguments)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let files = paths.each_ref().map(|path| file_at(path));
    let try_record = || fcntl_lock(&files[0], FlockOperation::NonBlockingLockExclusive);
    let try_whole = || flock(&files[1], FlockOperation::NonBlockingLockExclusive);
    let refused = |outcome| matches!(outcome, Err(Errno::AGAIN | Errno::ACCESS));
    assert!(refused(try_record()) && refused(try_whole()));
    child.stdin.as_mut().unwrap().write_all(b"1").unwrap();
    until("the record lock is released", || try_record().is_ok());
    assert!(refused(try_whole()));
    end(child);
    std::fs::remove_dir_all(folder).unwrap();
}

/// The state that a failed `exec` must leave unchanged.
fn state() -> Vec<String> {
    let mut state: Vec<String> =
        table::of(std::process::id()).iter().map(|entry| format!("{entry:?}")).collect();
    for name in ["SigBlk:", "SigIgn:", "SigCgt:", "Uid:", "Gid:", "Groups:", "Umask:", "NSpgid:", "NSsid:"] {
        state.push(format!("{name} {}", status_line("thread-self", name)));
    }
    state.push(format!("{:?}", std::env::current_dir().unwrap()));
    state.push(format!("{:?}", rustix::process::dumpable_behavior().unwrap()));
    state.push(format!("{:?}", rustix::process::parent_process_death_signal().unwrap()));
    state.push(format!("threads {}", table::threads()));
    state.push(format!("children {:?}", table::children_of(std::process::id())));
    state
}

fn script(folder: &Path, name: &str, text: &str, mode: u32) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("handover-{name}-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    folder
}

fn failed_exec_leaves_the_process_unchanged() {
    be_in_known_group();
    let folder = folder("exec");
    let plain = script(&folder, "plain", "#!/bin/sh\n", 0o644);
    let text = script(&folder, "text", "echo\n", 0o755);
    let event = Event::auto_reset().unwrap();
    let (leaked, file) = (raw::opened_by_c(), std::fs::File::open("/dev/null").unwrap());
    let is_root = handover::User::current().unwrap().uid() == 0;
    let check = |program: &str, call: &str, code: i32, change: &dyn Fn(&mut Command<'_>)| {
        let before = state();
        let mut command = Command::new(program);
        command.inherit("event", &event).inherit("again", &event).inherit("leaked", leaked.as_fd());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file.try_clone().unwrap());
        change(&mut command);
        let error = command.exec();
        assert_eq!(error.raw_os_error(), Some(code), "{program}: {error:?}");
        let found = match &error {
            Error::System { call, .. } => call,
            Error::CannotExecute { .. } | Error::ProgramNotFound { .. } => "execve",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, call);
        drop(command);
        assert_eq!(state(), before, "{program}");
    };
    // The first run creates what this process keeps.
    let _ = Command::new("/no/such/program").exec();
    check("/no/such/program", "execve", libc::ENOENT, &|_| {});
    check("no-such-program", "execve", libc::ENOENT, &|command| {
        command.env("PATH", "/a:/b");
    });
    check(&plain, "execve", libc::EACCES, &|_| {});
    check(&plain, "execve", libc::EACCES, &|command| {
        command.process_group(0);
    });
    check(&text, "execve", libc::ENOEXEC, &|command| {
        command.current_dir("/").process_group(0);
    });
    check("/bin/true", "chdir", libc::ENOENT, &|command| {
        command.current_dir("/no/such/folder");
    });
    check("/bin/true", "setpgid", libc::EPERM, &|command| {
        command.process_group(i32::MAX);
    });
    check("/bin/true", "setgid", libc::EINVAL, &|command| {
        command.gid(u32::MAX);
    });
    let too_large = "n".repeat(rustix::param::page_size() * 31);
    let arguments = vec![too_large; 100];
    check("/bin/true", "execve", libc::E2BIG, &|command| {
        command.args(&arguments);
    });
    check("/bin/true", "pre_exec", libc::EPROTO, &|command| {
        raw::pre_exec(command.current_dir("/"), || Err(std::io::Error::from_raw_os_error(libc::EPROTO)));
    });
    if is_root {
        check(&plain, "execve", libc::EACCES, &|command| {
            command.uid(NOBODY).gid(NOBODY).current_dir("/");
        });
    }
    // The process works as before.
    assert_eq!(Command::new("true").status().unwrap().code(), Some(0));
    std::fs::remove_dir_all(folder).unwrap();
}

/// While `exec` fails again and again, another thread sees no inheritable descriptor, no other directory, and gets an error
/// for each write to a closed pipe.
fn failed_exec_is_not_seen_by_other_threads() {
    let event = Event::auto_reset().unwrap();
    let (reader, writer) = raw::pipe();
    drop(reader);
    let (has_ended, looks) = (AtomicBool::new(false), AtomicU32::new(0));
    let (directory, was_ignored) =
        (std::env::current_dir().unwrap(), ignores_sigpipe(&status_line("self", "SigIgn:")));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Relaxed) {
                assert!(!table::is_inheritable(&event));
                assert_eq!(std::env::current_dir().unwrap(), directory);
                assert_eq!(rustix::io::write(&writer, b"a"), Err(Errno::PIPE));
                looks.fetch_add(1, Relaxed);
            }
        });
        let failing: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let mut command = Command::new("/etc/passwd");
                        command.inherit("event", &event).current_dir("/");
                        let error = command.exec();
                        assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error:?}");
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = failing.into_iter().map(|thread| thread.join()).collect();
        has_ended.store(true, Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    });
    assert!(looks.load(Relaxed) > 0);
    assert!(was_ignored && ignores_sigpipe(&status_line("self", "SigIgn:")));
}

/// Two threads replace the action for SIGPIPE at the same time. It is restored when the last of them has failed.
fn concurrent_execs_share_the_handler_of_sigpipe() {
    let is_ignored = || ignores_sigpipe(&status_line("self", "SigIgn:"));
    assert!(is_ignored());
    let other = move || {
        assert!(!is_ignored());
        let error = Command::new("/etc/passwd").exec();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error:?}");
        assert!(!is_ignored());
    };
    let meanwhile = faults::Turn::comes_after("clone", 0, other);
    let (error, was_taken) = faults::taking([meanwhile], || Command::new("/etc/passwd").exec());
    assert_eq!((error.raw_os_error(), was_taken), (Some(libc::EACCES), true));
    assert!(is_ignored());
}

/// Each thread moves the process to a group of its own. It is moved back when the last of them has failed.
fn concurrent_failed_execs_restore_the_process_group() {
    let before = group();
    if before == "0" {
        return left_out("the group of this process belongs to another PID namespace");
    }
    assert_ne!(before, std::process::id().to_string(), "the control: this process doesn't lead its group");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let error = Command::new("/etc/passwd").process_group(0).exec();
                    assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error:?}");
                }
            });
        }
    });
    assert_eq!(group(), before);
}

fn exec_works_without_close_range() {
    executed(&this_program(), "old");
}

fn exec_refuses_channels() {
    let before = table::count();
    let (_near, far) = Channel::pair().unwrap();
    for error in [
        Command::new("/bin/true").channel().exec(),
        Command::new("/bin/true").inherit_channel("far", far).exec(),
        Command::new("/bin/true").env("a=b", "").exec(),
        Command::new("/bin/true").inherit("", &Event::manual_reset().unwrap()).exec(),
    ] {
        assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    }
    drop(_near);
    assert_eq!(table::count(), before);
}

fn exec_reports_refused_clone() {
    faults::let_flags_be_refused(libc::CLONE_THREAD.unsigned_abs().into());
    let before = state();
    let error = Command::new("/bin/true").exec();
    assert!(matches!(error, Error::System { call: "clone", .. }), "{error:?}");
    assert_eq!(state(), before);
}

/// A program that exists and can't be executed, so that the sweep goes through all calls and this process stays.
fn exec_reports_each_failing_call() {
    be_in_known_group();
    let event = Event::auto_reset().unwrap();
    let leaked = raw::opened_by_c();
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let exec = || -> Result<()> {
        let mut command = Command::new("/etc/passwd");
        command.inherit("event", &event).inherit("again", &event).inherit("leaked", &leaked);
        command.uid(user).gid(group).process_group(0).current_dir("/").stdin(Stdio::piped());
        raw::pre_exec(&mut command, || Ok(()));
        let before = state();
        let error = command.exec();
        assert_eq!(state(), before, "{error:?}");
        match error {
            Error::CannotExecute { source, .. } if source.raw_os_error() == Some(libc::EACCES) => Ok(()),
            other => Err(other),
        }
    };
    Sweep::of("exec").run(exec, |()| {});
}

// Functions that run before the program.

fn shell<'a>(script: &str) -> Command<'a> {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

fn functions_run_in_order_in_the_new_process() {
    let before = table::count();
    let mut command = shell("cat <&7");
    let count = Arc::new(AtomicU32::new(0));
    for number in *b"123" {
        let count = count.clone();
        raw::pre_exec(&mut command, move || {
            assert_eq!(count.fetch_add(1, Relaxed), u32::from(number - b'1'));
            // The number 1 is the child's standard output.
            rustix::io::write(std::io::stdout(), &[number])?;
            Ok(())
        });
    }
    command.args(["sh"]).env("A", "B");
    let mut command = command;
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    for _ in 0..2 {
        let output = command.output().unwrap();
        assert_eq!(output.stdout, b"123");
        // They ran in a copy of this process.
        assert_eq!(count.load(Relaxed), 0);
    }
    drop(command);
    assert_eq!((Arc::strong_count(&count), table::count()), (1, before));
}

fn function_sees_the_state_of_the_child() {
    let parent = getpid();
    for with_parent in [false, true] {
        let mut command = shell("echo \"$VARIABLE\"; ps -o sid= -p $$ 2>/dev/null");
        command.current_dir("/").env("VARIABLE", "set").process_group(0).kill_with_parent(with_parent);
        raw::pre_exec(&mut command, move || {
            let is_child = getppid() == Some(parent) && getpid() != parent;
            let has_group = getpgid(None)? == getpid();
            let has_directory = std::env::current_dir()? == Path::new("/");
            let has_own_environment = std::env::var_os("VARIABLE").is_none();
            // The leader of a group can't make a session, and std's error has the code.
            let refused = setsid() == Err(Errno::PERM);
            let all = [is_child, has_group, has_directory, has_own_environment, refused];
            if all == [true; 5] { Ok(()) } else { Err(std::io::Error::from_raw_os_error(libc::EBADMSG)) }
        });
        let output = command.output().unwrap();
        assert!(output.stdout.starts_with(b"set\n"), "{output:?}");
    }
    let mut command = shell("sleep 60");
    raw::pre_exec(&mut command, || Ok(setsid().map(drop)?));
    let child = command.kill_on_drop(true).spawn().unwrap();
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap());
    assert_eq!(getsid(id).unwrap(), id.unwrap());
    end(child);
}

fn function_sees_the_listed_objects() {
    let event = Event::auto_reset().unwrap();
    let (value, low) = (table::value(&event), raw::opened_by_c());
    let mut command = Command::new("true");
    command.inherit("event", &event).stdin(Stdio::null());
    let unlisted = table::value(&low);
    raw::pre_exec(&mut command, move || {
        let entry = |value| table::of(std::process::id()).into_iter().find(|entry| entry.value == value);
        // In a copy of this process its own table can be read; the other descriptor is close-on-exec by now.
        let is_right = entry(value).is_some_and(|entry| entry.inheritable)
            && entry(unlisted).is_some_and(|entry| !entry.inheritable);
        rustix::io::write(table::borrowed(value), &1_u64.to_ne_bytes())?;
        if is_right { Ok(()) } else { Err(std::io::Error::from_raw_os_error(libc::EBADMSG)) }
    });
    assert!(command.status().unwrap().success());
    event.wait_timeout(Duration::ZERO).unwrap();
}

fn error_of_a_function_is_reported() {
    let mut reported = Vec::new();
    let _ = Command::new("true").status();
    let before = (table::count(), table::children_of(std::process::id()));
    for with_parent in [false, true] {
        for (make, code, kind) in [
            (
                std::io::Error::from_raw_os_error as fn(i32) -> _,
                libc::EACCES,
                std::io::ErrorKind::PermissionDenied,
            ),
            (|_| std::io::Error::other("a text"), libc::EINVAL, std::io::ErrorKind::InvalidInput),
        ] {
            let mut command = Command::new("true");
            command.kill_with_parent(with_parent);
            raw::pre_exec(&mut command, move || Err(make(code)));
            raw::pre_exec(&mut command, || std::process::exit(1));
            let error = command.spawn().unwrap_err();
            assert!(matches!(error, Error::System { call: "pre_exec", .. }), "{error:?}");
            assert_eq!((error.raw_os_error(), error.kind()), (Some(code), kind));
            reported.push(error.to_string());
        }
    }
    assert_eq!(reported.len(), 4);
    // The thread of `kill_with_parent` keeps no descriptor.
    assert_eq!((table::count(), table::children_of(std::process::id())), before);
}

fn function_that_ends_the_process_is_reported() {
    let _ = Command::new("true").status();
    let before = (table::count(), table::children_of(std::process::id()));
    let panics = || -> std::io::Result<()> { panic!("a function of pre_exec panics, as the test expects") };
    let exits = || -> std::io::Result<()> { std::process::exit(9) };
    let dies = || Ok(rustix::process::kill_process(getpid(), Signal::KILL)?);
    let closes_and_exits = || -> std::io::Result<()> {
        raw::close_from(3);
        std::thread::sleep(Duration::from_millis(50));
        std::process::exit(7)
    };
    let report = |function: &'static (dyn Fn() -> std::io::Result<()> + Send + Sync), text: &str| {
        let mut command = Command::new("true");
        command.stderr(Stdio::null());
        raw::pre_exec(&mut command, function);
        let error = command.spawn().unwrap_err();
        assert!(matches!(error, Error::System { call: "pre_exec", .. }), "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
    };
    report(Box::leak(Box::new(panics)), "by signal 6");
    report(Box::leak(Box::new(exits)), "with exit code 9");
    report(Box::leak(Box::new(dies)), "by signal 9");
    report(Box::leak(Box::new(closes_and_exits)), "with exit code 7");
    assert_eq!((table::count(), table::children_of(std::process::id())), before);
}

/// A function may close the descriptors of this library, and open others under their numbers.
fn functions_may_close_every_descriptor() {
    let path = std::env::temp_dir().join(format!("handover-log-{}", std::process::id()));
    for (program, code) in [("true", None), ("/etc/passwd", Some(libc::EACCES))] {
        let path = path.clone();
        let mut command = Command::new(program);
        let log = path.clone();
        raw::pre_exec(&mut command, move || {
            raw::close_from(3);
            for _ in 0..20 {
                std::mem::forget(std::fs::File::create(&log)?);
            }
            std::thread::sleep(Duration::from_millis(30));
            Ok(())
        });
        match (command.spawn(), code) {
            (Ok(mut child), None) => assert!(child.wait_timeout(SOON).unwrap().success()),
            (Ok(_), Some(_)) => panic!("the program can't be executed"),
            (Err(error), Some(code)) => assert_eq!(error.raw_os_error(), Some(code), "{error:?}"),
            (Err(error), None) => panic!("{error:?}"),
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
    std::fs::remove_file(path).unwrap();
}

/// The pipe by which the child reports ends just before the last function returns. That isn't the start of the program.
fn failure_after_a_function_closed_the_pipe_is_reported() {
    let before = table::count();
    let mut command = Command::new("/etc/passwd");
    raw::pre_exec(&mut command, || {
        raw::close_from(3);
        Ok(())
    });
    for round in 0..1000 {
        let spawned = command.spawn().map(drop);
        let code = spawned.as_ref().map_err(Error::raw_os_error);
        assert_eq!(code, Err(Some(libc::EACCES)), "round {round}: {spawned:?}");
    }
    assert_eq!(table::count(), before);
}

/// A function lets the program inherit all descriptors, also the pipe by which the child reports. The spawn doesn't wait for
/// the end of the program.
fn functions_may_let_the_program_inherit_every_descriptor() {
    for (program, code) in [("sleep", None), ("/etc/passwd", Some(libc::EACCES))] {
        let mut command = Command::new(program);
        command.arg("60").kill_on_drop(true);
        raw::pre_exec(&mut command, || {
            raw::make_inheritable_from(3);
            Ok(())
        });
        let started = Instant::now();
        match (command.spawn(), code) {
            (Ok(mut child), None) => {
                assert!(started.elapsed() < SOON);
                child.kill().unwrap();
            }
            (Err(error), Some(code)) => assert_eq!(error.raw_os_error(), Some(code), "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
}

fn functions_run_while_other_threads_allocate() {
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !has_ended.load(Relaxed) {
                    drop(std::hint::black_box(vec![0_u8; 100_000]));
                    drop(std::hint::black_box(Box::new(0_u8)));
                }
            });
        }
        let spawned = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..100 {
                let mut command = Command::new("true");
                raw::pre_exec(&mut command, || {
                    drop(std::hint::black_box(vec![Box::new(0_u8); 1000]));
                    Ok(())
                });
                assert!(command.status().unwrap().success());
            }
        }));
        has_ended.store(true, Relaxed);
        spawned.unwrap();
    });
}

fn exec_runs_functions_in_this_process() {
    let count = Arc::new(AtomicU32::new(0));
    let before = state();
    let counted = count.clone();
    let mut command = Command::new("/etc/passwd");
    let process = getpid();
    raw::pre_exec(&mut command, move || {
        assert_eq!(getpid(), process);
        counted.fetch_add(1, Relaxed);
        // The descriptors are this thread's own.
        raw::close_from(3);
        Ok(())
    });
    assert_eq!(command.exec().raw_os_error(), Some(libc::EACCES));
    assert_eq!((count.load(Relaxed), state()), (1, before.clone()));
    // The error is returned unchanged.
    raw::pre_exec(&mut command, || Err(std::io::Error::other("the reason")));
    let error = command.exec();
    assert!(error.to_string().contains("the reason"), "{error:?}");
    assert_eq!((count.load(Relaxed), state()), (2, before.clone()));
    let mut command = Command::new("true");
    raw::pre_exec(&mut command, || panic!("a panic that the test expects"));
    let panic = catch_unwind(AssertUnwindSafe(|| command.exec())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"a panic that the test expects"));
    drop(command);
    assert_eq!(state(), before);
}

fn spawn_with_functions_reports_each_failing_call() {
    let event = Event::auto_reset().unwrap();
    let spawn = || {
        let (program, arguments) = bare("never_ends");
        let mut command = Command::new(program);
        command.args(arguments).inherit("event", &event).stdin(Stdio::piped()).current_dir("/");
        raw::pre_exec(&mut command, || Ok(()));
        raw::pre_exec(&mut command, || Ok(()));
        command.spawn()
    };
    sweep("spawn, with functions of the caller", spawn, end);
}
