//! Windows.

pub(crate) mod floor;
#[cfg(feature = "peers")]
pub(crate) mod peer;

pub(crate) const SEALING_COSTS: bool = true;
