//! The receive buffer: the messages that were read and not received yet, with the descriptors that arrived with them.
//!
//! A frame is one packet or more. The first packet of a frame brings all of its descriptors, and no packet contains parts
//! of two frames. So the kernel says which descriptors belong to a message, and where each message ends.
//!
//! The memory into which a packet is received becomes the message's. A long message is received directly into memory of the
//! expected length, and a short one into that of a message that this thread has dropped. Other bytes are copied once,
//! from memory that all channels of a thread use in turn. So an idle channel holds none.

use std::cell::Cell;
use std::collections::VecDeque;

use crate::channel::Limits;
use crate::channel::message::Arrived;
use crate::channel::wire::{self, Broken, Content, Envelope, FrameType, Header};
use crate::sys::io::Owned;
use crate::sys::unix_socket::{MAX_DESCRIPTORS, MAX_PACKET, Received, Sender};

/// The length up to which a message isn't expected, but received into any memory of at most this size.
const SHORT: usize = 4 * 1024;
/// The largest memory that is reserved before it is known how long a message is.
const MAX_EXPECTED: usize = 1024 * 1024;
/// The maximum number of messages with descriptors that are kept for the next receive.
const MAX_WITH_DESCRIPTORS: usize = 64;
/// The memory that a message takes beside its frame, for the limit of what is kept.
const OVERHEAD: usize = size_of::<Frame>();

// Memory for the next read of this thread, on any channel.
thread_local! {
    /// Room for the part of a packet that is longer than expected.
    static PACKET: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// Memory that was reserved for a long message, which hasn't arrived.
    static MESSAGE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The bytes and handles that were read from the socket and not received yet.
///
/// The fields that each message uses come first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct RecvBuffer {
    /// The number of times that everything was discarded.
    discards: u32,
    /// The message whose end hasn't arrived. Most messages arrive in one packet.
    partial: Option<Box<Partial>>,
    /// The rule that the packet behind all complete messages broke.
    broken: Option<Broken>,
    /// The length of the last message, if it was long. The next message often has the same length.
    expected: usize,
    /// The number of the next message. `None` if this process doesn't know how many were received before.
    next: Option<u64>,
    /// How much the peer may send.
    pub(super) limits: Limits,
    /// The first complete message. Most of the time there is no other one, so the list needs no memory.
    first: Option<Frame>,
    /// The other complete messages, in their order.
    others: VecDeque<Frame>,
    /// How much of this is kept.
    kept: Kept,
    /// The sender of the last greeting that was received, if it is known.
    last_sender: Option<Box<Sender>>,
}

/// A complete frame, of which only the header is checked. It isn't kept beside the bytes, so that a frame takes one line of the
/// processor's caches.
#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    attached: Attached,
}

/// The packets of a frame that have arrived. They aren't empty.
#[derive(Debug)]
struct Partial {
    /// The frame's header, once all of it has arrived.
    header: Option<Header>,
    bytes: Vec<u8>,
    attached: Attached,
}

/// The handles and the credentials that the kernel has sent with a frame.
#[derive(Debug, Default)]
struct Attached {
    descriptors: Vec<Owned>,
    /// Whether the kernel dropped some descriptors because this process can't open more.
    is_cut: bool,
    /// The sender of a greeting, if it is known.
    sender: Option<Box<Sender>>,
}

impl Frame {
    fn header(&self) -> Option<Header> {
        Header::parse::<()>(&self.bytes).ok().flatten()
    }
}

impl Attached {
    /// Returns the number of descriptors that it keeps open.
    fn open(&self) -> usize {
        self.descriptors.len() + usize::from(self.sender.is_some())
    }
}

/// How much memory and how many descriptors the complete messages take.
#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    descriptors: usize,
    with_descriptors: usize,
}

/// The memory for one read. A reader that waits has it without holding a lock.
#[derive(Debug)]
pub(super) struct Room {
    /// The part of the message that has arrived, and memory for the rest if its length is known or expected.
    pub(super) message: Vec<u8>,
    /// The number of bytes to receive directly into the message's memory.
    pub(super) lacking: usize,
    /// The length of what had arrived before.
    before: usize,
    /// Room for the part of a packet that is longer.
    pub(super) packet: Vec<u8>,
    /// The number of discards when the read began.
    discards: u32,
}

