//! Waiting for objects, processes and deadlines, alone and together.

use std::io;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::handle::{HandleValue, InvalidValue};
use crate::sys::io::{AsHandle, HasHandle};
use crate::sys::value::number_of;
use crate::sys::wait::{LONGEST, Target, Waited, can_not_be_waited_for, wait};
use crate::sys::{SysResult, call};

/// What can be waited for: an [`Event`](crate::Event), a [`Semaphore`](crate::Semaphore), a [`Timer`](crate::Timer), a [`Process`](crate::Process) or a [`Child`](crate::Child) (its end), and on
/// Windows a mutex (which this thread has then; its guard releases it).
///
/// [`wait_any`] waits for several of them.
pub trait Waitable: AsHandle + sealed::Sealed {}

pub(crate) mod sealed {
    use super::Target;

    pub trait Sealed {
        /// What the system waits for.
        #[doc(hidden)]
        fn target(&self) -> Target<'_>;
    }
}

/// Lets an object type be waited for.
macro_rules! waitable {
    ($kind:ty) => {
        impl $crate::wait::sealed::Sealed for $kind {
            fn target(&self) -> $crate::sys::wait::Target<'_> {
                self.held().target()
            }
        }
        impl $crate::wait::Waitable for $kind {}
    };
}
pub(crate) use waitable;

/// Which of several objects came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Signaled {
    /// Its index in the list of objects, from 0.
    pub index: usize,
    pub(crate) abandoned: bool,
}

impl PartialEq<usize> for Signaled {
    /// Compares the index.
    fn eq(&self, index: &usize) -> bool {
        self.index == *index
    }
}

/// The most objects that one [`wait_any`] can wait for.
pub const MAX_WAIT_OBJECTS: usize = crate::sys::wait::MOST;

/// Waits until one of the objects is signaled, or a process of them has ended, or for this long, and says which came,
/// by its place. If several did, it is the first of them; the wait changes that one alone (an auto-reset event is
/// unset by it). [`Duration::MAX`] has no end.
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
/// With the process on which the signal depends in the list, its death ends the wait at once:
/// `wait_any(&[&ready, child.process()], time)`.
///
/// # Errors
///
/// [`Error::TimedOut`]; [`Error::InvalidInput`] for no object, for more than [`MAX_WAIT_OBJECTS`] (wait for groups of
/// them on threads), and for one handle listed twice; [`Error::AccessDenied`] if a handle lacks the right to wait.
#[doc(alias = "WaitForMultipleObjects", alias = "poll")]
pub fn wait_any(objects: &[&dyn Waitable], timeout: Duration) -> Result<Signaled> {
    let what = || format!("a wait for {} objects", objects.len());
    if objects.is_empty() {
        return Err(Error::invalid(what(), "would never end; expected at least one object"));
    }
    if objects.len() > MAX_WAIT_OBJECTS {
        let why = format!("are too many; at most {MAX_WAIT_OBJECTS} fit: wait for groups of them on threads");
        return Err(Error::invalid(what(), why));
    }
    let targets: Vec<Target<'_>> = objects.iter().map(|object| object.target()).collect();
    // Windows refuses this with a code that says nothing.
    let mut values = objects
        .iter()
        .map(|object| HandleValue::new(number_of(object.handle())))
        .collect::<Result<Vec<_>, InvalidValue>>()?;
    values.sort_unstable();
    if let Some(pair) = values.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::invalid(what(), format!("lists the handle {:#x} twice", pair[0])));
    }
    match any_or_abandoned(&targets, Deadline::after(timeout)) {
        Ok(Some((index, abandoned))) => Ok(Signaled { index, abandoned }),
        Ok(None) => {
            Err(Error::TimedOut { waiting_for: format!("any of {} objects", objects.len()), timeout })
        }
        Err(error) => match targets.iter().position(can_not_be_waited_for) {
            Some(index) if error.kind() == io::ErrorKind::PermissionDenied => {
                let object = format!("object {index} of those to wait for");
                Err(Error::AccessDenied { call: error.call, object, right: call::TO_WAIT })
            }
            _ => Err(Error::system(what(), error)),
        },
    }
}

/// When waiting is to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Not before it has come.
    pub(crate) const NEVER: Self = Self(None);

    /// This long from now. What is too long for the clock is for ever.
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now().checked_add(time))
    }

    /// How long is left; zero when it has passed.
    pub(crate) fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// How long is left for one call that waits. A part of a millisecond counts as a whole one: to be late is better
    /// than to have looked only once.
    pub(crate) fn milliseconds(self) -> u32 {
        milliseconds(self.left())
    }

    pub(crate) fn or_later(self, time: Duration) -> Self {
        let other = Self::after(time);
        Self(self.0.zip(other.0).map(|(one, other)| one.max(other)))
    }

    pub(crate) fn or_sooner(self, time: Duration) -> Self {
        let other = Self::after(time);
        Self(self.0.into_iter().chain(other.0).min())
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(LONGEST).min(LONGEST)
}

/// Waits for as long as it takes.
pub(crate) fn for_ever(object: Target<'_>) -> SysResult<Waited> {
    loop {
        let waited = wait(object, None)?;
        if waited != Waited::TimedOut {
            return Ok(waited);
        }
    }
}

/// Waits for the object for at most this long.
pub(crate) fn at_most(object: Target<'_>, time: Duration) -> SysResult<Waited> {
    let waited = until(Deadline::after(time), milliseconds(time), |milliseconds| {
        let waited = wait(object, Some(milliseconds))?;
        Ok((waited != Waited::TimedOut).then_some(waited))
    })?;
    Ok(waited.unwrap_or(Waited::TimedOut))
}

/// Waits until the object is signaled (true) or the time is over (false).
pub(crate) fn for_at_most(object: Target<'_>, time: Duration) -> SysResult<bool> {
    at_most(object, time).map(|waited| waited != Waited::TimedOut)
}

/// Waits until one of the objects is signaled (its place) or the time is over (none).
#[allow(dead_code, reason = "not every system needs it")]
pub(crate) fn any(objects: &[Target<'_>], deadline: Deadline) -> SysResult<Option<usize>> {
    Ok(any_or_abandoned(objects, deadline)?.map(|(place, _)| place))
}

/// The same for objects among which mutexes are, which may have been abandoned.
fn any_or_abandoned(objects: &[Target<'_>], deadline: Deadline) -> SysResult<Option<(usize, bool)>> {
    until(deadline, deadline.milliseconds(), |milliseconds| crate::sys::wait::wait_any(objects, milliseconds))
}

/// Waits for so many milliseconds first, and then for what is left. Zero looks without waiting.
fn until<T>(
    deadline: Deadline,
    first: u32,
    wait: impl Fn(u32) -> SysResult<Option<T>>,
) -> SysResult<Option<T>> {
    let mut milliseconds = first;
    loop {
        if let Some(came) = wait(milliseconds)? {
            return Ok(Some(came));
        }
        // One call can wait for 49 days, so a longer time takes several; and it can end a tick of the clock early.
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
    fn of_two_deadlines_it_is_the_one_that_is_meant() {
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
    fn a_call_is_given_what_is_left() {
        assert_eq!(Deadline::after(Duration::ZERO).milliseconds(), 0);
        assert!((60_000..=3_600_000).contains(&Deadline::after(HOUR).milliseconds()));
        assert_eq!(Deadline::NEVER.milliseconds(), LONGEST);
    }

    #[test]
    fn what_came_is_in_its_place_and_in_no_other() {
        let came = Signaled { index: 1, abandoned: false };
        assert!(came == 1 && came != 0 && came != 2);
    }
}
