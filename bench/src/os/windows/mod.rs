//! The Windows parts.

pub(crate) mod baseline;
pub(crate) mod in_flight;
#[cfg(feature = "peers")]
pub(crate) mod peer;
pub(crate) mod wait_set;

/// On Windows, a race-free spawn starts a helper process from which the child inherits.
pub(crate) const IS_RACE_FREE_SPAWN_SLOWER: bool = true;