/// A message's descriptors are lost, because the kernel found no room for all of them in this process. It is an `Err` of
/// [`Arrived`]; the others are closed.
#[derive(Debug)]
pub(crate) struct Lost;

impl Default for RecvBuffer {
    fn default() -> Self {
        Self {
            first: None,
            others: VecDeque::new(),
            partial: None,
            broken: None,
            kept: Kept::default(),
            expected: 0,
            next: Some(0),
            last_sender: None,
            discards: 0,
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
        !self.has_message() && !self.has_partial()
    }

    /// Returns whether a part of a message has arrived, and not its end.
    pub(super) fn has_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Returns whether [`next_message`](Self::next_message) returns a message or an error now.
    pub(super) fn has_message(&self) -> bool {
        self.first.is_some() || self.broken.is_some()
    }

    /// Returns the type of the next message, if one is complete.
    pub(super) fn next_type(&self) -> Option<FrameType> {
        self.first.as_ref().and_then(Frame::header).map(|header| header.envelope.frame_type)
    }

    /// Returns whether the buffer holds enough for the next receives, so that a send should not read more.
    pub(super) fn is_full(&self) -> bool {
        let partial = self.partial.as_ref();
        let (bytes, open) = partial.map_or((0, 0), |partial| (partial.bytes.len(), partial.attached.open()));
        self.broken.is_some()
            || self.kept.bytes + bytes >= wire::MAX_FRAME
            || self.kept.descriptors + open >= MAX_DESCRIPTORS
            || self.kept.with_descriptors >= MAX_WITH_DESCRIPTORS
    }

    /// Checks that no more messages wait in memory than allowed: these, and `kept` others.
    pub(super) fn check_queued(&self, kept: usize) -> Result<(), Broken> {
        let frames = self.first.iter().chain(&self.others);
        self.limits.check_queued_frames(kept, frames.filter_map(Frame::header))
    }

    /// Begins a read. Until the room is [returned](Self::end_read), no other read may begin.
    #[inline(always)]
    pub(super) fn begin_read(&mut self) -> Room {
        // A thread that is exiting has none any more.
        let mut packet = PACKET.try_with(Cell::take).unwrap_or_default();
        packet.reserve_exact(MAX_PACKET);
        let (message, before, lacking) = match &mut self.partial {
            Some(partial) => {
                let (message, length) =
                    (std::mem::take(&mut partial.bytes), partial.header.map(|header| header.frame_length()));
                let before = message.len();
                (message, before, length.map_or(0, |length| length.saturating_sub(before)))
            }
            None if self.expected > SHORT => {
                let spare = if self.expected <= wire::MAX_SPARE {
                    wire::spare_frame()
                } else {
                    MESSAGE.try_with(Cell::take).unwrap_or_default()
                };
                let fits = spare.capacity() >= self.expected && spare.capacity() / 2 <= self.expected;
                (if fits { spare } else { Vec::with_capacity(self.expected) }, 0, self.expected)
            }
            None => {
                // A short message must not take the memory of a long one.
                let spare = Some(wire::spare_frame()).filter(|spare| spare.capacity() <= SHORT);
                let spare = spare.unwrap_or_default();
                let lacking = spare.capacity();
                (spare, 0, lacking)
            }
        };
        Room { message, lacking, before, packet, discards: self.discards }
    }

    /// Ends a read, which has received this packet.
    pub(super) fn end_read(&mut self, room: Room, received: Option<Received>) {
        let Room { message, before, packet, discards, .. } = room;
        keep_packet(packet);
        let Some(received) = received else {
            if before == 0 && message.capacity() <= wire::MAX_SPARE {
                wire::recycle_frame(message);
            } else if before == 0 {
                let _ = MESSAGE.try_with(|spare| spare.set(message));
            } else if let (true, Some(partial)) = (discards == self.discards, &mut self.partial) {
                partial.bytes = message;
            }
            return;
        };
        // Bytes that arrived after a discard are discarded too.
        if discards == self.discards {
            if let Err(broken) = self.add_packet(message, before, received) {
                self.broken = Some(broken);
                self.partial = None;
            }
        }
    }

    /// Ends a read that began when the buffer was empty. Returns the message directly if it is complete, has no objects, and is
    /// of a type for which `is_wanted` returns true.
    #[inline(always)]
    pub(super) fn end_read_of_first(
        &mut self,
        room: Room,
        received: Received,
        is_wanted: impl Fn(FrameType) -> bool,
    ) -> Option<Arrived> {
        let is_bytes_alone = room.discards == self.discards
            && room.before == 0
            && self.is_empty()
            && received.is_of_bytes_alone();
        if is_bytes_alone {
            let envelope = self.next_of_bytes_alone(&room.message);
            if let Some(envelope) = envelope.filter(|envelope| is_wanted(envelope.frame_type)) {
                keep_packet(room.packet);
                let frame = self.fitting(room.message);
                return Some(self.arrive_alone(envelope, frame));
            }
        }
        self.end_read(room, Some(received));
        None
    }

    /// Returns the envelope of a frame without objects, if it is complete and the next one to receive.
    #[inline]
    fn next_of_bytes_alone(&self, frame: &[u8]) -> Option<Envelope> {
        let envelope = Header::of_bytes_alone(frame)?;
        let is_next = self.next.is_none_or(|next| next == envelope.number);
        (is_next && self.limits.allow_bytes(frame.len() - Header::LENGTH)).then_some(envelope)
    }

    /// Receives a frame without objects.
    #[inline]
    fn arrive_alone(&mut self, envelope: Envelope, frame: Vec<u8>) -> Arrived {
        self.next = Some(envelope.number.wrapping_add(1));
        let content = Content::of_bytes_alone(frame);
        Arrived { envelope, content, objects: Ok(Vec::new()), limits: self.limits }
    }

    /// Notes the length of a frame for the next read, and returns it in memory of its size.
    #[inline]
    fn fitting(&mut self, frame: Vec<u8>) -> Vec<u8> {
        if frame.capacity() <= SHORT {
            self.expected = 0;
            return frame;
        }
        self.expected = if frame.len() > SHORT { frame.len().min(MAX_EXPECTED) } else { 0 };
        // Memory that was reserved for a longer message isn't given away with this one.
        if frame.capacity() / 2 > frame.len() {
            return frame.as_slice().to_vec();
        }
        frame
    }

    /// Adds a packet, whose bytes begin at `before` in the message.
    fn add_packet(&mut self, message: Vec<u8>, before: usize, received: Received) -> Result<(), Broken> {
        let Received { length, is_truncated, descriptors, is_cut, sender } = received;
        if is_truncated || length > MAX_PACKET {
            return Err("a packet is longer than 200 KiB".into());
        }
        if length == 0 {
            return Err("a packet is empty".into());
        }
        let mut partial = match self.partial.take() {
            None => {
                if descriptors.is_empty() && !is_cut && Header::of_bytes_alone(&message).is_some() {
                    self.complete(message, Attached::default());
                    return Ok(());
                }
                let header = Header::parse::<()>(&message)?;
                // A greeting comes in one packet, so its sender is known.
                let sender = sender.filter(|_| header.is_some_and(|header| header.is_greeting()));
                let attached = Attached { descriptors, is_cut, sender: sender.map(Box::new) };
                match header {
                    Some(header) if header.frame_length() == message.len() => {
                        self.complete(message, attached);
                        return Ok(());
                    }
                    _ => Box::new(Partial { header, bytes: message, attached }),
                }
            }
            Some(_) if is_cut || !descriptors.is_empty() => return Err(UNANNOUNCED),
            Some(mut partial) => {
                partial.bytes = message;
                partial.attached.sender = None;
                if partial.header.is_none() {
                    partial.header = Header::parse::<()>(&partial.bytes)?;
                }
                partial
            }
        };
        debug_assert_eq!(partial.bytes.len(), before + length);
        if let Some(header) = partial.header {
            match header.frame_length().checked_sub(partial.bytes.len()) {
                None => return Err("a message is shorter or longer than its header says".into()),
                Some(0) => {
                    let Partial { bytes, attached, .. } = *partial;
                    self.complete(bytes, attached);
                    return Ok(());
                }
                Some(lacking) => {
                    // Before memory is reserved for it.
                    self.limits.check(&header)?;
                    partial.bytes.reserve_exact(lacking);
                }
            }
        }
        self.partial = Some(partial);
        Ok(())
    }

    /// Adds a complete message.
    fn complete(&mut self, bytes: Vec<u8>, attached: Attached) {
        let bytes = self.fitting(bytes);
        let frame = Frame { bytes, attached };
        self.kept.add(&frame);
        match self.first {
            None => self.first = Some(frame),
            Some(_) => self.others.push_back(frame),
        }
    }

    /// Returns the first complete message.
    pub(super) fn next_message(&mut self) -> Result<Option<Arrived>, Broken> {
        let Some(frame) = self.first.take() else { return self.broken.map_or(Ok(None), Err) };
        self.first = self.others.pop_front();
        self.kept.remove(&frame);
        let Frame { bytes, attached } = frame;
        if attached.descriptors.is_empty() && !attached.is_cut {
            if let Some(envelope) = self.next_of_bytes_alone(&bytes) {
                return Ok(Some(self.arrive_alone(envelope, bytes)));
            }
        }
        let header = Header::parse::<()>(&bytes)?.ok_or(Broken::Rule("a message has no header"))?;
        self.limits.check(&header)?;
        let number = header.envelope.number;
        // The number in a greeting is that of the next message, because its sender counts anew.
        let is_greeting = header.is_greeting();
        if !is_greeting && self.next.is_some_and(|next| next != number) {
            return Err("a message is missing or out of order".into());
        }
        let count = wire::parse::<()>(&header, &bytes)?.len();
        let objects = match attached.descriptors.len() {
            _ if attached.is_cut && count > 0 => Err(Lost),
            found if found == count && !attached.is_cut => Ok(attached.descriptors),
            _ if count == 0 => return Err(UNANNOUNCED),
            0 => return Err("a message was sent without the descriptors that it announces".into()),
            _ => return Err("a message was sent with fewer or more descriptors than it announces".into()),
        };
        self.next = Some(if is_greeting { number } else { number.wrapping_add(1) });
        if is_greeting {
            self.last_sender = attached.sender;
        }
        let content = Content::new::<()>(&header, bytes);
        Ok(Some(Arrived { envelope: header.envelope, content, objects, limits: self.limits }))
    }

    /// Returns the process that sent the greeting that was just received, if it is known.
    pub(super) fn take_last_sender(&mut self) -> Option<Sender> {
        self.last_sender.take().map(|sender| *sender)
    }

    /// Discards everything, after end of file or a broken rule: an incomplete message will never be completed.
    pub(super) fn give_up(&mut self) {
        self.first = None;
        self.others = VecDeque::new();
        self.partial = None;
        self.broken = None;
        self.kept = Kept::default();
        self.last_sender = None;
        self.discards = self.discards.wrapping_add(1);
    }
}

/// Keeps the room for long packets for the next read of this thread.
#[inline]
fn keep_packet(mut packet: Vec<u8>) {
    packet.clear();
    let _ = PACKET.try_with(|spare| spare.set(packet));
}

impl Kept {
    fn add(&mut self, frame: &Frame) {
        self.bytes += frame.bytes.len() + OVERHEAD;
        self.descriptors += frame.attached.open();
        self.with_descriptors += usize::from(frame.attached.open() > 0);
    }

