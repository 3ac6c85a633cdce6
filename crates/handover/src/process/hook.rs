//! The hook by which other modules add handles to a spawn. `channel` fills it, so `process` doesn't depend on channels.

use std::any::Any;
use std::fmt;

use super::Process;
use crate::error::Result;
use crate::object::BorrowedObject;

/// Prepares an attachment for one spawn.
pub(crate) trait OpenAttachment: fmt::Debug + Send + Sync {
    /// Returns the name of what the child gets, if the caller has given it one.
    fn name(&self) -> Option<&str>;

    /// Opens the handles for one child. Dropping the result undoes it.
    fn open(&self) -> Result<Box<dyn Attachment>>;
}

/// Handles that a spawn passes to the child beside the listed objects, and the parent's side of them.
pub(crate) trait Attachment: fmt::Debug {
    /// Returns the handles for the child, with their reserved names.
    fn handles(&self) -> Vec<(String, BorrowedObject<'_>)>;

    /// Builds the parent's side, which the [`Child`](super::Child) keeps until it is taken. This process's copies of
    /// the child's handles are closed by then.
    fn attach(self: Box<Self>, child: &Process) -> Option<Box<dyn Any + Send + Sync>>;
}
