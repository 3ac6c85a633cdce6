//! The receive buffer: bytes that were read and not received yet, and the descriptors that arrived with them.
//!
//! The kernel delivers the descriptors of one `sendmsg` with its first byte, and one read never continues past the end
//! of the data of such a call. So for each batch of descriptors, two stream positions are known between which that
//! first byte lies. A sender that follows the protocol begins a `sendmsg` with the frame that the descriptors belong
//! to. A batch at any other position breaks the protocol.

use std::cell::Cell;
use std::collections::VecDeque;

use crate::channel::Limits;
use crate::channel::message::Arrived;
use crate::channel::wire::{self, Broken, Content, Envelope, FrameType, Header};
use crate::sys::io::Owned;
use crate::sys::unix_socket::{MAX_DESCRIPTORS, Received, Sender};

/// The number of bytes to read if it isn't known how many are missing. Most messages are shorter.
const MIN_READ: usize = 4 * 1024;
/// The frame length from which a frame is read into a buffer of its own, which then becomes the message's buffer.
const LARGE: usize = 32 * 1024;
/// The maximum capacity that is kept for the next message.
const MAX_KEPT: usize = 64 * 1024;
/// The maximum number of batches of descriptors that are kept for the next receive.
const MAX_BATCHES: usize = 64;

thread_local! {
    /// The memory of an emptied buffer, for the next read of this thread. So an idle channel holds no memory, and a thread
    /// that serves many channels reads into memory that is in the processor's cache.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The data that was read from the socket and not received yet.
#[derive(Debug)]
pub(super) struct RecvBuffer {
    /// The bytes that were read.
    buffer: Vec<u8>,
    /// The number of bytes at the front of `buffer` that have been received.
    received: usize,
    /// The length of the last message, but at most `LARGE`. The next message often has the same length.
    last_length: usize,
    /// The stream position of the buffer's first byte.
    start: u64,
    /// The number of the next message. `None` if this process doesn't know how many were received before.
    next: Option<u64>,
    batches: VecDeque<Batch>,
    /// The senders of bytes in the buffer, as far as they are known.
    senders: VecDeque<SentBy>,
    /// How much the peer may send.
    pub(super) limits: Limits,
}

/// The descriptors that arrived with one `sendmsg`.
#[derive(Debug)]
struct Batch {
    /// The first stream position at which its first byte can be.
    from: u64,
    /// The stream position behind the last one at which its first byte can be.
    to: u64,
    descriptors: Vec<Owned>,
    /// Whether the kernel dropped some descriptors because this process can't open more.
    is_cut: bool,
}

/// The process that sent the bytes between two stream positions.
#[derive(Debug)]
struct SentBy {
    from: u64,
    to: u64,
    sender: Sender,
}

/// A message's descriptors are lost, because the kernel found no room for all of them in this process. It is an `Err` of
/// [`Arrived`]; the others are closed.
#[derive(Debug)]
pub(crate) struct Lost;

impl Default for RecvBuffer {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            received: 0,
            last_length: 0,
            start: 0,
            next: Some(0),
            batches: VecDeque::new(),
            senders: VecDeque::new(),
            limits: Limits::default(),
        }
    }
}

impl RecvBuffer {
    /// Accepts any number in the next message, because other processes have received the ones before.
    pub(super) fn accept_any_number(&mut self) {
        self.next = None;
    }

    /// Returns whether nothing was read that wasn't received.
    pub(super) fn is_empty(&self) -> bool {
        self.unread().is_empty() && self.batches.is_empty()
    }