    fn remove(&mut self, frame: &Frame) {
        self.bytes -= frame.bytes.len() + OVERHEAD;
        self.descriptors -= frame.attached.open();
        self.with_descriptors -= usize::from(frame.attached.open() > 0);
    }
}

const UNANNOUNCED: Broken = Broken::Rule("file descriptors were sent that belong to no message");

#[cfg(test)]
mod tests {
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

    /// Feeds a packet to the buffer, as one call of recvmsg would.
    fn feed(buffer: &mut RecvBuffer, bytes: &[u8], count: usize, is_cut: bool) {
        let mut room = buffer.begin_read();
        assert!(room.message.capacity() - room.message.len() >= room.lacking);
        let length = bytes.len().min(room.lacking + room.packet.capacity());
        room.message.extend(&bytes[..length]);
        let (is_truncated, descriptors) = (length < bytes.len(), descriptors(count));
        buffer.end_read(room, Some(Received { length, is_truncated, descriptors, is_cut, sender: None }));
    }

    /// Begins a read and finds nothing. Returns the number of bytes that it would have received directly.
    fn look(buffer: &mut RecvBuffer) -> usize {
        let room = buffer.begin_read();
        let lacking = room.lacking;
        buffer.end_read(room, None);
        lacking
    }

    fn next(buffer: &mut RecvBuffer) -> Result<Option<(usize, Option<usize>)>, Broken> {
        let message = buffer.next_message()?;
        Ok(message.map(|message| (message.content.names().len(), message.objects.ok().map(|all| all.len()))))
    }

