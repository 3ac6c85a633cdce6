//! Sending.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::endpoint::{Endpoint, LOOK_AGAIN};
use super::receive::Read;
use crate::channel::Message;
use crate::channel::wire;
use crate::error::{Error, Result};
use crate::sys::handle::{self, duplicate_here};
use crate::sys::io::Owned;
use crate::sys::rights::Rights;
use crate::sys::unix_socket::{self, Look};
use crate::wait::Deadline;

/// How long is waited where there is nothing to wait for.
const PAUSE: Duration = Duration::from_millis(2);
/// Up to how many bytes a frame is put together: the kernel takes one part sooner than three.
const SHORT: usize = 256;
/// How many descriptors need no memory of their own.
const FEW: usize = 8;

/// Why a frame wasn't sent, or not all of it.
enum Unsent {
    /// One of the objects is no open descriptor; nothing was sent.
    InvalidHandle,
    Failed(Error),
}

impl From<Error> for Unsent {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Endpoint {
    /// Sends a message; false if it wasn't possible in time.
    pub(crate) fn send(&self, message: &Message<'_>, deadline: Deadline) -> Result<bool> {
        message.check()?;
        let Some(mut writer) = self.writer.wait(deadline) else { return Ok(false) };
        self.check_not_broken()?;
        if writer.cut_off {
            return Err(Error::PartialSend { pid: self.process_id() });
        }
        let narrowed = narrowed(message)?;
        let mut few = [self.socket.as_fd(); FEW];
        let mut many = Vec::new();
        let count = message.shares.len();
        let descriptors = if count <= FEW {
            &mut few[..count]
        } else {
            many.resize(count, self.socket.as_fd());
            &mut many[..]
        };
        fill(descriptors, message, &narrowed)?;
        let (table, bytes) = (message.table.bytes(), &*message.bytes);
        let header = wire::header(writer.next, count, table.len(), bytes.len());
        let mut together = [0; SHORT];
        let length = header.len() + table.len() + bytes.len();
        let frame = if length <= SHORT {
            let (first, rest) = together.split_at_mut(header.len());
            first.copy_from_slice(&header);
            rest[..table.len()].copy_from_slice(table);
            rest[table.len()..][..bytes.len()].copy_from_slice(bytes);
            Frame { parts: [&together[..length], &[], &[]], count: 1, length }
        } else {
            Frame { parts: [&header, table, bytes], count: 3, length }
        };
        let mut written = 0;
        let outcome = self.write(&frame, descriptors, &mut written, deadline);
        let outcome = outcome.map_err(|unsent| match unsent {
            Unsent::Failed(error) => error,
            Unsent::InvalidHandle => not_open(message, descriptors),
        });
        if written == length {
            writer.next += 1;
        } else if written > 0 {
            // Where nobody reads any more, that is what the next send says too.
            writer.cut_off =
                !matches!(outcome, Err(Error::ProcessExited { .. } | Error::Disconnected { .. }));
        }
        outcome
    }

