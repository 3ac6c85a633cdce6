//! Linux: what an object has inside, and std's sockets as objects.

pub(crate) mod object_handle;
mod socket;

/// Whether other processes put handles into this one while it runs.
pub(super) const COME_WHILE_RUNNING: bool = false;