    #[track_caller]
    fn assert_broken(buffer: &mut RecvBuffer, part: &str) {
        let Err(Broken::Rule(rule)) = next(buffer) else { panic!("{part}") };
        assert!(rule.contains(part), "{rule}");
    }

    #[test]
    fn packets_of_a_long_message_arrive_in_its_own_memory() {
        let mut buffer = RecvBuffer::default();
        for number in 0..3 {
            let frame = frame(number, &["a"], &vec![7; 3 << 20]);
            let mut packets = frame.chunks(MAX_PACKET);
            feed(&mut buffer, packets.next().expect("there is one"), 1, false);
            let place = buffer.partial.as_ref().expect("the rest lacks").bytes.as_ptr();
            for packet in packets {
                assert_eq!(buffer.next_message().map(|message| message.is_some()), Ok(false));
                feed(&mut buffer, packet, 0, false);
            }
            let message = buffer.next_message().expect("it is valid").expect("it is complete");
            assert_eq!(message.content.bytes(), &vec![7; 3 << 20][..]);
            let bytes = message.content.into_bytes();
            assert_eq!(bytes.as_ptr(), place);
            assert!(bytes.capacity() <= frame.len());
            // The next message is expected to be as long, up to a limit.
            assert_eq!(look(&mut buffer), MAX_EXPECTED);
        }
    }

