//! Sending and receiving by tasks, which never wait here.
//!
//! A task waits for the events of its endpoint, and for the peer process, by [`WakingWait`]. The task that reads waits for the event
//! `ready`, as other code does that watches the endpoint.

use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use super::endpoint::{Endpoint, Receiving, Writer};
use super::outbox::Outbox;
use super::peer::Peer;
use super::receive::Step;
use super::send::{Beside, MAX_MOVE, MOVE_PAUSE, Progress};
use crate::channel::Message;
use crate::channel::calls::Want;
use crate::channel::message::Arrived;
use crate::channel::tasks::{ReadTask, Reason, SendTask};
use crate::channel::travel;
use crate::channel::wire::FrameType;
use crate::error::Result;
use crate::process::Process;
use crate::sys::io::Owned;
use crate::sys::mutex::Mutex;
use crate::sys::waking_wait::WakingWait;
use crate::sys::{SysResult, drop_waker};
use crate::wait::Deadline;

/// How often a task looks in a row, before others get their turn.
const MAX_STEPS: u32 = 32;

/// An object that a task waits for.
#[derive(Debug)]
enum Awaited {
    Event(Arc<Owned>),
    /// The event by which the stronger endpoint tells that it has fetched objects. A wait resets it, so the task that
    /// has waited looks for fetched objects.
    Fetched(Arc<Outbox>),
    Exit(Process),
}

impl Awaited {
    fn handle(&self) -> Arc<Owned> {
        match self {
            Self::Event(event) => Arc::clone(event),
            Self::Fetched(outbox) => Arc::clone(&outbox.fetched),
            Self::Exit(process) => process.shared_handle(),
        }
    }
}

/// A wait for one object, until it is dropped.
#[derive(Debug)]
struct TaskWait {
    awaited: Awaited,
    handle: Arc<Owned>,
    wait: WakingWait,
}

impl Drop for TaskWait {
    fn drop(&mut self) {
        if let (true, Awaited::Fetched(outbox)) = (self.wait.end(), &self.awaited) {
            outbox.close_fetched();
        }
    }
}

/// The waits of one task. Dropping them ends them.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<Vec<TaskWait>>);

/// The outcome of a task's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Woken {
    /// The peer process has exited.
    by_exit: bool,
}

impl Waits {
    /// Waits for these objects, and no longer for others. A wait that is over isn't begun again before the next call.
    fn poll(&self, all: Vec<Awaited>, waker: &Waker) -> SysResult<Poll<Woken>> {
        let mut waits = self.0.lock();
        let mut before = std::mem::take(&mut *waits);
        let mut woken = None;
        for awaited in all {
            let handle = awaited.handle();
            let waiting = match before.iter().position(|wait| Arc::ptr_eq(&wait.handle, &handle)) {
                Some(index) => before.swap_remove(index),
                None => {
                    let wait = WakingWait::begin(Arc::clone(&handle), waker)?;
                    TaskWait { awaited, handle, wait }
                }
            };
            if waiting.wait.poll(waker) {
                let woken = woken.get_or_insert(Woken { by_exit: false });
                woken.by_exit |= matches!(waiting.awaited, Awaited::Exit(_));
            } else {
                waits.push(waiting);
            }
        }
        drop(waits);
        drop(before);
        Ok(woken.map_or(Poll::Pending, Poll::Ready))
    }

    /// Prepares the waits for another task, and returns whether any are left. They wake none until it polls them.
    ///
    /// To begin a wait, and to end it, the thread that waits must be woken, and the same objects are soon waited for again. A
    /// wait that resets its event is ended, because no task notices it meanwhile.
    pub(crate) fn rest(&self) -> bool {
        let mut waits = self.0.lock();
        let (kept, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut *waits)
            .into_iter()
            .partition(|wait| !matches!(wait.awaited, Awaited::Fetched(_)) && wait.wait.rest());
        *waits = kept;
        let are_left = !waits.is_empty();
        drop(waits);
        drop(ended);
        are_left
    }
}

/// The state of a task that sends.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    endpoint: &'a Endpoint,
    task: SendTask<'a>,
    /// While the task waits for space.
    room: Option<ReadTask<'a>>,
    has_begun: bool,
    /// When the task stops waiting for the end of a move.
    end_of_move: Option<Deadline>,
    /// Whether a flush has found that the peer process has exited.
    has_exited: bool,
}

/// The outcome of a step of a task that sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Done,
    /// The other endpoint is moving. No event tells when it has, so the task tries again after this time.
    Later(Duration),
}

impl Sending<'_> {
    /// Returns whether the message belongs to the endpoint.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn end_reading(&mut self) {
        if self.room.take().is_some() {
            self.endpoint.end_beside();
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.end_reading();
    }
}

