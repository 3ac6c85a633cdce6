//! Linux.

pub(crate) mod baseline;
#[cfg(feature = "peers")]
pub(crate) mod peer;

/// Every spawn is sealed.
pub(crate) const SEALING_COSTS: bool = false;
