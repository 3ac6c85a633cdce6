//! Strategy 1, inheritance: what a parent lists, and what a child makes of it.

#[allow(dead_code, reason = "only Linux has service managers that hand handles down")]
pub(crate) mod activation;
mod adoption;
pub(crate) mod manifest;

pub use adoption::{Inherited, Unlisted, inherited, unlisted};
pub(crate) use adoption::{is_reserved, is_waiting, with_values};
pub(crate) use manifest::{Manifest, VARIABLE};

use crate::Share;

/// One object that a child inherits, by name.
#[derive(Debug, Clone)]
pub(crate) struct Listed<'a> {
    pub(crate) name: String,
    pub(crate) object: Share<'a>,
}
