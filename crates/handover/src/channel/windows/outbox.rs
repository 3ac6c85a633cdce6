//! `Outbox`: the weaker endpoint's duplicates until the stronger process has fetched them.

use std::collections::VecDeque;
use std::os::windows::io::AsHandle;
use std::sync::Arc;
use std::task::Waker;

use super::ownership_page::{OwnershipPage, WORDS};
use crate::process::imp::RemoteCopy;
use crate::sys::create_object;
use crate::sys::io::Owned;
use crate::sys::memory::Words;
use crate::sys::mutex::Mutex;
use crate::sys::wake;
use crate::sys::winsock::Record;

/// The duplicates of a message's objects, until the receiver owns them.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) handles: Handles,
    /// The records of the message's sockets, whose duplicates only the receiver can close.
    pub(super) records: Vec<Record>,
}

/// The duplicates of handles.
#[derive(Debug)]
pub(super) enum Handles {
    Remote(Vec<RemoteCopy>),
    Local(Vec<Owned>),
}

impl Copies {
    /// Returns whether the message has no objects.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
            && match &self.handles {
                Handles::Remote(copies) => copies.is_empty(),
                Handles::Local(copies) => copies.is_empty(),
            }
    }
}

/// The weaker endpoint's duplicates that are not fetched yet.
#[derive(Debug, Default)]
pub(super) struct Unfetched {
    /// By message number.
    pub(super) copies: VecDeque<(u64, Vec<Owned>)>,
    /// Whether the stronger endpoint was closed before it fetched some of them.
    pub(super) has_lost: bool,
    /// Whether a flush waits until they are fetched.
    pub(super) is_awaited: bool,
    /// The task whose flush waits.
    pub(super) task: Option<Waker>,
}

/// The weaker endpoint's duplicates that the stronger process still has to fetch, and how that says that it has.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) page_memory: Words<WORDS>,
    /// Set by the stronger endpoint each time it has fetched objects.
    pub(super) fetched: Arc<Owned>,
    /// The event `written` of the endpoint.
    pub(super) written: Arc<Owned>,
    pub(super) unfetched: Mutex<Unfetched>,
}

impl Outbox {
    pub(super) fn page(&self) -> OwnershipPage<'_> {
        OwnershipPage(self.page_memory.words())
    }

    /// Closes the duplicates that the stronger endpoint has fetched, and those that it never will fetch.
    pub(super) fn close_fetched(&self) {
        self.close_fetched_of(&mut self.unfetched.lock());
    }

    pub(super) fn close_fetched_of(&self, unfetched: &mut Unfetched) {
        let count = unfetched.copies.len();
        if count == 0 {
            return;
        }
        let fetched = self.page().fetched();
        while unfetched.copies.front().is_some_and(|(number, _)| *number < fetched) {
            unfetched.copies.pop_front();
        }
        let outgoing = self.page().pulled();
        if outgoing.taking_has_ended() {
            let taken = outgoing.end_giving();
            let count = unfetched.copies.len();
            unfetched.copies.retain(|(number, _)| *number < taken);
            unfetched.has_lost |= unfetched.copies.len() < count;
        }
        if unfetched.copies.len() < count {
            self.wake_flush(unfetched);
        }
    }

    /// Makes a flush look again. The stronger endpoint's event wakes only one of the threads that wait for it.
    pub(super) fn wake_flush(&self, unfetched: &mut Unfetched) {
        if unfetched.is_awaited {
            unfetched.is_awaited = false;
            create_object::show(self.written.as_handle(), true);
        }
        unfetched.task.take().into_iter().for_each(wake);
    }
}
