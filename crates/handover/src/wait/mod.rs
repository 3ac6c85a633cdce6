//! Waits for one object or process, or for several, until a deadline.

#[cfg(target_os = "linux")]
mod linux;
pub(crate) mod set;
mod table;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as imp;
#[cfg(windows)]
use windows as imp;

pub(crate) use imp::Member;
#[cfg(all(windows, feature = "_async"))]
pub(crate) use imp::put_back;

use std::io;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::handle::{HandleValue, number_for_people};
use crate::sys::value::number_of;
use crate::sys::wait::{LONGEST, Target, Waited, can_not_be_waited_for, handle_of, wait};
use crate::sys::{SysResult, call};

/// A type that [`wait_any`] can wait for.
///
/// - An [`Event`](crate::Event), a [`Semaphore`](crate::Semaphore) or a [`Timer`](crate::Timer): until it is signaled.
/// - A [`Process`](crate::Process) or a [`Child`](crate::Child): until the process exits.
/// - A [`Channel`](crate::Channel): until there is a message to receive, or an error: the peer has exited or closed its
///   endpoint, or this process has. Then call [`try_recv`](crate::Channel::try_recv).
/// - A [`Listener`](crate::Listener): until a client connects. Then call [`try_accept`](crate::Listener::try_accept).
///
/// A Windows mutex belongs to the thread that waits for it, so it has a `wait_any` of its own in `handover::os::windows`.
///
/// Other crates can't implement it.
pub trait Waitable: sealed::Sealed {}

pub(crate) mod sealed {
    use std::sync::Weak;

    use super::set::Memberships;
    use super::{Member, Result, Target};

    pub trait Sealed {
        /// Returns what the system waits for.
        #[doc(hidden)]
        fn target(&self) -> Result<Target<'_>>;

        /// Returns whether a wait changes the object: it resets it, or takes one from its count.
        #[doc(hidden)]
        fn is_taken(&self) -> bool {
            false
        }

        /// Returns what a set waits for.
        #[doc(hidden)]
        fn member(&self) -> Result<Member> {
            super::member(&self.target()?)
        }

        /// Does what is needed after the object has joined a set.
        #[doc(hidden)]
        fn joined(&self) -> Result<()> {
            Ok(())
        }

        /// Returns the sets that this object is a member of.
        #[doc(hidden)]
        fn memberships(&self) -> &Memberships;

        /// Returns what tells whether a wait for this object is over once its target is signaled. `None`: it is.
        #[doc(hidden)]
        fn ready_check(&self) -> Option<Weak<dyn ReadyCheck>> {
            None
        }
    }

    /// An object whose signaled handle doesn't say enough.
    pub trait ReadyCheck: Send + Sync {
        /// Returns whether a wait for this object is over.
        fn is_ready(&self) -> bool;
    }
}

/// Implements [`Waitable`] for an object type.
macro_rules! waitable {
    ($type:ty) => {
        $crate::wait::wait_target!($type);
        impl $crate::wait::Waitable for $type {}
    };
}
pub(crate) use waitable;

/// Says how an object type is waited for.
macro_rules! wait_target {
    ($type:ty) => {
        impl $crate::wait::sealed::Sealed for $type {
            fn target(&self) -> $crate::error::Result<$crate::sys::wait::Target<'_>> {
                Ok(self.object_handle().target())
            }

            fn is_taken(&self) -> bool {
                true
            }

            fn memberships(&self) -> &$crate::wait::set::Memberships {
                self.object_handle().memberships()
            }
        }
    };
}
pub(crate) use wait_target;

/// The result of [`wait_any`]: which object ended the wait. Compare it with `==` to an index into the passed slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Signaled {
    /// The object's index in the list that was passed to [`wait_any`].
    pub index: usize,
    /// Whether the object is a mutex whose last owner exited without releasing it.
    pub(crate) abandoned: bool,
}

impl PartialEq<usize> for Signaled {
    /// Compares [`index`](Self::index) with a number.
    fn eq(&self, index: &usize) -> bool {
        self.index == *index
    }
}

/// The maximum number of objects of one [`wait_any`] on Windows, if all of them are events, semaphores or timers. Beside
/// them, any number of processes, channels and listeners can be waited for; then the limit is one less. Linux has no limit.
pub const MAX_WAIT_OBJECTS: usize = 64;

