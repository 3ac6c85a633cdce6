//! The Linux half of a set: an epoll descriptor.

use std::os::fd::AsFd;

use super::Deadline;
use super::sealed::Sealed;
use super::set::{Ready, SetInner};
use crate::sys::handle::duplicate_here;
use crate::sys::io::Owned;
use crate::sys::reset_mode::Way;
use crate::sys::rights;
use crate::sys::wait::{Target, handle_of, take, way_of_target};
use crate::sys::{SysResult, epoll};

/// Whether a wait for several objects has a limit.
pub(super) const IS_LIMITED: bool = false;

/// Waits until one of the objects is signaled, and returns its index.
pub(super) fn wait_any<T: Sealed + ?Sized>(
    _: &[&T],
    targets: &[Target<'_>],
    milliseconds: u32,
) -> SysResult<Option<(usize, bool)>> {
    crate::sys::wait::wait_any(targets, milliseconds)
}

/// The maximum number of members that one wait reports.
const MAX_REPORTED: usize = 64;

#[derive(Debug)]
pub(super) struct SystemSet {
    epoll: Owned,
}

/// A member's descriptor. It is a copy: the kernel finds a member by its descriptor, and each copy can be a member.
#[derive(Debug)]
pub(super) struct Member {
    descriptor: Owned,
    way: Way,
}

impl Member {
    pub(super) fn new(target: &Target<'_>) -> SysResult<Self> {
        let way = way_of_target(target)?;
        Ok(Self { descriptor: duplicate_here(handle_of(target), rights::SAME)?, way })
    }
}

impl SystemSet {
    pub(super) fn new() -> SysResult<Self> {
        Ok(Self { epoll: epoll::create()? })
    }

    pub(super) fn add(&self, member: &Member, number: u64) -> SysResult<()> {
        epoll::add(self.epoll.as_fd(), member.descriptor.as_fd(), number)
    }

    pub(super) fn remove(&self, member: &Member, _: u64) {
        // Closing the copy isn't enough: the object's own descriptor keeps the member in the set.
        epoll::remove(self.epoll.as_fd(), member.descriptor.as_fd());
    }
}

impl SetInner {
    /// Waits until members are ready, and takes them, or until the deadline.
    pub(super) fn wait(&self, deadline: Deadline) -> SysResult<Vec<Ready>> {
        loop {
            let found = epoll::wait::<MAX_REPORTED>(self.system.epoll.as_fd(), deadline.timeout())?;
            let (mut ready, mut checked) = (Vec::new(), Vec::new());
            // A member can't be removed between the moment when it is taken and the one when it is reported.
            let members = self.members.lock();
            let mut failed = None;
            for number in found.keys() {
                let Some(entry) = members.by_number.get(&number) else { continue };
                let member = &entry.member;
                if !entry.is_ready(&mut checked) {
                    continue;
                }
                match if member.way == Way::Look { Ok(true) } else { take(member.descriptor.as_fd()) } {
                    Ok(true) => ready.push(Ready::new(entry.key)),
                    Ok(false) => {}
                    Err(error) => failed = Some(error),
                }
            }
            drop(members);
            drop(checked);
            // Members that were taken have to be reported. The next wait meets the failure again.
            if let Some(error) = failed.filter(|_| ready.is_empty()) {
                return Err(error);
            }
            if !ready.is_empty() || deadline.has_passed() {
                return Ok(ready);
            }
        }
    }
}
