//! Strategy 1, inheritance: the manifest that a parent writes, and the objects that its child takes by name.
//!
//! Each system's half provides:
//!
//! - `InitialEnvironment`: the environment that this process started with;
//! - `check_is_for_this_process`: a check that a manifest was written for this process;
//! - `listen_fds`: the handles that a service manager passed;
//! - `Place`, where a process finds an inherited object: `number_of_place` tells places apart, `place_of` and `value_of`
//!   convert it from and into a handle value, `check_places` checks a list of them, and `keep` makes this process the owner of
//!   the object.

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
pub(crate) use imp::Place;
#[cfg(all(windows, feature = "inspect"))]
pub(crate) use imp::identity_of;
#[cfg(all(target_os = "linux", feature = "inspect"))]
pub(crate) use imp::is_for_proven;
#[cfg(target_os = "linux")]
pub(crate) use imp::{has_proof, nonce_text};
#[cfg(any(windows, feature = "fuzzing"))]
pub(crate) use imp::{place_of, value_of};
pub(crate) use inherited::Reserved;
#[cfg(feature = "inspect")]
pub(crate) use inherited::standard_streams;
#[cfg(all(target_os = "linux", feature = "inspect"))]
pub(crate) use inherited::with_sockets;
pub use inherited::{Inherited, LeakedHandle, inherited, leaked_handles};
#[cfg(target_os = "linux")]
pub(crate) use manifest::RECIPIENT;
#[cfg(windows)]
pub(crate) use manifest::SOCKETS;
pub(crate) use manifest::text as manifest_text;
pub(crate) use manifest::{Manifest, VARIABLE};

use std::fmt;
use std::sync::Arc;

use crate::object::BorrowedObject;

/// An object that a child inherits, and its name in the child.
#[derive(Debug)]
pub(crate) struct Listed<'a> {
    /// Each child of the command shares it.
    pub(crate) name: Arc<str>,
    object: Source<'a>,
}

enum Source<'a> {
    Borrowed(BorrowedObject<'a>),
    Owned(Box<dyn Lend>),
}

/// An object of any type.
trait Lend: Send + Sync {
    fn lend(&self) -> BorrowedObject<'_>;
}

impl<T: Send + Sync> Lend for T
where
    for<'b> &'b T: Into<BorrowedObject<'b>>,
{
    fn lend(&self) -> BorrowedObject<'_> {
        self.into()
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Borrowed(object) => object.fmt(f),
            Self::Owned(object) => object.lend().fmt(f),
        }
    }
}

impl<'a> Listed<'a> {
    pub(crate) fn borrowed(name: String, object: BorrowedObject<'a>) -> Self {
        Self { name: name.into(), object: Source::Borrowed(object) }
    }

    pub(crate) fn owned<T>(name: String, object: T) -> Self
    where
        T: Send + Sync + 'static,
        for<'b> &'b T: Into<BorrowedObject<'b>>,
    {
        Self { name: name.into(), object: Source::Owned(Box::new(object)) }
    }

    pub(crate) fn object(&self) -> BorrowedObject<'_> {
        match &self.object {
            Source::Borrowed(object) => *object,
            Source::Owned(object) => object.lend(),
        }
    }
}

/// Returns whether a name is reserved for this crate's own handles.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with("handover/")
}
