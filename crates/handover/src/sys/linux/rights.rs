//! The rights with which objects travel.

/// What a copy of a descriptor is open for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// What the descriptor is open for itself.
    Same,
    /// Reading alone; for this the object is opened once more.
    ReadOnly,
}

/// Those that a descriptor of no kind in particular travels with.
pub(crate) const SAME: Rights = Rights::Same;
pub(crate) const EVENT: Rights = Rights::Same;
pub(crate) const SEMAPHORE: Rights = Rights::Same;
pub(crate) const TIMER: Rights = Rights::Same;
pub(crate) const SECTION: Rights = Rights::Same;
pub(crate) const SECTION_READ: Rights = Rights::ReadOnly;
