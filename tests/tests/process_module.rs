//! Tests of `handover::process`, std's module by name: programs that were written for `std::process` compile, and work.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use handover::process::{self, Child, Command, CommandArgs, CommandEnvs, ExitStatus, Output, Stdio};
use handover::{Error, Event, OwnedHandle, SharedMemory};
use handover_tests::{Sweep, expect, raw, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            command_is_stored_and_returned_as_stds_is,
            owned_objects_reach_each_child,
            owned_objects_are_closed_with_the_command,
            owned_and_borrowed_objects_go_together,
            output_is_collected_within_the_timeout,
            output_timeout_kills_the_child,
            output_timeout_holds_for_a_grandchild_with_the_output,
            output_timeout_reports_each_failing_call,
            threads_share_a_child,
            getters_return_what_stds_return,
            command_prints_as_stds,
            number_of_a_handle_becomes_a_stream,
            child_becomes_its_handle,
        ],
        tests![copies, takes, prints, hangs, leaves_a_grandchild],
    )
}

/// Copies its standard input to its output.
fn copies(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
}

/// Takes an event, a file and memory, and sets the event if the others have what they should.
fn takes(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    let (event, memory): (Event, SharedMemory) =
        (inherited.take("event").unwrap(), inherited.take("memory").unwrap());
    let mut text = String::new();
    inherited.take::<File>("file").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((memory.view().unwrap().to_vec()[0], text.is_empty()), (7, false));
    inherited.take::<OwnedHandle>("plain").unwrap();
    event.set().unwrap();
}

// The shapes in which programs keep std's `Command`, which has no lifetime.

struct Job {
    command: Command,
    children: Vec<Child>,
}

trait Spawner {
    fn command(&mut self) -> &mut Command;
    fn run(&mut self) -> std::io::Result<Output> {
        Ok(self.command().output()?)
    }
}

impl Spawner for Job {
    fn command(&mut self) -> &mut Command {
        &mut self.command
    }
}

fn copier() -> Command {
    let mut command = Command::new(this_program());
    command.args(role("copies", &[])).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

fn configured(mut command: Command, configure: impl FnOnce(&mut Command) -> &mut Command) -> Command {
    configure(&mut command);
    command
}

fn boxed() -> Box<dyn FnMut() -> Result<Child, Box<dyn std::error::Error + Send + Sync>> + Send> {
    let mut command = copier();
    Box::new(move || Ok(command.spawn()?))
}

static NAMES: std::sync::Mutex<Vec<Command>> = std::sync::Mutex::new(Vec::new());

fn command_is_stored_and_returned_as_stds_is() {
    let mut job = Job { command: copier(), children: Vec::new() };
    let status: ExitStatus = job.run().unwrap().status;
    assert!(status.success());
    job.children.push(job.command.spawn().unwrap());
    let mut by_name: HashMap<String, Command> = HashMap::new();
    by_name.entry("copier".into()).or_insert_with(copier).env("A", "B");
    assert!(by_name.get_mut("copier").unwrap().status().unwrap().success());
    let input = configured(copier(), |command| command.stdin(Stdio::piped()));
    let started = std::thread::spawn(move || {
        let mut input = input;
        input.spawn().unwrap()
    });
    let mut child = started.join().unwrap();
    child.stdin.take().unwrap().write_all(b"text").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"text");
    job.children.push(boxed()().unwrap());
    NAMES.lock().unwrap().push(copier());
    let mut kept = NAMES.lock().unwrap().pop().unwrap();
    assert!(kept.output().unwrap().status.success());
    for mut child in job.children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(process::id(), std::process::id());
}

/// Returns a command that owns what its children inherit, and the event that they set.
fn owner() -> (Command, Event) {
    let event = Event::auto_reset().unwrap();
    let memory = SharedMemory::new(1).unwrap();
    memory.view_mut().unwrap().write_at(0, &[7]).unwrap();
    let mut command = Command::new(this_program());
    command.args(role("takes", &[]));
    command.inherit_owned("event", event.try_clone().unwrap()).inherit_owned("memory", memory);
    command.inherit_owned("plain", OwnedHandle::from(Event::manual_reset().unwrap()));
    (command, event)
}

fn readable_file() -> File {
    File::open(this_program()).unwrap()
}

