//! The Linux parts.

pub(crate) mod baseline;
pub(crate) mod in_flight;
#[cfg(feature = "peers")]
pub(crate) mod peer;
pub(crate) mod wait_set;

/// On Linux, every spawn is race-free.
pub(crate) const IS_RACE_FREE_SPAWN_SLOWER: bool = false;
