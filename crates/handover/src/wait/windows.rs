//! The Windows half of a set: a wait of the thread pool for each member.
//!
//! A pool wait changes its object, as every wait does, and notes its member's number. The thread that reports the
//! member then asks for it directly until it isn't signaled any more, and only then begins the next pool wait. So an object
//! that stays signaled costs no pool wait each time, and the set need not know which objects a wait changes.

use std::collections::BTreeSet;
use std::os::windows::io::AsHandle;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::sealed::{ReadyCheck, Sealed};
use super::set::{Check, Entry, Members, Ready, SetInner};
use super::{Deadline, MAX_WAIT_OBJECTS, any};
use crate::handle::ObjectKind;
use crate::sys::io::Owned;
use crate::sys::mutex::Mutex;
use crate::sys::pool_wait::{OnSignal, PoolWait};
use crate::sys::wait::{Target, Waited, wait};
use crate::sys::{SysResult, create_object, handle, rights};

#[derive(Debug)]
pub(super) struct SystemSet {
    signals: Arc<Signals>,
    asking: Mutex<Asking>,
}

#[derive(Debug, Default)]
struct Asking {
    /// The members that are asked directly, because they may still be signaled.
    directly: BTreeSet<u64>,
    /// The number of threads that wait for a signal.
    waiting: usize,
}

/// The members whose pool wait has ended, and an event that wakes one thread to report them.
#[derive(Debug)]
struct Signals {
    /// Its lock is std's: the library's own asks a subscriber, which may not run on a thread of the pool.
    numbers: std::sync::Mutex<Vec<u64>>,
    wake: Owned,
}

impl Signals {
    fn numbers(&self) -> MutexGuard<'_, Vec<u64>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a member's signal. Returns whether there was one.
    fn forget(&self, number: u64) -> bool {
        let mut numbers = self.numbers();
        let before = numbers.len();
        numbers.retain(|signaled| *signaled != number);
        numbers.len() < before
    }
}

struct Note {
    number: u64,
    signals: Arc<Signals>,
}

impl OnSignal for Note {
    fn signaled(&self) {
        self.signals.numbers().push(self.number);
        create_object::set_event_in_callback(self.signals.wake.as_handle());
    }
}

/// A member's handle. It is a copy, so that the pool never waits for a handle that is closed.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "a public trait mentions it, in a method that other crates can't call")]
pub struct Member {
    handle: Arc<Owned>,
    /// The pool wait, while there is one.
    pool: Mutex<Option<PoolWait<Arc<Owned>, Note>>>,
}

impl Member {
    pub(super) fn new(target: &Target<'_>) -> SysResult<Self> {
        let handle = handle::duplicate_here(*target, rights::SAME, false)?;
        Ok(Self { handle: Arc::new(handle), pool: Mutex::new(None) })
    }

    fn begin(&self, number: u64, signals: &Arc<Signals>) -> SysResult<()> {
        let note = Note { number, signals: Arc::clone(signals) };
        *self.pool.lock() = Some(PoolWait::begin(Arc::clone(&self.handle), note)?);
        Ok(())
    }

    /// Ends the pool wait. When it returns, the pool takes nothing any more.
    fn end(&self) {
        let ended = self.pool.lock().take();
        drop(ended);
    }
}

/// Puts back a signal that a wait of the pool has taken and no wait has reported, where that is possible.
pub(crate) fn put_back(object: Target<'_>) {
    // The errors mean that the handle lacks the right to do it.
    match handle::kind_of(object) {
        // The wait has reset an auto-reset event. A manual-reset one is still set, unless it was reset just now.
        Ok(ObjectKind::Event) => drop(create_object::set_event(object)),
        Ok(ObjectKind::Semaphore) => drop(create_object::release_semaphore(object, 1)),
        // A timer can't be signaled but by time. Nothing is taken from other objects.
        _ => {}
    }
}

impl SystemSet {
    pub(super) fn new() -> SysResult<Self> {
        let signals = Signals { numbers: std::sync::Mutex::default(), wake: create_object::event(false)? };
        Ok(Self { signals: Arc::new(signals), asking: Mutex::new(Asking::default()) })
    }

    pub(super) fn add(&self, member: &mut Member, number: u64) -> SysResult<()> {
        member.begin(number, &self.signals)
    }

    pub(super) fn remove(&self, member: &Member, number: u64) {
        member.end();
        self.asking.lock().directly.remove(&number);
        if self.signals.forget(number) {
            put_back(member.handle.as_handle());
        }
    }
}

/// Whether a wait for several objects has a limit.
pub(super) const IS_LIMITED: bool = true;

