//! The objects of the message that a thread is encoding or decoding.
//!
//! Each thread has at most one scope at a time. A scope that begins inside another one hides it until it ends.

#![allow(clippy::missing_const_for_thread_local, reason = "it is const; on Windows the lint doesn't see it")]

use std::cell::Cell;
use std::sync::Arc;

use crate::channel::Message;
use crate::channel::message::{Kept, Received, Sender, Share};
use crate::channel::traveller::{Slot, Traveller};
use crate::channel::wire::{Content, MAX_OBJECTS};
use crate::error::{Error, Result};

thread_local! {
    static CURRENT: Cell<Option<Box<Scope>>> = const { Cell::new(None) };
}

/// The work of the thread.
#[derive(Debug)]
pub(super) enum Scope {
    Sending(Sending),
    Receiving(Receiving),
}

/// A message that is being made of a value.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// It has the objects that were found so far.
    pub(super) message: Message<'static>,
    count: u32,
    /// The first rule that the value broke. A serializer may hide it.
    pub(super) error: Option<&'static str>,
}

/// A message from which a value is being made.
#[derive(Debug)]
pub(super) struct Receiving {
    objects: Vec<Option<Received>>,
    /// The position of each index among the objects, unless they have the same order.
    positions: Option<Vec<usize>>,
    from: Sender,
    /// The first failure. A deserializer may hide it.
    pub(super) error: Option<Failure>,
}

/// The reason why an object can't be taken.
#[derive(Debug)]
pub(super) enum Failure {
    /// The message breaks this rule.
    Message(String),
    /// The system refuses.
    System(Error),
}

/// A scope of this thread, until it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    /// The scope that it hides.
    outer: Option<Box<Scope>>,
}

impl Running {
    pub(super) fn begin(scope: Scope) -> Result<Self> {
        // In a box, because it moves for each object.
        CURRENT.try_with(|current| Self { outer: current.replace(Some(Box::new(scope))) }).map_err(|_| {
            Error::invalid("a typed message", "can't be encoded or decoded, because this thread is exiting")
        })
    }

    /// Ends the scope and returns it.
    pub(super) fn end(self) -> Option<Scope> {
        CURRENT.try_with(Cell::take).ok().flatten().map(|scope| *scope)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The content that a panic left in the scope is dropped at the end, when the outer scope is in place.
        let _ended = CURRENT.try_with(|current| current.replace(self.outer.take()));
    }
}

/// Runs a function with the thread's scope. The scope is away meanwhile, so that a subscriber that the function calls sees none.
/// Returns `None` if the thread has no scope.
fn with<R>(function: impl FnOnce(&mut Scope) -> R) -> Option<R> {
    let mut scope = CURRENT.try_with(Cell::take).ok().flatten()?;
    let result = function(&mut scope);
    let _ = CURRENT.try_with(|current| current.set(Some(scope)));
    Some(result)
}

/// Adds an object to the message that is being encoded, and returns its index.
pub(super) fn add(add: impl FnOnce(&mut Sending) -> Result<u32, &'static str>) -> Result<u32, &'static str> {
    let added = with(|scope| match scope {
        Scope::Sending(sending) => Some(add(sending).inspect_err(|rule| {
            sending.error.get_or_insert(rule);
        })),
        Scope::Receiving(_) => None,
    });
    added.flatten().unwrap_or(Err(
        "a Carried object can only be serialized by Message::from_value, TypedChannel and their like, because its handle means \
         nothing in another process",
    ))
}

/// Takes the object with this index out of the message that is being decoded.
pub(super) fn take<T>(
    index: u32,
    convert: impl FnOnce(Received, &str, &Sender) -> Result<T>,
) -> Result<T, String> {
    let taken = with(|scope| match scope {
        Scope::Receiving(receiving) => Some(receiving.take(index, convert).map_err(|failure| {
            let shown = failure.to_string();
            receiving.error.get_or_insert(failure);
            shown
        })),
        Scope::Sending(_) => None,
    });
    taken.flatten().unwrap_or_else(|| {
        Err("a Carried object can only be deserialized by ReceivedMessage::into_value, TypedChannel and their like, because the \
             message brings the object beside the bytes"
            .into())
    })
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(reason) => f.write_str(reason),
            Self::System(error) => error.fmt(f),
        }
    }
}

const TWICE: &str = "has a Carried object that is serialized twice; each object can be in a message once, and the value must be \
                     serialized once";

