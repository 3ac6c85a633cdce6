//! Children of all sorts. Each is waited for, or killed and waited for.

use std::io::Read;
use std::time::Duration;

use handover::{Child, Command, Error, Event, Message, Stdio};

use crate::Outcome;
use crate::work::{At, PATIENCE, expect};

/// A way to start a child. It says how many objects have arrived in a process.
pub(crate) type Spawn = (&'static str, fn(&mut At<'_>) -> Outcome<u64>);

pub(crate) const SPAWNS: &[Spawn] = &[
    ("an ordinary child", ordinary),
    ("a sealed child", sealed),
    ("a child with a channel", with_channel),
    ("a child that is told a number", told),
    ("a child that fails", fails),
    ("a child that is killed", killed),
    ("a child that is dropped", dropped),
];

/// Spawns that fail on purpose. There is no child, and none is counted.
pub(crate) const FAILING: &[Spawn] = &[
    ("a program that isn't there", no_program),
    ("a folder that isn't there", no_folder),
    ("a name that comes twice", twice),
];

fn child<'a>(role: &str) -> Outcome<Command<'a>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--as", role]).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

fn ended(child: &mut Child, code: i32) -> Outcome {
    match child.wait_timeout(PATIENCE)?.code() {
        Some(came) if came == code => Ok(()),
        came => Err(format!("a child ended with {came:?} instead of {code}").into()),
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
    let mut said = String::new();
    child.stdout.take().ok_or("its output is piped")?.read_to_string(&mut said)?;
    ended(&mut child, 0)?;
    if !ready.try_wait()? || said.trim_end() != (count + 1).to_string() {
        return Err(format!("a child did not set what it inherited: {said:?}").into());
    }
    Ok(1 + count)
}

fn sealed(_: &mut At<'_>) -> Outcome<u64> {
    let ready = Event::manual_reset()?;
    let mut child = child("inherits")?.inherit("ready", &ready).stdout(Stdio::null()).race_free().spawn()?;
    ended(&mut child, 0)?;
    if ready.try_wait()? { Ok(1) } else { Err("a sealed child did not set what it inherited".into()) }
}

fn with_channel(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let mut child = child("talks")?.channel().spawn()?;
    let channel = child.take_channel().ok_or("a channel was asked for")?;
    channel.send(Message::new(b"go").with("event", &event))?;
    let mut answer = channel.recv_timeout(PATIENCE)?;
    expect(&answer, b"done")?;
    let back: Event = answer.take("back")?;
    drop(channel);
    ended(&mut child, 0)?;
    if event.try_wait()? && back.try_wait()? { Ok(2) } else { Err("a child's events were not set".into()) }
}

fn told(_: &mut At<'_>) -> Outcome<u64> {
    let ready = Event::manual_reset()?;
    let mut command = child("told")?;
    let mut child = command.inherit("ready", &ready).arg_handle("{ready}").spawn()?;
    ended(&mut child, 0)?;
    if ready.try_wait()? { Ok(1) } else { Err("a child did not set what it was told of".into()) }
}

fn fails(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let mut child = child("fails")?.inherit("event", &event).spawn()?;
    ended(&mut child, 7)?;
    Ok(1)
}

fn killed(at: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let mut child = child("lasts")?.inherit("event", &event).channel().spawn()?;
    let channel = child.take_channel().ok_or("a channel was asked for")?;
    // It may not have begun, or be in the middle of a message.
    for _ in 0..at.random.below(3) {
        channel.send(Message::new(vec![7; 2000]).with("one", &event).with("two", &event))?;
    }
    std::thread::sleep(Duration::from_micros(at.random.below(3000)));
    child.kill()?;
    child.wait_timeout(PATIENCE)?;
    let gone = loop {
        match channel.recv_timeout(PATIENCE) {
            Ok(message) => drop(message),
            Err(error) => break error,
        }
    };
    if matches!(gone, Error::ProcessExited { .. }) { Ok(1) } else { Err(gone.into()) }
}

fn dropped(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let child = child("lasts")?.inherit("event", &event).spawn()?;
    let process = child.process().clone();
    drop(child);
    let _ended = handover::wait_any(&[&process], PATIENCE)?;
    Ok(1)
}

fn no_program(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let failed = Command::new("a-program-that-is-not-there").inherit("event", &event).channel().spawn();
    match failed {
        Err(Error::ProgramNotFound { .. }) => Ok(0),
        other => Err(format!("there is no such program: {other:?}").into()),
    }
}

fn no_folder(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    let mut command = child("inherits")?;
    command.inherit("event", &event).channel().stdout(Stdio::piped());
    match command.current_dir("a-folder-that-is-not-there").spawn() {
        Err(Error::System { .. }) => Ok(0),
        other => Err(format!("there is no such folder: {other:?}").into()),
    }
}

fn twice(_: &mut At<'_>) -> Outcome<u64> {
    let event = Event::manual_reset()?;
    match child("inherits")?.inherit("event", &event).inherit("event", &event).channel().spawn() {
        Err(Error::InvalidInput { .. }) => Ok(0),
        other => Err(format!("a name came twice: {other:?}").into()),
    }
}
