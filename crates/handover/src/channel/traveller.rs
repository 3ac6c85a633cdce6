//! `Traveller`: an endpoint that a message moves.

use std::sync::Arc;

use super::Channel;
use crate::error::{Error, Result};
use crate::sys::mutex::Mutex;

/// The place of an endpoint in a value of the program, until a message with the endpoint is sent.
pub(crate) type Slot = Mutex<Option<Channel>>;

/// An endpoint that a message moves.
#[derive(Clone)]
pub(crate) struct Traveller {
    pub(super) name: String,
    /// `None` while it is in its slot.
    pub(super) channel: Option<Channel>,
    /// Where it came from, and where it returns to if it isn't sent.
    slot: Option<Arc<Slot>>,
}

impl Traveller {
    pub(super) fn new(name: String, channel: Channel) -> Self {
        Self { name, channel: Some(channel), slot: None }
    }

    /// Creates one that stays in its slot until the message is sent.
    #[cfg(feature = "serde")]
    pub(crate) fn in_slot(name: String, slot: Arc<Slot>) -> Self {
        Self { name, channel: None, slot: Some(slot) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    #[cfg(feature = "serde")]
    pub(crate) fn is_in(&self, slot: &Arc<Slot>) -> bool {
        self.slot.as_ref().is_some_and(|own| Arc::ptr_eq(own, slot))
    }

    /// Takes the endpoint out of its slot, because the message is being sent.
    pub(super) fn leave_slot(&mut self) -> Result<()> {
        if let (None, Some(slot)) = (&self.channel, &self.slot) {
            self.channel = slot.lock().take();
            if self.channel.is_none() {
                return Err(Error::invalid(
                    describe(&self.name),
                    "was sent before, or is being sent by another thread; a channel can be sent once",
                ));
            }
        }
        Ok(())
    }

    /// Returns the endpoint to its slot, if it has one.
    pub(super) fn return_to_slot(&mut self) {
        if let Some(slot) = &self.slot {
            if let Some(channel) = self.channel.take() {
                *slot.lock() = Some(channel);
            }
        }
    }
}

impl Drop for Traveller {
    fn drop(&mut self) {
        self.return_to_slot();
    }
}

/// Describes an endpoint that leaves this process, for errors.
pub(super) fn describe(name: &str) -> String {
    format!("the channel {name:?} to give away")
}