    /// Returns the bytes that were read and not received yet.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.received..]
    }

    fn position(&self) -> u64 {
        self.start + self.received as u64
    }

    /// Returns the header of the message at the front, if it has arrived.
    fn header(&self) -> Result<Option<Header>, Broken> {
        self.limits.header::<()>(self.unread())
    }

    /// Returns the number of bytes to read: as many as the message at the front lacks, if that is known. A large
    /// message is read alone, without the bytes behind it.
    fn read_size(&mut self) -> usize {
        let at_least = self.last_length.max(MIN_READ);
        let Ok(Some(header)) = self.header() else { return at_least };
        let lacking = header.frame_length().saturating_sub(self.unread().len());
        if header.frame_length() < LARGE || lacking == 0 {
            return lacking.max(at_least);
        }
        self.move_to_front();
        // It does nothing once there is room for the whole message, so the bytes of a large one are not moved again.
        self.buffer.reserve_exact(lacking);
        lacking
    }

    /// Returns how many bytes the message at the front lacks, or if that isn't known, its header.
    fn size_of_rest(&self) -> usize {
        let length = match self.header() {
            Ok(Some(header)) => header.frame_length(),
            _ => Header::LENGTH,
        };
        length.saturating_sub(self.unread().len()).max(1)
    }

    /// Returns whether the buffer holds enough for the next receives, so that a send should not read more.
    pub(super) fn is_full(&self) -> bool {
        let descriptors: usize = self.batches.iter().map(|batch| batch.descriptors.len()).sum();
        self.header().is_err()
            || self.unread().len() >= wire::MAX_FRAME
            || descriptors >= MAX_DESCRIPTORS
            || self.batches.len() >= MAX_BATCHES
            || self.senders.len() >= MAX_BATCHES
    }

    /// Reads into the end of the buffer, by a function that gets the buffer and the maximum number of bytes. With `alone`,
    /// it reads nothing behind the message at the front.
    pub(super) fn read<E>(
        &mut self,
        alone: bool,
        read: impl FnOnce(&mut Vec<u8>, usize) -> Result<Option<Received>, E>,
    ) -> Result<Option<usize>, E> {
        if self.buffer.capacity() == 0 {
            // A thread that is exiting has none any more.
            self.buffer = SPARE.try_with(Cell::take).unwrap_or_default();
        }
        let read_size = if alone { self.size_of_rest() } else { self.read_size() };
        let from = self.start + self.buffer.len() as u64;
        let received = read(&mut self.buffer, read_size);
        self.spare_empty_buffer();
        let Some(Received { length, descriptors, is_cut, sender }) = received? else { return Ok(None) };
        if let Some(sender) = sender {
            let to = from + length as u64;
            match self.senders.back_mut().filter(|last| last.sender.id == sender.id && last.to == from) {
                Some(last) => last.to = to,
                None => self.senders.push_back(SentBy { from, to, sender }),
            }
        }
        if is_cut || !descriptors.is_empty() {
            self.batches.push_back(Batch { from, to: from + length as u64, descriptors, is_cut });
        }
        Ok(Some(length))
    }

    /// Returns the message at the front of the buffer if it is complete.
    pub(super) fn next_message(&mut self) -> Result<Option<Arrived>, Broken> {
        self.check_front()?;
        self.forget_senders();
        let unread = self.unread();
        if unread.is_empty() {
            return Ok(None);
        }
        let header = self.header()?;
        let frame = header.as_ref().and_then(|header| unread.get(..header.frame_length()));
        let (Some(header), Some(frame)) = (header, frame) else {
            // An incomplete message can have brought its own batch only.
            return if self.batches.len() > 1 { Err(UNANNOUNCED) } else { Ok(None) };
        };
        let Envelope { frame_type, number, .. } = header.envelope;
        // The number in a greeting is that of the next message, because its sender counts anew.
        let is_greeting = matches!(frame_type, FrameType::Greeting(_));
        if !is_greeting && self.next.is_some_and(|next| next != number) {
            return Err("a message is missing or out of order".into());
        }
        let count = wire::parse::<()>(&header, frame)?.len();
        let objects = if count > 0 { self.take_batch(count)?.ok_or(Lost) } else { Ok(Vec::new()) };
        self.next = Some(if is_greeting { number } else { number.wrapping_add(1) });
        let content = Content::new::<()>(&header, self.take_front(header.frame_length()));
        // A batch in the middle of a message belongs to no message.
        self.check_front()?;
        if !is_greeting {
            self.forget_senders();
        }
        Ok(Some(Arrived { envelope: header.envelope, content, objects, limits: self.limits }))
    }

    /// Returns whether [`next_message`](Self::next_message) returns a message or an error now.
    pub(super) fn has_message(&self) -> bool {
        let unread = self.unread();
        let is_complete = match self.header() {
            Ok(Some(header)) => unread.len() >= header.frame_length(),
            Ok(None) => false,
            Err(_) => true,
        };
        // An incomplete message can have brought its own batch only.
        is_complete || self.batches.len() > 1
    }

    /// Returns the process that sent the last byte that was received, if it is known.
    pub(super) fn last_sender(&mut self) -> Option<Sender> {
        let position = self.position();
        while let Some(SentBy { from, to, .. }) = self.senders.front() {
            if *from >= position {
                return None;
            }
            if *to >= position {
                return self.senders.front().map(|sent| sent.sender.clone());
            }
            self.senders.pop_front();
        }
        None
    }

    /// Forgets the senders of bytes that were received.
    fn forget_senders(&mut self) {
        let position = self.position();
        while self.senders.front().is_some_and(|sent| sent.to <= position) {
            self.senders.pop_front();
        }
    }

    /// Checks that no batch lies before the first unread byte. Such a batch belongs to no message.
    fn check_front(&self) -> Result<(), Broken> {
        let is_passed = self.batches.front().is_some_and(|batch| batch.to <= self.position());
        if is_passed { Err(UNANNOUNCED) } else { Ok(()) }
    }

    /// Returns the descriptors of the message at the front.
    fn take_batch(&mut self, count: usize) -> Result<Option<Vec<Owned>>, Broken> {
        let position = self.position();
        // `check_front` has already rejected batches that end before this position.
        let is_at_front = self.batches.front().is_some_and(|batch| batch.from <= position);
        let batch = if is_at_front { self.batches.pop_front() } else { None };
        let batch =
            batch.ok_or(Broken::Rule("a message was sent without the descriptors that it announces"))?;
        match batch.descriptors.len() {
            _ if batch.is_cut => Ok(None),
            length if length == count => Ok(Some(batch.descriptors)),
            _ => Err("a message was sent with fewer or more descriptors than it announces".into()),
        }
    }

    /// Discards everything, after end of file or a broken rule: an incomplete message will never be completed.
    pub(super) fn give_up(&mut self) {
        self.buffer = Vec::new();
        self.received = 0;
        self.batches.clear();
        self.senders.clear();
    }

    /// Removes a message of `length` bytes from the front. Returns the buffer itself if that wastes little memory, and
    /// a copy otherwise.
    fn take_front(&mut self, length: usize) -> Vec<u8> {
        self.last_length = length.min(LARGE);
        if length == self.buffer.len() && length >= self.buffer.capacity() / 2 {
            self.start += length as u64;
            return std::mem::take(&mut self.buffer);
        }
        let front = self.unread()[..length].to_vec();
        self.received += length;
        // Moving only now and then keeps many small messages from being moved over and over.
        if self.received == self.buffer.len() || self.received > MAX_KEPT.max(self.buffer.len() / 2) {
            self.forget_received();
        }
        front
    }

    fn move_to_front(&mut self) {
        self.start += self.received as u64;
        self.buffer.drain(..self.received);
        self.received = 0;
    }

    fn forget_received(&mut self) {
        self.move_to_front();
        // A large message must not leave a large buffer behind.
        self.buffer.shrink_to(MAX_KEPT);
        self.spare_empty_buffer();
    }

    /// Gives the buffer's memory to the next read of this thread, if the buffer is empty.
    fn spare_empty_buffer(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() <= MAX_KEPT {
            let buffer = std::mem::take(&mut self.buffer);
            let _ = SPARE.try_with(|spare| spare.set(buffer));
        }
    }
}

