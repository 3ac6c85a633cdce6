//! Receiving.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, LOOK_AGAIN, WAIT};
use super::recv_buffer::{Reader, Whole};
use crate::channel::ReceivedMessage;
use crate::channel::message::Sender;
use crate::error::{Error, Result};
use crate::process::Process;
use crate::sys::unix_socket::{self, Look};
use crate::wait::Deadline;

/// How long it takes at most until a process has ended that has closed its end in the middle of a message.
const ENDING: Duration = Duration::from_millis(250);

/// What an attempt to read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Some,
    Nothing,
    /// Nobody writes any more.
    End,
}

impl Endpoint {
    /// The next message; `None` if it doesn't come in time.
    pub(crate) fn receive(&self, time: Duration) -> Result<Option<ReceivedMessage>> {
        let deadline = Deadline::after(time);
        // A send that waits for room reads meanwhile, and gives way after that time.
        let Some(mut reader) = self.reader.wait_at_least(2 * LOOK_AGAIN, deadline) else { return Ok(None) };
        let mut is_gone = false;
        // One call that waits is half of what two cost. It doesn't see that a process has ended of which another has the
        // end by chance, so it is one alone, and a short one.
        let mut look = if time >= WAIT { Look::Wait } else { Look::Once };
        let mut has_read = false;
        loop {
            self.check_not_broken()?;
            if let Some(whole) = self.next_message(&mut reader)? {
                return self.arrived(whole).map(Some);
            }
            // Bytes that come drop by drop are no reason to go on past the deadline.
            if has_read && deadline.has_passed() {
                return Ok(None);
            }
            match self.read(&mut reader, look)? {
                Read::Some => {
                    (has_read, look) = (true, Look::Once);
                    continue;
                }
                Read::End => return Err(self.end_of(&mut reader)),
                // What a process wrote before it ended is there by now, so that there was nothing to read is the end.
                Read::Nothing if is_gone => return Err(self.end_of(&mut reader)),
                Read::Nothing if deadline.has_passed() => return Ok(None),
                Read::Nothing => {}
            }
            look = Look::Once;
            is_gone = self.wait_for(unix_socket::READABLE, deadline)?.gone;
        }
    }

    fn next_message(&self, reader: &mut Reader) -> Result<Option<Whole>> {
        reader.next_message().map_err(|why| {
            reader.give_up();
            self.broke_off(why)
        })
    }

    fn end_of(&self, reader: &mut Reader) -> Error {
        let is_half = !reader.unread().is_empty();
        reader.give_up();
        // Who ends in the middle of a message is none who breaks a rule, and neither is one whose send had a deadline and
        // who ends with that: it takes a moment.
        let ends = |process: &Process| process.ends_within(ENDING).unwrap_or(false);
        if is_half && !self.process().is_none_or(ends) {
            return self.broke_off("the last frame is cut off");
        }
        self.ended()
    }

    fn arrived(&self, whole: Whole) -> Result<ReceivedMessage> {
        let Some(descriptors) = whole.descriptors else {
            let what = format!("the objects of a message from process {}", self.process_id());
            let source = std::io::Error::from_raw_os_error(libc::EMFILE);
            return Err(Error::System { call: "recvmsg", context: what, source });
        };
        let from = Sender { process: self.process_id(), allowed: Arc::clone(&self.allowed) };
        Ok(ReceivedMessage::new(whole.content, descriptors, from))
    }

    /// Reads what is there.
    pub(super) fn read(&self, reader: &mut Reader, look: Look) -> Result<Read> {
        match reader.read(|buffer, most| unix_socket::receive(self.socket.as_fd(), buffer, most, look)) {
            Ok(Some(0)) => Ok(Read::End),
            Ok(Some(_)) => Ok(Read::Some),
            Ok(None) => Ok(Read::Nothing),
            Err(error) if unix_socket::is_end(&error) => {
                self.note_reset(&error);
                Ok(Read::End)
            }
            Err(source) => Err(self.failed()(source)),
        }
    }
}
