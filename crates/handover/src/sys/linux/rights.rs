//! The rights that a copy of a descriptor carries when it is passed on.

/// The access mode of a copied descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// The access mode of the original descriptor.
    Same,
    /// Read-only. `dup` can't reduce the access mode, so the object is opened again.
    ReadOnly,
}

/// The rights for a descriptor of unspecified kind.
pub(crate) const SAME: Rights = Rights::Same;
pub(crate) const EVENT: Rights = Rights::Same;
pub(crate) const SEMAPHORE: Rights = Rights::Same;
pub(crate) const TIMER: Rights = Rights::Same;
pub(crate) const SECTION: Rights = Rights::Same;
pub(crate) const SECTION_READ: Rights = Rights::ReadOnly;
