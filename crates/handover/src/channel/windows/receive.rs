//! Receiving messages from an endpoint.

use std::os::windows::io::AsHandle;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, LOOK_AGAIN, Peer, Reader, Woken};
use crate::channel::message::{ReceivedMessage, Sender};
use crate::channel::wire::{self, Content, Header};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::process::Process;
use crate::sys::io::Owned;
use crate::sys::overlapped::{Begun, Transfer};
use crate::sys::{SysResult, create_object, handle, pipe};
use crate::wait::Deadline;

/// The minimum and maximum number of bytes to read at once. Most messages are shorter than the minimum. The maximum is
/// what one call writes.
const MIN_READ: usize = 4 * 1024;
const MAX_READ: usize = 1024 * 1024;
/// The maximum capacity that an emptied buffer keeps.
const MAX_KEPT: usize = 64 * 1024;

/// The outcome of one attempt to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// As many bytes as were asked for, so more may be available.
    Enough,
    /// All available bytes.
    Some,
    /// End of file: no process can write any more.
    End,
    TimedOut,
}

impl Endpoint {
    /// Receives the next message, or returns `None` at the deadline.
    pub(crate) fn receive(&self, time: Duration) -> Result<Option<ReceivedMessage>> {
        let deadline = Deadline::after(time);
        // A send that waits for space in the pipe holds the reader and releases it within this time.
        let Some(mut reader) = self.reader.wait_at_least(2 * LOOK_AGAIN, deadline) else { return Ok(None) };
        loop {
            self.check_not_broken()?;
            if let Some(received) = self.next_message(&mut reader)? {
                return Ok(Some(received));
            }
            match self.read(&mut reader, deadline)? {
                // A peer that sends single bytes must not extend the wait past the deadline.
                Read::Some if deadline.has_passed() => return self.next_message(&mut reader),
                Read::Enough | Read::Some => {}
                Read::TimedOut => return Ok(None),
                Read::End => {
                    let is_partial = !reader.unread().is_empty() && !self.incoming().giving_has_ended();
                    if is_partial && !self.process().is_none_or(Process::is_going) {
                        return Err(self.protocol_error("the last message is cut off"));
                    }
                    return Err(self.disconnect_error());
                }
            }
        }
    }

    /// Returns the message at the front of the buffer if it is complete.
    pub(super) fn next_message(&self, reader: &mut Reader) -> Result<Option<ReceivedMessage>> {
        let broken = |reason| self.protocol_error(reason);
        let next = reader.next;
        let unread = reader.unread();
        let Some(header) = Header::parse::<HandleValue>(unread).map_err(broken)? else { return Ok(None) };
        let length = header.frame_length();
        let Some(frame) = unread.get(..length) else { return Ok(None) };
        if header.number != next {
            return Err(broken("a message is missing or out of order"));
        }
        let values = wire::parse(&header, frame).map_err(broken)?;
        let content = Content::new::<HandleValue>(&header, reader.take_front(length));
        reader.next += 1;
        let handles = if values.is_empty() { Vec::new() } else { self.take_objects(header.number, &values)? };
        let from = Sender { process: self.process_id(), allowed: Arc::clone(&self.allowed) };
        Ok(Some(ReceivedMessage::new(content, handles, from)))
    }

    /// Makes this process the owner of all of a message's objects, or of none if it fails.
    fn take_objects(&self, number: u64, values: &[HandleValue]) -> Result<Vec<Owned>> {
        match &self.peer {
            Peer::Weaker(process) => self.fetch(process, number, values),
            Peer::Stronger(_) => {
                if !self.incoming().take(number) {
                    return Err(self.disconnect_error());
                }
                Ok(values.iter().map(|value| handle::own(*value)).collect())
            }
        }
    }

