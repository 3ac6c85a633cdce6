//! The tasks of asynchronous programs that wait at an endpoint.
//!
//! Of the tasks that wait to receive, one at a time is the *reader*: it asks the runtime when the connection has something
//! new. It gives replies and messages to the tasks that they are for, as a thread that reads does ([`calls`](super::calls)),
//! and when it has what it waits for, another task becomes the reader. Tasks that send wait in a queue, and only the first one
//! writes. So however many tasks wait, each message wakes one of them, or two.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst, fence};
use std::task::Waker;
#[cfg(feature = "_async")]
use std::task::{Context, Poll};

use super::calls::Want;
use super::imp::Endpoint;
#[cfg(feature = "_async")]
use super::imp::{Progress, Writer};
use super::wire::FrameType;
#[cfg(feature = "_async")]
use crate::error::Result;
use crate::sys::mutex::{Mutex, MutexGuard};
use crate::sys::{drop_waker, wake};

/// Why a task waits for something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It wants what arrives.
    For(Want),
    /// It sends, and the peer process may wait until this one reads. Any other task becomes the reader in its place.
    Room,
}

/// The tasks that wait for something to read.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Tasks {
    waiting: Vec<Waiting>,
    /// The key of the reader.
    reader: Option<u64>,
    /// The number of keys that were used.
    used: u64,
}

#[derive(Debug)]
struct Waiting {
    key: u64,
    reason: Reason,
    waker: Waker,
}

/// Replaces a waker that wakes another task.
fn note(noted: &mut Waker, waker: &Waker) {
    if !noted.will_wake(waker) {
        drop_waker(std::mem::replace(noted, waker.clone()));
    }
}

impl Tasks {
    /// Returns whether no task waits.
    #[allow(dead_code, reason = "used on Linux only")]
    pub(super) fn are_none(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes that a task waits, so that other tasks and threads wake it.
    fn note(&mut self, key: u64, reason: Reason, waker: &Waker) {
        match self.waiting.iter_mut().find(|waiting| waiting.key == key) {
            Some(waiting) => note(&mut waiting.waker, waker),
            None => self.waiting.push(Waiting { key, reason, waker: waker.clone() }),
        }
    }

    /// Makes a noted wait the reader, unless another one is. Returns whether it is the reader.
    ///
    /// It takes the place of a wait of its own task: while the task polls this one it may leave the other one alone, as a loop
    /// around `select!` does. And a wait to receive takes the place of one to send.
    fn become_reader(&mut self, key: u64) -> bool {
        let Some(this) = self.find(key) else { return false };
        let is_free = self.other_reader(key).is_none_or(|reader| {
            let gives_way = reader.reason == Reason::Room && this.reason != Reason::Room;
            gives_way || reader.waker.will_wake(&this.waker)
        });
        if is_free {
            self.reader = Some(key);
        }
        is_free
    }

    /// Ends a task's wait. If no task that receives is the reader then, wakes one to become it. The task that was woken for that
    /// before may be the one that ends.
    fn remove(&mut self, key: u64) {
        if let Some(index) = self.waiting.iter().position(|waiting| waiting.key == key) {
            drop_waker(self.waiting.swap_remove(index).waker);
        }
        self.resign(key);
        let reader = self.reader.and_then(|reader| self.find(reader));
        if reader.is_some_and(|reader| reader.reason != Reason::Room) {
            return;
        }
        let next = self.waiting.iter().find(|waiting| waiting.reason != Reason::Room);
        let any = if reader.is_none() { self.waiting.first() } else { None };
        if let Some(next) = next.or(any) {
            wake(next.waker.clone());
        }
    }

    /// Stops a task from being the reader, because a thread reads. It is woken when that has ended.
    fn resign(&mut self, key: u64) {
        if self.reader == Some(key) {
            self.reader = None;
        }
    }

    fn find(&self, key: u64) -> Option<&Waiting> {
        self.waiting.iter().find(|waiting| waiting.key == key)
    }

    /// Returns the reader, if it is another wait than this one.
    fn other_reader(&self, key: u64) -> Option<&Waiting> {
        self.reader.filter(|reader| *reader != key).and_then(|reader| self.find(reader))
    }

    /// Returns whether a task that waits for a reply is the reader.
    #[allow(dead_code, reason = "used on Windows only")]
    pub(super) fn is_read_for_call(&self) -> bool {
        let reader = self.reader.and_then(|reader| self.find(reader));
        reader.is_some_and(|waiting| matches!(waiting.reason, Reason::For(Want::Reply(_))))
    }

    /// Wakes a task that waits for a frame of this type.
    pub(super) fn wake_for(&self, frame_type: FrameType) {
        let reason = Reason::For(match frame_type {
            FrameType::Reply(id) => Want::Reply(id),
            _ => Want::Message,
        });
        if let Some(waiting) = self.waiting.iter().find(|waiting| waiting.reason == reason) {
            wake(waiting.waker.clone());
        }
    }

    /// Wakes the tasks that wait for a message or a reply, because a task that sends has read something.
    pub(super) fn wake_receivers(&self) {
        let receivers = self.waiting.iter().filter(|waiting| waiting.reason != Reason::Room);
        receivers.for_each(|waiting| wake(waiting.waker.clone()));
    }

    /// Wakes all tasks, because what they wait for may have changed.
    pub(super) fn wake_all(&self) {
        self.waiting.iter().for_each(|waiting| wake(waiting.waker.clone()));
    }
}

/// A task that waits for something to read, until it is dropped.
#[derive(Debug)]
pub(crate) struct ReadTask<'a> {
    endpoint: &'a Endpoint,
    /// `None` until the task is noted.
    key: Option<u64>,
    reason: Reason,
}

