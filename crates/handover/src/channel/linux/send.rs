//! Sending messages from an endpoint.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[cfg(feature = "_async")]
use super::endpoint::Unfinished;
use super::endpoint::{Endpoint, Writer};
use super::receive::Read;
use crate::channel::Message;
use crate::channel::wire::{Envelope, FrameType, Header};
use crate::error::{Error, Result};
use crate::sys::handle::{self, duplicate_here};
use crate::sys::io::Owned;
use crate::sys::rights::Rights;
use crate::sys::{SysError, SysResult, unix_socket};
use crate::wait::Deadline;

/// The pause between two attempts when the kernel offers no event to wait for.
const RETRY_PAUSE: Duration = Duration::from_millis(2);
/// The maximum length of a frame that is copied into one buffer. Below it, one copy is cheaper for the kernel than
/// three separate parts.
const MAX_COPIED: usize = 256;
/// The same for a frame without a table, which would have two parts.
const MAX_COPIED_OF_TWO: usize = 1024 + Header::LENGTH;
/// The length of a packet that is never shortened, because each socket has space for it.
const MIN_PACKET: usize = 2 * 1024;
/// The maximum number of descriptors that need no heap allocation.
const MAX_INLINE_DESCRIPTORS: usize = 8;

/// The reason why a frame was not sent completely.
enum Unsent {
    /// One of the objects is not an open descriptor. No byte was sent.
    InvalidHandle,
    Failed(Error),
}

impl Unsent {
    /// Returns the error for a message with these descriptors.
    fn of_message(self, message: &Message<'_>, descriptors: &[BorrowedFd<'_>]) -> Error {
        match self {
            Self::Failed(error) => error,
            Self::InvalidHandle => invalid_handle(message, descriptors),
        }
    }
}

impl From<Error> for Unsent {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How far a write got without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    /// The socket has no space.
    Full,
    /// Too many descriptors are in transit.
    Crowded,
}

impl Endpoint {
    /// Sends a message. Returns false if the deadline passed first.
    #[inline]
    pub(crate) fn send(
        &self,
        message: &Message<'_>,
        travellers: &[&Arc<Self>],
        frame_type: FrameType,
        deadline: Deadline,
    ) -> Result<bool> {
        // Only objects have names.
        if message.shares.is_empty() && travellers.is_empty() {
            if let Some(sent) = self.send_at_once(&message.bytes, frame_type) {
                return sent.map(|()| true);
            }
        }
        self.send_in_turn(message, travellers, frame_type, deadline)
    }

    /// Sends a message of bytes alone as one packet, as most messages are. Returns `None` if nothing was sent: because another
    /// thread sends, because something must be sent before, or because the message or the socket needs more than one call.
    #[inline]
    fn send_at_once(&self, bytes: &[u8], frame_type: FrameType) -> Option<Result<()>> {
        let length = Header::LENGTH + bytes.len();
        if length > self.packet_length.load(Relaxed) {
            return None;
        }
        let mut writer = self.writer.take()?;
        // The ordinary way reports the error.
        if writer.cut_off || writer.unfinished.is_some() || self.owes() || self.check_open().is_err() {
            return None;
        }
        let header = Header::of_bytes(frame_type, writer.next, bytes.len());
        let sent = if length <= MAX_COPIED {
            self.send_copied::<MAX_COPIED>(&header, bytes)
        } else if length <= MAX_COPIED_OF_TWO {
            self.send_copied::<MAX_COPIED_OF_TWO>(&header, bytes)
        } else {
            unix_socket::send_parts(self.socket.as_fd(), &[IoSlice::new(&header), IoSlice::new(bytes)], &[])
        };
        match sent {
            // A packet is sent as a whole or not at all.
            Ok(Some(_)) => {
                writer.next += 1;
                if self.owes() {
                    self.settle_with(&writer);
                }
                Some(Ok(()))
            }
            Ok(None) => None,
            Err(error) => self.not_sent_at_once(error),
        }
    }