/// Waits until one of the objects is signaled, and returns its index, and whether it is an abandoned mutex.
pub(super) fn wait_any<T: Sealed + ?Sized>(
    objects: &[&T],
    targets: &[Target<'_>],
    milliseconds: u32,
) -> SysResult<Option<(usize, bool)>> {
    if objects.len() <= MAX_WAIT_OBJECTS {
        return crate::sys::wait::wait_any(targets, milliseconds);
    }
    for (index, target) in targets.iter().enumerate() {
        match wait(*target, Some(0))? {
            Waited::TimedOut => {}
            waited => return Ok(Some((index, waited == Waited::Abandoned))),
        }
    }
    if milliseconds == 0 {
        return Ok(None);
    }
    // The objects that a wait doesn't change are in a set, whose event stands for all of them.
    let set = SetInner::new()?;
    let (mut handles, mut indexes) = (Vec::new(), Vec::new());
    for (index, (object, target)) in objects.iter().zip(targets).enumerate() {
        if object.is_taken() {
            handles.push(*target);
            indexes.push(index);
        } else {
            set.add(index as u64, Member::new(target)?, None)?;
        }
    }
    handles.push(set.system.signals.wake.as_handle());
    let deadline = Deadline::after(Duration::from_millis(milliseconds.into()));
    loop {
        let ready = set.wait(Deadline::after(Duration::ZERO))?;
        let first = ready.iter().filter_map(|ready| usize::try_from(ready.key()).ok()).min();
        for (handle, index) in handles.iter().zip(&indexes) {
            if first.is_some_and(|first| *index < first) {
                match wait(*handle, Some(0))? {
                    Waited::TimedOut => {}
                    waited => return Ok(Some((*index, waited == Waited::Abandoned))),
                }
            }
        }
        if let Some(first) = first {
            return Ok(Some((first, false)));
        }
        match crate::sys::wait::wait_any(&handles, deadline.milliseconds())? {
            Some((index, is_abandoned)) if index < indexes.len() => {
                return Ok(Some((indexes[index], is_abandoned)));
            }
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

impl SetInner {
    /// Waits until members are ready, and takes them, or until the deadline.
    pub(super) fn wait(&self, deadline: Deadline) -> SysResult<Vec<Ready>> {
        let SystemSet { signals, asking } = &self.system;
        loop {
            let (mut ready, mut checked) = (Vec::new(), Vec::new());
            let members = self.members.lock();
            let asked = self.ask(&members, &mut ready, &mut checked);
            drop(members);
            drop(checked);
            let mut state = asking.lock();
            // Members that are still signaled are reported to other threads too.
            let wakes_another = !state.directly.is_empty() && state.waiting > 0;
            let asks_again = !state.directly.is_empty() && ready.is_empty();
            let is_over = !ready.is_empty() || deadline.has_passed() || asked.is_err();
            let waits = !is_over && !asks_again;
            state.waiting += usize::from(waits);
            drop(state);
            if wakes_another {
                create_object::set_event(signals.wake.as_handle())?;
            }
            if is_over {
                return if ready.is_empty() { asked.map(|()| ready) } else { Ok(ready) };
            }
            if waits {
                let woken = any(&[signals.wake.as_handle()], deadline);
                asking.lock().waiting -= 1;
                woken?;
            }
        }
    }

    /// Asks which members are ready: those whose pool wait has ended, and those that may still be signaled.
    fn ask(
        &self,
        members: &Members,
        ready: &mut Vec<Ready>,
        checked: &mut Vec<Arc<dyn ReadyCheck>>,
    ) -> SysResult<()> {
        let SystemSet { signals, asking } = &self.system;
        let mut asking = asking.lock();
        let signaled = std::mem::take(&mut *signals.numbers());
        let before = asking.directly.clone();
        for number in signaled {
            let Some(entry) = members.get(number) else { continue };
            entry.member.end();
            asking.directly.insert(number);
            if is_ready(entry, checked) {
                ready.push(Ready::new(entry.key));
            }
        }
        for number in before {
            let Some(entry) = members.get(number) else { continue };
            if wait(entry.member.handle.as_handle(), Some(0))? == Waited::TimedOut {
                entry.member.begin(number, signals)?;
                asking.directly.remove(&number);
            } else if is_ready(entry, checked) {
                ready.push(Ready::new(entry.key));
            }
        }
        Ok(())
    }
}

/// Returns whether a signaled member is ready. Its object is kept in `checked`, to be dropped when the set is unlocked.
fn is_ready(entry: &Entry, checked: &mut Vec<Arc<dyn ReadyCheck>>) -> bool {
    match entry.check() {
        Check::Ready => true,
        Check::Ask(object) => {
            let is_ready = object.is_ready();
            checked.push(object);
            is_ready
        }
        Check::Leaving => false,
    }
}
