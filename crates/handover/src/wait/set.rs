//! `WaitSet`: a wait for any number of objects.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::imp::{Member, SystemSet};
use super::sealed::ReadyCheck;
use super::table::{Keyed, Table};
use super::{Deadline, Waitable};
use crate::error::{Error, Result};
use crate::sys::mutex::Mutex;
use crate::sys::{SysError, SysResult};

/// A set of objects to wait for: any number of them, of all kinds that are [`Waitable`], each under a key.
///
/// A server with one thread, for all its clients and their processes:
///
/// ```no_run
/// use std::time::Duration;
/// use handover::{Listener, WaitSet};
///
/// const LISTENER: u64 = 0;
///
/// let mut listener = Listener::bind("my-app.control")?;
/// let set = WaitSet::new()?;
/// set.add(LISTENER, &listener)?;
/// let mut channels = Vec::new();
/// loop {
///     for ready in set.wait(Duration::from_secs(60))? {
///         if ready.key() == LISTENER {
///             while let Some(incoming) = listener.try_accept()? {
///                 let Ok(channel) = incoming.accept() else { continue };
///                 channels.push(channel);
///                 set.add(channels.len() as u64, &channels[channels.len() - 1])?;
///             }
///         } else {
///             let channel = &channels[ready.key() as usize - 1];
///             match channel.try_recv() {
///                 Ok(Some(message)) => channel.send(message.bytes())?,
///                 Ok(None) => {}
///                 Err(_) => set.remove(ready.key()),
///             }
///         }
///     }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), handover::Error>(())
/// ```
///
/// # What a wait takes
///
/// An object that a wait changes, such as an auto-reset event, a semaphore or an auto-reset timer, is taken when it is
/// reported: once, by one thread, as [`wait_any`](crate::wait_any) does. All others, such as processes, channels and
/// manual-reset events, are reported by each wait for as long as they are signaled. No object is passed over for another:
/// each wait goes on where the last one ended.
///
/// On Windows a thread of the system's thread pool takes an object before a wait reports it, so other threads that wait for
/// the object itself get it less often. If the object is removed in between, or the set is dropped, its signal is put back
/// where the handle has the right for that: to an event, even to a manual-reset one that was reset meanwhile, and to a
/// semaphore. An auto-reset timer can't be given one, so that expiry is lost. It also takes a moment until a new signal is noticed, so
/// [`try_wait`](Self::try_wait) can miss one of the last milliseconds.
///
/// # Members
///
/// The set doesn't own its members. An object leaves the set when it is dropped or converted into a handle; for objects
/// with clones that share a handle, as those of [`Process`](crate::Process) and [`Channel`](crate::Channel) do, when the
/// last one is dropped. Objects can be added and removed by other threads while one waits. Several threads can wait.
///
/// On Linux a member takes one descriptor, except a [`Channel`](crate::Channel), which takes none. A channel itself has one,
/// and one for its peer process, which all channels to that process share. So a process can serve almost as many channels as
/// its limit of descriptors (`RLIMIT_NOFILE`) says.
///
/// [epoll(7)](https://man7.org/linux/man-pages/man7/epoll.7.html);
/// [`RegisterWaitForSingleObject`](https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-registerwaitforsingleobject)
#[doc(alias = "epoll", alias = "select", alias = "RegisterWaitForSingleObject")]
pub struct WaitSet {
    inner: Arc<SetInner>,
}

/// The set, to which its members refer.
#[derive(Debug)]
pub(crate) struct SetInner {
    pub(super) system: SystemSet,
    pub(super) members: Mutex<Members>,
}

/// The members, under the keys that the caller has given them.
pub(super) type Members = Table<Entry>;

/// A member of a set.
pub(super) struct Entry {
    pub(super) key: u64,
    pub(super) member: Member,
    /// Tells whether a signaled member is ready, if that isn't the same.
    check: Option<Weak<dyn ReadyCheck>>,
}

impl Keyed for Entry {
    fn key(&self) -> u64 {
        self.key
    }
}

/// How to find out whether a signaled member is ready.
pub(super) enum Check {
    /// It is.
    Ready,
    /// The object is asked. It is dropped when the set is unlocked: if it has no other owner left, it leaves the set then.
    Ask(Arc<dyn ReadyCheck>),
    /// The object is being dropped, and leaves the set in a moment.
    Leaving,
}

impl Entry {
    pub(super) fn check(&self) -> Check {
        match &self.check {
            None => Check::Ready,
            Some(check) => check.upgrade().map_or(Check::Leaving, Check::Ask),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("key", &self.key).field("member", &self.member).finish_non_exhaustive()
    }
}

/// A member of a [`WaitSet`] that a wait has found ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    key: u64,
}

impl Ready {
    pub(super) fn new(key: u64) -> Self {
        Self { key }
    }

    /// Returns the key under which the object was added.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }
}

impl WaitSet {
    /// Creates an empty set.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no resources for it.
    #[doc(alias = "epoll_create")]
    pub fn new() -> Result<Self> {
        Ok(Self { inner: Arc::new(SetInner::new().map_err(failed)?) })
    }

    /// Adds an object under a key, which [`wait`](Self::wait) then returns. Several objects can have the same key.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no resources for another member, or on Windows if the handle lacks the right to
    /// wait.
    #[doc(alias = "epoll_ctl")]
    pub fn add(&self, key: u64, object: &(impl Waitable + ?Sized)) -> Result<()> {
        let number = self.inner.add(key, object.member()?, object.ready_check()).map_err(failed)?;
        object.memberships().join(Arc::downgrade(&self.inner), number);
        object.joined().inspect_err(|_| self.inner.leave(number))
    }

