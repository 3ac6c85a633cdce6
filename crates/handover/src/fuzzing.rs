//! Doors to what is pure, for this crate's own fuzz targets in `fuzz/`. Not part of the API.
//!
//! Nothing is done here: each function passes on to the one that the library itself calls.

use std::cmp::Ordering;
use std::ffi::OsString;

use crate::channel::wire::{Content, Header, Place, Table};
use crate::channel::{handshake, wire};
use crate::error::Result;
use crate::handle::HandleValue;
use crate::handle::range;
use crate::inherit::{Manifest, listen_fds};
use crate::name::text;
use crate::object::adopt;
use crate::process::env_block::{self, Variables};
use crate::process::{command_line, placeholder};

/// What is wrong.
pub type Broken = &'static str;

/// A message's number, the names of its objects with their values, and its bytes.
pub type Message = (u64, Vec<(String, Option<HandleValue>)>, Vec<u8>);

/// How many bytes the whole frame has that begins so; `None` if more has to come first.
///
/// # Errors
///
/// What is wrong with it.
pub fn frame_length(came: &[u8], with_values: bool) -> Result<Option<usize>, Broken> {
    let header = if with_values { Header::parse::<HandleValue>(came) } else { Header::parse::<()>(came) };
    header.map(|header| header.map(|header| header.frame_length()))
}

/// The message of a frame that is whole: with values as Windows has it, without as Linux has it.
///
/// # Errors
///
/// What is wrong with it.
pub fn parse_frame(frame: &[u8], with_values: bool) -> Result<Message, Broken> {
    fn parse<P: Place>(frame: &[u8], value: fn(P) -> Option<HandleValue>) -> Result<Message, Broken> {
        let header = Header::parse::<P>(frame)?.ok_or("not a whole header")?;
        let places = wire::parse(&header, frame)?;
        let content = Content::new::<P>(&header, frame.to_vec());
        let objects = content.names().map(str::to_owned).zip(places.into_iter().map(value)).collect();
        Ok((header.number, objects, content.into_bytes()))
    }
    if with_values { parse::<HandleValue>(frame, Some) } else { parse::<()>(frame, |()| None) }
}

/// The frame of a message.
///
/// # Errors
///
/// If no frame can hold it.
pub fn write_frame(
    number: u64,
    objects: &[(String, Option<HandleValue>)],
    bytes: &[u8],
    with_values: bool,
) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    let mut table = Table::default();
    objects.iter().for_each(|(name, _)| table.push(name));
    table.check(bytes)?;
    if with_values {
        let values = objects.iter().map(|(_, value)| value.expect("with values"));
        wire::write(&mut frame, number, &table, values, bytes);
    } else {
        wire::write(&mut frame, number, &table, objects.iter().map(|_| ()), bytes);
    }
    Ok(frame)
}

/// What a listener on Windows answers.
#[must_use]
pub fn write_answer(values: [HandleValue; 3], nonce: u64) -> Vec<u8> {
    handshake::answer(values, nonce).to_vec()
}

/// What such an answer says.
///
/// # Errors
///
/// If it is none.
pub fn parse_answer(answer: &[u8]) -> Result<([HandleValue; 3], u64), Broken> {
    handshake::parse_answer(answer)
}

/// Whom a manifest is meant for, and its objects.
pub type Listed = (String, Vec<(String, HandleValue)>);

/// What a manifest says.
///
/// # Errors
///
/// If it is none.
pub fn parse_manifest(text: &str) -> Result<Listed> {
    Manifest::parse(text).map(|Manifest { meant_for, objects }| (meant_for, objects))
}

/// The manifest that says so.
///
/// # Errors
///
/// If it is too long.
pub fn write_manifest((meant_for, objects): Listed) -> Result<String> {
    Manifest { meant_for, objects }.text()
}

/// What a service manager's variables say that this process has.
///
/// # Errors
///
/// If no manager writes them so.
pub fn activated(
    meant_for: Option<OsString>,
    count: Option<OsString>,
    names: Option<OsString>,
    this: u32,
) -> Result<Vec<(String, HandleValue)>> {
    listen_fds::named(meant_for, count, names, this)
}

