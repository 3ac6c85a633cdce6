//! The Linux half of a set: an epoll descriptor.
//!
//! A channel joins with its socket itself. A socket shows neither a message that was read from it and not received yet, nor
//! the exit of the peer process. For those, a set has one event for all of its channels, and one entry for each peer process,
//! however many channels lead to it. So a channel costs a set no descriptor.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::Deadline;
use super::sealed::Sealed;
use super::set::{Check, Ready, SetInner};
use super::table::{Keyed, Table};
use crate::sys::create_object::{self, What};
use crate::sys::handle::duplicate_here;
use crate::sys::io::Owned;
use crate::sys::mutex::Mutex;
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

/// The maximum number of ready members that one wait takes from each source: the kernel, the channels with a message in
/// their buffer, and the channels to one process that has exited.
const MAX_REPORTED: usize = 64;

/// The key of the event for messages in buffers.
const BUFFERED: u64 = u64::MAX;
/// Keys from here on belong to processes, those below to members.
const PROCESSES: u64 = 1 << 63;

#[derive(Debug)]
pub(super) struct SystemSet {
    epoll: Owned,
    /// Wakes the waiting threads when a channel's buffer has got a message. It is set only while a thread waits.
    event: Owned,
    channels: Mutex<Channels>,
}

/// The state of the channels that are members.
#[derive(Debug, Default)]
struct Channels {
    /// Those with a message in their buffer.
    buffered: Rotation,
    /// The number of threads that wait and have found `buffered` empty.
    waiting: usize,
    is_event_set: bool,
    /// The peer processes, under the addresses of their handles. Channels to one process share its handle.
    processes: Table<PeerProcess>,
    /// The number of waits that have reported members, to report each one once.
    waits: u32,
}

#[derive(Debug)]
struct PeerProcess {
    handle: Arc<Owned>,
    /// The channels to it.
    channels: Rotation,
}

impl Keyed for PeerProcess {
    fn key(&self) -> u64 {
        address(&self.handle)
    }
}

/// Members that get their turn one after the other.
#[derive(Debug, Default)]
struct Rotation {
    /// Their numbers, in ascending order. Most of the time they are few, or come and go at the end.
    numbers: Vec<u64>,
    /// The number of the last one that had its turn.
    last: u64,
}

impl Rotation {
    fn insert(&mut self, number: u64) {
        if let Err(place) = self.numbers.binary_search(&number) {
            self.numbers.insert(place, number);
        }
    }

    fn remove(&mut self, number: u64) {
        if let Ok(place) = self.numbers.binary_search(&number) {
            self.numbers.remove(place);
        }
    }

    fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Adds those whose turn it is to `to`.
    fn take_turns(&mut self, to: &mut Vec<u64>) {
        let had_turn = self.numbers.partition_point(|number| *number <= self.last);
        let (before, after) = self.numbers.split_at(had_turn);
        for number in after.iter().chain(before).take(MAX_REPORTED) {
            to.push(*number);
            self.last = *number;
        }
    }
}

/// A member of a set.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "a public trait mentions it, in a method that other crates can't call")]
pub struct Member {
    /// The kernel finds a member by its descriptor. So it is a copy, or the socket of a channel that is added once.
    descriptor: Arc<Owned>,
    way: Way,
    /// The last wait that has looked at it.
    wait: u32,
    /// The peer process of a channel, if it is known.
    process: Option<Arc<Owned>>,
}

impl Member {
    pub(super) fn new(target: &Target<'_>) -> SysResult<Self> {
        let way = way_of_target(target)?;
        let descriptor = Arc::new(duplicate_here(handle_of(target), rights::SAME)?);
        Ok(Self { descriptor, way, wait: 0, process: None })
    }

    pub(crate) fn of_channel(socket: Arc<Owned>, process: Option<Arc<Owned>>) -> Self {
        Self { descriptor: socket, way: Way::Look, wait: 0, process }
    }
}

impl SystemSet {
    pub(super) fn new() -> SysResult<Self> {
        let (epoll, event) = (epoll::create()?, create_object::create(What::Event { manual_reset: true })?);
        epoll::add(epoll.as_fd(), event.as_fd(), BUFFERED)?;
        Ok(Self { epoll, event, channels: Mutex::default() })
    }

    pub(super) fn add(&self, member: &mut Member, number: u64) -> SysResult<()> {
        let add = |member: &Member| epoll::add(self.epoll.as_fd(), member.descriptor.as_fd(), number);
        match add(member) {
            // The channel is a member already.
            Err(error) if epoll::is_present(&error) => {
                member.descriptor = Arc::new(duplicate_here(member.descriptor.as_fd(), rights::SAME)?);
                add(member)?;
            }
            added => added?,
        }
        let Some(process) = &member.process else { return Ok(()) };
        self.watch(process, number)
            .inspect_err(|_| epoll::remove(self.epoll.as_fd(), member.descriptor.as_fd()))
    }

    /// Watches a channel's peer process.
    fn watch(&self, process: &Arc<Owned>, number: u64) -> SysResult<()> {
        let processes = &mut self.channels.lock().processes;
        let watched = match processes.find(address(process)) {
            Some(watched) => watched,
            None => {
                epoll::add(self.epoll.as_fd(), process.as_fd(), PROCESSES | processes.next_number())?;
                processes.insert(PeerProcess { handle: Arc::clone(process), channels: Rotation::default() })
            }
        };
        processes.get_mut(watched).expect("it was found").channels.insert(number);
        Ok(())
    }

