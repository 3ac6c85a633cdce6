//! What other concepts add to a spawn, such as a channel, without this one knowing them.

use std::any::Any;
use std::fmt;

use super::Process;
use crate::error::Result;
use crate::object::BorrowedObject;

/// Prepares an attachment for one spawn.
pub(crate) type OpenAttachment = fn() -> Result<Box<dyn Attachment>>;

/// Handles that a spawn passes to the child beside the listed objects, and the parent's side of them.
pub(crate) trait Attachment: fmt::Debug {
    /// Returns the handles for the child, with their reserved names.
    fn handles(&self) -> Vec<(&'static str, BorrowedObject<'_>)>;

    /// Makes the parent's side, which the [`Child`](super::Child) keeps until it is taken. The handles for the child are
    /// closed here.
    fn attach(self: Box<Self>, child: &Process) -> Box<dyn Any + Send + Sync>;
}