fn owned_objects_reach_each_child() {
    let (mut command, event) = owner();
    for _ in 0..2 {
        // Each child reads to the end of a file of its own.
        let path = std::env::temp_dir().join(format!("handover-process-{}", std::process::id()));
        std::fs::write(&path, "text").unwrap();
        let mut child = Command::new(this_program());
        child.args(role("takes", &[])).inherit_owned("file", File::open(&path).unwrap());
        child.inherit_owned("event", event.try_clone().unwrap());
        let memory = SharedMemory::new(1).unwrap();
        memory.view_mut().unwrap().write_at(0, &[7]).unwrap();
        child.inherit_owned("memory", memory);
        child.inherit_owned("plain", OwnedHandle::from(Event::manual_reset().unwrap()));
        assert!(child.status().unwrap().success());
        event.wait_timeout(SOON).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
    // A command can be used again: each child gets handles of its own.
    for _ in 0..2 {
        let child = command.spawn().unwrap();
        assert_eq!(child.inherited_handles().count(), 3);
        drop(child);
    }
}

fn owned_objects_are_closed_with_the_command() {
    let before = table::count();
    let (mut command, event) = owner();
    command.inherit_owned("file", readable_file());
    drop(event);
    drop(command);
    until("the handles are closed", || table::count() == before);
}

fn owned_and_borrowed_objects_go_together() {
    let event = Event::auto_reset().unwrap();
    let memory = SharedMemory::new(1).unwrap();
    memory.view_mut().unwrap().write_at(0, &[7]).unwrap();
    let path = std::env::temp_dir().join(format!("handover-process-{}", std::process::id()));
    std::fs::write(&path, "text").unwrap();
    let mut command = handover::Command::new(this_program());
    command.args(role("takes", &[])).inherit("event", &event).inherit_owned("memory", memory);
    command.inherit_owned("file", File::open(&path).unwrap()).inherit("plain", &event);
    assert!(command.status().unwrap().success());
    event.wait_timeout(SOON).unwrap();
    std::fs::remove_file(&path).unwrap();
}

/// Prints as many bytes as the argument says, to both streams.
fn prints(arguments: &[String]) {
    for _ in 0..arguments[0].parse::<usize>().unwrap() / 1000 {
        std::io::stdout().write_all(&[b'o'; 1000]).unwrap();
        std::io::stderr().write_all(&[b'e'; 1000]).unwrap();
    }
    std::process::exit(3);
}

/// Prints a little, and doesn't exit.
fn hangs(_: &[String]) {
    println!("a line");
    std::thread::sleep(Duration::from_secs(60));
}

/// Exits at once. A grandchild keeps the output open for a moment, without a parent that waits for it.
fn leaves_a_grandchild(_: &[String]) {
    let mut command = std::process::Command::new(this_program());
    drop(command.args(role("hangs", &[])).spawn().unwrap());
}

fn printing(count: &str) -> Command {
    let mut command = Command::new(this_program());
    command.args(role("prints", &[count]));
    command
}

fn output_is_collected_within_the_timeout() {
    let before = table::count();
    for timeout in [SOON, Duration::MAX] {
        let output = printing("300000").output_timeout(timeout).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((output.stdout, output.stderr), (vec![b'o'; 300_000], vec![b'e'; 300_000]));
    }
    // Streams that are not piped are not collected.
    let output = printing("1000").stdout(Stdio::null()).output_timeout(SOON).unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 1000));
    let error = Command::new("no such program").output_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::ProgramNotFound { .. }), "{error:?}");
    until("the handles are closed", || table::count() == before);
}

fn output_timeout_kills_the_child() {
    let mut command = Command::new(this_program());
    command.args(role("hangs", &[]));
    // The first one makes what the process keeps.
    let _ = command.output_timeout(Duration::from_millis(50));
    let before = (table::count(), table::children_of(std::process::id()).len());
    let started = Instant::now();
    let error = command.output_timeout(Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().contains("to exit and to close its output"), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < SOON);
    until("nothing is left", || (table::count(), table::children_of(std::process::id()).len()) == before);
}

fn output_timeout_holds_for_a_grandchild_with_the_output() {
    let mut command = Command::new(this_program());
    command.args(role("leaves_a_grandchild", &[]));
    let started = Instant::now();
    let error = command.output_timeout(Duration::from_millis(1500)).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

fn output_timeout_reports_each_failing_call() {
    let collect =
        || printing("2000").output_timeout(SOON).map(|output| assert_eq!(output.stdout.len(), 2000));
    Sweep::of("output with a timeout").harmless(expect::HARMLESS_OUTPUT).run(collect, |()| {});
}

fn threads_share_a_child() {
    for round in 0..20 {
        let mut command = Command::new(this_program());
        command.args(role("hangs", &[])).stdout(Stdio::null());
        let child = Arc::new(command.kill_on_drop(true).spawn().unwrap());
        let waiting: Vec<_> = (0..4)
            .map(|thread| {
                let child = child.clone();
                std::thread::spawn(move || {
                    if thread % 2 == 0 {
                        child.process().wait_timeout(SOON).unwrap();
                    }
                    loop {
                        if let Some(status) = child.exit_status().unwrap() {
                            return status;
                        }
                        std::thread::sleep(Duration::from_millis(1));
                    }
                })
            })
            .collect();
        if round % 2 == 0 {
            child.process().kill().unwrap();
        } else {
            // A clone of its process outlives it, and kills it too.
            child.process().clone().kill().unwrap();
        }
        let statuses: Vec<ExitStatus> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(statuses.iter().all(|status| *status == statuses[0] && !status.success()), "{statuses:?}");
        child.process().kill().unwrap();
        let late = child.process().wait_timeout(Duration::ZERO);
        assert!(late.is_ok(), "{late:?}");
    }
}

/// A holder of std's iterators, which has to name their types.
struct Getters<'a> {
    arguments: CommandArgs<'a>,
    variables: CommandEnvs<'a>,
}

