//! `Limits`: how much a peer may send.

use std::borrow::Borrow;

use super::wire::{Broken, FrameType, Header, MAX_BYTES, MAX_OBJECTS, ObjectRef};

/// How much a peer may send over a [`Channel`](crate::Channel), for
/// [`Channel::set_limits`](crate::Channel::set_limits) and [`Listener::set_limits`](crate::Listener::set_limits).
///
/// A peer that exceeds a limit ends the channel with [`Error::Protocol`](crate::Error::Protocol), which names the limit.
/// The excess is neither allocated nor returned, and its objects are closed. Nothing is mapped, except that Windows tells
/// the size of shared memory by a view, which is closed at once.
///
/// ```
/// use handover::Limits;
///
/// let limits = Limits::default().bytes(64 * 1024).objects(4).queued(100).shared_memory_bytes(1 << 20);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "limits do nothing until they are set"]
pub struct Limits {
    bytes: usize,
    objects: usize,
    queued: usize,
    shared_memory_bytes: u64,
}

impl Default for Limits {
    /// The limits of a new channel: those of a [`Message`](crate::Message), and no others.
    fn default() -> Self {
        Self { bytes: MAX_BYTES, objects: MAX_OBJECTS, queued: usize::MAX, shared_memory_bytes: u64::MAX }
    }
}

impl Limits {
    /// Sets the maximum number of bytes in one message. The default, and the most, is
    /// [`Channel::MAX_BYTES`](crate::Channel::MAX_BYTES).
    pub fn bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// Sets the maximum number of objects in one message, endpoints of channels included. The default, and the most, is
    /// [`Channel::MAX_OBJECTS`](crate::Channel::MAX_OBJECTS).
    pub fn objects(self, objects: usize) -> Self {
        Self { objects, ..self }
    }

    /// Sets the maximum number of messages that wait in this process's memory to be received. By default only their bytes
    /// are limited.
    ///
    /// Messages wait in memory while a thread sends or waits for the reply to a call. Otherwise they wait in the system's
    /// buffer, which is small.
    pub fn queued(self, queued: usize) -> Self {
        Self { queued, ..self }
    }

    /// Sets the maximum size of all shared memory in one message together, in bytes. By default it isn't limited. Shared
    /// memory whose size can't be found out exceeds any limit.
    pub fn shared_memory_bytes(self, shared_memory_bytes: u64) -> Self {
        Self { shared_memory_bytes, ..self }
    }

    /// Parses the header at the beginning of the received bytes, and checks it. Returns `None` if it is incomplete.
    #[allow(dead_code, reason = "not every system needs it")]
    pub(super) fn header<P: ObjectRef>(&self, received: &[u8]) -> Result<Option<Header>, Broken> {
        let header = Header::parse::<P>(received)?;
        header.iter().try_for_each(|header| self.check(header))?;
        Ok(header)
    }

    /// Checks that no more messages wait in memory than allowed: this number, and those that are complete in `received`.
    #[allow(dead_code, reason = "not every system needs it")]
    pub(super) fn check_queued<P: ObjectRef>(&self, kept: usize, mut received: &[u8]) -> Result<(), Broken> {
        let headers = std::iter::from_fn(|| {
            let header = self.header::<P>(received).ok()??;
            received = received.get(header.frame_length()..)?;
            Some(header)
        });
        self.check_queued_frames(kept, headers)
    }

    /// Does the same for frames that are complete.
    pub(super) fn check_queued_frames(
        &self,
        kept: usize,
        frames: impl IntoIterator<Item = impl Borrow<Header>>,
    ) -> Result<(), Broken> {
        if self.queued == usize::MAX {
            return Ok(());
        }
        let is_message =
            |header: &Header| matches!(header.envelope.frame_type, FrameType::Message | FrameType::Call(_));
        let messages = frames.into_iter().filter(|header| is_message(header.borrow()));
        // No more are counted than are too many.
        if kept + messages.take((self.queued + 1).saturating_sub(kept)).count() <= self.queued {
            return Ok(());
        }
        Err(Broken::Limit("more messages wait to be received than this endpoint accepts (Limits::queued)"))
    }

    /// Returns whether a message may have this many bytes.
    #[inline]
    #[allow(dead_code, reason = "not every system needs it")]
    pub(super) fn allow_bytes(&self, bytes: usize) -> bool {
        bytes <= self.bytes
    }

    /// Checks the numbers in a header.
    pub(super) fn check(&self, header: &Header) -> Result<(), Broken> {
        if header.bytes > self.bytes {
            return Err(Broken::Limit("a message has more bytes than this endpoint accepts (Limits::bytes)"));
        }
        if header.objects > self.objects {
            return Err(Broken::Limit(
                "a message has more objects than this endpoint accepts (Limits::objects)",
            ));
        }
        Ok(())
    }

    /// Returns whether the size of shared memory is limited.
    pub(super) fn are_for_shared_memory(&self) -> bool {
        self.shared_memory_bytes != u64::MAX
    }

    /// Checks the size of all shared memory in a message.
    pub(super) fn check_shared_memory(&self, bytes: u64) -> Result<(), Broken> {
        if bytes > self.shared_memory_bytes {
            return Err(Broken::Limit(
                "a message has more shared memory than this endpoint accepts (Limits::shared_memory_bytes)",
            ));
        }
        Ok(())
    }
}
