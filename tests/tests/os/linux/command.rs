//! What only this system's programs have: a zeroth argument, users, groups, scripts.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use handover::{Child, Command, Error, Event, Stdio};
use handover_tests::{Suite, bare, left_out, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "command",
    tests: tests![
        the_zeroth_argument_can_be_set,
        a_child_can_have_a_group_of_its_own,
        a_child_can_be_another_user,
        a_script_runs_with_what_it_inherits,
        a_script_that_does_not_say_its_program_is_refused,
        what_is_too_long_is_refused,
        the_path_is_the_childs_or_else_this_processs,
        a_signal_that_kills_is_in_the_status,
        a_wait_that_is_interrupted_goes_on,
        output_that_can_not_be_read_is_an_error,
        what_goes_nowhere_can_be_written,
        a_child_is_a_descriptor,
    ],
    roles: tests![takes_and_says, waits_for_the_event],
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

fn the_zeroth_argument_can_be_set() {
    let zeroth = |child: &Child| {
        let line = || std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
        // A program that has just begun has no arguments yet, on that page.
        until("it has arguments", || !line().is_empty());
        line().split(|byte| *byte == 0).next().unwrap().to_vec()
    };
    for name in ["worker", "", "two words"] {
        let child = never_ends().arg0(name).spawn().unwrap();
        assert_eq!(zeroth(&child), name.as_bytes());
        end(child);
    }
    let child = never_ends().spawn().unwrap();
    let (program, _) = bare("never_ends");
    assert_eq!(zeroth(&child), program.as_os_str().as_encoded_bytes());
    end(child);
    let refused = never_ends().arg0("a\0b").spawn();
    assert!(matches!(refused, Err(Error::InvalidInput { .. })), "{refused:?}");
}

/// The process group of a process, by the kernel's page about it.
fn group_of(process: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(2).unwrap().parse().unwrap()
}

fn a_child_can_have_a_group_of_its_own() {
    let usual = never_ends().spawn().unwrap();
    assert_eq!(group_of(usual.id()), group_of(std::process::id()));
    let own = never_ends().process_group(0).spawn().unwrap();
    assert_eq!(group_of(own.id()), own.id());
    let same = never_ends().process_group(i32::try_from(own.id()).unwrap()).spawn().unwrap();
    assert_eq!(group_of(same.id()), own.id());
    [usual, own, same].into_iter().for_each(end);
}

/// The numbers in a line of the kernel's page about a process.
fn status_of(process: u32, line: &str) -> Vec<u32> {
    let page = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let numbers = page.lines().find_map(|own| own.strip_prefix(line)).unwrap();
    numbers.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn a_child_can_be_another_user() {
    let nobody = 65534;
    if handover::User::current().unwrap().uid() != 0 {
        let refused = never_ends().uid(nobody).spawn();
        assert!(matches!(refused, Err(Error::System { .. })), "{refused:?}");
        left_out("only root can start a child as another user");
        return;
    }
    let event = Event::manual_reset().unwrap();
    // A program that everybody can start.
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

/// A file that can be started, gone with the test.
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

fn takes_and_says(_: &[String]) {
    handover::inherited().unwrap().take::<Event>("ready").unwrap().set().unwrap();
    print!("through the script");
}

fn a_script_runs_with_what_it_inherits() {
    // It starts this program in its own place, and that is then the process for which the manifest is.
    let script = Script::new("script", "#!/bin/sh\nexec \"$@\"\n");
    let ready = Event::manual_reset().unwrap();
    let mut command = Command::new(&script.0);
    command.arg(this_program()).args(role("takes_and_says", &[])).inherit("ready", &ready);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait_timeout(SOON).unwrap().success());
    assert_eq!(text, "through the script");
    assert!(ready.try_wait().unwrap());
}

fn a_script_that_does_not_say_its_program_is_refused() {
    let script = Script::new("bare-script", "echo it ran\n");
    let before = table::count();
    match Command::new(&script.0).stdout(Stdio::piped()).spawn() {
        // ENOEXEC.
        Err(error @ Error::System { call: "execve", .. }) => assert_eq!(error.raw_os_error(), Some(8)),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
    assert_eq!(table::children_of(std::process::id()), []);
}

fn what_is_too_long_is_refused() {
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

fn the_path_is_the_childs_or_else_this_processs() {
    let missing = |command: &mut Command<'_>| match command.spawn() {
        Err(Error::ProgramNotFound { searched: looked_at, .. }) => looked_at,
        other => panic!("{other:?}"),
    };
    let own = std::env::var_os("PATH").unwrap();
    let folders = std::env::split_paths(&own).filter(|folder| folder.is_absolute());
    let expected: Vec<PathBuf> = folders.map(|folder| folder.join("no-such-program")).collect();
    assert_eq!(missing(&mut Command::new("no-such-program")), expected);
    let there = missing(Command::new("no-such-program").env("PATH", "/a:b:/c:.:"));
    assert_eq!(there, ["/a/no-such-program", "/c/no-such-program"].map(PathBuf::from));
    // Another variable is not the path, whatever stands in it.
    let other =
        missing(Command::new("no-such-program").env("PATH", "/a").env("OTHER", "/b").env_remove("ANOTHER"));
    assert_eq!(other, ["/a/no-such-program"].map(PathBuf::from));
    // What can't be started is passed over.
    let folder = std::env::temp_dir().join(format!("handover-path-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("true"), "no program").unwrap();
    let both = std::env::join_paths([folder.as_os_str(), "/usr/bin".as_ref(), "/bin".as_ref()]).unwrap();
    assert!(Command::new("true").env("PATH", both).status().unwrap().success());
    std::fs::remove_dir_all(folder).unwrap();
}

fn a_signal_that_kills_is_in_the_status() {
    use std::os::unix::process::ExitStatusExt;
    let mut child = Command::new("sh").args(["-c", "kill -TERM $$"]).spawn().unwrap();
    let status = child.wait_timeout(SOON).unwrap();
    assert_eq!((status.signal(), status.code(), status.success()), (Some(15), None, false));
}

fn waits_for_the_event(_: &[String]) {
    let event: Event = handover::inherited().unwrap().take("event").unwrap();
    println!("waits");
    event.wait_timeout(SOON).unwrap();
    print!("came");
}

fn a_wait_that_is_interrupted_goes_on() {
    use std::io::{BufRead, BufReader};
    let event = Event::auto_reset().unwrap();
    let mut command = Command::new(this_program());
    command.args(role("waits_for_the_event", &[])).inherit("event", &event).kill_on_drop(true);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "waits\n");
    // To be stopped and to go on interrupts the call in which it waits.
    for signal in ["-STOP", "-CONT", "-STOP", "-CONT"] {
        std::thread::sleep(Duration::from_millis(100));
        let id = child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(child.try_wait().unwrap(), None);
    event.set().unwrap();
    line.clear();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "came");
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn output_that_can_not_be_read_is_an_error() {
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
    // Those that nobody has waited for are asked about with the next.
    until("the children have ended", || {
        assert!(Command::new("true").status().unwrap().success());
        table::children_of(std::process::id()).is_empty()
    });
    assert_eq!(table::count(), before);
}

fn what_goes_nowhere_can_be_written() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo a && echo b >&2"]).stdin(Stdio::null());
    assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
}

fn a_child_is_a_descriptor() {
    use std::os::fd::{AsFd, AsRawFd};
    let child = never_ends().spawn().unwrap();
    assert_eq!(child.as_raw_fd(), child.as_fd().as_raw_fd());
    assert_eq!(child.as_raw_fd().unsigned_abs(), table::value(&child));
    end(child);
}
