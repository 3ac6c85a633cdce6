//! The rights with which objects travel.

use crate::handle::Access;

/// Which rights a copy of a handle has; `None` keeps those that the handle carries.
pub(crate) type Rights = Option<Access>;

/// Those that a handle of no kind in particular travels with.
pub(crate) const SAME: Rights = None;
pub(crate) const EVENT: Rights = Some(Access::EVENT_USE);
pub(crate) const SEMAPHORE: Rights = Some(Access::SEMAPHORE_USE);
pub(crate) const TIMER: Rights = Some(Access::TIMER_USE);
pub(crate) const SECTION: Rights = Some(Access::SECTION_USE);
pub(crate) const SECTION_READ: Rights = Some(Access::SECTION_READ);
