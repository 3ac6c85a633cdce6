//! Strategy 1, inheritance: what a parent lists, and what a child makes of it.

#[cfg(windows)]
mod adoption;
#[cfg(windows)]
mod list;
mod manifest;

#[cfg(windows)]
pub use adoption::{Inherited, Unlisted, inherited, unlisted};
#[cfg(windows)]
pub(crate) use adoption::{is_reserved, with_values};
#[cfg(windows)]
pub(crate) use list::{Ground, Inheritable, Listed};
#[cfg(windows)]
pub(crate) use manifest::{Manifest, VARIABLE};
