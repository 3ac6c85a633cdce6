//! Receiving.

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

/// How many bytes are read at once: at least what most messages need, at most what one call writes.
const LEAST_READ: usize = 4 * 1024;
const MOST_READ: usize = 1024 * 1024;
/// How large a buffer is kept.
const MOST_KEPT: usize = 64 * 1024;

/// What an attempt to read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// As much as was asked for, so that there may be more.
    Enough,
    /// All that there was.
    Some,
    /// Nobody writes any more.
    End,
    TimedOut,
}

impl Endpoint {
    /// The next message; `None` if it doesn't come in time.
    pub(crate) fn receive(&self, time: Duration) -> Result<Option<ReceivedMessage>> {
        let deadline = Deadline::after(time);
        // A send that waits for room reads meanwhile, and gives way after that time.
        let Some(mut reader) = self.reader.wait_at_least(2 * LOOK_AGAIN, deadline) else { return Ok(None) };
        loop {
            self.check_not_broken()?;
            if let Some(received) = self.next_message(&mut reader)? {
                return Ok(Some(received));
            }
            match self.read(&mut reader, deadline)? {
                // Bytes that come drop by drop are no reason to go on past the deadline.
                Read::Some if deadline.has_passed() => return self.next_message(&mut reader),
                Read::Enough | Read::Some => {}
                Read::TimedOut => return Ok(None),
                Read::End => {
                    let is_half = !reader.unread().is_empty() && !self.incoming().giving_has_ended();
                    if is_half && !self.process().is_none_or(Process::is_going) {
                        return Err(self.broke_off("the last frame is cut off"));
                    }
                    return Err(self.ended());
                }
            }
        }
    }

    /// The message at the front of what was read, if all of it is there.
    pub(super) fn next_message(&self, reader: &mut Reader) -> Result<Option<ReceivedMessage>> {
        let broken = |why| self.broke_off(why);
        let next = reader.next;
        let unread = reader.unread();
        let Some(header) = Header::parse::<HandleValue>(unread).map_err(broken)? else { return Ok(None) };
        let length = header.frame_length();
        let Some(frame) = unread.get(..length) else { return Ok(None) };
        if header.number != next {
            return Err(broken("a message is missing or out of order"));
        }
        let places = wire::parse(&header, frame).map_err(broken)?;
        let content = Content::new::<HandleValue>(&header, reader.take_front(length));
        reader.next += 1;
        let handles = if places.is_empty() { Vec::new() } else { self.arrive(header.number, &places)? };
        let from = Sender { process: self.process_id(), allowed: Arc::clone(&self.allowed) };
        Ok(Some(ReceivedMessage::new(content, handles, from)))
    }

    /// Makes this process the owner of a message's objects: of all of them, or of none.
    fn arrive(&self, number: u64, values: &[HandleValue]) -> Result<Vec<Owned>> {
        match &self.peer {
            Peer::Weaker(process) => self.fetch(process, number, values),
            Peer::Stronger(_) => {
                if !self.incoming().take(number) {
                    return Err(self.ended());
                }
                Ok(values.iter().map(|value| handle::own(*value)).collect())
            }
        }
    }

    /// Takes a message's objects out of the weaker process.
    fn fetch(&self, process: &Process, number: u64, values: &[HandleValue]) -> Result<Vec<Owned>> {
        if !self.incoming().take(number) {
            return Err(self.ended());
        }
        let copies: Result<Vec<Owned>> = values.iter().map(|value| process.fetch(*value)).collect();
        // Also after a failure: what isn't fetched now never is, and the other end can close it.
        self.ledger().set_fetched(number + 1);
        let told = create_object::set_event(self.fetched.as_handle());
        let copies = copies.map_err(|error| match error {
            Error::InvalidHandle { .. } => self.broke_off("an object has a handle value that is not open"),
            other => other,
        })?;
        told.map_err(self.failed())?;
        Ok(copies)
    }

    /// Reads what there is to the end of the reader's buffer, or waits for it.
    pub(super) fn read(&self, reader: &mut Reader, deadline: Deadline) -> Result<Read> {
        let wanted = reader.wanted();
        let mut ended_from_outside = false;
        let outcome = match reader.transfer.read(wanted) {
            Ok(Begun::Done) => reader.transfer.finish(),
            Ok(Begun::UnderWay) => {
                let woken = self.wait_to_read(&reader.transfer, deadline);
                let outcome = match woken {
                    Ok(Woken::Done) => reader.transfer.finish(),
                    _ => reader.transfer.cancel(),
                };
                let woken = woken.map_err(self.failed())?;
                ended_from_outside = woken == Woken::Gone;
                outcome
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(length) if length == wanted => Ok(Read::Enough),
            Ok(_) => Ok(Read::Some),
            Err(error) if pipe::is_end(&error) => Ok(Read::End),
            // What a process wrote before it ended is there by now, so that there was nothing to read is the
            // end.
            Err(error) if pipe::is_cancelled(&error) && ended_from_outside => Ok(Read::End),
            Err(error) if pipe::is_cancelled(&error) => Ok(Read::TimedOut),
            Err(error) => Err(self.failed()(error)),
        }
    }

    /// Whoever waits for messages also closes what the other end has fetched meanwhile, so that a worker that
    /// waits for its next task doesn't keep the last one's objects alive.
    fn wait_to_read(&self, transfer: &Transfer, deadline: Deadline) -> SysResult<Woken> {
        // What was fetched before this wait began is not said again.
        let mut look_again = matches!(self.peer, Peer::Stronger(_)) && !self.close_what_was_fetched_if_free();
        loop {
            let until = if look_again { deadline.or_sooner(LOOK_AGAIN) } else { deadline };
            match self.wait_for(Some(transfer.done()), None, until)? {
                Woken::Nothing if deadline.has_passed() => return Ok(Woken::Nothing),
                Woken::Fetched | Woken::Nothing => look_again = !self.close_what_was_fetched_if_free(),
                other => return Ok(other),
            }
        }
    }
}

impl Reader {
    pub(super) fn new(transfer: Transfer) -> Self {
        Self { transfer, received: 0, next: 0 }
    }