impl Sending {
    fn next_index(&mut self) -> Result<u32, &'static str> {
        if self.count as usize == MAX_OBJECTS {
            return Err("has more than 253 objects; send them in several messages");
        }
        self.count += 1;
        Ok(self.count - 1)
    }

    /// Adds an object, which the message keeps open.
    pub(super) fn add_object<T: Kept + 'static>(&mut self, object: &Arc<T>) -> Result<u32, &'static str> {
        // An object with one owner is in no message.
        if Arc::strong_count(object) > 1 && self.has(object) {
            return Err(TWICE);
        }
        let index = self.next_index()?;
        let object: Arc<dyn Kept> = object.clone();
        self.message.push(name_of(index), Share::Kept(object));
        Ok(index)
    }

    fn has<T>(&self, object: &Arc<T>) -> bool {
        let is_same = |share: &Share<'_>| match share {
            Share::Kept(kept) => Arc::as_ptr(kept).cast::<()>() == Arc::as_ptr(object).cast(),
            Share::Borrowed(_) => false,
        };
        self.message.shares.iter().any(is_same)
    }

    /// Adds an endpoint, which leaves its slot when the message is sent.
    pub(super) fn add_channel(&mut self, slot: &Arc<Slot>) -> Result<u32, &'static str> {
        if self.message.channels.iter().any(|traveller| traveller.is_in(slot)) {
            return Err(TWICE);
        }
        if slot.lock().is_none() {
            return Err("has a channel that was sent before; a channel can be sent once");
        }
        let index = self.next_index()?;
        let name = name_of(index).to_owned();
        self.message.channels.push(Traveller::in_slot(name, Arc::clone(slot)));
        Ok(index)
    }
}

impl Receiving {
    /// Begins with the objects of a message. Fails if its sender gave them names that are no indexes.
    pub(super) fn new(
        objects: Vec<Option<Received>>,
        content: &Content,
        from: Sender,
    ) -> Result<Self, String> {
        let mut positions = None;
        if !content.names_are((0..).map(name_of)) {
            // Endpoints come after all other objects.
            let mut found = vec![usize::MAX; objects.len()];
            for (position, name) in content.names().enumerate() {
                let index = name.parse().ok().filter(|index| name_of(*index) == name);
                match index.and_then(|index| found.get_mut(index as usize)) {
                    Some(place) => *place = position,
                    None => {
                        return Err(format!(
                            "the message has an object named {name:?}, and a typed message has none with a name; take it \
                             with take, or let the sender use Message::from_value"
                        ));
                    }
                }
            }
            positions = Some(found);
        }
        Ok(Self { objects, positions, from, error: None })
    }

    fn take<T>(
        &mut self,
        index: u32,
        convert: impl FnOnce(Received, &str, &Sender) -> Result<T>,
    ) -> Result<T, Failure> {
        let count = self.objects.len();
        let place = index as usize;
        let position = match &self.positions {
            Some(positions) => positions.get(place).copied(),
            None => (place < count).then_some(place),
        };
        let Some(object) = position.and_then(|position| self.objects.get_mut(position)) else {
            return Err(Failure::Message(format!("it uses the object {index} of {count}")));
        };
        let Some(received) = object.take() else {
            return Err(Failure::Message(format!("the object {index} was taken before")));
        };
        convert(received, name_of(index), &self.from).map_err(|error| match error {
            Error::WrongKind { .. } | Error::InvalidInput { .. } | Error::KindNotAllowed { .. } => {
                Failure::Message(error.to_string())
            }
            error => Failure::System(error),
        })
    }

    /// Returns the number of objects that were not taken.
    pub(super) fn unused(&self) -> usize {
        self.objects.iter().flatten().count()
    }
}

/// The decimal digits of all indexes, three for each.
const DIGITS: &str = {
    const BYTES: [u8; 3 * MAX_OBJECTS] = {
        let (mut bytes, mut place) = ([b'0'; 3 * MAX_OBJECTS], 0);
        while place < bytes.len() {
            let (index, power) = (place / 3, [100, 10, 1][place % 3]);
            bytes[place] = b"0123456789"[index / power % 10];
            place += 1;
        }
        bytes
    };
    match std::str::from_utf8(&BYTES) {
        Ok(digits) => digits,
        Err(_) => panic!("digits are ASCII"),
    }
};

/// Returns the name of an object in a typed message: its index in decimal digits. An index that no object can have has none.
fn name_of(index: u32) -> &'static str {
    let end = (index as usize).saturating_mul(3).saturating_add(3);
    let length = match index {
        0..10 => 1,
        10..100 => 2,
        _ => 3,
    };
    DIGITS.get(end - length..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_indexes_in_decimal() {
        for index in 0..253 {
            assert_eq!(name_of(index), index.to_string());
        }
        for index in [253, 254, 1_000, u32::MAX / 3, u32::MAX] {
            assert_eq!(name_of(index), "");
        }
    }

    #[test]
    fn scope_that_ends_uncovers_the_outer_one() -> Result<()> {
        let is_sending = || with(|scope| matches!(scope, Scope::Sending(_)));
        assert_eq!(is_sending(), None);
        let outer = Running::begin(Scope::Sending(Sending { count: 7, ..Sending::default() }))?;
        let panicked = std::panic::catch_unwind(|| {
            let _inner = Running::begin(Scope::Sending(Sending::default()));
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panicked.is_err());
        assert_eq!(is_sending(), Some(true));
        assert!(std::thread::spawn(move || with(|_| ())).join().expect("no panic").is_none());
        assert!(matches!(outer.end(), Some(Scope::Sending(Sending { count: 7, .. }))));
        assert_eq!(is_sending(), None);
        Ok(())
    }
}