/// Waits until one of the objects is signaled, or one of the processes exits, and returns which one.
///
/// If several are signaled, the result is the first of them in the list. The wait changes only that object: it resets
/// an auto-reset event, for example. [`Duration::MAX`] waits without a timeout.
///
/// ```
/// use std::time::Duration;
/// use handover::{Event, wait_any};
///
/// let (stop, work) = (Event::manual_reset()?, Event::auto_reset()?);
/// work.set()?;
/// assert_eq!(wait_any(&[&stop, &work], Duration::from_secs(5))?, 1);
/// # Ok::<(), handover::Error>(())
/// ```
///
/// A ring buffer between two processes:
/// [`examples/ring.rs`](https://docs.rs/crate/handover/latest/source/examples/ring.rs).
///
/// Include the process that is expected to signal, so that the wait ends at once if that process exits first:
/// `wait_any(&[&ready, child.process()], timeout)`.
///
/// # Errors
///
/// - [`Error::TimedOut`] if the timeout passes first.
/// - [`Error::InvalidInput`] if the list is empty, has a handle twice, or has more events, semaphores and timers than
///   [`MAX_WAIT_OBJECTS`] allows on Windows. A [`WaitSet`](crate::WaitSet) has no limit.
/// - [`Error::AccessDenied`] if a handle lacks the right to wait.
///
/// [WaitForMultipleObjects](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitformultipleobjects);
/// [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html)
#[doc(alias = "WaitForMultipleObjects", alias = "poll")]
pub fn wait_any(objects: &[&dyn Waitable], timeout: Duration) -> Result<Signaled> {
    any_object(objects, timeout)
}

/// Does the same for other traits, whose objects can be waited for under other conditions.
pub(crate) fn any_object<T: sealed::Sealed + ?Sized>(objects: &[&T], timeout: Duration) -> Result<Signaled> {
    let count = match objects.len() {
        1 => "1 object".to_owned(),
        count => format!("{count} objects"),
    };
    let input = || format!("a wait for {count}");
    if objects.is_empty() {
        return Err(Error::invalid(input(), "would never end; expected at least 1 object"));
    }
    let taken = objects.iter().filter(|object| object.is_taken()).count();
    let limit = if taken == objects.len() { MAX_WAIT_OBJECTS } else { MAX_WAIT_OBJECTS - 1 };
    if imp::IS_LIMITED && objects.len() > MAX_WAIT_OBJECTS && taken > limit {
        let reason = format!(
            "lists {taken} events, semaphores and timers; expected at most {limit}, or add them to a WaitSet"
        );
        return Err(Error::invalid(input(), reason));
    }
    let (mut targets, mut values) =
        (Vec::with_capacity(objects.len()), Vec::<u64>::with_capacity(objects.len()));
    for object in objects {
        targets.push(object.target()?);
    }
    // Windows documents that the list may not contain a handle twice, but not what happens if it does.
    for target in &targets {
        values.push(HandleValue::new(number_of(handle_of(target)))?.get().into());
    }
    values.sort_unstable();
    if let Some(pair) = values.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::invalid(
            input(),
            format!("lists the handle {} twice; list each object once", number_for_people(pair[0])),
        ));
    }
    match any_that_is_ready(objects, &targets, Deadline::after(timeout)) {
        Ok(Some((index, abandoned))) => Ok(Signaled { index, abandoned }),
        Ok(None) => {
            let waiting_for = match objects.len() {
                1 => "the object to be signaled".into(),
                _ => format!("one of {count} to be signaled"),
            };
            Err(Error::TimedOut { waiting_for, timeout })
        }
        Err(error) => match targets.iter().position(can_not_be_waited_for) {
            Some(index) if error.kind() == io::ErrorKind::PermissionDenied => {
                let object = format!("the object at index {index}");
                Err(Error::AccessDenied { call: error.call, object, right: call::TO_WAIT })
            }
            _ => Err(Error::system(input(), error)),
        },
    }
}

/// Waits until one of the objects is signaled, and is ready.
fn any_that_is_ready<T: sealed::Sealed + ?Sized>(
    objects: &[&T],
    targets: &[Target<'_>],
    deadline: Deadline,
) -> SysResult<Option<(usize, bool)>> {
    // Each object that turns out not to be ready has been read from, so the next one is found.
    let mut left = objects.len();
    loop {
        let signaled = until(deadline, deadline.milliseconds(), |milliseconds| {
            imp::wait_any(objects, targets, milliseconds)
        })?;
        let Some((index, _)) = signaled else { return Ok(None) };
        let check = objects[index].ready_check().and_then(|check| check.upgrade());
        if check.is_none_or(|check| check.is_ready()) {
            return Ok(signaled);
        }
        if deadline.has_passed() {
            left -= 1;
            if left == 0 {
                return Ok(None);
            }
        }
    }
}

/// The time at which a wait ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// A deadline that never passes.
    pub(crate) const NEVER: Self = Self(None);

    /// Returns the deadline after this timeout, from now. A timeout too long for the clock never passes.
    pub(crate) fn after(timeout: Duration) -> Self {
        // Most waits without a limit need not ask for the time.
        if timeout == Duration::MAX { Self::NEVER } else { Self(Instant::now().checked_add(timeout)) }
    }

    /// Returns the remaining time. It is zero when the deadline has passed.
    pub(crate) fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |instant| instant.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// Returns the remaining time as the timeout of one system call, in milliseconds.
    ///
    /// It is rounded up: a wait that ends late is better than a timeout of zero, which only polls.
    pub(crate) fn milliseconds(self) -> u32 {
        milliseconds(self.left())
    }

    /// Does the same, and returns `None` if the deadline never passes. A wait without a timeout needs no timer.
    #[allow(dead_code, reason = "used on Linux only")]
    pub(crate) fn timeout(self) -> Option<u32> {
        self.0.map(|_| self.milliseconds())
    }

    /// Returns the later one of this deadline and the one after this timeout.
    #[allow(dead_code, reason = "used on Windows only")]
    pub(crate) fn or_later(self, timeout: Duration) -> Self {
        let other = Self::after(timeout);
        Self(self.0.zip(other.0).map(|(one, other)| one.max(other)))
    }

    /// Returns the earlier one of this deadline and the one after this timeout.
    pub(crate) fn or_sooner(self, timeout: Duration) -> Self {
        let other = Self::after(timeout);
        Self(self.0.into_iter().chain(other.0).min())
    }
}

