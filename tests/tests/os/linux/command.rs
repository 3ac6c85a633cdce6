//! Tests of features of `Command` that only Linux has: argument 0, users, groups and scripts.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use handover::{Child, Command, Error, Event, Stdio};
use handover_tests::{Suite, bare, left_out, raw, role, table, tests, this_program, until};

use super::unprivileged::{NOBODY, PublicCopy};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "command",
    tests: tests![
        arg0_sets_argument_zero,
        process_group_sets_group,
        uid_and_gid_set_user,
        script_passes_inherited_objects_to_program,
        script_without_interpreter_line_is_rejected,
        too_long_argument_is_rejected,
        program_is_searched_in_childs_path_or_own,
        start_failure_says_what_was_found,
        status_reports_killing_signal,
        interrupted_wait_continues,
        wait_with_output_reports_unreadable_stream,
        output_needs_no_thread,
        output_of_a_nonblocking_stream_is_collected,
        null_streams_have_the_direction_of_the_stream,
        child_has_a_descriptor,
        owner_of_a_childs_descriptor_waits_for_it,
        command_prints_argument_zero,
    ],
    roles: tests![takes_and_prints, waits_for_the_event, reads_output_at_limit],
};

fn never_ends<'a>() -> Command<'a> {
    let (program, arguments) = bare("never_ends");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
}

fn arg0_sets_argument_zero() {
    let has_zeroth = |child: &Child, expected: &[u8]| {
        let line = || std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
        // In `/proc`, a program has no arguments, or those of its parent, until it has started.
        until("the program has its argument zero", || {
            let line = line();
            !line.is_empty() && line.split(|byte| *byte == 0).next() == Some(expected)
        });
    };
    for name in ["worker", "", "two words"] {
        let child = never_ends().arg0(name).spawn().unwrap();
        has_zeroth(&child, name.as_bytes());
        end(child);
    }
    let child = never_ends().spawn().unwrap();
    let (program, _) = bare("never_ends");
    has_zeroth(&child, program.as_os_str().as_encoded_bytes());
    end(child);
    let refused = never_ends().arg0("a\0b").spawn();
    assert!(matches!(refused, Err(Error::InvalidInput { .. })), "{refused:?}");
}

/// Returns the process group of a process, from `/proc`.
fn group_of(process: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(2).unwrap().parse().unwrap()
}

fn process_group_sets_group() {
    let usual = never_ends().spawn().unwrap();
    assert_eq!(group_of(usual.id()), group_of(std::process::id()));
    let own = never_ends().process_group(0).spawn().unwrap();
    assert_eq!(group_of(own.id()), own.id());
    let same = never_ends().process_group(i32::try_from(own.id()).unwrap()).spawn().unwrap();
    assert_eq!(group_of(same.id()), own.id());
    [usual, own, same].into_iter().for_each(end);
}