impl Endpoint {
    /// Begins a task's wait for something to read.
    pub(crate) fn read_task(&self, reason: Reason) -> ReadTask<'_> {
        ReadTask { endpoint: self, key: None, reason }
    }

    /// Begins a task's wait to send, behind those that wait already.
    pub(crate) fn send_task(&self) -> SendTask<'_> {
        let senders = &self.writer.tasks;
        let mut queue = senders.lock();
        let key = queue.used;
        queue.used += 1;
        queue.waiting.push_back((key, None));
        senders.count.fetch_add(1, SeqCst);
        SendTask { endpoint: self, key }
    }
}

#[cfg(feature = "_async")]
impl Endpoint {
    /// Sends as much as there is space for, if it is the task's turn: the rest of an earlier message, and then what `begin`
    /// begins to send.
    pub(super) fn poll_turn(
        &self,
        task: &SendTask<'_>,
        has_begun: &mut bool,
        cx: &Context<'_>,
        begin: &mut dyn FnMut(&mut Writer) -> Result<Progress>,
    ) -> Poll<Result<Progress>> {
        if !task.is_first(cx.waker()) {
            return Poll::Pending;
        }
        match self.writer.take_for_task() {
            Some(mut writer) => Poll::Ready(self.go_on(&mut writer, has_begun, begin)),
            None => Poll::Pending,
        }
    }

    pub(super) fn go_on(
        &self,
        writer: &mut Writer,
        has_begun: &mut bool,
        begin: &mut dyn FnMut(&mut Writer) -> Result<Progress>,
    ) -> Result<Progress> {
        loop {
            if *has_begun && writer.unfinished.is_none() {
                return if writer.has_lost { Err(self.disconnect_error()) } else { Ok(Progress::Done) };
            }
            self.check_open()?;
            let progress = match &writer.unfinished {
                Some(_) => self.finish_now(writer)?,
                None => {
                    let progress = begin(writer)?;
                    *has_begun = progress == Progress::Done;
                    progress
                }
            };
            if progress != Progress::Done {
                return Ok(progress);
            }
        }
    }
}