    /// Duplicates a message's objects out of the weaker process.
    fn fetch(&self, process: &Process, number: u64, values: &[HandleValue]) -> Result<Vec<Owned>> {
        if !self.incoming().take(number) {
            return Err(self.disconnect_error());
        }
        let copies: Result<Vec<Owned>> = values.iter().map(|value| process.fetch(*value)).collect();
        // This runs even after a failure: a failed fetch is never retried, so the peer can close its duplicates.
        self.page().set_fetched(number + 1);
        let event_set = create_object::set_event(self.fetched.as_handle());
        let copies = copies.map_err(|error| match error {
            Error::InvalidHandle { .. } => {
                self.protocol_error("an object has a handle value that is not open")
            }
            other => other,
        })?;
        event_set.map_err(self.failed())?;
        Ok(copies)
    }

    /// Reads into the end of the reader's buffer, waiting until data arrives.
    pub(super) fn read(&self, reader: &mut Reader, deadline: Deadline) -> Result<Read> {
        let read_size = reader.read_size();
        let mut has_peer_exited = false;
        let outcome = match reader.transfer.read(read_size) {
            Ok(Begun::Done) => reader.transfer.finish(),
            Ok(Begun::UnderWay) => {
                let woken = self.wait_to_read(&reader.transfer, deadline);
                let outcome = match woken {
                    Ok(Woken::Done) => reader.transfer.finish(),
                    _ => reader.transfer.cancel(),
                };
                let woken = woken.map_err(self.failed())?;
                has_peer_exited = woken == Woken::Exited;
                outcome
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(length) if length == read_size => Ok(Read::Enough),
            Ok(_) => Ok(Read::Some),
            Err(error) if pipe::is_end(&error) => Ok(Read::End),
            // All data that a process wrote before its exit is readable by now, so finding nothing means end of file.
            Err(error) if pipe::is_cancelled(&error) && has_peer_exited => Ok(Read::End),
            Err(error) if pipe::is_cancelled(&error) => Ok(Read::TimedOut),
            Err(error) => Err(self.failed()(error)),
        }
    }

    /// Waits for a read. Meanwhile it closes duplicates that the peer has fetched, so a worker that waits for its next
    /// task doesn't keep the objects of the last one alive.
    fn wait_to_read(&self, transfer: &Transfer, deadline: Deadline) -> SysResult<Woken> {
        // The event doesn't report what was fetched before this wait began.
        let mut look_again = matches!(self.peer, Peer::Stronger(_)) && !self.try_close_fetched();
        loop {
            let until = if look_again { deadline.or_sooner(LOOK_AGAIN) } else { deadline };
            match self.wait_for(Some(transfer.done()), None, until)? {
                Woken::TimedOut if deadline.has_passed() => return Ok(Woken::TimedOut),
                Woken::Fetched | Woken::TimedOut => look_again = !self.try_close_fetched(),
                other => return Ok(other),
            }
        }
    }
}

impl Reader {
    pub(super) fn new(transfer: Transfer) -> Self {
        Self { transfer, received: 0, next: 0 }
    }

    /// Returns the bytes that were read and not received yet.
    pub(super) fn unread(&mut self) -> &[u8] {
        &self.transfer.buffer()[self.received..]
    }

    /// Removes a message of `length` bytes from the front. Returns the buffer itself if that wastes little memory, and
    /// a copy otherwise.
    fn take_front(&mut self, length: usize) -> Vec<u8> {
        let (received, buffer) = (self.received, self.transfer.buffer());
        if received == 0 && length == buffer.len() && length >= buffer.capacity() / 2 {
            return std::mem::take(buffer);
        }
        let front = buffer[received..][..length].to_vec();
        self.received += length;
        // Moving only now and then keeps many small messages from being moved over and over.
        if self.received == buffer.len() || self.received > MAX_KEPT.max(buffer.len() / 2) {
            buffer.drain(..self.received);
            self.received = 0;
            // A large message must not leave a large buffer behind.
            buffer.shrink_to(MAX_KEPT);
        }
        front
    }