    pub(super) fn remove(&self, member: &Member, number: u64) {
        // Closing the descriptor isn't enough: another one of the same object keeps the member in the set.
        epoll::remove(self.epoll.as_fd(), member.descriptor.as_fd());
        self.channels.lock().buffered.remove(number);
        if let Some(process) = &member.process {
            self.unwatch(process, number);
        }
    }

    /// Ends the watch for a channel's peer process.
    fn unwatch(&self, process: &Arc<Owned>, number: u64) {
        let processes = &mut self.channels.lock().processes;
        let Some(key) = processes.find(address(process)) else { return };
        let Some(watched) = processes.get_mut(key) else { return };
        watched.channels.remove(number);
        if watched.channels.is_empty() {
            epoll::remove(self.epoll.as_fd(), watched.handle.as_fd());
            processes.remove(key);
        }
    }

    /// Says whether a channel's buffer has a message, of which the socket shows nothing any more.
    fn set_buffered(&self, number: u64, is_buffered: bool) -> SysResult<()> {
        let mut channels = self.channels.lock();
        if !is_buffered {
            channels.buffered.remove(number);
            return Ok(());
        }
        channels.buffered.insert(number);
        if channels.waiting > 0 && !channels.is_event_set {
            create_object::set_event(self.event.as_fd())?;
            channels.is_event_set = true;
        }
        Ok(())
    }

    /// Waits until members may be ready. Returns their numbers, some of them several times, and the number of this wait.
    fn wait(&self, deadline: Deadline) -> SysResult<(Vec<u64>, u32)> {
        let mut channels = self.channels.lock();
        let waits = channels.buffered.is_empty();
        channels.waiting += usize::from(waits);
        drop(channels);
        let timeout = if waits { deadline.timeout() } else { Some(0) };
        let mut room: epoll::Room<MAX_REPORTED> = [MaybeUninit::uninit(); MAX_REPORTED];
        let found = epoll::wait(self.epoll.as_fd(), &mut room, timeout);
        let mut channels = self.channels.lock();
        channels.waiting -= usize::from(waits);
        if channels.is_event_set && (channels.waiting == 0 || channels.buffered.is_empty()) {
            take(self.event.as_fd())?;
            channels.is_event_set = false;
        }
        let mut numbers = Vec::new();
        channels.buffered.take_turns(&mut numbers);
        for key in found?.keys() {
            match key {
                BUFFERED => {}
                // A process whose last channel was just removed isn't there.
                PROCESSES.. => {
                    if let Some(process) = channels.processes.get_mut(key & !PROCESSES) {
                        process.channels.take_turns(&mut numbers);
                    }
                }
                number => numbers.push(number),
            }
        }
        channels.waits = channels.waits.wrapping_add(1);
        Ok((numbers, channels.waits))
    }
}

/// Returns a number that no other handle has while this one exists.
fn address(handle: &Arc<Owned>) -> u64 {
    Arc::as_ptr(handle).addr() as u64
}

impl SetInner {
    /// Says whether a member's buffer has a message.
    pub(crate) fn set_buffered(&self, number: u64, is_buffered: bool) -> SysResult<()> {
        self.system.set_buffered(number, is_buffered)
    }

    /// Watches another peer process of a channel than before.
    pub(crate) fn set_process(&self, number: u64, process: Option<Arc<Owned>>) -> SysResult<()> {
        let mut members = self.members.lock();
        let Some(entry) = members.get_mut(number) else { return Ok(()) };
        let pair = entry.member.process.as_ref().zip(process.as_ref());
        if pair.is_some_and(|(before, process)| Arc::ptr_eq(before, process)) {
            return Ok(());
        }
        if let Some(before) = entry.member.process.take() {
            self.system.unwatch(&before, number);
        }
        if let Some(process) = process {
            self.system.watch(&process, number)?;
            entry.member.process = Some(process);
        }
        Ok(())
    }

    /// Waits until members are ready, and takes them, or until the deadline.
    pub(super) fn wait(&self, deadline: Deadline) -> SysResult<Vec<Ready>> {
        loop {
            let (numbers, wait) = self.system.wait(deadline)?;
            let (mut ready, mut asked) = (Vec::new(), Vec::new());
            let mut failed = None;
            // A member can't be removed between the moment when it is taken and the one when it is reported.
            let mut members = self.members.lock();
            for number in numbers {
                let Some(entry) = members.get_mut(number) else {
                    // A channel that was removed while its buffer got a message.
                    self.system.channels.lock().buffered.remove(number);
                    continue;
                };
                if std::mem::replace(&mut entry.member.wait, wait) == wait {
                    continue;
                }
                let member = &entry.member;
                match entry.check() {
                    Check::Ask(object) => asked.push((entry.key, object)),
                    Check::Leaving => {}
                    Check::Ready if member.way == Way::Look => ready.push(Ready::new(entry.key)),
                    Check::Ready => match take(member.descriptor.as_fd()) {
                        Ok(true) => ready.push(Ready::new(entry.key)),
                        Ok(false) => {}
                        Err(error) => failed = Some(error),
                    },
                }
            }
            drop(members);
            // They read from their sockets, for which no other thread has to wait.
            ready.extend(
                asked.iter().filter(|(_, object)| object.is_ready()).map(|(key, _)| Ready::new(*key)),
            );
            drop(asked);
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