const UNANNOUNCED: Broken = Broken::Rule("file descriptors were sent that belong to no message");

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::channel::wire::Table;

    fn descriptors(count: usize) -> Vec<Owned> {
        (0..count)
            .map(|_| {
                std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").expect("it is there")).into()
            })
            .collect()
    }

    fn frame(number: u64, names: &[&str], bytes: &[u8]) -> Vec<u8> {
        let (mut frame, mut table) = (Vec::new(), Table::default());
        names.iter().for_each(|name| table.push(name));
        let envelope = Envelope { number, ..Envelope::default() };
        wire::write(&mut frame, envelope, &table, names.iter().map(|_| ()), b"", bytes);
        frame
    }

    /// Feeds bytes and descriptors to the buffer, as one call of recvmsg would.
    fn feed(reader: &mut RecvBuffer, bytes: &[u8], count: usize, is_cut: bool) {
        let read = reader.read(false, |buffer, max| {
            assert!(bytes.len() <= max);
            buffer.reserve(max);
            buffer.extend(bytes);
            let descriptors = descriptors(count);
            Ok::<_, Infallible>(Some(Received { length: bytes.len(), descriptors, is_cut, sender: None }))
        });
        assert_eq!(read, Ok(Some(bytes.len())));
    }

    fn next(reader: &mut RecvBuffer) -> Result<Option<(usize, Option<usize>)>, Broken> {
        let message = reader.next_message()?;
        Ok(message.map(|message| (message.content.names().len(), message.objects.ok().map(|all| all.len()))))
    }

    #[test]
    fn end_of_large_message_moves_no_bytes() {
        let frame = frame(0, &[], &vec![7; 1 << 20]);
        let mut reader = RecvBuffer::default();
        let (most, end) = frame.split_at(frame.len() - 100);
        // The header says how much is missing.
        feed(&mut reader, &most[..MIN_READ], 0, false);
        feed(&mut reader, &most[MIN_READ..], 0, false);
        let (place, room) = (reader.buffer.as_ptr(), reader.buffer.capacity());
        for byte in end {
            assert_eq!((reader.buffer.as_ptr(), reader.buffer.capacity()), (place, room));
            feed(&mut reader, &[*byte], 0, false);
        }
        assert_eq!(reader.next_message().map(|message| message.is_some()), Ok(true));
    }

    #[test]
    fn idle_buffers_hold_no_memory_and_reads_share_it() {
        let mut readers: [RecvBuffer; 3] = Default::default();
        let mut first = None;
        for round in 0..3 {
            for reader in &mut readers {
                assert_eq!(reader.buffer.capacity(), 0);
                // A small message, and one that finds nothing.
                feed(reader, &frame(round, &[], b"small"), 0, false);
                let place = reader.buffer.as_ptr();
                assert_eq!(*first.get_or_insert(place), place, "round {round}");
                assert_eq!(next(reader), Ok(Some((0, Some(0)))));
                assert_eq!(reader.read(false, |_, _| Ok::<_, Infallible>(None)), Ok(None));
            }
        }
    }

    #[test]
    fn descriptors_are_returned_with_their_message() {
        let mut reader = RecvBuffer::default();
        feed(&mut reader, &[frame(0, &[], b"one"), frame(1, &["a"], b"two")].concat(), 1, false);
        let large = frame(2, &["a", "b"], &[7; 6000]);
        feed(&mut reader, &large[..3000], 2, false);
        feed(&mut reader, &large[3000..], 0, false);
        assert_eq!(next(&mut reader), Ok(Some((0, Some(0)))));
        assert_eq!(next(&mut reader), Ok(Some((1, Some(1)))));
        assert_eq!(next(&mut reader), Ok(Some((2, Some(2)))));
        assert_eq!(next(&mut reader), Ok(None));
        assert!(reader.batches.is_empty() && reader.unread().is_empty());
    }

    /// Returns the number of bytes that the next read asks for.
    fn next_read_size(reader: &mut RecvBuffer) -> usize {
        let mut next_read_size = 0;
        let read = reader.read(false, |_, max| {
            next_read_size = max;
            Ok::<_, Infallible>(None)
        });
        assert_eq!(read, Ok(None));
        next_read_size
    }

    #[test]
    fn read_size_is_exact_for_large_messages_only() {
        let of = |length: usize| {
            let empty = frame(0, &[], b"").len();
            frame(0, &[], &vec![7; length - empty])
        };
        for (length, is_large) in [(LARGE - 1, false), (LARGE, true), (LARGE + 1, true)] {
            let mut reader = RecvBuffer::default();
            let message = of(length);
            let (first_part, last) = message.split_at(length - 100);
            for part in first_part.chunks(MIN_READ) {
                feed(&mut reader, part, 0, false);
            }
            assert_eq!(next_read_size(&mut reader), if is_large { 100 } else { MIN_READ }, "{length}");
            feed(&mut reader, last, 0, false);
            // The message is complete, and another may follow it.
            assert_eq!(next_read_size(&mut reader), MIN_READ, "{length}");
            assert_eq!(next(&mut reader), Ok(Some((0, Some(0)))));
        }
    }

    #[test]
    fn small_messages_are_moved_only_when_half_is_received() {
        const LENGTH: usize = 1024;
        let empty = frame(0, &[], b"").len();
        let mut reader = RecvBuffer::default();
        for number in 0..200 {
            feed(&mut reader, &frame(number, &[], &vec![7; LENGTH - empty]), 0, false);
        }
        // Until half of the buffer is received, nothing is moved.
        for received in 1..=100 {
            assert_eq!(next(&mut reader), Ok(Some((0, Some(0)))));
            assert_eq!((reader.received, reader.buffer.len()), (received * LENGTH, 200 * LENGTH));
        }
        assert_eq!(next(&mut reader), Ok(Some((0, Some(0)))));
        assert_eq!((reader.received, reader.buffer.len()), (0, 99 * LENGTH));
        while let Ok(Some(_)) = next(&mut reader) {}
        assert_eq!((reader.received, reader.buffer.len(), reader.next), (0, 0, Some(200)));
        assert!(reader.buffer.capacity() <= MAX_KEPT);
    }

    #[test]
    fn received_messages_waste_no_capacity() {
        let mut reader = RecvBuffer { buffer: Vec::with_capacity(1 << 20), ..RecvBuffer::default() };
        feed(&mut reader, &[frame(0, &[], b"one"), frame(1, &[], b"two")].concat(), 0, false);
        for (number, bytes) in [b"one", b"two", b"six"].iter().enumerate() {
            if number == 2 {
                feed(&mut reader, &frame(2, &[], *bytes), 0, false);
            }
            let message = reader.next_message().expect("it is right").expect("it is message");
            let content = message.content.into_bytes();
            assert!(content == *bytes && content.capacity() < 1000, "{}", content.capacity());
        }
        assert!(reader.buffer.is_empty() && reader.received == 0);
        assert!(reader.buffer.capacity() <= MAX_KEPT);
    }

    #[test]
    fn large_message_is_read_alone_and_positions_stay_right() {
        let mut reader = RecvBuffer::default();
        let large = frame(1, &["a"], &[7; 100_000]);
        feed(&mut reader, &[frame(0, &[], b"one"), large[..1000].to_vec()].concat(), 1, false);
        assert_eq!(next(&mut reader), Ok(Some((0, Some(0)))));
        assert_eq!(next(&mut reader), Ok(None));
        assert_eq!(reader.read_size(), large.len() - 1000);
        feed(&mut reader, &large[1000..60_000], 0, false);
        assert_eq!(next(&mut reader), Ok(None));
        assert_eq!(reader.read_size(), large.len() - 60_000);
        feed(&mut reader, &large[60_000..], 0, false);
        let message = reader.next_message().expect("it is valid").expect("it is message");
        assert_eq!(
            (message.content.bytes(), message.objects.ok().map(|all| all.len())),
            (&[7; 100_000][..], Some(1))
        );
        assert_eq!(reader.buffer.capacity(), 0);
        // The next message may be as large, but no memory is reserved for that.
        assert_eq!(reader.read_size(), LARGE);
        feed(&mut reader, &frame(2, &["b"], b"two"), 1, false);
        assert_eq!(next(&mut reader), Ok(Some((1, Some(1)))));
        assert_eq!(reader.read_size(), MIN_READ);
        assert_eq!(
            reader.start,
            (frame(0, &[], b"one").len() + large.len() + frame(2, &["b"], b"two").len()) as u64
        );
    }

    #[test]
    fn dropped_descriptors_fail_their_own_message_only() {
        let mut reader = RecvBuffer::default();
        feed(&mut reader, &frame(0, &["a", "b"], b""), 1, true);
        feed(&mut reader, &frame(1, &["a"], b""), 0, true);
        feed(&mut reader, &frame(2, &["a"], b""), 1, false);
        assert_eq!(next(&mut reader), Ok(Some((2, None))));
        assert_eq!(next(&mut reader), Ok(Some((1, None))));
        assert_eq!(next(&mut reader), Ok(Some((1, Some(1)))));
    }

    #[test]
    fn descriptors_at_a_wrong_position_break_the_protocol() {
        let expect_error = |reader: &mut RecvBuffer, part: &str| {
            let Err(Broken::Rule(rule)) = next(reader) else { panic!("{part}") };
            assert!(rule.contains(part), "{rule}");
        };
        // Too few, too many, and no descriptors.
        for count in [0, 1, 3] {
            let mut reader = RecvBuffer::default();
            feed(&mut reader, &frame(0, &["a", "b"], b""), count, false);
            expect_error(&mut reader, "announces");
        }
        // With a message without objects: the last one, and one before another message.
        let mut reader = RecvBuffer::default();
        feed(&mut reader, &frame(0, &[], b""), 1, false);
        expect_error(&mut reader, "belong to no message");
        let mut reader = RecvBuffer::default();
        feed(&mut reader, &frame(0, &[], b""), 1, false);
        feed(&mut reader, &frame(1, &["a"], b""), 1, false);
        expect_error(&mut reader, "belong to no message");
        // In the middle of a message.
        let large = frame(0, &["a"], &[7; 3000]);
        let mut reader = RecvBuffer::default();
        feed(&mut reader, &large[..1000], 0, false);
        feed(&mut reader, &large[1000..], 1, false);
        expect_error(&mut reader, "without the descriptors");
        // Repeatedly in the middle of one message: the second batch is rejected.
        let mut reader = RecvBuffer::default();
        feed(&mut reader, &large[..1000], 1, false);
        assert_eq!(next(&mut reader), Ok(None));
        feed(&mut reader, &large[1000..1001], 1, false);
        expect_error(&mut reader, "belong to no message");
    }
}
