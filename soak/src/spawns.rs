//! Spawns children of all kinds. Each function waits for its child, and some kill it first.

use std::io::Read;
use std::time::Duration;

use handover::{Child, Command, Error, Event, Message, Stdio};

use crate::Outcome;
use crate::work::{At, PATIENCE, expect};

/// A kind of child: its name, and a function that spawns it and returns the number of objects that arrived in a
/// process.
pub(crate) type Spawn = (&'static str, fn(&mut At<'_>) -> Outcome<u64>);

pub(crate) const SPAWNS: &[Spawn] = &[
    ("an ordinary child", ordinary),
    ("a race-free child", race_free),
    ("a child with a channel", with_channel),
    ("a child with a handle value as an argument", with_value),
    ("a child that fails", fails),
    ("a child that is killed", killed),
    ("a child that is dropped", dropped),
];

/// Spawns that fail on purpose. They create no child, and do not count as spawns.
pub(crate) const FAILING: &[Spawn] = &[
    ("a program that does not exist", no_program),
    ("a folder that does not exist", no_folder),
    ("a duplicate name", duplicate_name),
];

fn child<'a>(role: &str) -> Outcome<Command<'a>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--as", role]).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Waits until the child exits, and returns an error unless it exits with this code.
fn expect_exit(child: &mut Child, code: i32) -> Outcome {
    match child.wait_timeout(PATIENCE)?.code() {
        Some(actual) if actual == code => Ok(()),
        actual => Err(format!("a child exited with {actual:?} instead of {code}").into()),
    }
}

fn ordinary(at: &mut At<'_>) -> Outcome<u64> {
    let (ready, other) = (Event::manual_reset()?, Event::auto_reset()?);
    let count = at.random.below(8);
    let mut command = child("inherits")?;
    command.inherit("ready", &ready).stdout(Stdio::piped());
    for number in 0..count {
        command.inherit(format!("other {number}"), &other);
    }
    let mut child = command.spawn()?;
    let mut output = String::new();
    child.stdout.take().ok_or("the child has no piped output")?.read_to_string(&mut output)?;
    expect_exit(&mut child, 0)?;
    if !ready.try_wait()? || output.trim_end() != (count + 1).to_string() {
        return Err(format!("a child did not set the events that it inherited: {output:?}").into());
    }
    Ok(1 + count)
}

fn race_free(_: &mut At<'_>) -> Outcome<u64> {
    let ready = Event::manual_reset()?;
    let mut child = child("inherits")?.inherit("ready", &ready).stdout(Stdio::null()).race_free().spawn()?;
    expect_exit(&mut child, 0)?;
    if ready.try_wait()? {
        Ok(1)
    } else {
        Err("a race-free child did not set the event that it inherited".into())
    }
}

fn with_channel(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let mut child = child("talks")?.channel().spawn()?;
    let channel = child.take_channel().ok_or("the child has no channel, although one was requested")?;
    channel.send(Message::new(b"go").with("event", &event))?;
    let answer = channel.recv_timeout(PATIENCE)?;
    expect(&answer, b"done")?;
    let back: Event = answer.take("back")?;
    drop(channel);
    expect_exit(&mut child, 0)?;
    if event.try_wait()? && back.try_wait()? { Ok(2) } else { Err("a child's events were not set".into()) }
}

fn with_value(_: &mut At<'_>) -> Outcome<u64> {
    let ready = Event::manual_reset()?;
    let mut command = child("adopts")?;
    let mut child = command.inherit("ready", &ready).arg_handle("{ready}").spawn()?;
    expect_exit(&mut child, 0)?;
    if ready.try_wait()? {
        Ok(1)
    } else {
        Err("a child did not set the event whose handle value it was given".into())
    }
}

fn fails(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let mut child = child("fails")?.inherit("event", &event).spawn()?;
    expect_exit(&mut child, 7)?;
    Ok(1)
}

fn killed(at: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let mut child = child("lasts")?.inherit("event", &event).channel().spawn()?;
    let channel = child.take_channel().ok_or("the child has no channel, although one was requested")?;
    // The child may be killed before it starts, or in the middle of a message.
    for _ in 0..at.random.below(3) {
        channel.send(Message::new(vec![7; 2000]).with("one", &event).with("two", &event))?;
    }
    std::thread::sleep(Duration::from_micros(at.random.below(3000)));
    child.kill()?;
    child.wait_timeout(PATIENCE)?;
    let error = loop {
        match channel.recv_timeout(PATIENCE) {
            Ok(message) => drop(message),
            Err(error) => break error,
        }
    };
    if matches!(error, Error::ProcessExited { .. }) { Ok(1) } else { Err(error.into()) }
}

fn dropped(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let child = child("lasts")?.inherit("event", &event).spawn()?;
    let process = child.process().clone();
    drop(child);
    let _exited = handover::wait_any(&[&process], PATIENCE)?;
    Ok(1)
}

fn no_program(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let spawned = Command::new("a-program-that-does-not-exist").inherit("event", &event).channel().spawn();
    match spawned {
        Err(Error::ProgramNotFound { .. }) => Ok(0),
        other => Err(format!("a program that does not exist was spawned: {other:?}").into()),
    }
}

fn no_folder(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let mut command = child("inherits")?;
    command.inherit("event", &event).channel().stdout(Stdio::piped());
    match command.current_dir("a-folder-that-does-not-exist").spawn() {
        Err(Error::System { .. }) => Ok(0),
        other => Err(format!("a child was spawned in a folder that does not exist: {other:?}").into()),
    }
}

fn duplicate_name(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    match child("inherits")?.inherit("event", &event).inherit("event", &event).channel().spawn() {
        Err(Error::InvalidInput { .. }) => Ok(0),
        other => Err(format!("a duplicate name was accepted: {other:?}").into()),
    }
}
