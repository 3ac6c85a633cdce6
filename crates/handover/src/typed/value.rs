//! Messages that are made of values, and values that are made of messages.

use std::any::type_name;
use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bounded::Bounds;
use super::scope::{Failure, Receiving, Running, Scope, Sending};
use crate::channel::{Message, ReceivedMessage};
use crate::error::{Error, Result};

impl<'a> Message<'a> {
    /// Creates a message of a value: its bytes in the format [postcard](https://postcard.jamesmunns.com/wire-format), and the
    /// objects inside it ([`Carried`](crate::Carried)). The receiver calls [`ReceivedMessage::into_value`].
    ///
    /// The bytes don't describe the type, so both programs must be built with the same definition of it.
    /// [`TypedChannel`](crate::TypedChannel#when-the-types-differ) says which differences go unnoticed.
    ///
    /// ```
    /// use handover::{Carried, Event, Message};
    ///
    /// let done = Carried::new(Event::manual_reset()?);
    /// let message = Message::from_value(&("render", 3, &done))?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the value can't be serialized, if it has more than 253 objects, an object twice, or a channel
    /// that was sent before.
    pub fn from_value<T: Serialize + ?Sized>(value: &'a T) -> Result<Self> {
        Self::from_value_with(value, |value| postcard::to_allocvec(value))
    }

    /// Creates a message of a value, as [`from_value`](Self::from_value) does, with a function that serializes it in another
    /// format. The receiver calls [`ReceivedMessage::into_value_with`].
    ///
    /// ```
    /// use handover::{Carried, Event, Message};
    ///
    /// let job = ("render", Carried::new(Event::manual_reset()?));
    /// let message = Message::from_value_with(&job, serde_json::to_vec)?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`from_value`](Self::from_value). They include the error of the function.
    pub fn from_value_with<T: ?Sized, E: Display>(
        value: &'a T,
        encode: impl FnOnce(&T) -> Result<Vec<u8>, E>,
    ) -> Result<Self> {
        let running = Running::begin(Scope::Sending(Sending::default()))?;
        let encoded = encode(value);
        let Some(Scope::Sending(Sending { mut message, error, .. })) = running.end() else {
            unreachable!("each inner scope has ended");
        };
        let refused = |reason: &dyn Display| {
            let input = format!("a value of the type {}", type_name::<T>());
            Error::invalid(input, format!("can't be sent: it {reason}"))
        };
        if let Some(rule) = error {
            return Err(refused(&rule));
        }
        let bytes = encoded.map_err(|error| refused(&format_args!("can't be serialized ({error})")))?;
        message.bytes = bytes.into();
        Ok(message)
    }
}

impl ReceivedMessage {
    /// Converts a message that was made by [`Message::from_value`] into its value, which owns the objects of the message.
    ///
    /// Each object belongs to one [`Carried`](crate::Carried) of the value, whose type must be the kind that the kernel reports.
    /// After an error, all objects of the message are closed, and the channel stays usable.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidValue`] if the message is no value of this type: its bytes can't be decoded, or are longer than the
    ///   value; an object has another kind, or is used never or twice; or the message wasn't made of a value.
    /// - [`Error::System`] if this process has no resources for an endpoint of a channel.
    pub fn into_value<T: DeserializeOwned>(self) -> Result<T> {
        self.take_value()
    }

    /// Converts a message that was made by [`Message::from_value_with`] into its value, with a function that deserializes it.
    /// The function must accept no bytes after the value.
    ///
    /// ```no_run
    /// use handover::{Carried, Channel, Event};
    ///
    /// let message = Channel::parent()?.recv()?;
    /// let (name, done): (String, Carried<Event>) =
    ///     message.into_value_with(|bytes| serde_json::from_slice(bytes))?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`into_value`](Self::into_value). They include the error of the function.
    pub fn into_value_with<T, E: Display>(self, decode: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<T> {
        self.take_value_with(decode)
    }

    /// Takes the value out of the message, as [`into_value`](Self::into_value) does, and keeps the message: to
    /// [reply](Self::reply) to it, or because the value borrows text from its bytes.
    ///
    /// The objects are taken even if it fails.
    ///
    /// # Errors
    ///
    /// The errors of [`into_value`](Self::into_value).
    pub fn take_value<'m, T: Deserialize<'m>>(&'m self) -> Result<T> {
        self.take_value_with(|bytes| {
            let bounds = Bounds::of(bytes);
            let mut deserializer = postcard::Deserializer::from_bytes(bytes);
            let explained =
                |error: postcard::Error| bounds.exceeded().map_or(error.to_string(), str::to_owned);
            let value = T::deserialize(bounds.bound(&mut deserializer)).map_err(explained)?;
            match deserializer.finalize().map_err(explained)? {
                [] => Ok(value),
                rest => Err(format!("bytes follow the value ({})", rest.len())),
            }
        })
    }

    /// Takes the value out of the message, as [`take_value`](Self::take_value) does, with a function that deserializes it.
    ///
    /// # Errors
    ///
    /// The errors of [`into_value`](Self::into_value). They include the error of the function.
    pub fn take_value_with<'m, T, E: Display>(
        &'m self,
        decode: impl FnOnce(&'m [u8]) -> Result<T, E>,
    ) -> Result<T> {
        let invalid = |reason: String| Error::InvalidValue {
            pid: self.from.process,
            expected: type_name::<T>(),
            reason,
        };
        let receiving = self.begin_value().map_err(invalid)?;
        let running = Running::begin(Scope::Receiving(receiving))?;
        let decoded = decode(self.bytes());
        let Some(Scope::Receiving(receiving)) = running.end() else {
            unreachable!("each inner scope has ended");
        };
        let unused = receiving.unused();
        match (receiving.error, decoded) {
            (Some(Failure::System(error)), _) => Err(error),
            (Some(Failure::Message(reason)), _) => Err(invalid(reason)),
            (None, Err(error)) => Err(invalid(error.to_string())),
            (None, Ok(_)) if unused > 0 => Err(invalid(format!("it has objects without a field ({unused})"))),
            (None, Ok(value)) => Ok(value),
        }
    }

    /// Moves the objects out of the message.
    fn begin_value(&self) -> Result<Receiving, String> {
        let (content, from) = (self.content(), &self.from);
        let objects = self.objects.lock().iter_mut().map(Option::take).collect();
        Receiving::new(objects, content, from.without_call())
    }
}
