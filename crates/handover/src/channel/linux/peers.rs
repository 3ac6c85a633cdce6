//! The processes at the other endpoints. All channels of this process to one process share a handle to it.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use crate::process::Process;
use crate::sys::io::Owned;
use crate::sys::mutex::Mutex;
use crate::sys::unix_socket;

static PEERS: Mutex<Option<Peers>> = Mutex::new(None);

#[derive(Debug, Default)]
struct Peers {
    by_id: HashMap<u32, Weak<Owned>>,
    /// The number of entries at which those without an owner are removed.
    limit: usize,
}

/// Returns the process, which has just been running, with the handle that another channel owns if there is one.
pub(super) fn process(new: Arc<Owned>, id: u32) -> Process {
    let mut peers = PEERS.lock();
    let peers = peers.get_or_insert_default();
    let known = peers.by_id.get(&id).and_then(Weak::upgrade);
    // The known process has had this id since before the new one ran, so they are the same if it still runs. A process of
    // another PID namespace has the id zero.
    if let Some(known) = known.filter(|known| id != 0 && unix_socket::is_running(known.as_fd())) {
        return Process::new(known, id);
    }
    if peers.by_id.len() >= peers.limit {
        peers.by_id.retain(|_, handle| handle.strong_count() > 0);
        peers.limit = (peers.by_id.len() * 2).max(16);
    }
    peers.by_id.insert(id, Arc::downgrade(&new));
    Process::new(new, id)
}