    #[test]
    fn unexpectedly_short_message_keeps_no_long_memory() {
        let mut buffer = RecvBuffer::default();
        feed(&mut buffer, &frame(0, &[], &[7; 100_000]), 0, false);
        assert_eq!(next(&mut buffer), Ok(Some((0, Some(0)))));
        assert_eq!(look(&mut buffer), 100_032);
        feed(&mut buffer, &frame(1, &[], b"two"), 0, false);
        let message = buffer.next_message().expect("it is valid").expect("it is complete");
        let content = message.content.into_bytes();
        assert!(content == b"two" && content.capacity() < 100, "{}", content.capacity());
        assert_eq!(look(&mut buffer), 0);
    }

    #[test]
    fn idle_buffers_hold_no_memory() {
        let mut buffers: [RecvBuffer; 3] = Default::default();
        for number in 0..3 {
            for buffer in &mut buffers {
                // A long message, and a read that finds nothing.
                feed(buffer, &frame(number, &[], &[7; 10_000]), 0, false);
                assert_eq!(next(buffer), Ok(Some((0, Some(0)))));
                look(buffer);
                assert_eq!((buffer.has_partial(), buffer.others.capacity()), (false, 0));
            }
        }
    }

    /// Receives a packet into an empty buffer. Returns the bytes of the message if it came directly.
    fn feed_first(
        buffer: &mut RecvBuffer,
        bytes: &[u8],
        count: usize,
        is_cut: bool,
        is_wanted: bool,
    ) -> Option<Vec<u8>> {
        let mut room = buffer.begin_read();
        room.message.extend(bytes);
        let (length, descriptors) = (bytes.len(), descriptors(count));
        let received = Received { length, is_truncated: false, descriptors, is_cut, sender: None };
        let arrived = buffer.end_read_of_first(room, received, |_| is_wanted);
        arrived.map(|arrived| arrived.content.into_bytes())
    }

    #[test]
    fn message_without_objects_comes_directly_if_nothing_is_before_it() {
        let mut buffer = RecvBuffer::default();
        assert_eq!(feed_first(&mut buffer, &frame(0, &[], b"one"), 0, false, true), Some(b"one".to_vec()));
        // The number has been counted, and the length noted.
        let long = vec![7; 10_000];
        assert_eq!(feed_first(&mut buffer, &frame(1, &[], &long), 0, false, true), Some(long));
        assert_eq!(look(&mut buffer), 10_032);
        // Everything else goes through the buffer.
        for (number, names, is_wanted) in [(2, &[][..], false), (3, &["a"][..], true)] {
            let packet = frame(number, names, b"other");
            assert_eq!(feed_first(&mut buffer, &packet, names.len(), false, is_wanted), None);
            assert_eq!(next(&mut buffer), Ok(Some((names.len(), Some(names.len())))));
        }
        feed(&mut buffer, &frame(4, &[], b"before"), 0, false);
        assert_eq!(feed_first(&mut buffer, &frame(5, &[], b"behind"), 0, false, true), None);
        assert_eq!(next(&mut buffer), Ok(Some((0, Some(0)))));
        assert_eq!(next(&mut buffer), Ok(Some((0, Some(0)))));
    }

