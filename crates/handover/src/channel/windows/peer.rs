//! The process at the other endpoint, and the state by which an endpoint notices that it has changed.

use std::os::windows::io::AsHandle;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Weak};

use super::outbox::Outbox;
use crate::process::Process;
use crate::sys::exit_watch::ExitWatch;
use crate::sys::io::Owned;
use crate::sys::mutex::Mutex;
use crate::sys::{SysResult, create_object};

/// The process at the other endpoint, and which of the two processes duplicates.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// A child or a client. The process handle has the right to duplicate.
    Weaker(Process),
    /// The parent or the server. The process handle can only be waited for.
    Stronger(Result<Process, Unopened>),
    /// This process, which has both endpoints. The sender of objects duplicates them. The process handle has the right to
    /// duplicate.
    Same(Process),
    /// A process without that right over this one, as this one has none over it. Only bytes travel. `None` if it isn't known,
    /// because an endpoint has moved several times.
    Equal(Option<Process>),
}

impl Peer {
    pub(super) fn process(&self) -> Option<&Process> {
        match self {
            Self::Weaker(process)
            | Self::Stronger(Ok(process))
            | Self::Same(process)
            | Self::Equal(Some(process)) => Some(process),
            Self::Stronger(Err(_)) | Self::Equal(None) => None,
        }
    }

    pub(super) fn id(&self) -> u32 {
        match self {
            Self::Stronger(Err(unopened)) => unopened.id,
            _ => self.process().map_or(0, Process::id),
        }
    }

    pub(super) fn is_going(&self) -> bool {
        match self {
            Self::Same(_) => false,
            Self::Stronger(Err(unopened)) => unopened.has_exited,
            _ => self.process().is_some_and(Process::is_going),
        }
    }
}

/// A stronger process without a handle to it, because it had already exited or may not be opened. Its exit then shows
/// as the end of the pipe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unopened {
    pub(super) id: u32,
    pub(super) has_exited: bool,
}

/// The part of an endpoint that changes when an endpoint of the channel travels.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) peer: Peer,
    /// The [number of moves](OwnershipPage::moves) of the other endpoint that has made this process the peer.
    pub(super) moves: u64,
    /// Whether the event `watched` may be set because of an exit that doesn't count, as the endpoint had left that process.
    pub(super) is_stale: bool,
    /// Whether the other endpoint, which is in this process too, is leaving it.
    pub(super) is_left_by_other: bool,
    /// Sets `watched` when the peer process exits, for code that waits for nothing else.
    pub(super) exit_watch: Option<ExitWatch<Process>>,
    /// The event `ready` of the endpoint, once other code waits for it.
    pub(super) watched: Option<Arc<Owned>>,
    /// Wakes the threads that wait, so that they wait for another process.
    pub(super) changed: Option<Arc<Owned>>,
    /// The outbox in which the other endpoint waits for the process that it is sent to.
    pub(super) carrier: Option<Arc<Outbox>>,
}

impl Current {
    pub(super) fn new(peer: Peer) -> Self {
        Self {
            peer,
            moves: 0,
            is_stale: false,
            is_left_by_other: false,
            exit_watch: None,
            watched: None,
            changed: None,
            carrier: None,
        }
    }

    /// Replaces the peer, and makes all waits notice that. `moves` is the other endpoint's number of moves by then.
    pub(super) fn change(this: &Mutex<Self>, peer: &Peer, moves: u64) {
        let mut current = this.lock();
        current.peer = peer.clone();
        current.moves = moves;
        let changed = current.changed.take();
        let (watch, watched) = (current.exit_watch.take(), current.watched.clone());
        drop(current);
        // When it is dropped, it doesn't set the event any more.
        let is_watched = watch.is_some();
        drop(watch);
        this.lock().is_stale |= is_watched;
        if let Some(changed) = changed {
            create_object::show(changed.as_handle(), true);
        }
        // Without a watch, the end of the pipe still shows the exit.
        if let Some(watched) = watched {
            let _ = Self::watch(this, peer, watched);
        }
    }

    pub(super) fn watch(this: &Mutex<Self>, peer: &Peer, event: Arc<Owned>) -> SysResult<()> {
        let process = match peer {
            Peer::Same(_) => None,
            _ => peer.process(),
        };
        let new = process.map(|process| ExitWatch::begin(process.clone(), Arc::clone(&event))).transpose()?;
        let mut current = this.lock();
        current.watched = Some(event);
        let replaced = std::mem::replace(&mut current.exit_watch, new);
        drop(current);
        drop(replaced);
        Ok(())
    }
}

/// The state that an endpoint needs to leave this process.
#[derive(Debug)]
pub(super) struct Travel {
    /// 0 for the server end of the pipe, and 1 for the client end.
    pub(super) side: usize,
    pub(super) section: Arc<Owned>,
    /// The other endpoint of a new pair, which is in this process too.
    pub(super) sibling: Weak<Mutex<Current>>,
    /// Whether the endpoint was made for another process, which it hasn't been sent to yet.
    pub(super) is_introduced: bool,
    /// The number of the move that is under way.
    pub(super) number: AtomicU64,
    /// Whether this move has given the other endpoint its role.
    pub(super) has_changed_sibling: AtomicBool,
}

impl Travel {
    pub(super) fn new(
        side: usize,
        section: Arc<Owned>,
        sibling: Weak<Mutex<Current>>,
        is_introduced: bool,
    ) -> Self {
        let number = AtomicU64::new(0);
        let has_changed_sibling = AtomicBool::new(false);
        Self { side, section, sibling, is_introduced, number, has_changed_sibling }
    }
}