    /// What was read and not received.
    pub(super) fn unread(&mut self) -> &[u8] {
        &self.transfer.buffer()[self.received..]
    }

    /// So many bytes from the front, which are a message: as they were read, if that leaves no large part of
    /// the buffer unused, or else as a copy.
    fn take_front(&mut self, length: usize) -> Vec<u8> {
        let (received, buffer) = (self.received, self.transfer.buffer());
        if received == 0 && length == buffer.len() && length >= buffer.capacity() / 2 {
            return std::mem::take(buffer);
        }
        let front = buffer[received..][..length].to_vec();
        self.received += length;
        // Now and then, so that many small messages aren't moved over and over.
        if self.received == buffer.len() || self.received > MOST_KEPT.max(buffer.len() / 2) {
            buffer.drain(..self.received);
            self.received = 0;
            // A large message leaves no large buffer behind.
            buffer.shrink_to(MOST_KEPT);
        }
        front
    }

    /// How much to read: what the message at the front lacks, if it is known.
    fn wanted(&mut self) -> usize {
        let unread = self.unread();
        let lacking = match Header::parse::<HandleValue>(unread) {
            Ok(Some(header)) => header.frame_length().saturating_sub(unread.len()),
            _ => 0,
        };
        lacking.clamp(LEAST_READ, MOST_READ)
    }

    /// Begins to read while something else is waited for. What fails here fails again for whoever receives,
    /// and is said there.
    pub(super) fn begin_beside(&mut self) -> Beside {
        if self.unread().len() >= wire::LONGEST_FRAME {
            return Beside::Full;
        }
        let wanted = self.wanted();
        match self.transfer.read(wanted) {
            Ok(Begun::UnderWay) => Beside::UnderWay,
            Ok(Begun::Done) if self.transfer.finish().is_ok() => Beside::More,
            _ => Beside::NoMore,
        }
    }

    /// Ends it again; whether more can come.
    pub(super) fn end_beside(&mut self) -> bool {
        match self.transfer.cancel() {
            Ok(_) => true,
            Err(error) => pipe::is_cancelled(&error),
        }
    }
}

/// What became of a read that was begun beside something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    UnderWay,
    /// Something was there already.
    More,
    NoMore,
    /// Enough is kept for whoever receives.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that has read this, and nothing to read more from.
    fn having(read: Vec<u8>) -> Reader {
        let event = || create_object::event(true).expect("an event");
        let mut reader = Reader::new(Transfer::new(Arc::new(event()), event()));
        *reader.transfer.buffer() = read;
        reader
    }

    fn with_room(bytes: &[u8], room: usize) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(room);
        buffer.extend_from_slice(bytes);
        buffer
    }

    #[test]
    fn a_message_that_fills_the_buffer_is_not_copied() {
        // What was read, with how much room, how much of it is received first, and whether the rest comes as
        // it was read.
        for (room, first, is_taken) in
            [(1000, 0, true), (2000, 0, true), (2100, 0, false), (1000, 400, false)]
        {
            let mut reader = having(with_room(&[7; 1000], room));
            let read = reader.unread().as_ptr();
            if first > 0 {
                assert_eq!(reader.take_front(first), vec![7; first]);
            }
            let rest = reader.take_front(1000 - first);
            assert_eq!(rest, vec![7; 1000 - first]);
            assert_eq!(rest.as_ptr() == read, is_taken, "{room} {first}");
            assert!(reader.unread().is_empty() && reader.transfer.buffer().is_empty());
        }
    }

    #[test]
    fn what_was_received_is_moved_away_now_and_then() {
        let mut reader = having(vec![7; 300_000]);
        let mut seen = Vec::new();
        for _ in 0..30 {
            assert_eq!(reader.take_front(10_000), [7; 10_000]);
            seen.push(reader.received / 1000);
            assert_eq!(reader.unread().len(), 300_000 - 10_000 * seen.len());
        }
        let expected: Vec<usize> =
            [(1..16), (1..8), (1..6)].into_iter().flat_map(|some| some.map(|n| n * 10).chain([0])).collect();
        assert_eq!(seen[..], expected[..30], "{seen:?}");
        assert!(reader.transfer.buffer().capacity() <= MOST_KEPT);
    }

    #[test]
    fn what_is_read_is_what_a_message_lacks() {
        let mut frame = Vec::new();
        let places: [HandleValue; 0] = [];
        wire::write(&mut frame, 0, &wire::Table::default(), places, &[7; 300_000]);
        let lacks = |there: usize| having(frame[..there].to_vec()).wanted();
        // The header isn't whole; then it says how much; and the whole message lacks nothing.
        assert_eq!(lacks(0), LEAST_READ);
        assert_eq!(lacks(4), LEAST_READ);
        assert_eq!(lacks(1000), frame.len() - 1000);
        assert_eq!(lacks(frame.len() - 1), LEAST_READ);
        assert_eq!(lacks(frame.len()), LEAST_READ);
    }
}
