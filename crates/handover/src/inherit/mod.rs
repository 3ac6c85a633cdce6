//! Strategy 1, inheritance: the list that a parent writes, and what its child makes of it.
//!
//! Each system's half says which environment this process started with (`InitialEnvironment`), whether a manifest was
//! written for it (`check_is_for_this_process`), and what a service manager passed (`listen_fds`).

mod inherited;
#[cfg(target_os = "linux")]
mod linux;
#[allow(dead_code, reason = "only Linux has service managers that pass handles")]
pub(crate) mod listen_fds;
pub(crate) mod manifest;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as imp;
#[cfg(windows)]
use windows as imp;

#[cfg(windows)]
pub(crate) use imp::identity_of;
pub(crate) use inherited::Reserved;
pub use inherited::{Inherited, LeakedHandle, inherited, leaked_handles};
pub(crate) use manifest::{Manifest, VARIABLE};

use crate::object::BorrowedObject;

/// One object that a child inherits, by name.
#[derive(Debug, Clone)]
pub(crate) struct Listed<'a> {
    pub(crate) name: String,
    pub(crate) object: BorrowedObject<'a>,
}

/// Whether a name is reserved for this crate's own handles.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with("handover/")
}
