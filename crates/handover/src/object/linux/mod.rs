//! Linux: the descriptor inside each object type, and std's Unix sockets as objects.

pub(crate) mod object_handle;
pub(super) mod socket;

/// Whether other processes can add handles to this one while it runs. On Linux they can't.
pub(super) const PEERS_CAN_ADD_HANDLES: bool = false;
