//! Closing an endpoint, so that each object in transit has exactly one owner, or is closed.

use std::os::windows::io::AsHandle;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::endpoint::{Endpoint, Receiving};
use super::peer::Peer;
use super::receive::Found;
use crate::channel::Limits;
use crate::channel::message::Arrived;
use crate::channel::wire::Broken;
use crate::sys::create_object;
use crate::wait::{self, Deadline};

/// The maximum time that dropping a weaker endpoint waits for the stronger one to fetch objects.
const MAX_LINGER: Duration = Duration::from_secs(10);
/// The maximum time to finish a fetch that has begun.
const MAX_FETCH: Duration = Duration::from_secs(1);

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Closing can take seconds. Until then, a set would find the event set, but no message.
        self.memberships.leave();
        if let Some(mut writer) = self.writer.take() {
            // An error means that the peer gets an end instead.
            let _ = self.give_up_unfinished(&mut writer);
        }
        // An endpoint for another process has values of that one's handles.
        if self.has_left.load(SeqCst) || self.travel.as_ref().is_some_and(|travel| travel.is_introduced) {
            return;
        }
        if let Peer::Stronger(_) = self.peer() {
            self.close_unfetched();
        }
        if !self.is_closed() {
            self.end_receiving(&mut self.receiving.lock());
        }
    }
}

impl Endpoint {
    /// Closes the endpoint, which ends all waits at both endpoints.
    ///
    /// The weaker endpoint's duplicates that are not fetched yet stay open, because the stronger endpoint can still receive
    /// their messages. Dropping the endpoint closes them.
    pub(crate) fn close(&self) {
        if self.set_closed() {
            return;
        }
        let mut receiving = self.receiving.lock();
        let kept = receiving.calls.give_up();
        self.end_receiving(&mut receiving);
        self.publish(&mut receiving);
        self.notify(&receiving);
        drop(receiving);
        drop(kept);
        // This ends a send that waits, and lets none begin.
        self.pipe.close();
        self.writer.tasks.wake_first();
        self.outbox.wake_flush(&mut self.outbox.unfetched.lock());
    }

    /// Decides the fate of all objects that the peer has sent, and that this process hasn't received.
    fn end_receiving(&self, receiving: &mut Receiving) {
        match self.peer() {
            Peer::Weaker(_) | Peer::Equal(_) => {
                // Only the page needs an update. Pushed objects have been given away or closed already. Objects that
                // were not pulled belong to the weaker endpoint.
                self.incoming().end_taking();
                if self.allowed.has_named_sockets() {
                    self.close_unread_sockets(receiving);
                }
                let _ = receiving.transfer.cancel();
                if let Peer::Weaker(_) = self.peer() {
                    create_object::show(self.outbox.fetched.as_handle(), true);
                }
            }
            Peer::Stronger(_) | Peer::Same(_) => self.close_unreceived(receiving),
        }
    }

    /// Closes the weaker endpoint's duplicates, once they have been fetched or can't be fetched any more.
    fn close_unfetched(&self) {
        let Some(writer) = self.writer.wait(Deadline::NEVER) else { return };
        // The errors mean that the peer process has exited or closed its endpoint, so nothing more will be fetched.
        let _ = self.wait_until_fetched(&writer, Deadline::after(MAX_LINGER), true);
        let taken = self.outgoing().end_giving();
        // Objects that the stronger endpoint has not begun to fetch belong to this process alone.
        self.outbox.unfetched.lock().copies.retain(|(number, _)| *number < taken);
        if self.has_stronger_exited() {
            return;
        }
        if let Ok(false) = self.wait_until_fetched(&writer, Deadline::after(MAX_FETCH), true) {
            // The stronger endpoint stopped responding in the middle of a fetch. The handles leak on purpose: if they
            // were closed and their values reused, it could fetch unrelated objects.
            std::mem::forget(std::mem::take(&mut self.outbox.unfetched.lock().copies));
        }
    }

    /// Reads and closes the objects that the stronger endpoint has given to this one. If the stronger process has
    /// exited, this also closes the objects that it had no time to give away, because no other process can close them.
    fn close_unreceived(&self, receiving: &mut Receiving) {
        let given = self.incoming().end_taking();
        let is_sole_owner = self.has_stronger_exited();
        let deadline = Deadline::after(MAX_FETCH);
        // Messages that exceed a limit are read as well, and closed.
        receiving.limits = Limits::default();
        let is_readable = || self.broken.get().is_none_or(|broken| matches!(broken, Broken::Limit(_)));
        while is_readable() && (receiving.next < given || is_sole_owner) {
            match self.look(receiving, is_sole_owner) {
                Ok(Found::Message(header)) => match self.take_message(receiving, &header) {
                    Ok(Arrived { objects: Ok(objects), .. }) => drop(objects),
                    _ => break,
                },
                Ok(Found::Parts) => {}
                // A message is written to the pipe completely before its objects are given away, so this doesn't wait.
                Ok(Found::Pending) => match wait::any(&[self.ready.as_handle()], deadline) {
                    Ok(Some(_)) if !deadline.has_passed() => {}
                    _ => break,
                },
                Ok(Found::End) | Err(_) => break,
            }
        }
        let _ = receiving.transfer.cancel();
    }

    /// Reads the messages that have arrived, and closes their sockets: no other process can. They are withdrawn, so their other
    /// objects stay the sender's.
    fn close_unread_sockets(&self, receiving: &mut Receiving) {
        let deadline = Deadline::after(MAX_FETCH);
        // Messages that exceed a limit are read as well.
        receiving.limits = Limits::default();
        while !deadline.has_passed() {
            match self.look(receiving, false) {
                Ok(Found::Message(header)) if self.take_message(receiving, &header).is_ok() => {}
                Ok(Found::Parts) => {}
                _ => break,
            }
        }
    }

    /// Returns whether the peer is the stronger process, and has exited.
    pub(super) fn has_stronger_exited(&self) -> bool {
        match self.peer() {
            Peer::Stronger(Ok(process)) => process.has_exited().unwrap_or(false),
            Peer::Stronger(Err(unopened)) => unopened.has_exited,
            Peer::Weaker(_) | Peer::Same(_) | Peer::Equal(_) => false,
        }
    }
}
