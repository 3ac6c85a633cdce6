//! What was read and not received yet: bytes, and which descriptors came with which of them.
//!
//! The kernel gives the descriptors of one sending with its first byte, and reads no further than the end of that
//! sending at once. So it is known of each batch between which two places of the stream that byte was. A frame with
//! objects is sent in a piece that begins with the frame and has its batch; a batch that is anywhere else was sent by
//! somebody who breaks the rules.

use std::collections::VecDeque;

use crate::channel::wire::{self, Broken, Content, Header};
use crate::sys::io::Owned;
use crate::sys::unix_socket::{MAX_DESCRIPTORS, Received};

/// How many bytes are read at once where it isn't known how many lack: what most messages need.
const LEAST_READ: usize = 4 * 1024;
/// From how many bytes on a frame is read into memory of its own, which becomes the message's.
const LARGE: usize = 32 * 1024;
/// How large a buffer is kept.
const MOST_KEPT: usize = 64 * 1024;
/// How many messages with objects are kept unreceived.
const MOST_BATCHES: usize = 64;

/// What one thread at a time needs to read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// What was read.
    buffer: Vec<u8>,
    /// How many bytes of it have been received.
    received: usize,
    /// How many bytes the last message had, up to what isn't large: the next one often has as many.
    usual: usize,
    /// Where in the stream the buffer begins.
    start: u64,
    /// The number of the next message.
    next: u64,
    batches: VecDeque<Batch>,
}

/// Descriptors that came with one sending.
#[derive(Debug)]
struct Batch {
    /// Its first byte is at this place of the stream or behind it,
    from: u64,
    /// and in front of this one.
    to: u64,
    descriptors: Vec<Owned>,
    /// Whether this process had no room for all of them.
    is_cut: bool,
}

/// A message as it was read.
pub(super) struct Whole {
    pub(super) content: Content,
    /// As many as names; `None` if there was no room for all of them, and those that came are closed.
    pub(super) descriptors: Option<Vec<Owned>>,
}

impl Reader {
    /// What was read and not received.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.received..]
    }

    fn place(&self) -> u64 {
        self.start + self.received as u64
    }

    /// How much to read: what the message at the front lacks, if it is known. Of a large one it is no more than that.
    fn wanted(&mut self) -> usize {
        let at_least = self.usual.max(LEAST_READ);
        let Ok(Some(header)) = Header::parse::<()>(self.unread()) else { return at_least };
        let lacking = header.frame_length().saturating_sub(self.unread().len());
        if header.frame_length() < LARGE || lacking == 0 {
            return lacking.max(at_least);
        }
        self.forget_received();
        self.buffer.reserve_exact(lacking);
        lacking
    }

    /// Whether enough is kept for whoever receives.
    pub(super) fn is_full(&self) -> bool {
        let descriptors: usize = self.batches.iter().map(|batch| batch.descriptors.len()).sum();
        self.unread().len() >= wire::LONGEST_FRAME
            || descriptors >= MAX_DESCRIPTORS
            || self.batches.len() >= MOST_BATCHES
    }

    /// Reads at most so many bytes to the end of the buffer.
    pub(super) fn read<E>(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>, usize) -> Result<Option<Received>, E>,
    ) -> Result<Option<usize>, E> {
        let wanted = self.wanted();
        let from = self.start + self.buffer.len() as u64;
        let came = read(&mut self.buffer, wanted)?;
        let Some(Received { length, descriptors, is_cut }) = came else { return Ok(None) };
        if is_cut || !descriptors.is_empty() {
            self.batches.push_back(Batch { from, to: from + length as u64, descriptors, is_cut });
        }
        Ok(Some(length))
    }

    /// The message at the front of what was read, if all of it is there.
    pub(super) fn next_message(&mut self) -> Result<Option<Whole>, Broken> {
        self.check_front()?;
        let unread = self.unread();
        if unread.is_empty() {
            return Ok(None);
        }
        let header = Header::parse::<()>(unread)?;
        let frame = header.as_ref().and_then(|header| unread.get(..header.frame_length()));
        let (Some(header), Some(frame)) = (header, frame) else {
            // More than this message's own can't have come.
            return if self.batches.len() > 1 { Err(UNANNOUNCED) } else { Ok(None) };
        };
        if header.number != self.next {
            return Err("a message is missing or out of order");
        }
        let count = wire::parse::<()>(&header, frame)?.len();
        let descriptors = if count > 0 { self.take_batch(count)? } else { Some(Vec::new()) };
        self.next += 1;
        let content = Content::new::<()>(&header, self.take_front(header.frame_length()));
        // What came in the middle of a message belongs to none.
        self.check_front()?;
        Ok(Some(Whole { content, descriptors }))
    }

    /// What came before the place from which on everything is unread came with no message.
    fn check_front(&self) -> Result<(), Broken> {
        let is_behind = self.batches.front().is_some_and(|batch| batch.to <= self.place());
        if is_behind { Err(UNANNOUNCED) } else { Ok(()) }
    }

    /// The descriptors of the message at the front.
    fn take_batch(&mut self, count: usize) -> Result<Option<Vec<Owned>>, Broken> {
        let place = self.place();
        // One that ends before this place was found already.
        let is_there = self.batches.front().is_some_and(|batch| batch.from <= place);
        let batch = if is_there { self.batches.pop_front() } else { None };
        let batch = batch.ok_or("a message came without the descriptors that it announces")?;
        match batch.descriptors.len() {
            _ if batch.is_cut => Ok(None),
            came if came == count => Ok(Some(batch.descriptors)),
            _ => Err("a message came with fewer or more descriptors than it announces"),
        }
    }

    /// Nothing more comes, or what came broke the rules: what is half there will never be whole.
    pub(super) fn give_up(&mut self) {
        self.buffer = Vec::new();
        self.received = 0;
        self.batches.clear();
    }

    /// So many bytes from the front, which are a message: as they were read, if that leaves no large part of the buffer
    /// unused, or else as a copy.
    fn take_front(&mut self, length: usize) -> Vec<u8> {
        self.usual = length.min(LARGE);
        if length == self.buffer.len() && length >= self.buffer.capacity() / 2 {
            self.start += length as u64;
            return std::mem::take(&mut self.buffer);
        }
        let front = self.unread()[..length].to_vec();
        self.received += length;
        // Now and then, so that many small messages aren't moved over and over.
        if self.received == self.buffer.len() || self.received > MOST_KEPT.max(self.buffer.len() / 2) {
            self.forget_received();
        }
        front
    }

    fn forget_received(&mut self) {
        self.start += self.received as u64;
        self.buffer.drain(..self.received);
        self.received = 0;
        // A large message leaves no large buffer behind.
        self.buffer.shrink_to(MOST_KEPT);
    }
}