/// Returns the numbers in a line of a process's status in `/proc`.
fn status_of(process: u32, line: &str) -> Vec<u32> {
    let page = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let numbers = page.lines().find_map(|own| own.strip_prefix(line)).unwrap();
    numbers.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn uid_and_gid_set_user() {
    let nobody = 65534;
    if handover::User::current().unwrap().uid() != 0 {
        let refused = never_ends().uid(nobody).spawn();
        assert!(matches!(refused, Err(Error::System { .. })), "{refused:?}");
        left_out("only root can start a child as another user");
        return;
    }
    let event = Event::manual_reset().unwrap();
    // A program that all users can run.
    let mut command = Command::new("sleep");
    command.arg("60").uid(nobody).gid(nobody).kill_on_drop(true).inherit("event", &event);
    let child = command.spawn().unwrap();
    assert_eq!(status_of(child.id(), "Uid:"), [nobody; 4]);
    assert_eq!(status_of(child.id(), "Gid:"), [nobody; 4]);
    assert_eq!(status_of(child.id(), "Groups:"), [0; 0]);
    assert_eq!(child.process().user().unwrap().uid(), nobody);
    assert_eq!(table::values_of(&event, child.id()).len(), 1);
    end(child);
}

/// An executable file, removed on drop.
struct Script(PathBuf);

impl Script {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("handover-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn takes_and_prints(_: &[String]) {
    handover::inherited().unwrap().take::<Event>("ready").unwrap().set().unwrap();
    print!("through the script");
}

fn script_passes_inherited_objects_to_program() {
    // The script replaces itself by this program, so the process id in the manifest stays right.
    let script = Script::new("script", "#!/bin/sh\nexec \"$@\"\n");
    let ready = Event::manual_reset().unwrap();
    let mut command = Command::new(&script.0);
    command.arg(this_program()).args(role("takes_and_prints", &[])).inherit("ready", &ready);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    assert_eq!(text, "through the script");
    assert!(ready.try_wait().unwrap());
}

fn script_without_interpreter_line_is_rejected() {
    let script = Script::new("bare-script", "echo it ran\n");
    let before = table::count();
    match Command::new(&script.0).stdout(Stdio::piped()).spawn() {
        // ENOEXEC.
        Err(error @ Error::CannotExecute { .. }) => assert_eq!(error.raw_os_error(), Some(8)),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
    assert_eq!(table::children_of(std::process::id()), []);
}

fn too_long_argument_is_rejected() {
    let before = table::count();
    let fits = "x".repeat(128 * 1024 - 1);
    match never_ends().arg(format!("{fits}x")).spawn() {
        Err(error @ Error::InvalidInput { .. }) => {
            assert!(error.to_string().contains("at most 131071"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let output = Command::new("printf").args(["%s", &fits]).output().unwrap();
    assert_eq!(output.stdout.len(), fits.len());
    assert_eq!(table::count(), before);
}

fn program_is_searched_in_childs_path_or_own() {
    let missing = |command: &mut Command<'_>| match command.spawn() {
        Err(Error::ProgramNotFound { searched, .. }) => searched,
        other => panic!("{other:?}"),
    };
    let own = std::env::var_os("PATH").unwrap();
    let folders = std::env::split_paths(&own).filter(|folder| folder.is_absolute());
    let mut expected: Vec<PathBuf> = Vec::new();
    for file in folders.map(|folder| folder.join("no-such-program")) {
        if !expected.contains(&file) {
            expected.push(file);
        }
    }
    assert_eq!(missing(&mut Command::new("no-such-program")), expected);
    let there = missing(Command::new("no-such-program").env("PATH", "/a:b:/c:.:/a:/etc/passwd::/c"));
    let expected = ["/a/no-such-program", "/c/no-such-program", "/etc/passwd/no-such-program"];
    assert_eq!(there, expected.map(PathBuf::from));
    // Other variables don't affect the search.
    let other =
        missing(Command::new("no-such-program").env("PATH", "/a").env("OTHER", "/b").env_remove("ANOTHER"));
    assert_eq!(other, ["/a/no-such-program"].map(PathBuf::from));
    // Files that aren't executable are skipped.
    let folder = std::env::temp_dir().join(format!("handover-path-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("true"), "no program").unwrap();
    let both = std::env::join_paths([folder.as_os_str(), "/usr/bin".as_ref(), "/bin".as_ref()]).unwrap();
    assert_eq!(Command::new("true").env("PATH", both).status().unwrap().code(), Some(0));
    // So are files that lack their interpreter, as std skips them.
    std::fs::write(folder.join("true"), "#!/no/such/interpreter\n").unwrap();
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(folder.join("true"), mode(0o755)).unwrap();
    let both = std::env::join_paths([folder.as_os_str(), "/usr/bin".as_ref(), "/bin".as_ref()]).unwrap();
    assert!(std::process::Command::new("true").env("PATH", &both).status().unwrap().success());
    assert!(Command::new("true").env("PATH", &both).status().unwrap().success());
    // The search is made as the user that the child will be.
    if handover::User::current().unwrap().uid() == 0 {
        std::fs::write(folder.join("true"), "#!/bin/sh\nexit 9\n").unwrap();
        std::fs::set_permissions(&folder, mode(0o700)).unwrap();
        let mut command = Command::new("true");
        command.env("PATH", &both).uid(NOBODY).gid(NOBODY).current_dir("/");
        assert_eq!(command.status().unwrap().code(), Some(0));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// The reasons for which a program can't be started: the program, a part of the message, and whether a file was found.
/// Each has the code of std's error.
fn start_failure_says_what_was_found() {
    let before = table::count();
    let folder = std::env::temp_dir().join(format!("handover-refused-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let script = |name: &str, text: &str, mode: u32| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    script("plain", "#!/bin/sh\n", 0o644);
    script("needs", "#! /no/such/interpreter -x\n", 0o755);
    script("dos", "#!/bin/sh\r\n", 0o755);
    script("text", "echo\n", 0o755);
    let open = script("open", "#!/bin/sh\n", 0o755);
    std::os::unix::fs::symlink("/no/such/file", folder.join("dangling")).unwrap();
    std::os::unix::fs::symlink("round", folder.join("round")).unwrap();
    let writer = std::fs::File::options().write(true).open(open).unwrap();
    let in_folder = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let long = "n".repeat(300);
    for (program, text, is_found) in [
        ("/etc".to_owned(), "is a folder", true),
        ("/etc/passwd".to_owned(), "is not executable", true),
        ("/dev/null".to_owned(), "is not a regular file", true),
        ("/etc/passwd/x".to_owned(), "a part of its path is not a folder", true),
        ("/bin/true/".to_owned(), "a part of its path is not a folder", true),
        (in_folder("plain"), "chmod +x", true),
        (in_folder("needs"), "\"/no/such/interpreter\"", true),
        (in_folder("dos"), "CR and LF", true),
        (in_folder("text"), "doesn't begin with #!", true),
        (in_folder("open"), "is open for writing", true),
        (in_folder("dangling"), "is a symbolic link", true),
        (in_folder("round"), "too many symbolic links", true),
        (in_folder("missing"), "there is no file at this path", false),
        ("./missing".to_owned(), "there is no file at this path", false),
        (long.clone(), "is too long", true),
        (format!("/{long}"), "is too long", true),
        ("plain".to_owned(), "chmod +x", true),
        ("dangling".to_owned(), "is a symbolic link", true),
        ("handover-no-such-program".to_owned(), "not found in", false),
    ] {
        let path =
            std::env::join_paths(["/no/such/folder", "/etc/passwd", folder.to_str().unwrap()]).unwrap();
        let error = Command::new(&program).env("PATH", &path).spawn().unwrap_err();
        assert!(error.to_string().contains(text), "{program}: {error}");
        assert_eq!(matches!(error, Error::CannotExecute { .. }), is_found, "{program}: {error:#?}");
        assert_eq!(matches!(error, Error::ProgramNotFound { .. }), !is_found, "{program}: {error:#?}");
        let of_std = std::process::Command::new(&program).env("PATH", &path).spawn().unwrap_err();
        assert_eq!(error.raw_os_error(), of_std.raw_os_error(), "{program}: {error}");
        let converted = std::io::Error::from(error);
        assert_eq!((converted.raw_os_error(), converted.kind()), (of_std.raw_os_error(), of_std.kind()));
    }
    drop(writer);
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(table::count(), before);
    assert_eq!(table::children_of(std::process::id()), []);
}

fn status_reports_killing_signal() {
    use std::os::unix::process::ExitStatusExt;
    let mut child = Command::new("sh").args(["-c", "kill -TERM $$"]).spawn().unwrap();
    let status = child.wait_timeout(SOON).unwrap();
    assert_eq!((status.signal(), status.code(), status.success()), (Some(15), None, false));
}

fn waits_for_the_event(_: &[String]) {
    let event: Event = handover::inherited().unwrap().take("event").unwrap();
    println!("waits");
    event.wait_timeout(SOON).unwrap();
    print!("woken");
}

fn interrupted_wait_continues() {
    use std::io::{BufRead, BufReader};
    let event = Event::auto_reset().unwrap();
    let mut command = Command::new(this_program());
    command.args(role("waits_for_the_event", &[])).inherit("event", &event).kill_on_drop(true);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "waits\n");
    // SIGSTOP and SIGCONT interrupt the system call in which the child waits.
    for signal in ["-STOP", "-CONT", "-STOP", "-CONT"] {
        std::thread::sleep(Duration::from_millis(100));
        let id = child.id().to_string();
        assert_eq!(Command::new("kill").args([signal, &id]).status().unwrap().code(), Some(0));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(child.try_wait().unwrap(), None);
    event.set().unwrap();
    line.clear();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "woken");
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn wait_with_output_reports_unreadable_stream() {
    use std::os::fd::OwnedFd;
    let before = table::count();
    for is_error_output in [false, true] {
        let mut child = Command::new("true").spawn().unwrap();
        let null = || OwnedFd::from(std::fs::File::options().write(true).open("/dev/null").unwrap());
        if is_error_output {
            child.stderr = Some(null().into());
        } else {
            child.stdout = Some(null().into());
        }
        match child.wait_with_output() {
            // EBADF.
            Err(error @ Error::System { .. }) => assert_eq!(error.raw_os_error(), Some(9), "{error}"),
            other => panic!("{other:?}"),
        }
    }
    // Children that were dropped unreaped are reaped by later spawns.
    until("the children have exited", || {
        assert_eq!(Command::new("true").status().unwrap().code(), Some(0));
        table::children_of(std::process::id()).is_empty()
    });
    assert_eq!(table::count(), before);
}

/// Reads the output of a child at the limit of this user's threads.
fn reads_output_at_limit(_: &[String]) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let child = Command::new("sh")
        .args(["-c", "echo out; echo err >&2"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    setrlimit(Resource::Nproc, Rlimit { current: Some(0), ..getrlimit(Resource::Nproc) }).unwrap();
    std::thread::Builder::new().spawn(|| ()).unwrap_err();
    let output = child.wait_with_output().unwrap();
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
}

fn output_needs_no_thread() {
    if handover::User::current().unwrap().uid() != 0 {
        left_out("only root can start a child as another user");
        return;
    }
    let public_copy = PublicCopy::new("no-threads");
    let mut command = Command::new(public_copy.program());
    command.args(role("reads_output_at_limit", &[])).current_dir(public_copy.folder()).stdin(Stdio::null());
    assert_eq!(command.uid(NOBODY).gid(NOBODY).status().unwrap().code(), Some(0));
}

fn null_streams_have_the_direction_of_the_stream() {
    let is = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(is("echo a && echo b >&2"));
    assert!(is("cat"));
    assert!(!is("echo a >&0"));
    assert!(!is("cat <&1"));
}

fn child_has_a_descriptor() {
    use std::os::fd::{AsFd, AsRawFd};
    let child = never_ends().spawn().unwrap();
    assert_eq!(child.as_raw_fd(), child.as_fd().as_raw_fd());
    assert_eq!(child.as_raw_fd().unsigned_abs(), table::value(&child));
    end(child);
}

fn output_of_a_nonblocking_stream_is_collected() {
    const SCRIPT: &str = "sleep 0.2; echo one; exec 2>&-; sleep 0.2; echo two";
    for both in [true, false] {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]).stdout(Stdio::piped());
        if both {
            command.stderr(Stdio::piped());
        }
        let child = command.spawn().unwrap();
        raw::set_nonblocking(child.stdout.as_ref().unwrap());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "one\ntwo\n", "both: {both}");
    }
}

fn owner_of_a_childs_descriptor_waits_for_it() {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::{AsFd, OwnedFd};
    let _ = Command::new("true").status();
    let before = table::count();
    let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
    let id = child.id();
    let descriptor = OwnedFd::from(child);
    // Neither the conversion nor later spawns wait for the child.
    assert!(table::ends_within(id, 5000));
    assert!(Command::new("true").status().unwrap().success());
    assert_eq!(table::children_of(std::process::id()), [id]);
    let status = waitid(WaitId::PidFd(descriptor.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(7));
    assert_eq!(table::children_of(std::process::id()), []);
    drop(descriptor);
    assert_eq!(table::count(), before);
}

fn command_prints_argument_zero() {
    use std::os::unix::process::CommandExt;
    let mut of_std = std::process::Command::new("worker");
    let mut own = Command::new("worker");
    assert_eq!(format!("{:?}", own.arg("a").arg0("other")), format!("{:?}", of_std.arg("a").arg0("other")));
    let all = format!("{:#?}", own.uid(7).process_group(3));
    assert!(all.contains("Some(\n            7,") && all.contains("\"other\""), "{all}");
}