    /// Removes all objects that have this key. Nothing happens if none has it.
    ///
    /// A wait in another thread that has already found one of them may still return its key.
    pub fn remove(&self, key: u64) {
        let mut removed = Vec::new();
        let mut members = self.inner.members.lock();
        while let Some(number) = members.find(key) {
            removed.extend(members.remove(number).map(|entry| (number, entry)));
        }
        for (number, entry) in &removed {
            self.inner.system.remove(&entry.member, *number);
        }
        drop(members);
    }

    /// Waits until at least one member is ready, and returns those that are. If they are many, on Linux it returns a part of
    /// them, and the next wait others. Returns none if the timeout passes first.
    /// [`Duration::MAX`] waits without a timeout.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system can't wait for a member.
    #[doc(alias = "epoll_wait")]
    pub fn wait(&self, timeout: Duration) -> Result<impl ExactSizeIterator<Item = Ready> + use<>> {
        self.inner.wait(Deadline::after(timeout)).map(Vec::into_iter).map_err(failed)
    }

    /// Returns the members that are ready now, without waiting.
    ///
    /// # Errors
    ///
    /// The errors of [`wait`](Self::wait).
    pub fn try_wait(&self) -> Result<impl ExactSizeIterator<Item = Ready> + use<>> {
        self.wait(Duration::ZERO)
    }
}

impl fmt::Debug for WaitSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.inner.members.lock().len();
        f.debug_struct("WaitSet").field("members", &count).finish_non_exhaustive()
    }
}

pub(super) fn failed(error: SysError) -> Error {
    Error::system("a set of objects to wait for", error)
}

impl SetInner {
    pub(super) fn new() -> SysResult<Self> {
        Ok(Self { system: SystemSet::new()?, members: Mutex::new(Members::default()) })
    }

    /// Adds a member, and returns its number.
    pub(super) fn add(
        &self,
        key: u64,
        mut member: Member,
        check: Option<Weak<dyn ReadyCheck>>,
    ) -> SysResult<u64> {
        let mut members = self.members.lock();
        self.system.add(&mut member, members.next_number())?;
        Ok(members.insert(Entry { key, member, check }))
    }

    /// Removes a member that is being dropped.
    fn leave(&self, number: u64) {
        let mut members = self.members.lock();
        if let Some(entry) = members.remove(number) {
            self.system.remove(&entry.member, number);
        }
    }
}

impl Drop for SetInner {
    fn drop(&mut self) {
        // Signals that were taken and not reported are put back.
        for (number, entry) in std::mem::take(&mut *self.members.lock()).into_values() {
            self.system.remove(&entry.member, number);
        }
    }
}

/// A set, and the number of the member in it.
type Membership = (Weak<SetInner>, u64);

/// The sets that an object is a member of. Dropping it leaves them, so it is dropped before the object's handle.
#[derive(Debug, Default)]
#[allow(unreachable_pub, reason = "a public trait mentions it, in a method that other crates can't call")]
pub struct Memberships {
    /// Whether the object was ever added to a set.
    exist: AtomicBool,
    sets: Mutex<Sets>,
}

/// Most members are in one set. It is noted beside the object, because a channel tells it of each message.
#[derive(Debug, Default)]
struct Sets {
    first: Option<Membership>,
    others: Vec<Membership>,
}

impl Memberships {
    fn join(&self, set: Weak<SetInner>, number: u64) {
        // Sets that were dropped or have removed the object.
        let is_member = |(set, number): &Membership| {
            set.upgrade().is_some_and(|set| set.members.lock().get(*number).is_some())
        };
        self.exist.store(true, Relaxed);
        let mut sets = self.sets.lock();
        sets.others.retain(is_member);
        sets.first.take_if(|membership| !is_member(membership));
        match sets.first {
            None => sets.first = Some((set, number)),
            Some(_) => sets.others.push((set, number)),
        }
    }

    /// Returns whether the object was ever added to a set.
    #[allow(dead_code, reason = "used on Linux only")]
    pub(crate) fn exist(&self) -> bool {
        self.exist.load(Relaxed)
    }

    /// Calls `tell` for each set that exists, with the object's number in it.
    #[allow(dead_code, reason = "used on Linux only")]
    pub(crate) fn tell(&self, tell: impl Fn(&SetInner, u64) -> SysResult<()>) -> SysResult<()> {
        if !self.exist() {
            return Ok(());
        }
        // If a set's last owner is dropped meanwhile, it is dropped here, which locks nothing that is locked now.
        let sets = self.sets.lock();
        sets.first
            .iter()
            .chain(&sets.others)
            .filter_map(|(set, number)| Some((set.upgrade()?, *number)))
            .try_for_each(|(set, number)| tell(&set, number))
    }

    /// Leaves all sets.
    pub(crate) fn leave(&self) {
        let Sets { first, others } = std::mem::take(&mut *self.sets.lock());
        for (set, number) in first.into_iter().chain(others) {
            if let Some(set) = set.upgrade() {
                set.leave(number);
            }
        }
    }
}

impl Drop for Memberships {
    #[inline]
    fn drop(&mut self) {
        // Most objects were never in a set.
        if *self.exist.get_mut() {
            self.leave();
        }
    }
}