    #[test]
    fn invalid_packet_never_comes_directly() {
        let good = frame(0, &[], b"good");
        let limited = || RecvBuffer { limits: Limits::default().bytes(3), ..RecvBuffer::default() };
        let cases = [
            (RecvBuffer::default(), frame(1, &[], b"late"), 0, false, "missing or out of order"),
            (RecvBuffer::default(), good.clone(), 1, false, "belong to no message"),
            (RecvBuffer::default(), good.clone(), 0, true, "belong to no message"),
            (RecvBuffer::default(), [&good[..], b"more"].concat(), 0, false, "shorter or longer"),
            (limited(), good.clone(), 0, false, "more bytes than this endpoint accepts"),
        ];
        for (mut buffer, packet, count, is_cut, part) in cases {
            assert_eq!(feed_first(&mut buffer, &packet, count, is_cut, true), None, "{part}");
            let Err(Broken::Rule(rule) | Broken::Limit(rule)) = next(&mut buffer) else { panic!("{part}") };
            assert!(rule.contains(part), "{rule}");
        }
        // Packets that arrive after a discard are discarded too.
        let mut buffer = RecvBuffer::default();
        let mut room = buffer.begin_read();
        buffer.give_up();
        room.message.extend(&good);
        let received = Received {
            length: good.len(),
            is_truncated: false,
            descriptors: Vec::new(),
            is_cut: false,
            sender: None,
        };
        assert!(buffer.end_read_of_first(room, received, |_| true).is_none());
        assert!(buffer.is_empty());
    }

    #[test]
    fn reads_that_find_nothing_reuse_the_memory() {
        let mut buffer = RecvBuffer::default();
        feed(&mut buffer, &frame(0, &[], &[7; 100_000]), 0, false);
        assert_eq!(next(&mut buffer), Ok(Some((0, Some(0)))));
        let places: Vec<_> = (0..3)
            .map(|_| {
                let room = buffer.begin_read();
                let places = (room.message.as_ptr(), room.packet.as_ptr());
                buffer.end_read(room, None);
                places
            })
            .collect();
        assert_eq!(places, [places[0]; 3]);
    }

    #[test]
    fn descriptors_are_returned_with_their_message() {
        let mut buffer = RecvBuffer::default();
        feed(&mut buffer, &frame(0, &[], b"one"), 0, false);
        feed(&mut buffer, &frame(1, &["a"], b"two"), 1, false);
        let long = frame(2, &["a", "b"], &[7; 6000]);
        // A packet can end anywhere in a frame.
        for (packet, count) in [(&long[..1], 2), (&long[1..33], 0), (&long[33..3000], 0), (&long[3000..], 0)]
        {
            feed(&mut buffer, packet, count, false);
        }
        assert_eq!(next(&mut buffer), Ok(Some((0, Some(0)))));
        assert_eq!(next(&mut buffer), Ok(Some((1, Some(1)))));
        assert_eq!(next(&mut buffer), Ok(Some((2, Some(2)))));
        assert_eq!(next(&mut buffer), Ok(None));
        assert!(buffer.is_empty());
        let Kept { bytes, descriptors, with_descriptors } = buffer.kept;
        assert_eq!((bytes, descriptors, with_descriptors), (0, 0, 0));
    }