/// Returns the time in milliseconds, rounded up, and at most the longest timeout of one system call.
fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(LONGEST).min(LONGEST)
}

/// Returns what a set waits for, from what other waits wait for.
pub(crate) fn member(target: &Target<'_>) -> Result<Member> {
    Member::new(target).map_err(set::failed)
}

/// Waits for the object without a timeout.
pub(crate) fn without_timeout(object: Target<'_>) -> SysResult<Waited> {
    loop {
        let waited = wait(object, None)?;
        if waited != Waited::TimedOut {
            return Ok(waited);
        }
    }
}

/// Waits for the object, at most for the timeout.
pub(crate) fn at_most(object: Target<'_>, timeout: Duration) -> SysResult<Waited> {
    let waited = until(Deadline::after(timeout), milliseconds(timeout), |milliseconds| {
        let waited = wait(object, Some(milliseconds))?;
        Ok((waited != Waited::TimedOut).then_some(waited))
    })?;
    Ok(waited.unwrap_or(Waited::TimedOut))
}

/// Waits until the object is signaled, and returns `true`. Returns `false` if the timeout passes first.
pub(crate) fn for_at_most(object: Target<'_>, timeout: Duration) -> SysResult<bool> {
    at_most(object, timeout).map(|waited| waited != Waited::TimedOut)
}

/// Waits until one of the objects is signaled, and returns its index. Returns `None` if the deadline passes first.
#[allow(dead_code, reason = "used on one system only")]
pub(crate) fn any(objects: &[Target<'_>], deadline: Deadline) -> SysResult<Option<usize>> {
    let signaled = until(deadline, deadline.milliseconds(), |milliseconds| {
        crate::sys::wait::wait_any(objects, milliseconds)
    })?;
    Ok(signaled.map(|(index, _)| index))
}

/// Calls `wait` with a timeout of `first` milliseconds, and then with the remaining time, until it returns a value or
/// the deadline has passed. If `first` is zero, the first call only polls.
fn until<T>(
    deadline: Deadline,
    first: u32,
    wait: impl Fn(u32) -> SysResult<Option<T>>,
) -> SysResult<Option<T>> {
    let mut milliseconds = first;
    loop {
        if let Some(result) = wait(milliseconds)? {
            return Ok(Some(result));
        }
        // One call waits for at most 49 days, so a longer time takes several calls. A call can also return up to one
        // clock tick early.
        if deadline.has_passed() {
            return Ok(None);
        }
        milliseconds = deadline.milliseconds();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn or_sooner_and_or_later_choose_the_right_deadline() {
        for deadline in [Deadline::NEVER, Deadline::after(HOUR)] {
            assert!(deadline.or_sooner(SECOND).left() <= SECOND, "{deadline:?}");
            assert!(deadline.or_later(SECOND).left() > SECOND, "{deadline:?}");
        }
        assert_eq!(Deadline::NEVER.or_later(SECOND).left(), Duration::MAX);
        assert!(Deadline::after(SECOND).or_sooner(HOUR).left() <= SECOND);
        assert!(Deadline::after(SECOND).or_later(HOUR).left() > SECOND);
        assert!(Deadline::after(Duration::ZERO).or_later(HOUR).left() > SECOND);
    }

    #[test]
    fn milliseconds_returns_the_remaining_time() {
        assert_eq!(Deadline::after(Duration::ZERO).milliseconds(), 0);
        assert!((60_000..=3_600_000).contains(&Deadline::after(HOUR).milliseconds()));
        assert_eq!(Deadline::NEVER.milliseconds(), LONGEST);
    }

    #[test]
    fn signaled_equals_its_index_only() {
        let signaled = Signaled { index: 1, abandoned: false };
        assert!(signaled == 1 && signaled != 0 && signaled != 2);
    }
}
