//! Access to the crate's pure functions for its own fuzz targets in `fuzz/`. Not part of the API.
//!
//! Each function only calls the one that the library itself uses.

use std::cmp::Ordering;
use std::ffi::OsString;
#[cfg(feature = "serde")]
use std::sync::Arc;

use crate::channel::wire::{Content, HandleRef, Header, ObjectRef, Table};
#[cfg(feature = "serde")]
use crate::channel::{Limits, ReceivedMessage, message::Sender};
use crate::channel::{handshake, wire};
#[cfg(feature = "serde")]
use crate::error::Error;
use crate::error::Result;
use crate::handle::HandleValue;
use crate::handle::range;
use crate::inherit::manifest::malformed;
use crate::inherit::{Manifest, listen_fds, place_of, value_of};
use crate::name::text;
use crate::object::adopt;
use crate::process::env_block::{self, Variables};
use crate::process::{command_line, placeholder};
#[cfg(feature = "serde")]
use crate::sys::io::OwnedHandle;

/// The rule that an input breaks.
pub type Broken = &'static str;

/// A frame's type, number and number of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope(wire::Envelope);

impl Envelope {
    /// Returns the envelope of a plain message without endpoints.
    #[must_use]
    pub fn of_message(number: u64) -> Self {
        Self(wire::Envelope { number, ..wire::Envelope::default() })
    }

    /// Returns the number of the type, the flags, the number of endpoints, the message's number, and a call's id.
    #[must_use]
    pub fn fields(self) -> (u8, u16, usize, u64, u64) {
        let (number_of_type, _, id) = self.0.frame_type.encode();
        (number_of_type, self.0.flags(), self.0.endpoints, self.0.number, id)
    }
}

fn rule(broken: wire::Broken) -> Broken {
    match broken {
        wire::Broken::Rule(rule) | wire::Broken::Limit(rule) => rule,
        wire::Broken::Version(_) => "another version",
    }
}

/// A message's type, number and number of endpoints, the names of its objects with their handle values, the records of its
/// sockets, and its bytes. An object has one handle value on Windows, an endpoint of a channel four, and a socket none.
pub type Message = (Envelope, Vec<(String, Vec<HandleValue>)>, Vec<u8>, Vec<u8>);

/// Returns the length of the frame that begins with these bytes, or `None` if its header is incomplete.
///
/// # Errors
///
/// The rule that the header breaks.
pub fn frame_length(bytes: &[u8], with_values: bool) -> Result<Option<usize>, Broken> {
    let header = if with_values { Header::parse::<HandleRef>(bytes) } else { Header::parse::<()>(bytes) };
    header.map(|header| header.map(|header| header.frame_length())).map_err(rule)
}

/// Parses a complete frame: with handle values as on Windows, or without as on Linux.
///
/// # Errors
///
/// The rule that the frame breaks.
pub fn parse_frame(frame: &[u8], with_values: bool) -> Result<Message, Broken> {
    fn parse<P: ObjectRef>(
        frame: &[u8],
        value: fn(P) -> Option<HandleValue>,
    ) -> Result<Message, wire::Broken> {
        let header = Header::parse::<P>(frame)?.ok_or(wire::Broken::Rule("not a whole header"))?;
        let refs: Vec<P> = wire::parse(&header, frame)?;
        let records = wire::records(&header, frame, &refs).to_vec();
        let content = Content::new::<P>(&header, frame.to_vec());
        let first_endpoint = content.names().len() - header.envelope.endpoints;
        let mut refs = refs.into_iter();
        let objects = content.names().enumerate().map(|(index, name)| {
            let count = if index < first_endpoint { 1 } else { P::OF_ENDPOINT };
            (name.to_owned(), refs.by_ref().take(count).filter_map(value).collect())
        });
        let objects = objects.collect();
        Ok((Envelope(header.envelope), objects, records, content.into_bytes()))
    }
    let value = |object_ref| match object_ref {
        HandleRef::Handle(value) => Some(value),
        HandleRef::Socket => None,
    };
    let parsed = if with_values { parse::<HandleRef>(frame, value) } else { parse::<()>(frame, |()| None) };
    parsed.map_err(rule)
}

