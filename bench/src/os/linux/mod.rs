//! Linux.

pub(crate) mod floor;
#[cfg(feature = "peers")]
pub(crate) mod peer;

/// Every spawn is sealed.
pub(crate) const SEALING_COSTS: bool = false;