impl Endpoint {
    /// Receives what the task waits for.
    pub(crate) fn poll_receive(
        &self,
        task: &mut ReadTask<'_>,
        want: Want,
        waits: &Waits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arrived>> {
        let mut by_exit = false;
        for _ in 0..MAX_STEPS {
            self.close_fetched();
            self.close_carried();
            // All data that the peer process wrote before its exit is readable by now.
            let has_exited = (by_exit || self.is_exit_seen()) && self.has_other_exited();
            let mut receiving = self.receiving.lock();
            self.check_open()?;
            self.begin_to_watch(&mut receiving);
            if let Some(arrived) = self.take_read(&mut receiving, want) {
                self.publish(&mut receiving);
                return Poll::Ready(Ok(arrived));
            }
            task.note(&mut receiving.tasks, cx.waker());
            if Self::has_reader(&receiving, want) {
                task.resign(&mut receiving.tasks);
                return Poll::Pending;
            }
            if !task.become_reader(&mut receiving.tasks) {
                return Poll::Pending;
            }
            let mut all = Vec::with_capacity(2);
            if want != Want::Message && receiving.calls.are_full() {
                drop(receiving);
                if has_exited {
                    return Poll::Ready(Err(self.disconnect_error()));
                }
                // `ready` is set for the messages that are kept.
            } else {
                let mut receiving = match self.step(receiving, want, has_exited)? {
                    Step::Arrived(arrived) => return Poll::Ready(Ok(arrived)),
                    Step::Again | Step::Parts => continue,
                    Step::Nothing(receiving) => receiving,
                };
                if want != Want::Message && receiving.calls.has_message() {
                    match self.read_for_call(&mut receiving)? {
                        Some(event) => all.push(Awaited::Event(event)),
                        None => continue,
                    }
                } else {
                    all.push(Awaited::Event(Arc::clone(&self.ready)));
                }
            }
            self.add_changes(&mut all);
            by_exit = ready!(waits.poll(all, cx.waker()).map_err(self.failed())?).by_exit;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Makes the event `ready` tell tasks whether there is something to receive.
    fn begin_to_watch(&self, receiving: &mut Receiving) {
        if !receiving.is_watched {
            receiving.is_watched = true;
            self.publish(receiving);
        }
    }

    /// Adds the peer process, and the events that tell when another one becomes the peer, and when this process can close its
    /// duplicates.
    fn add_changes(&self, all: &mut Vec<Awaited>) {
        // The event comes first. If the peer changes after that, the event tells it.
        all.extend(self.changed().map(Awaited::Event));
        all.extend(self.other_process().map(Awaited::Exit));
        if matches!(self.peer(), Peer::Stronger(_)) && !self.outbox.unfetched.lock().copies.is_empty() {
            all.push(Awaited::Fetched(Arc::clone(&self.outbox)));
        }
        all.extend(self.carrier_to_watch().map(Awaited::Fetched));
    }

    /// Begins a task's send.
    pub(crate) fn sending(&self) -> Sending<'_> {
        let task = self.send_task();
        Sending { endpoint: self, task, room: None, has_begun: false, end_of_move: None, has_exited: false }
    }

    /// Sends a message. Once it is prepared, it belongs to the endpoint, and the next send finishes it.
    pub(crate) fn poll_send<'a>(
        &'a self,
        sending: &mut Sending<'a>,
        message: &mut Message<'_>,
        frame_type: FrameType,
        waits: &Waits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sent>> {
        self.poll_in_turn(sending, waits, cx, &mut |writer| {
            self.check_writer(writer)?;
            travel::begin(message, |message, travellers| {
                self.begin_now(writer, message, travellers, frame_type)
            })
        })
    }

    /// Finishes the message that another task has begun to send, if there is one. Then waits until the peer has its own handles to
    /// all objects that were sent.
    pub(crate) fn poll_flush<'a>(
        &'a self,
        sending: &mut Sending<'a>,
        waits: &Waits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        ready!(self.poll_in_turn(sending, waits, cx, &mut |_| Ok(Progress::Done)))?;
        for _ in 0..MAX_STEPS {
            let mut unfetched = self.outbox.unfetched.lock();
            self.outbox.close_fetched_of(&mut unfetched);
            let is_empty = unfetched.copies.is_empty();
            // Even if some are lost, others may be in the middle of a fetch.
            let is_over = if is_empty { unfetched.has_lost } else { sending.has_exited };
            let has_failed = self.is_closed() || is_over;
            if !is_empty && !has_failed {
                let replaced = unfetched.task.replace(cx.waker().clone());
                replaced.into_iter().for_each(drop_waker);
            }
            drop(unfetched);
            if has_failed || is_empty {
                sending.end_reading();
                return Poll::Ready(if has_failed { Err(self.disconnect_error()) } else { Ok(()) });
            }
            // It may have fetched everything before it exited.
            sending.has_exited |= ready!(self.poll_room(sending, Vec::new(), waits, cx))?.by_exit;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_in_turn<'a>(
        &'a self,
        sending: &mut Sending<'a>,
        waits: &Waits,
        cx: &mut Context<'_>,
        begin: &mut dyn FnMut(&mut Writer) -> Result<Progress>,
    ) -> Poll<Result<Sent>> {
        for _ in 0..MAX_STEPS {
            match ready!(self.poll_turn(&sending.task, &mut sending.has_begun, cx, begin))? {
                Progress::Done => {
                    sending.end_reading();
                    return Poll::Ready(Ok(Sent::Done));
                }
                Progress::Unready(reason) => {
                    let until = *sending.end_of_move.get_or_insert_with(|| Deadline::after(MAX_MOVE));
                    let later =
                        if until.has_passed() { Err(reason.error()) } else { Ok(Sent::Later(MOVE_PAUSE)) };
                    return Poll::Ready(later);
                }
                Progress::Full => {}
            }
            let written = vec![Awaited::Event(Arc::clone(&self.written))];
            if ready!(self.poll_room(sending, written, waits, cx))?.by_exit {
                if let Some(mut writer) = self.writer.take_for_task() {
                    self.give_up_unfinished(&mut writer)?;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for one of these objects, or until something else changes. Meanwhile it reads what has arrived, and keeps it for the
    /// next receive: the peer process may be sending too, and may read only then.
    fn poll_room<'a>(
        &'a self,
        sending: &mut Sending<'a>,
        mut all: Vec<Awaited>,
        waits: &Waits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Woken>> {
        let room = sending.room.get_or_insert_with(|| self.read_task(Reason::Room));
        let mut steps = 0;
        loop {
            if steps == MAX_STEPS {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            steps += 1;
            let mut receiving = self.receiving.lock();
            self.check_open()?;
            self.begin_to_watch(&mut receiving);
            room.note(&mut receiving.tasks, cx.waker());
            if receiving.calls.reads || !room.become_reader(&mut receiving.tasks) {
                break;
            }
            match self.read_beside_of(&mut receiving).map_err(self.failed())? {
                Beside::Wait(event, _) => all.push(Awaited::Event(event)),
                Beside::More => {
                    // The transfer of a receiver doesn't tell it any more.
                    receiving.tasks.wake_receivers();
                    continue;
                }
                // A read error shows up again in the next receive, which reports it.
                Beside::Later | Beside::No => {}
                Beside::Over => {
                    drop(receiving);
                    self.check_open()?;
                }
            }
            break;
        }
        self.close_fetched();
        self.add_changes(&mut all);
        let mut woken = ready!(waits.poll(all, cx.waker()).map_err(self.failed())?);
        woken.by_exit = woken.by_exit && self.has_other_exited();
        Poll::Ready(Ok(woken))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::windows::io::AsHandle;
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;

    use super::*;
    use crate::channel::Channel;
    use crate::sys::create_object;
    use crate::sys::wait::{Waited, wait};

    const SOON: Duration = Duration::from_secs(10);

    struct Task(Mutex<Sender<()>>);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            let _ = self.0.lock().send(());
        }
    }

    #[test]
    fn send_that_is_dropped_leaves_another_one_its_room() -> io::Result<()> {
        let (one, _other) = Channel::pair().unwrap();
        // A thread that sends waits for it, because the buffer is full.
        let beside = Arc::new(create_object::event(true)?);
        let mut receiving = one.endpoint.receiving.lock();
        receiving.beside = Some(Arc::clone(&beside));
        receiving.is_awaited = true;
        drop(receiving);
        let mut sending = one.endpoint.sending();
        sending.room = Some(one.endpoint.read_task(Reason::Room));
        drop(sending);
        assert_eq!(wait(beside.as_handle(), Some(0))?, Waited::Signaled, "it looks again");
        Ok(())
    }

    #[test]
    fn waits_of_a_finished_task_wake_the_next_one_alone() -> io::Result<()> {
        let event = Arc::new(create_object::event(true)?);
        let awaited = || vec![Awaited::Event(Arc::clone(&event))];
        let (first, is_first_woken) = channel();
        let (second, is_second_woken) = channel();
        let [first, second] = [first, second].map(|sender| Arc::new(Task(Mutex::new(sender))));
        let waits = Waits::default();
        assert!(!waits.rest(), "there is no wait");
        assert!(waits.poll(awaited(), &Waker::from(Arc::clone(&first)))?.is_pending());
        assert!(waits.rest(), "the wait goes on");
        assert_eq!(Arc::strong_count(&first), 1, "the finished task is forgotten");
        assert!(waits.poll(awaited(), &Waker::from(Arc::clone(&second)))?.is_pending());
        create_object::set_event(event.as_handle())?;
        is_second_woken.recv_timeout(SOON).expect("the next task is woken");
        assert!(waits.poll(awaited(), &Waker::from(second))?.is_ready());
        drop(first);
        assert!(is_first_woken.recv().is_err(), "the first task wasn't woken");
        drop(waits);
        assert_eq!(Arc::strong_count(&event), 1, "nothing waits any more");
        Ok(())
    }
}