    /// Copies a frame of at most `N` bytes into one buffer, and sends it.
    #[inline]
    fn send_copied<const N: usize>(
        &self,
        header: &[u8; Header::LENGTH],
        bytes: &[u8],
    ) -> SysResult<Option<usize>> {
        let mut buffer = [0; N];
        let frame = &mut buffer[..Header::LENGTH + bytes.len()];
        let (first, rest) = frame.split_at_mut(Header::LENGTH);
        first.copy_from_slice(header);
        rest.copy_from_slice(bytes);
        unix_socket::send(self.socket.as_fd(), frame, &[])
    }

    /// Returns the error for a packet that was not sent, or `None` if another attempt may succeed.
    #[cold]
    fn not_sent_at_once(&self, error: SysError) -> Option<Result<()>> {
        if unix_socket::is_too_long(&error) || unix_socket::is_crowded(&error) {
            return None;
        }
        if unix_socket::is_end(&error) {
            self.note_reset(&error);
            return Some(Err(self.disconnect_error()));
        }
        Some(Err(self.failed()(error)))
    }

    /// Sends a message, after what other threads and tasks send before it. Returns false if the deadline passed first.
    #[inline(never)]
    fn send_in_turn(
        &self,
        message: &Message<'_>,
        travellers: &[&Arc<Self>],
        frame_type: FrameType,
        deadline: Deadline,
    ) -> Result<bool> {
        message.check()?;
        let Some(mut writer) = self.writer.wait(deadline) else { return Ok(false) };
        self.check_writer(&writer)?;
        if !self.finish(&mut writer, deadline)? {
            return Ok(false);
        }
        while !self.settle_with(&writer) {
            if deadline.has_passed() {
                return Ok(false);
            }
            if self.wait_for_room(deadline)? {
                return Err(self.disconnect_error());
            }
        }
        let envelope = envelope_of(message, travellers, frame_type, &writer);
        with_frame(self, message, travellers, envelope, |frame, descriptors| {
            let mut written = 0;
            // Unless the write returns: a waker that panics ends it.
            writer.cut_off = true;
            let outcome = self.write(frame, descriptors, &mut written, deadline);
            let outcome = outcome.map_err(|unsent| unsent.of_message(message, descriptors));
            let is_partial = written > 0 && written < frame.length;
            writer.cut_off = is_partial && !outcome.as_ref().is_err_and(is_disconnect);
            if written == frame.length {
                writer.next += 1;
            }
            self.settle_with(&writer);
            outcome
        })
    }

    /// Returns an error if nothing can be sent.
    pub(super) fn check_writer(&self, writer: &Writer) -> Result<()> {
        self.check_open()?;
        if writer.cut_off { Err(Error::PartialSend { pid: self.process_id() }) } else { Ok(()) }
    }

    /// Finishes the message that a task has begun to send, if there is one. Returns false if the deadline passed first.
    pub(super) fn finish(&self, writer: &mut Writer, deadline: Deadline) -> Result<bool> {
        let Some(unfinished) = &mut writer.unfinished else { return Ok(true) };
        let frame = Frame::of_one_part(&unfinished.bytes);
        let outcome = self.write(&frame, &[], &mut unfinished.written, deadline);
        self.note_finished(writer, outcome)
    }

    /// Does the same without waiting.
    #[cfg(feature = "_async")]
    pub(in crate::channel) fn finish_now(&self, writer: &mut Writer) -> Result<Progress> {
        let Some(unfinished) = &mut writer.unfinished else { return Ok(Progress::Done) };
        let frame = Frame::of_one_part(&unfinished.bytes);
        match self.write_now(&frame, &[], &mut unfinished.written) {
            Ok(Progress::Done) => self.note_finished(writer, Ok(true)).map(|_| Progress::Done),
            Ok(progress) => Ok(progress),
            Err(unsent) => self.note_finished(writer, Err(unsent)).map(|_| Progress::Done),
        }
    }

    fn note_finished(&self, writer: &mut Writer, outcome: Result<bool, Unsent>) -> Result<bool> {
        let outcome = outcome.map_err(|unsent| match unsent {
            Unsent::Failed(error) => error,
            Unsent::InvalidHandle => self.disconnect_error(),
        });
        match &outcome {
            Ok(false) => {}
            Ok(true) => {
                writer.unfinished = None;
                self.settle_with(writer);
            }
            Err(_) => {
                writer.unfinished = None;
                writer.has_lost = true;
                writer.cut_off = !outcome.as_ref().is_err_and(is_disconnect);
            }
        }
        outcome
    }

