//! Tests of `handover::process`, std's module by name: programs that were written for `std::process` compile, and work.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use handover::process::{self, Child, Command, ExitStatus, Output, Stdio};
use handover::{Event, OwnedHandle, SharedMemory};
use handover_tests::{role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            command_is_stored_and_returned_as_stds_is,
            owned_objects_reach_each_child,
            owned_objects_are_closed_with_the_command,
            owned_and_borrowed_objects_go_together,
        ],
        tests![copies, takes],
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
