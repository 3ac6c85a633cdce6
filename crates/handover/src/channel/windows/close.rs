//! Closing an end: what is under way gets exactly one owner, or none.

use std::os::windows::io::AsHandle;
use std::time::Duration;

use super::endpoint::{Endpoint, Peer};
use super::receive::Read;
use crate::error::Error;
use crate::sys::create_object;
use crate::wait::Deadline;

/// How long a weaker end that is dropped waits for the stronger one to fetch what was sent.
const LINGER: Duration = Duration::from_secs(10);
/// How long it takes at most to fetch what has been begun to be fetched.
const FETCHING: Duration = Duration::from_secs(1);

impl Drop for Endpoint {
    fn drop(&mut self) {
        match &self.peer {
            Peer::Weaker(_) => {
                // Nothing is left to do but to say so: what was pushed is given or closed, what wasn't pulled
                // is the weaker end's.
                self.incoming().end_taking();
                let _ = create_object::set_event(self.fetched.as_handle());
            }
            Peer::Stronger(_) => {
                self.close_what_is_to_be_fetched();
                self.close_what_was_not_received();
            }
        }
    }
}

impl Endpoint {
    /// The weaker end's duplicates: they are closed when they have been fetched, or can't be any more.
    fn close_what_is_to_be_fetched(&self) {
        let Some(mut writer) = self.writer.wait(Deadline::NEVER) else { return };
        // The errors are that the other end is gone or has closed, and then nothing is to be fetched.
        let _ = self.wait_until_fetched(&mut writer, Deadline::after(LINGER));
        let taken = self.outgoing().end_giving();
        // What was never begun to be fetched is ours alone.
        writer.to_be_fetched.retain(|(number, _)| *number < taken);
        if self.stronger_has_ended() {
            return;
        }
        if let Ok(false) = self.wait_until_fetched(&mut writer, Deadline::after(FETCHING)) {
            // It stands still in the middle of fetching. If the values were given again meanwhile, it would
            // get strangers.
            std::mem::forget(std::mem::take(&mut writer.to_be_fetched));
        }
    }

    /// What the stronger end has given to this one: it is read and closed. If that process has ended, what it
    /// had no time to give is this one's too: nobody else can close it.
    fn close_what_was_not_received(&self) {
        let given = self.incoming().end_taking();
        let Some(mut reader) = self.reader.wait(Deadline::NEVER) else { return };
        let is_alone = self.stronger_has_ended();
        while self.broken.get().is_none() && (reader.next < given || is_alone) {
            // A message is whole in the pipe before it is given, so none of this waits.
            match self.next_message(&mut reader) {
                Ok(Some(received)) => drop(received),
                Err(Error::KindNotAllowed { .. }) => {}
                Ok(None) => match self.read(&mut reader, Deadline::after(FETCHING)) {
                    Ok(Read::Enough | Read::Some) => {}
                    _ => return,
                },
                Err(_) => return,
            }
        }
    }

    fn stronger_has_ended(&self) -> bool {
        match &self.peer {
            Peer::Weaker(_) => false,
            Peer::Stronger(Ok(process)) => process.has_exited().unwrap_or(false),
            Peer::Stronger(Err(unopened)) => unopened.has_exited,
        }
    }
}