    /// Writes the frame; false if it wasn't possible in time. What was written before is said in any case.
    fn write(
        &self,
        frame: &Frame<'_>,
        descriptors: &[BorrowedFd<'_>],
        written: &mut usize,
        deadline: Deadline,
    ) -> Result<bool, Unsent> {
        let mut has_looked = false;
        loop {
            let beside = if *written == 0 { descriptors } else { &[] };
            match unix_socket::send_parts(self.socket.as_fd(), &frame.from(*written)[..frame.count], beside) {
                Ok(Some(length)) => *written += length,
                // The deadline is one for waiting: what there is room for is sent.
                Ok(None) if deadline.has_passed() && has_looked => return Ok(false),
                Ok(None) => {
                    self.check_not_broken()?;
                    if self.wait_for_room(deadline)? {
                        return Err(self.ended().into());
                    }
                    has_looked = true;
                }
                Err(error) if unix_socket::is_crowded(&error) => {
                    self.check_not_broken()?;
                    if deadline.has_passed() && has_looked {
                        return Ok(false);
                    }
                    self.wait_for_others(deadline);
                    has_looked = true;
                }
                Err(error) if unix_socket::is_end(&error) => return Err(self.ended().into()),
                // The socket is this end's own, and open.
                Err(error) if handle::is_invalid_handle(&error) => return Err(Unsent::InvalidHandle),
                Err(source) => return Err(self.failed()(source).into()),
            }
            if *written == frame.length {
                return Ok(true);
            }
        }
    }

    /// Waits a moment for others to receive what is under way, and reads meanwhile: this end may be one of them.
    fn wait_for_others(&self, deadline: Deadline) {
        std::thread::sleep(PAUSE.min(deadline.left()));
        if !self.reader.is_wanted() {
            if let Some(mut reader) = self.reader.take() {
                // What fails here fails again for whoever receives, and is said there.
                if !reader.is_full() {
                    let _ = self.read(&mut reader, Look::Once);
                }
            }
        }
    }

    /// Waits until there is room for more; true if the other process has ended.
    ///
    /// It may be waiting for room itself. So what it sends is read meanwhile, and kept for whoever receives. If another
    /// thread wants to receive, it is left to that one for a while.
    fn wait_for_room(&self, deadline: Deadline) -> Result<bool> {
        if !self.reader.is_wanted() {
            if let Some(mut reader) = self.reader.take() {
                if !reader.is_full() {
                    let asked = unix_socket::WRITABLE | unix_socket::READABLE;
                    let woken = self.wait_for(asked, deadline.or_sooner(LOOK_AGAIN))?;
                    // What fails here fails again for whoever receives, and is said there. At the end there is always
                    // something to read.
                    if woken.readable {
                        if let Ok(Read::End) = self.read(&mut reader, Look::Once) {
                            return Err(self.ended());
                        }
                    }
                    return Ok(woken.gone && !woken.readable && !woken.writable);
                }
            }
        }
        let woken = self.wait_for(unix_socket::WRITABLE, deadline.or_sooner(LOOK_AGAIN))?;
        Ok(woken.gone && !woken.writable)
    }
}

/// A frame as it is sent: in one part or in three, which are never copied together.
struct Frame<'a> {
    parts: [&'a [u8]; 3],
    count: usize,
    length: usize,
}

impl Frame<'_> {
    /// What is left of the parts behind so many bytes.
    fn from(&self, mut written: usize) -> [IoSlice<'_>; 3] {
        self.parts.map(|part| {
            let skipped = written.min(part.len());
            written -= skipped;
            IoSlice::new(&part[skipped..])
        })
    }
}

fn described(name: &str) -> String {
    format!("the object {name:?} of the message")
}

/// What is made to carry less than the caller's own, in the order of the objects that it is made for.
fn narrowed(message: &Message<'_>) -> Result<Vec<Owned>> {
    if message.shares.iter().all(|object| object.rights() == Rights::Same) {
        return Ok(Vec::new());
    }
    let lesser = message.objects().filter(|(_, object)| object.rights() != Rights::Same);
    let copies = lesser.map(|(name, object)| {
        duplicate_here(object.no_pseudo_handle(|| described(name))?, object.rights())
            .map_err(|source| Error::on_handle(described(name), source))
    });
    copies.collect()
}

/// Puts in what is sent: the caller's own descriptors and those copies. Whether the former are open, the call says that
/// sends them.
fn fill<'a>(to: &mut [BorrowedFd<'a>], message: &Message<'a>, narrowed: &'a [Owned]) -> Result<()> {
    let mut narrowed = narrowed.iter().map(AsFd::as_fd);
    for (place, (to, object)) in to.iter_mut().zip(&message.shares).enumerate() {
        let own =
            object.no_pseudo_handle(|| described(message.table.names().nth(place).unwrap_or_default()))?;
        *to = match object.rights() {
            Rights::Same => own,
            Rights::ReadOnly => narrowed.next().expect("one was made for each"),
        };
    }
    Ok(())
}

/// Which of the objects isn't open.
fn not_open(message: &Message<'_>, descriptors: &[BorrowedFd<'_>]) -> Error {
    let is_closed = |handle: &BorrowedFd<'_>| handle::check_open(*handle).is_err();
    let place = descriptors.iter().position(is_closed);
    let what = match place.and_then(|place| message.table.names().nth(place)) {
        Some(name) => described(name),
        None => "an object of the message".into(),
    };
    Error::InvalidHandle { object: what }
}