/// The number that a line of the standard input says.
///
/// # Errors
///
/// If it says none.
pub fn value_of_line(line: &[u8]) -> Result<HandleValue> {
    adopt::value_in_line(line)
}

/// Why a number can be no handle on Windows.
#[must_use]
pub fn objection_to_handle(number: u64) -> Option<Broken> {
    range::objection_on_windows(number)
}

/// Why a number can be no descriptor on Linux.
#[must_use]
pub fn objection_to_descriptor(number: u64) -> Option<Broken> {
    range::objection_on_linux(number)
}

/// A part of a command line.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// Comes through as it is.
    Argument(&'a [u16]),
    /// Is left alone.
    Raw(&'a [u16]),
}

/// The command line of a program on Windows.
#[must_use]
pub fn command_line(program: &[u16], parts: &[Part<'_>]) -> Vec<u16> {
    let mut line = Vec::new();
    command_line::push_program(&mut line, program);
    for part in parts {
        match part {
            Part::Argument(argument) => command_line::push_argument(&mut line, argument),
            Part::Raw(text) => command_line::push_raw(&mut line, text),
        }
    }
    line
}

/// An environment on Windows.
#[derive(Debug)]
pub struct Environment(Variables);

impl Environment {
    /// One without variables, whose names compare so.
    #[must_use]
    pub fn new(compare: fn(&[u16], &[u16]) -> Ordering) -> Self {
        Self(Variables::new(compare))
    }

    /// That of a block.
    #[must_use]
    pub fn of_block(block: &[u16], compare: fn(&[u16], &[u16]) -> Ordering) -> Self {
        Self(Variables::of_block(block, compare))
    }

    /// Sets a variable.
    ///
    /// # Errors
    ///
    /// If no block can have it.
    pub fn set(&mut self, name: &[u16], value: &[u16]) -> Result<(), Broken> {
        match env_block::objection(name, value) {
            Some(why) => Err(why),
            None => {
                self.0.set(name, value);
                Ok(())
            }
        }
    }

    /// Removes a variable.
    pub fn remove(&mut self, name: &[u16]) {
        self.0.remove(name);
    }

    /// The block.
    #[must_use]
    pub fn block(&self) -> Vec<u16> {
        self.0.block()
    }
}

/// Why a text can't be an object's name.
#[must_use]
pub fn objection_to_name(text: &str) -> Option<&str> {
    text::objection(text, "has a letter that no name has")
}

/// Why a text can't be a name to listen under.
#[must_use]
pub fn objection_to_listen(text: &str) -> Option<Broken> {
    text::objection_to_listen(text)
}

/// An object's name on Windows with what says where it is found, and by how many units it is too long.
#[must_use]
pub fn object_on_windows(name: &str, is_global: bool) -> (String, Option<usize>) {
    let object = text::on_windows::object(name, is_global);
    let excess = text::on_windows::excess(&object);
    (object, excess)
}

/// The pipe behind a name on Windows, and by how many units it is too long.
#[must_use]
pub fn pipe_on_windows(user: &str, name: &str) -> (String, Option<usize>) {
    let pipe = text::on_windows::pipe(user, name);
    let excess = text::on_windows::excess_of_pipe(&pipe);
    (pipe, excess)
}

/// The two files of a name on Linux: the socket's, and the one that is locked.
#[must_use]
pub fn files_on_linux(name: &str, is_listener: bool) -> (String, String) {
    use text::on_linux::{Sort, lock_of, socket};
    let socket = socket(if is_listener { Sort::Listener } else { Sort::Object }, name);
    let lock = lock_of(&socket);
    (socket, lock)
}

/// The socket whose lock a file is.
#[must_use]
pub fn socket_of_lock(file: &str) -> Option<&str> {
    text::on_linux::socket_of_lock(file)
}

/// A template with its numbers.
///
/// # Errors
///
/// What it asks for that isn't there, and braces that don't go together.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<HandleValue>) -> Result<String> {
    placeholder::fill(text, value)
}