impl ReadTask<'_> {
    /// Notes that the task waits. A thread or another task that reads, or changes what can be read, wakes it from now on.
    pub(super) fn note(&mut self, tasks: &mut Tasks, waker: &Waker) {
        let key = *self.key.get_or_insert_with(|| {
            tasks.used += 1;
            tasks.used
        });
        tasks.note(key, self.reason, waker);
    }

    /// Returns whether the task was noted.
    #[allow(dead_code, reason = "used on Linux only")]
    pub(super) fn is_noted(&self) -> bool {
        self.key.is_some()
    }

    /// Returns whether the task may read. It must be noted.
    pub(super) fn become_reader(&self, tasks: &mut Tasks) -> bool {
        self.key.is_some_and(|key| tasks.become_reader(key))
    }

    /// Wakes the reader, if it is another wait.
    #[allow(dead_code, reason = "used on Linux only")]
    pub(super) fn wake_other_reader(&self, tasks: &Tasks) {
        if let Some(reader) = self.key.and_then(|key| tasks.other_reader(key)) {
            wake(reader.waker.clone());
        }
    }

    /// Lets a thread read instead.
    pub(super) fn resign(&self, tasks: &mut Tasks) {
        if let Some(key) = self.key {
            tasks.resign(key);
        }
    }
}

impl Drop for ReadTask<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut receiving = self.endpoint.receiving.lock();
        receiving.tasks.remove(key);
        // This task may have been woken for a message that it hasn't taken.
        if receiving.calls.has_message() {
            receiving.tasks.wake_for(FrameType::Message);
        }
    }
}

/// The tasks that wait to send, in their order.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Senders {
    /// Their number. It lies first, because most of the time nothing else is used.
    count: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(u64, Option<Waker>)>,
    /// The number of keys that were used.
    used: u64,
}

impl Senders {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Returns whether no task waits to send.
    #[allow(dead_code, reason = "used on Linux only")]
    pub(super) fn are_none(&self) -> bool {
        self.count.load(SeqCst) == 0
    }

    /// Wakes the task whose turn it is. A thread calls it when it has unlocked what the tasks wait for, and after a fence. A
    /// task does it in the opposite order: it is counted first, and then tries to lock. So one of the two sees the other.
    #[inline]
    pub(super) fn wake_first(&self) {
        if self.count.load(SeqCst) > 0 {
            self.wake_first_of_some();
        }
    }

    #[cold]
    fn wake_first_of_some(&self) {
        if let Some((_, Some(waker))) = self.lock().waiting.front() {
            wake(waker.clone());
        }
    }
}

/// A task that waits to send, until it is dropped.
#[derive(Debug)]
pub(crate) struct SendTask<'a> {
    endpoint: &'a Endpoint,
    key: u64,
}

impl SendTask<'_> {
    /// Returns whether it is the task's turn. The task is woken when it may be, and when a thread has stopped sending.
    pub(super) fn is_first(&self, waker: &Waker) -> bool {
        let mut queue = self.endpoint.writer.tasks.lock();
        let Some(index) = queue.waiting.iter().position(|(key, _)| *key == self.key) else { return false };
        match &mut queue.waiting[index].1 {
            Some(noted) => note(noted, waker),
            none => *none = Some(waker.clone()),
        }
        fence(SeqCst);
        index == 0
    }
}

impl Drop for SendTask<'_> {
    fn drop(&mut self) {
        let senders = &self.endpoint.writer.tasks;
        let mut queue = senders.lock();
        let Some(index) = queue.waiting.iter().position(|(key, _)| *key == self.key) else { return };
        let removed = queue.waiting.remove(index);
        removed.and_then(|(_, waker)| waker).into_iter().for_each(drop_waker);
        senders.count.fetch_sub(1, SeqCst);
        drop(queue);
        if index == 0 {
            senders.wake_first();
        }
    }
}