const UNANNOUNCED: Broken = "descriptors came that no message announces";

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
        wire::write(&mut frame, number, &table, names.iter().map(|_| ()), bytes);
        frame
    }

    /// As one call of recvmsg brings it.
    fn comes(reader: &mut Reader, bytes: &[u8], count: usize, is_cut: bool) {
        let read = reader.read(|buffer, most| {
            assert!(bytes.len() <= most);
            buffer.extend(bytes);
            let descriptors = descriptors(count);
            Ok::<_, Infallible>(Some(Received { length: bytes.len(), descriptors, is_cut }))
        });
        assert_eq!(read, Ok(Some(bytes.len())));
    }

    fn next(reader: &mut Reader) -> Result<Option<(usize, Option<usize>)>, Broken> {
        let whole = reader.next_message()?;
        Ok(whole.map(|whole| (whole.content.names().len(), whole.descriptors.map(|all| all.len()))))
    }

    #[test]
    fn messages_come_with_their_descriptors() {
        let mut reader = Reader::default();
        comes(&mut reader, &[frame(0, &[], b"one"), frame(1, &["a"], b"two")].concat(), 1, false);
        let large = frame(2, &["a", "b"], &[7; 6000]);
        comes(&mut reader, &large[..3000], 2, false);
        comes(&mut reader, &large[3000..], 0, false);
        assert_eq!(next(&mut reader), Ok(Some((0, Some(0)))));
        assert_eq!(next(&mut reader), Ok(Some((1, Some(1)))));
        assert_eq!(next(&mut reader), Ok(Some((2, Some(2)))));
        assert_eq!(next(&mut reader), Ok(None));
        assert!(reader.batches.is_empty() && reader.unread().is_empty());
    }

    /// How much is asked for when something is read next.
    fn asked(reader: &mut Reader) -> usize {
        let mut asked = 0;
        let read = reader.read(|_, most| {
            asked = most;
            Ok::<_, Infallible>(None)
        });
        assert_eq!(read, Ok(None));
        asked
    }

    #[test]
    fn of_a_large_message_alone_only_what_it_lacks_is_asked_for() {
        let of = |length: usize| {
            let empty = frame(0, &[], b"").len();
            frame(0, &[], &vec![7; length - empty])
        };
        for (length, is_large) in [(LARGE - 1, false), (LARGE, true), (LARGE + 1, true)] {
            let mut reader = Reader::default();
            let whole = of(length);
            let (most, last) = whole.split_at(length - 100);
            for part in most.chunks(LEAST_READ) {
                comes(&mut reader, part, 0, false);
            }
            assert_eq!(asked(&mut reader), if is_large { 100 } else { LEAST_READ }, "{length}");
            comes(&mut reader, last, 0, false);
            // It is there, and something may come behind it.
            assert_eq!(asked(&mut reader), LEAST_READ, "{length}");
            assert_eq!(next(&mut reader), Ok(Some((0, Some(0)))));
        }
    }

    #[test]
    fn many_small_messages_are_moved_now_and_then() {
        const LENGTH: usize = 1024;
        let empty = frame(0, &[], b"").len();
        let mut reader = Reader::default();
        for number in 0..200 {
            comes(&mut reader, &frame(number, &[], &vec![7; LENGTH - empty]), 0, false);
        }
        // Up to the half, they stay where they are.
        for received in 1..=100 {
            assert_eq!(next(&mut reader), Ok(Some((0, Some(0)))));
            assert_eq!((reader.received, reader.buffer.len()), (received * LENGTH, 200 * LENGTH));
        }
        assert_eq!(next(&mut reader), Ok(Some((0, Some(0)))));
        assert_eq!((reader.received, reader.buffer.len()), (0, 99 * LENGTH));
        while let Ok(Some(_)) = next(&mut reader) {}
        assert_eq!((reader.received, reader.buffer.len(), reader.next), (0, 0, 200));
        assert!(reader.buffer.capacity() <= MOST_KEPT);
    }

    #[test]
    fn what_was_received_leaves_no_room_unused() {
        let mut reader = Reader { buffer: Vec::with_capacity(1 << 20), ..Reader::default() };
        comes(&mut reader, &[frame(0, &[], b"one"), frame(1, &[], b"two")].concat(), 0, false);
        for (number, bytes) in [b"one", b"two", b"six"].iter().enumerate() {
            if number == 2 {
                comes(&mut reader, &frame(2, &[], *bytes), 0, false);
            }
            let whole = reader.next_message().expect("it is right").expect("it is whole");
            let came = whole.content.into_bytes();
            assert!(came == *bytes && came.capacity() < 1000, "{}", came.capacity());
        }
        assert!(reader.buffer.is_empty() && reader.received == 0);
        assert!(reader.buffer.capacity() <= MOST_KEPT);
    }

    #[test]
    fn a_large_message_is_read_alone_and_what_follows_has_its_place() {
        let mut reader = Reader::default();
        let large = frame(1, &["a"], &[7; 100_000]);
        comes(&mut reader, &[frame(0, &[], b"one"), large[..1000].to_vec()].concat(), 1, false);
        assert_eq!(next(&mut reader), Ok(Some((0, Some(0)))));
        assert_eq!(next(&mut reader), Ok(None));
        assert_eq!(reader.wanted(), large.len() - 1000);
        comes(&mut reader, &large[1000..60_000], 0, false);
        assert_eq!(next(&mut reader), Ok(None));
        assert_eq!(reader.wanted(), large.len() - 60_000);
        comes(&mut reader, &large[60_000..], 0, false);
        let whole = reader.next_message().expect("it is valid").expect("it is whole");
        assert_eq!(
            (whole.content.bytes(), whole.descriptors.map(|all| all.len())),
            (&[7; 100_000][..], Some(1))
        );
        assert_eq!(reader.buffer.capacity(), 0);
        // The next one may be as large, but for that nothing is reserved.
        assert_eq!(reader.wanted(), LARGE);
        comes(&mut reader, &frame(2, &["b"], b"two"), 1, false);
        assert_eq!(next(&mut reader), Ok(Some((1, Some(1)))));
        assert_eq!(reader.wanted(), LEAST_READ);
        assert_eq!(
            reader.start,
            (frame(0, &[], b"one").len() + large.len() + frame(2, &["b"], b"two").len()) as u64
        );
    }

    #[test]
    fn a_cut_batch_costs_its_message_alone() {
        let mut reader = Reader::default();
        comes(&mut reader, &frame(0, &["a", "b"], b""), 1, true);
        comes(&mut reader, &frame(1, &["a"], b""), 0, true);
        comes(&mut reader, &frame(2, &["a"], b""), 1, false);
        assert_eq!(next(&mut reader), Ok(Some((2, None))));
        assert_eq!(next(&mut reader), Ok(Some((1, None))));
        assert_eq!(next(&mut reader), Ok(Some((1, Some(1)))));
    }

    #[test]
    fn descriptors_in_a_wrong_place_break_the_rules() {
        let part = |reader: &mut Reader, part: &str| {
            let why = next(reader).expect_err(part);
            assert!(why.contains(part), "{why}");
        };
        // Fewer, more, none.
        for count in [0, 1, 3] {
            let mut reader = Reader::default();
            comes(&mut reader, &frame(0, &["a", "b"], b""), count, false);
            part(&mut reader, "announces");
        }
        // With a message that has none, alone and in front of another.
        let mut reader = Reader::default();
        comes(&mut reader, &frame(0, &[], b""), 1, false);
        part(&mut reader, "no message announces");
        let mut reader = Reader::default();
        comes(&mut reader, &frame(0, &[], b""), 1, false);
        comes(&mut reader, &frame(1, &["a"], b""), 1, false);
        part(&mut reader, "no message announces");
        // In the middle of a message.
        let large = frame(0, &["a"], &[7; 3000]);
        let mut reader = Reader::default();
        comes(&mut reader, &large[..1000], 0, false);
        comes(&mut reader, &large[1000..], 1, false);
        part(&mut reader, "without the descriptors");
        // Again and again in the middle of one: no more than one batch is kept.
        let mut reader = Reader::default();
        comes(&mut reader, &large[..1000], 1, false);
        assert_eq!(next(&mut reader), Ok(None));
        comes(&mut reader, &large[1000..1001], 1, false);
        part(&mut reader, "no message announces");
    }
}