    /// Sends as much of a message as there is space for. If a part of it was written, the rest is kept in the writer as
    /// unfinished, and the outcome is [`Progress::Done`].
    #[cfg(feature = "_async")]
    pub(super) fn begin_now(
        &self,
        writer: &mut Writer,
        message: &Message<'_>,
        travellers: &[&Arc<Self>],
        frame_type: FrameType,
    ) -> Result<Progress> {
        if !self.settle_with(writer) {
            return Ok(Progress::Full);
        }
        let envelope = envelope_of(message, travellers, frame_type, writer);
        with_frame(self, message, travellers, envelope, |frame, descriptors| {
            let mut written = 0;
            let outcome = self.write_now(frame, descriptors, &mut written);
            let outcome = outcome.map_err(|unsent| unsent.of_message(message, descriptors));
            if written == 0 {
                return outcome;
            }
            if let Err(error) = outcome {
                writer.cut_off = !is_disconnect(&error);
                return Err(error);
            }
            // From here on, the number belongs to this message.
            writer.next += 1;
            if written < frame.length {
                writer.unfinished = Some(Unfinished { bytes: frame.rest(written), written: 0 });
            } else {
                self.settle_with(writer);
            }
            Ok(Progress::Done)
        })
    }

    /// Writes the frame. Returns false if the deadline passed first. In every case `written` tells how many bytes were
    /// sent.
    fn write(
        &self,
        frame: &Frame<'_>,
        descriptors: &[BorrowedFd<'_>],
        written: &mut usize,
        deadline: Deadline,
    ) -> Result<bool, Unsent> {
        let mut has_tried = false;
        loop {
            let progress = self.write_now(frame, descriptors, written)?;
            match progress {
                Progress::Done => return Ok(true),
                // The deadline limits the waiting only: data for which the socket has space is sent even after it.
                _ if deadline.has_passed() && has_tried => return Ok(false),
                _ => self.check_open()?,
            }
            if progress == Progress::Crowded {
                self.wait_for_others(deadline);
            } else if self.wait_for_room(deadline)? {
                return Err(self.disconnect_error().into());
            }
            has_tried = true;
        }
    }

    /// Writes as much of the frame as there is space for, in packets.
    fn write_now(
        &self,
        frame: &Frame<'_>,
        descriptors: &[BorrowedFd<'_>],
        written: &mut usize,
    ) -> Result<Progress, Unsent> {
        while *written < frame.length {
            let current_descriptors = if *written == 0 { descriptors } else { &[] };
            let most = self.packet_length.load(Relaxed);
            let (parts, count) = frame.packet(*written, most);
            match unix_socket::send_parts(self.socket.as_fd(), &parts[..count], current_descriptors) {
                Ok(Some(length)) => *written += length,
                Ok(None) => return Ok(Progress::Full),
                // The system has little memory, or its administrator gives sockets little space.
                Err(error) if unix_socket::is_too_long(&error) && most > MIN_PACKET => {
                    self.packet_length.store(most / 2, Relaxed);
                }
                Err(error) if unix_socket::is_crowded(&error) => return Ok(Progress::Crowded),
                Err(error) if unix_socket::is_end(&error) => {
                    self.note_reset(&error);
                    return Err(self.disconnect_error().into());
                }
                // The socket belongs to this endpoint and is open, so the invalid descriptor is one of the objects.
                Err(error) if handle::is_invalid_handle(&error) => return Err(Unsent::InvalidHandle),
                Err(source) => return Err(self.failed()(source).into()),
            }
        }
        Ok(Progress::Done)
    }

    /// Waits briefly until other processes receive descriptors in transit. Meanwhile it reads, because this endpoint
    /// may be one of the receivers.
    fn wait_for_others(&self, deadline: Deadline) {
        std::thread::sleep(RETRY_PAUSE.min(deadline.left()));
        // A read error shows up again in the next receive, which reports it.
        let _ = self.read_beside();
    }

    /// Waits until the socket has space. Returns true if the peer process has exited.
    ///
    /// The peer may be waiting for space too. So this reads incoming data and keeps it for the next receive.
    fn wait_for_room(&self, deadline: Deadline) -> Result<bool> {
        let peer = self.peer_changes.load(Relaxed);
        let woken = self.wait_to_send(deadline)?;
        // At end of file the socket is always readable.
        if woken.readable && self.read_beside()? == Read::End {
            return Err(self.disconnect_error());
        }
        Ok(woken.exited && !woken.readable && !woken.writable && !self.has_left(peer)?)
    }

    /// Reads what has arrived, and keeps it for the next receive, if it may.
    pub(super) fn read_beside(&self) -> Result<Read> {
        let mut receiving = self.receiving.lock();
        if !receiving.may_read_beside() {
            return Ok(Read::Nothing);
        }
        // A read error shows up again in the next receive, which reports it.
        let read = self.read(&mut receiving).unwrap_or(Read::Nothing);
        self.check_queued(&mut receiving)?;
        self.publish(&mut receiving)?;
        // The socket shows no more that these bytes have arrived.
        receiving.tasks.wake_all();
        Ok(read)
    }
}

/// Returns whether a send has failed because the peer is gone. After that, the next send reports the same instead of
/// `PartialSend`.
fn is_disconnect(error: &Error) -> bool {
    matches!(error, Error::ProcessExited { .. } | Error::Disconnected { .. })
}

/// Returns the envelope of the writer's next message.
#[inline]
fn envelope_of(
    message: &Message<'_>,
    travellers: &[&Arc<Endpoint>],
    frame_type: FrameType,
    writer: &Writer,
) -> Envelope {
    Envelope {
        frame_type,
        number: writer.next,
        endpoints: travellers.len(),
        has_no_semaphores: message.has_no_semaphores(),
    }
}

/// Calls `send` with the message as a frame, and with its descriptors.
fn with_frame<T>(
    endpoint: &Endpoint,
    message: &Message<'_>,
    travellers: &[&Arc<Endpoint>],
    envelope: Envelope,
    send: impl FnOnce(&Frame<'_>, &[BorrowedFd<'_>]) -> Result<T>,
) -> Result<T> {
    if message.shares.is_empty() && travellers.is_empty() {
        return with_frame_of(message, 0, envelope, |frame| send(frame, &[]));
    }
    let narrowed_copies = narrowed_copies(message)?;
    let mut inline = [endpoint.socket.as_fd(); MAX_INLINE_DESCRIPTORS];
    let mut allocated = Vec::new();
    let count = message.shares.len() + travellers.len();
    let descriptors = if count <= MAX_INLINE_DESCRIPTORS {
        &mut inline[..count]
    } else {
        allocated.resize(count, endpoint.socket.as_fd());
        &mut allocated[..]
    };
    fill(descriptors, message, &narrowed_copies)?;
    for (to, traveller) in descriptors[message.shares.len()..].iter_mut().zip(travellers) {
        *to = traveller.socket.as_fd();
    }
    with_frame_of(message, count, envelope, |frame| send(frame, descriptors))
}

/// Calls `send` with a message of `count` objects as a frame.
#[inline]
fn with_frame_of<T>(
    message: &Message<'_>,
    count: usize,
    envelope: Envelope,
    send: impl FnOnce(&Frame<'_>) -> Result<T>,
) -> Result<T> {
    let (table, bytes) = (message.table.bytes(), &*message.bytes);
    let header = Header { envelope, objects: count, table: table.len(), bytes: bytes.len() }.encode();
    let mut buffer = [0; MAX_COPIED];
    let length = header.len() + table.len() + bytes.len();
    let frame = if length <= MAX_COPIED {
        let (first, rest) = buffer.split_at_mut(header.len());
        first.copy_from_slice(&header);
        rest[..table.len()].copy_from_slice(table);
        rest[table.len()..][..bytes.len()].copy_from_slice(bytes);
        Frame::of_one_part(&buffer[..length])
    } else {
        Frame { parts: [&header, table, bytes], length }
    };
    send(&frame)
}

/// A frame in the form in which it is sent: one part, or three that are never copied together.
struct Frame<'a> {
    parts: [&'a [u8]; 3],
    length: usize,
}

impl<'a> Frame<'a> {
    fn of_one_part(bytes: &'a [u8]) -> Self {
        Self { parts: [bytes, &[], &[]], length: bytes.len() }
    }

    /// Returns the packet behind the first `written` bytes, which has at most `most` bytes: its parts, and their number.
    #[inline]
    fn packet(&self, written: usize, most: usize) -> ([IoSlice<'_>; 3], usize) {
        if written == 0 && self.parts[0].len() == self.length && self.length <= most {
            return ([IoSlice::new(self.parts[0]), IoSlice::new(&[]), IoSlice::new(&[])], 1);
        }
        self.packet_of_parts(written, most)
    }

    fn packet_of_parts(&self, mut written: usize, mut most: usize) -> ([IoSlice<'_>; 3], usize) {
        let (mut parts, mut count) = ([IoSlice::new(&[]); 3], 0);
        for part in self.parts {
            let skipped = written.min(part.len());
            written -= skipped;
            let rest = &part[skipped..][..most.min(part.len() - skipped)];
            most -= rest.len();
            if !rest.is_empty() {
                parts[count] = IoSlice::new(rest);
                count += 1;
            }
        }
        (parts, count)
    }

    /// Returns a copy of the bytes behind the first `written`.
    #[cfg(feature = "_async")]
    fn rest(&self, written: usize) -> Vec<u8> {
        let (parts, _) = self.packet(written, usize::MAX);
        parts.iter().flat_map(|part| part.iter()).copied().collect()
    }
}

fn description(name: &str) -> String {
    format!("the object {name:?} of the message")
}

/// Creates descriptors with less access than the caller's, for those objects that ask for it, in their order.
fn narrowed_copies(message: &Message<'_>) -> Result<Vec<Owned>> {
    if message.shares.iter().all(|share| share.object().rights() == Rights::Same) {
        return Ok(Vec::new());
    }
    let mut copies = Vec::new();
    for (name, object) in message.objects().filter(|(_, object)| object.rights() != Rights::Same) {
        let copy = duplicate_here(object.no_pseudo_handle(&|| description(name))?, object.rights());
        copies.push(copy.map_err(|source| Error::on_handle(description(name), source))?);
    }
    Ok(copies)
}

/// Fills `to` with the descriptors to send: the caller's own and the copies with fewer rights. It doesn't check that
/// the caller's are open; the sending call does.
fn fill<'a>(to: &mut [BorrowedFd<'a>], message: &'a Message<'_>, narrowed_copies: &'a [Owned]) -> Result<()> {
    let mut narrowed_copies = narrowed_copies.iter().map(AsFd::as_fd);
    for (index, (to, share)) in to.iter_mut().zip(&message.shares).enumerate() {
        let object = share.object();
        let own =
            object.no_pseudo_handle(&|| description(message.table.names().nth(index).unwrap_or_default()))?;
        *to = match object.rights() {
            Rights::Same => own,
            Rights::ReadOnly => narrowed_copies.next().expect("each such object has a copy"),
        };
    }
    Ok(())
}

/// Returns the error that names the object that is not open.
fn invalid_handle(message: &Message<'_>, descriptors: &[BorrowedFd<'_>]) -> Error {
    let is_closed = |handle: &BorrowedFd<'_>| handle::check_open(*handle).is_err();
    let index = descriptors.iter().position(is_closed);
    let object = match index.and_then(|index| message.table.names().nth(index)) {
        Some(name) => description(name),
        None => "an object of the message".into(),
    };
    Error::InvalidHandle { object }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_frame_are_all_of_its_bytes_once() {
        let frame = Frame { parts: [b"header", b"", b"the bytes"], length: 15 };
        for most in 1..20 {
            let (mut written, mut all) = (0, Vec::new());
            while written < frame.length {
                let (parts, count) = frame.packet(written, most);
                assert!(parts[..count].iter().all(|part| !part.is_empty()));
                let length: usize = parts[..count].iter().map(|part| part.len()).sum();
                assert!(length == most || written + length == frame.length, "{most}");
                parts[..count].iter().for_each(|part| all.extend_from_slice(part));
                written += length;
            }
            assert_eq!(all, b"headerthe bytes", "{most}");
        }
    }
}