    /// Returns the number of bytes to read: as many as the message at the front lacks, if that is known.
    fn read_size(&mut self) -> usize {
        let unread = self.unread();
        let lacking = match Header::parse::<HandleValue>(unread) {
            Ok(Some(header)) => header.frame_length().saturating_sub(unread.len()),
            _ => 0,
        };
        lacking.clamp(MIN_READ, MAX_READ)
    }

    /// Begins a read that runs beside another wait. A read error shows up again in the next receive, which reports it.
    pub(super) fn begin_side_read(&mut self) -> SideRead {
        if self.unread().len() >= wire::MAX_FRAME {
            return SideRead::Full;
        }
        let read_size = self.read_size();
        match self.transfer.read(read_size) {
            Ok(Begun::UnderWay) => SideRead::UnderWay,
            Ok(Begun::Done) if self.transfer.finish().is_ok() => SideRead::More,
            _ => SideRead::NoMore,
        }
    }

    /// Cancels that read. Returns whether more data can arrive.
    pub(super) fn end_side_read(&mut self) -> bool {
        match self.transfer.cancel() {
            Ok(_) => true,
            Err(error) => pipe::is_cancelled(&error),
        }
    }
}

/// The state of a read that was begun beside another wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SideRead {
    UnderWay,
    /// Some data was already available.
    More,
    NoMore,
    /// The buffer holds enough for the next receives.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a reader whose buffer holds these bytes, and which can't read more.
    fn reader_with(read: Vec<u8>) -> Reader {
        let event = || create_object::event(true).expect("an event");
        let mut reader = Reader::new(Transfer::new(Arc::new(event()), event()));
        *reader.transfer.buffer() = read;
        reader
    }

    fn with_capacity(bytes: &[u8], capacity: usize) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.extend_from_slice(bytes);
        buffer
    }

    #[test]
    fn message_that_fills_the_buffer_is_not_copied() {
        // The capacity of the buffer, the length of the message before, and whether the rest is returned without a
        // copy.
        for (capacity, first, is_taken) in
            [(1000, 0, true), (2000, 0, true), (2100, 0, false), (1000, 400, false)]
        {
            let mut reader = reader_with(with_capacity(&[7; 1000], capacity));
            let read = reader.unread().as_ptr();
            if first > 0 {
                assert_eq!(reader.take_front(first), vec![7; first]);
            }
            let rest = reader.take_front(1000 - first);
            assert_eq!(rest, vec![7; 1000 - first]);
            assert_eq!(rest.as_ptr() == read, is_taken, "{capacity} {first}");
            assert!(reader.unread().is_empty() && reader.transfer.buffer().is_empty());
        }
    }

    #[test]
    fn received_bytes_are_moved_only_now_and_then() {
        let mut reader = reader_with(vec![7; 300_000]);
        let mut seen = Vec::new();
        for _ in 0..30 {
            assert_eq!(reader.take_front(10_000), [7; 10_000]);
            seen.push(reader.received / 1000);
            assert_eq!(reader.unread().len(), 300_000 - 10_000 * seen.len());
        }
        let expected: Vec<usize> =
            [(1..16), (1..8), (1..6)].into_iter().flat_map(|some| some.map(|n| n * 10).chain([0])).collect();
        assert_eq!(seen[..], expected[..30], "{seen:?}");
        assert!(reader.transfer.buffer().capacity() <= MAX_KEPT);
    }

    #[test]
    fn read_size_is_what_the_message_lacks() {
        let mut frame = Vec::new();
        let values: [HandleValue; 0] = [];
        wire::write(&mut frame, 0, &wire::Table::default(), values, &[7; 300_000]);
        let lacks = |length: usize| reader_with(frame[..length].to_vec()).read_size();
        // An incomplete header, a complete header with a long rest, and a rest that is shorter than the minimum.
        assert_eq!(lacks(0), MIN_READ);
        assert_eq!(lacks(4), MIN_READ);
        assert_eq!(lacks(1000), frame.len() - 1000);
        assert_eq!(lacks(frame.len() - 1), MIN_READ);
        assert_eq!(lacks(frame.len()), MIN_READ);
    }
}
