//! The rights that a copy of a handle carries when it is passed on.

use crate::handle::Access;

/// The access of a copied handle; `None` keeps the access of the original.
pub(crate) type Rights = Option<Access>;

/// The rights for a handle of unspecified kind.
pub(crate) const SAME: Rights = None;
pub(crate) const EVENT: Rights = Some(Access::EVENT_USE);
pub(crate) const SEMAPHORE: Rights = Some(Access::SEMAPHORE_USE);
pub(crate) const TIMER: Rights = Some(Access::TIMER_USE);
pub(crate) const SECTION: Rights = Some(Access::SECTION_USE);
pub(crate) const PROCESS: Access = Access::SYNCHRONIZE.union(Access::PROCESS_QUERY_LIMITED_INFORMATION);
pub(crate) const SECTION_READ: Rights = Some(Access::SECTION_READ);
