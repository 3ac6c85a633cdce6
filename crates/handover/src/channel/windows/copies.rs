//! `Copies`: the duplicates of the objects of one message, from their creation until the receiver owns them.

use crate::process::imp::RemoteCopy;
use crate::sys::io::Owned;

/// The duplicates of a message's objects, until the receiver owns them.
#[derive(Debug)]
pub(super) enum Copies {
    Remote(Vec<RemoteCopy>),
    Local(Vec<Owned>),
}
