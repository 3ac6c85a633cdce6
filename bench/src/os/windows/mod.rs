//! Windows.

pub(crate) mod baseline;
#[cfg(feature = "peers")]
pub(crate) mod peer;

pub(crate) const SEALING_COSTS: bool = true;