/// Makes the same calls on a command of std and on one of this crate.
macro_rules! both {
    (|$command:ident| $configure:expr) => {{
        let mut $command = std::process::Command::new("worker");
        $configure;
        let of_std = $command;
        let mut $command = Command::new("worker");
        $configure;
        (of_std, $command)
    }};
}

fn getters_return_what_stds_return() {
    let (of_std, own) = both!(|command| {
        command.args(["a", "b c"]).env("LATER", "1").env_remove("GONE").env("FIRST", "1").env("LATER", "2");
        command.env("B", "").env_remove("B").env_remove("FIRST").env("FIRST", "3")
    });
    threads_may_share(&own);
    let mut getters = Getters { arguments: own.get_args(), variables: own.get_envs() };
    threads_may_share(&getters.arguments);
    threads_may_share(&getters.variables);
    assert_eq!((getters.arguments.len(), getters.variables.len()), (2, 4));
    assert_eq!(format!("{:?}", getters.arguments), r#"["a", "b c"]"#);
    let variables = r#"{"B": None, "FIRST": Some("3"), "GONE": None, "LATER": Some("2")}"#;
    assert_eq!(format!("{:?}", getters.variables), variables);
    assert_eq!(getters.arguments.next(), Some("a".as_ref()));
    assert_eq!((getters.arguments.len(), getters.arguments.size_hint()), (1, (1, Some(1))));
    getters.variables.next();
    assert_eq!(getters.variables.len(), 3);
    assert!(own.get_envs().eq(of_std.get_envs()), "{own:?}");
    assert!(own.get_args().eq(of_std.get_args()));
    let (of_std, own) = both!(|command| {
        command.env("A", "1").env_remove("B").env_clear().env("D", "2").env("C", "1").env_remove("D")
    });
    assert!(own.get_envs().eq(of_std.get_envs()), "{:?}", own.get_envs());
}

/// Types that std's programs move between threads.
fn threads_may_share<T: Send + Sync + std::fmt::Debug>(_: &T) {}

fn command_prints_as_stds() {
    let same = |(of_std, own): (std::process::Command, Command)| {
        assert_eq!(format!("{own:?}"), format!("{of_std:?}"));
    };
    same(both!(|command| command.arg("plain")));
    same(both!(|command| command.args(["", "two words", "a\"b"]).current_dir("a folder")));
    same(both!(|command| command.env("B", "two words").env_remove("C").env("A", "").env_remove("D")));
    same(both!(|command| command.env("A", "1").env_clear().env("B", "2").current_dir("here").arg("x")));
    let (_, mut own) = both!(|command| command.env("VARIABLE", "value").current_dir("here").arg("plain"));
    own.inherit_owned("ready", Event::manual_reset().unwrap()).stdout(Stdio::null()).kill_on_drop(true);
    let all = format!("{own:#?}");
    for part in ["\"worker\"", "\"plain\"", "\"VARIABLE\"", "\"value\"", "\"here\"", "\"ready\"", "Null"] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

fn number_of_a_handle_becomes_a_stream() {
    let before = table::count();
    let path = std::env::temp_dir().join(format!("handover-number-{}", std::process::id()));
    let mut command = copier();
    std::fs::write(&path, "text").unwrap();
    command.stdin(raw::stdio_of_number(File::open(&path).unwrap().into()));
    assert_eq!(command.output().unwrap().stdout, b"text");
    drop(command);
    std::fs::remove_file(&path).unwrap();
    until("the handles are closed", || table::count() == before);
}

fn child_becomes_its_handle() {
    let before = table::count();
    for has_clone in [false, true] {
        let mut command = Command::new(this_program());
        command.args(role("hangs", &[])).stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().unwrap();
        let (id, clone) = (child.id(), has_clone.then(|| child.process().clone()));
        let handle = OwnedHandle::from(child);
        // Dropping the rest of the child neither killed it nor closed the handle.
        assert!(!table::ends_within(id, 200));
        assert!(!raw::is_signaled(&handle));
        match &clone {
            Some(process) => process.kill().unwrap(),
            None => table::kill(id),
        }
        assert!(table::ends_within(id, 10_000));
        assert!(raw::is_signaled(&handle));
        drop((handle, clone));
    }
    until("the handles are closed", || table::count() == before);
}