    #[test]
    fn full_buffer_is_one_with_the_bytes_or_descriptors_of_the_largest_message() {
        let mut buffer = RecvBuffer::default();
        let long = vec![7; 150_000];
        for number in 0..wire::MAX_FRAME as u64 / 150_200 {
            assert!(!buffer.is_full(), "{number}");
            feed(&mut buffer, &frame(number, &[], &long), 0, false);
        }
        feed(&mut buffer, &frame(0, &[], &long), 0, false);
        assert!(buffer.is_full());
        let mut buffer = RecvBuffer::default();
        for number in 0..MAX_WITH_DESCRIPTORS as u64 {
            assert!(!buffer.is_full(), "{number}");
            feed(&mut buffer, &frame(number, &["a"], b""), 1, false);
        }
        assert!(buffer.is_full());
        // Many messages without bytes take memory too.
        let mut buffer = RecvBuffer::default();
        let mut number = 0;
        while !buffer.is_full() {
            feed(&mut buffer, &frame(number, &[], b""), 0, false);
            number += 1;
        }
        assert!(number <= (wire::MAX_FRAME / OVERHEAD) as u64, "{number}");
    }

    #[test]
    fn dropped_descriptors_fail_their_own_message_only() {
        let mut buffer = RecvBuffer::default();
        feed(&mut buffer, &frame(0, &["a", "b"], b""), 1, true);
        feed(&mut buffer, &frame(1, &["a"], b""), 0, true);
        feed(&mut buffer, &frame(2, &["a"], b""), 1, false);
        assert_eq!(next(&mut buffer), Ok(Some((2, None))));
        assert_eq!(next(&mut buffer), Ok(Some((1, None))));
        assert_eq!(next(&mut buffer), Ok(Some((1, Some(1)))));
    }

    #[test]
    fn descriptors_at_a_wrong_position_break_the_protocol() {
        // Too few, too many, and no descriptors.
        for count in [0, 1, 3] {
            let mut buffer = RecvBuffer::default();
            feed(&mut buffer, &frame(0, &["a", "b"], b""), count, false);
            assert_broken(&mut buffer, "announces");
        }
        // With a message without objects.
        for (count, is_cut) in [(1, false), (0, true)] {
            let mut buffer = RecvBuffer::default();
            feed(&mut buffer, &frame(0, &[], b""), count, is_cut);
            assert_broken(&mut buffer, "belong to no message");
        }
        // In the middle of a message, alone and repeatedly.
        let long = frame(0, &["a"], &[7; 3000]);
        for first in [0, 1] {
            let mut buffer = RecvBuffer::default();
            feed(&mut buffer, &long[..1000], first, false);
            assert_eq!(next(&mut buffer), Ok(None));
            feed(&mut buffer, &long[1000..1001], 1, false);
            assert_broken(&mut buffer, "belong to no message");
            assert!(buffer.is_full() && !buffer.has_partial());
        }
    }

    #[test]
    fn broken_packet_is_reported_after_the_messages_before_it() {
        let broken = [
            (Vec::new(), "is empty"),
            (vec![b'H'; MAX_PACKET + 1], "longer than 200 KiB"),
            (b"no frame".to_vec(), "doesn't begin"),
            ([frame(1, &[], b"one"), frame(2, &[], b"two")].concat(), "shorter or longer"),
        ];
        for (packet, part) in broken {
            let mut buffer = RecvBuffer::default();
            feed(&mut buffer, &frame(0, &[], b"good"), 0, false);
            feed(&mut buffer, &packet, 0, false);
            assert!(buffer.has_message());
            assert_eq!(next(&mut buffer), Ok(Some((0, Some(0)))));
            assert!(buffer.has_message());
            assert_broken(&mut buffer, part);
        }
    }

    #[test]
    fn limit_of_bytes_is_checked_before_memory_is_reserved() {
        let mut buffer = RecvBuffer { limits: Limits::default().bytes(1000), ..RecvBuffer::default() };
        feed(&mut buffer, &frame(0, &[], &[7; 1 << 20])[..100], 0, false);
        assert!(matches!(next(&mut buffer), Err(Broken::Limit(_))));
        assert!(!buffer.has_partial());
    }

    #[test]
    fn packet_that_arrives_after_a_discard_is_discarded() {
        let mut buffer = RecvBuffer::default();
        let mut room = buffer.begin_read();
        buffer.give_up();
        let bytes = frame(0, &["a"], b"late");
        room.message.extend(&bytes);
        let received = Received {
            length: bytes.len(),
            is_truncated: false,
            descriptors: descriptors(1),
            is_cut: false,
            sender: None,
        };
        buffer.end_read(room, Some(received));
        assert!(buffer.is_empty());
    }
}