/// Builds the frame of a message.
///
/// # Errors
///
/// [`Error::InvalidInput`](crate::Error::InvalidInput) if no frame can hold the message.
pub fn write_frame(
    envelope: Envelope,
    objects: &[(String, Vec<HandleValue>)],
    records: &[u8],
    bytes: &[u8],
    with_values: bool,
) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    let mut table = Table::default();
    objects.iter().for_each(|(name, _)| table.push(name));
    table.check(bytes)?;
    if with_values {
        let refs = objects.iter().flat_map(|(_, values)| match &values[..] {
            [] => vec![HandleRef::Socket],
            values => values.iter().copied().map(HandleRef::from).collect(),
        });
        wire::write(&mut frame, envelope.0, &table, refs, records, bytes);
    } else {
        wire::write(&mut frame, envelope.0, &table, objects.iter().map(|_| ()), b"", bytes);
    }
    Ok(frame)
}

/// Makes a message with these objects as if it had been received.
///
/// # Errors
///
/// [`Error::InvalidInput`](crate::Error::InvalidInput) if no frame can hold the message.
#[cfg(feature = "serde")]
pub fn received(objects: Vec<(String, OwnedHandle)>, bytes: &[u8]) -> Result<ReceivedMessage> {
    let (mut frame, mut table) = (Vec::new(), Table::default());
    objects.iter().for_each(|(name, _)| table.push(name));
    table.check(bytes)?;
    wire::write(&mut frame, wire::Envelope::default(), &table, objects.iter().map(|_| ()), b"", bytes);
    let header = Header::parse::<()>(&frame).ok().flatten().expect("it was written");
    let content = Content::new::<()>(&header, frame);
    let from = Sender { process: 0, allowed: Some(Arc::default()), carrier: None, call: None };
    let objects = objects.into_iter().map(|(_, object)| object.into()).collect();
    ReceivedMessage::admit((header.envelope, content, Limits::default()), objects, from)
        .map_err(|_| Error::invalid("the message", "was refused"))
}

/// Returns the bytes of a message and the names of its objects.
#[cfg(feature = "serde")]
#[must_use]
pub fn sent(message: &crate::channel::Message<'_>) -> (Vec<u8>, Vec<String>) {
    (message.bytes.to_vec(), message.objects().map(|(name, _)| name.to_owned()).collect())
}

/// Builds a Windows listener's answer to a client.
#[must_use]
pub fn write_answer(values: [HandleValue; 3], nonce: u64) -> Vec<u8> {
    handshake::answer(values, nonce).to_vec()
}

/// Parses a Windows listener's answer.
///
/// # Errors
///
/// The reason why the bytes are not an answer.
pub fn parse_answer(answer: &[u8]) -> Result<([HandleValue; 3], u64), Broken> {
    handshake::parse_answer(answer).map_err(rule)
}

/// The process that a manifest is meant for, and its objects.
pub type Listed = (String, Vec<(String, HandleValue)>);

/// Parses a manifest without sockets.
///
/// # Errors
///
/// If the text is not a manifest.
pub fn parse_manifest(text: &str) -> Result<Listed> {
    let Manifest { meant_for, objects } = Manifest::parse(text)?;
    let objects = objects.into_iter().map(|(name, place)| {
        let value = value_of(place).ok_or_else(|| malformed!("lists a socket"))?;
        Ok((name, value))
    });
    Ok((meant_for, objects.collect::<Result<_>>()?))
}

/// Builds a manifest.
///
/// # Errors
///
/// If the manifest is too long.
pub fn write_manifest((meant_for, objects): Listed) -> Result<String> {
    let objects = objects.into_iter().map(|(name, value)| (name, place_of(value))).collect();
    Manifest { meant_for, objects }.text()
}

/// Parses the variables in which a service manager lists the descriptors of this process.
///
/// # Errors
///
/// If no service manager writes such values.
pub fn activated(
    meant_for: Option<OsString>,
    count: Option<OsString>,
    names: Option<OsString>,
    this: u32,
) -> Result<Vec<(String, HandleValue)>> {
    listen_fds::named(meant_for, count, names, this)
}

/// Parses a handle value in a line of the standard input.
///
/// # Errors
///
/// If the line contains no handle value.
pub fn value_of_line(line: &[u8]) -> Result<HandleValue> {
    adopt::value_in_line(line)
}

/// Returns the reason why a number can't be a handle value on Windows, or `None` if it can.
#[must_use]
pub fn objection_to_handle(number: u64) -> Option<Broken> {
    range::objection_on_windows(number)
}

/// Returns the reason why a number can't be a file descriptor on Linux, or `None` if it can.
#[must_use]
pub fn objection_to_descriptor(number: u64) -> Option<Broken> {
    range::objection_on_linux(number)
}

/// A part of a command line.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// An argument, quoted so that the program receives it unchanged.
    Argument(&'a [u16]),
    /// Text that is appended without quoting.
    Raw(&'a [u16]),
}

/// Builds the command line of a program on Windows.
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

/// The environment variables of a process on Windows.
#[derive(Debug)]
pub struct Environment(Variables);

impl Environment {
    /// Creates an environment without variables, whose names are compared with `compare`.
    #[must_use]
    pub fn new(compare: fn(&[u16], &[u16]) -> Ordering) -> Self {
        Self(Variables::new(compare))
    }

    /// Parses an environment block.
    #[must_use]
    pub fn of_block(block: &[u16], compare: fn(&[u16], &[u16]) -> Ordering) -> Self {
        Self(Variables::of_block(block, compare))
    }

    /// Sets a variable.
    ///
    /// # Errors
    ///
    /// The rule that the name or the value breaks.
    pub fn set(&mut self, name: &[u16], value: &[u16]) -> Result<(), Broken> {
        match env_block::objection(name, value) {
            Some(reason) => Err(reason),
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

    /// Builds the environment block.
    #[must_use]
    pub fn block(&self) -> Vec<u16> {
        self.0.block()
    }
}

/// Returns the reason why a text can't be an object's name, or `None` if it can.
#[must_use]
pub fn objection_to_name(text: &str) -> Option<&str> {
    text::objection(text, "has a letter that no name has")
}

/// Returns the reason why a text can't be a listener's name, or `None` if it can.
#[must_use]
pub fn objection_to_listen(text: &str) -> Option<Broken> {
    text::objection_to_listen(text)
}

/// Returns an object's name on Windows with its namespace prefix, and the number of UTF-16 units by which it is too
/// long.
#[must_use]
pub fn object_on_windows(name: &str, is_global: bool) -> (String, Option<usize>) {
    let object = text::on_windows::object(name, is_global);
    let excess = text::on_windows::excess(&object);
    (object, excess)
}

/// Returns the path of a listener's named pipe on Windows, and the number of UTF-16 units by which it is too long.
#[must_use]
pub fn pipe_on_windows(user: &str, name: &str) -> (String, Option<usize>) {
    let pipe = text::on_windows::pipe(user, name);
    let excess = text::on_windows::excess_of_pipe(&pipe);
    (pipe, excess)
}

/// Returns the two files of a name on Linux: the socket and the lock file.
#[must_use]
pub fn files_on_linux(name: &str, is_listener: bool) -> (String, String) {
    use text::on_linux::{Sort, lock_of, socket};
    let socket = socket(if is_listener { Sort::Listener } else { Sort::Object }, name);
    let lock = lock_of(&socket);
    (socket, lock)
}

/// Returns the socket to which a lock file belongs.
#[must_use]
pub fn socket_of_lock(file: &str) -> Option<&str> {
    text::on_linux::socket_of_lock(file)
}

/// Replaces the placeholders in a text by handle values.
///
/// # Errors
///
/// If a placeholder has no value, or the braces don't match.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<HandleValue>) -> Result<String> {
    placeholder::fill(text, &|name| value(name).ok_or(placeholder::NOT_LISTED))
}
