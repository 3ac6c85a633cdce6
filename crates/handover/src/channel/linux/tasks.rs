//! Sending and receiving by tasks, which never wait here.

use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::endpoint::{Endpoint, Writer};
use super::readiness::Found;
use super::receive::{Read, Step};
use super::send::Progress;
use crate::channel::Message;
use crate::channel::calls::Want;
use crate::channel::message::Arrived;
use crate::channel::tasks::{ReadTask, Reason, SendTask};
use crate::channel::travel;
use crate::channel::wire::FrameType;
use crate::error::Result;

/// How often a task reads in a row, before others get their turn.
const MAX_STEPS: u32 = 32;

/// Waits for an endpoint's descriptors, by a runtime. Each method has one task at a time that waits: the runtime wakes the one
/// that has asked last.
pub(crate) trait Wait {
    /// Waits until the socket may be readable, unless `only_exit` is set, or until the peer process has exited. It
    /// reports each event once, so the task reads until nothing is left.
    fn poll_input(&self, endpoint: &Endpoint, only_exit: bool, cx: &mut Context<'_>) -> Poll<Result<Found>>;

    /// Waits until the socket may have space.
    fn poll_output(&self, endpoint: &Endpoint, cx: &mut Context<'_>) -> Poll<Result<()>>;
}

/// The state of a task that sends.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    /// The task's place in the queue, once it has found that it can't send at once.
    task: Option<SendTask<'a>>,
    /// While the task waits for space.
    room: Option<ReadTask<'a>>,
    has_begun: bool,
}

/// The outcome of a step of a task that sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Done,
    /// Too many descriptors are in transit. No event tells when that changes, so the task tries again after this time.
    Later(Duration),
}

/// The pause between two attempts when the kernel offers no event to wait for.
const RETRY_PAUSE: Duration = Duration::from_millis(2);

impl Sending<'_> {
    /// Returns whether the message belongs to the endpoint.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }
}

impl Endpoint {
    /// Receives what the task waits for.
    pub(crate) fn poll_receive(
        &self,
        task: &mut ReadTask<'_>,
        want: Want,
        wait: &impl Wait,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arrived>> {
        let mut exited = None;
        for _ in 0..MAX_STEPS {
            self.settle();
            let mut receiving = self.receiving.lock();
            self.check_open()?;
            if let Some(arrived) = self.take_read(&mut receiving, want) {
                self.publish(&mut receiving)?;
                return Poll::Ready(Ok(arrived));
            }
            let is_full = want != Want::Message && receiving.calls.are_full();
            let has_reader = Self::has_reader(&receiving, want);
            // Most of the time no other task or thread receives. Then this one is noted only if nothing has arrived.
            let is_alone = !task.is_noted() && receiving.tasks.are_none() && !has_reader && !is_full;
            if !is_alone {
                task.note(&mut receiving.tasks, cx.waker());
                if has_reader {
                    task.resign(&mut receiving.tasks);
                    return Poll::Pending;
                }
                if !task.become_reader(&mut receiving.tasks) {
                    return Poll::Pending;
                }
            }
            let peer = self.peer_changes.load(Relaxed);
            if !is_full {
                match self.step(receiving, want, exited, Duration::ZERO)? {
                    Step::Arrived(arrived) => return Poll::Ready(Ok(arrived)),
                    Step::Again | Step::Parts => continue,
                    Step::Nothing(mut receiving) => {
                        if is_alone {
                            task.note(&mut receiving.tasks, cx.waker());
                            task.become_reader(&mut receiving.tasks);
                        }
                    }
                }
            } else if exited == Some(peer) {
                drop(receiving);
                return Poll::Ready(Err(self.disconnect_error()));
            } else {
                drop(receiving);
            }
            let found = ready!(wait.poll_input(self, is_full, cx))?;
            exited = found.exit.then_some(peer);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Begins a task's send.
    pub(crate) fn sending(&self) -> Sending<'_> {
        Sending { task: None, room: None, has_begun: false }
    }

    /// Sends a message. If it has begun to, the message belongs to the endpoint, and the next send finishes it.
    pub(crate) fn poll_send<'a>(
        &'a self,
        sending: &mut Sending<'a>,
        message: &mut Message<'_>,
        frame_type: FrameType,
        wait: &impl Wait,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sent>> {
        self.poll_in_turn(sending, wait, cx, &mut |writer| {
            self.check_writer(writer)?;
            travel::begin(message, |message, travellers| {
                self.begin_now(writer, message, travellers, frame_type)
            })
        })
    }

    /// Finishes the message that another task has begun to send, if there is one. Then checks that the peer has not closed its
    /// endpoint before it received everything.
    pub(crate) fn poll_flush<'a>(
        &'a self,
        sending: &mut Sending<'a>,
        wait: &impl Wait,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        ready!(self.poll_in_turn(sending, wait, cx, &mut |_| Ok(Progress::Done)))?;
        Poll::Ready(self.check_flushed().map(drop))
    }

    fn poll_in_turn<'a>(
        &'a self,
        sending: &mut Sending<'a>,
        wait: &impl Wait,
        cx: &mut Context<'_>,
        begin: &mut dyn FnMut(&mut Writer) -> Result<Progress>,
    ) -> Poll<Result<Sent>> {
        loop {
            let progress = match &sending.task {
                Some(task) => ready!(self.poll_turn(task, &mut sending.has_begun, cx, begin))?,
                None => match self.send_alone(&mut sending.has_begun, begin)? {
                    Some(Progress::Done) => Progress::Done,
                    _ => {
                        sending.task = Some(self.send_task());
                        continue;
                    }
                },
            };
            match progress {
                Progress::Done => return Poll::Ready(Ok(Sent::Done)),
                Progress::Crowded => {
                    let _ = self.read_beside()?;
                    return Poll::Ready(Ok(Sent::Later(RETRY_PAUSE)));
                }
                Progress::Full => {}
            }
            let room = sending.room.get_or_insert_with(|| self.read_task(Reason::Room));
            self.read_for_room(room, wait, cx)?;
            ready!(wait.poll_output(self, cx))?;
        }
    }

    /// Sends as much as there is space for, if no task waits to send and no thread does. Most of the time none does, and this
    /// needs no place in the queue.
    fn send_alone(
        &self,
        has_begun: &mut bool,
        begin: &mut dyn FnMut(&mut Writer) -> Result<Progress>,
    ) -> Result<Option<Progress>> {
        if !self.writer.tasks.are_none() {
            return Ok(None);
        }
        self.writer.take().map(|mut writer| self.go_on(&mut writer, has_begun, begin)).transpose()
    }

    /// Reads what has arrived, and keeps it for the next receive, while a task waits for space. The peer process may be
    /// sending too, and may read only then.
    fn read_for_room(&self, room: &mut ReadTask<'_>, wait: &impl Wait, cx: &mut Context<'_>) -> Result<()> {
        let peer = self.peer_changes.load(Relaxed);
        for _ in 0..MAX_STEPS {
            let mut receiving = self.receiving.lock();
            self.check_open()?;
            room.note(&mut receiving.tasks, cx.waker());
            receiving.wakes_for_room |= !receiving.may_read_beside();
            let may_read = receiving.may_read_beside()
                && !receiving.calls.reads
                && room.become_reader(&mut receiving.tasks);
            if !may_read {
                drop(receiving);
                return self.check_exit(peer);
            }
            // A read error shows up again in the next receive, which reports it.
            let read = self.read(&mut receiving).unwrap_or(Read::Nothing);
            self.check_queued(&mut receiving)?;
            self.publish(&mut receiving)?;
            drop(receiving);
            match read {
                Read::End => return Err(self.disconnect_error()),
                Read::Packet => {}
                Read::Nothing => {
                    let found = wait.poll_input(self, false, cx);
                    // A task that receives may have become the reader meanwhile, and may have asked the runtime first. Then it
                    // has to ask again.
                    room.wake_other_reader(&self.receiving.lock().tasks);
                    match found {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(found) => {
                            if found?.exit {
                                self.check_exit(peer)?;
                            }
                        }
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Returns an error if the peer process has exited, and had its endpoint then.
    fn check_exit(&self, peer: u32) -> Result<()> {
        if self.has_other_exited() && !self.has_left(peer)? { Err(self.disconnect_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::channel::Channel;
    use crate::error::Error;
    use crate::object::Event;

    /// A task that counts how often it was woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    impl Task {
        fn new() -> (Arc<Self>, Waker) {
            let task = Arc::<Self>::default();
            (Arc::clone(&task), task.into())
        }

        fn wakes(&self) -> usize {
            self.0.load(SeqCst)
        }
    }

    /// A runtime that reports nothing, and would wake the task that has asked last.
    #[derive(Default)]
    struct Runtime<'a> {
        waiting: RefCell<Option<Waker>>,
        /// What another thread does while a task asks.
        beside: RefCell<Option<Box<dyn FnMut() + 'a>>>,
        /// The answer to the first task that asks.
        found: RefCell<Option<Result<Found>>>,
    }

    impl Runtime<'_> {
        fn would_wake(&self, waker: &Waker) -> bool {
            self.waiting.borrow().as_ref().is_some_and(|waiting| waiting.will_wake(waker))
        }
    }

    impl Wait for Runtime<'_> {
        fn poll_input(&self, _: &Endpoint, _: bool, cx: &mut Context<'_>) -> Poll<Result<Found>> {
            let found = self.found.take();
            if let Some(mut beside) = self.beside.take() {
                beside();
            }
            if let Some(found) = found {
                return Poll::Ready(found);
            }
            self.waiting.replace(Some(cx.waker().clone()));
            Poll::Pending
        }

        fn poll_output(&self, _: &Endpoint, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Pending
        }
    }

    fn poll_to_send<'a>(
        channel: &'a Channel,
        sending: &mut Sending<'a>,
        runtime: &Runtime<'_>,
        waker: &Waker,
    ) -> Poll<Result<Sent>> {
        let (mut message, cx) = (Message::new(vec![0; 4096]), &mut Context::from_waker(waker));
        channel.endpoint.poll_send(sending, &mut message, FrameType::Message, runtime, cx)
    }

    /// Sends until there is no more space.
    fn fill(channel: &Channel) {
        while channel.send_timeout(vec![0; 4096], Duration::ZERO).is_ok() {}
    }

    #[test]
    fn task_that_receives_is_woken_if_a_task_that_sends_has_asked_the_runtime_last() {
        let found =
            [None, Some(Ok(Found { input: true, exit: false })), Some(Err(Error::Disconnected { pid: 1 }))];
        for found in found {
            let (one, _other) = Channel::pair().unwrap();
            fill(&one);
            let ((receiver, receives), (sender, sends)) = (Task::new(), Task::new());
            let mut task = one.endpoint.read_task(Reason::For(Want::Message));
            let runtime = Runtime::default();
            let asker = Runtime { found: RefCell::new(found), ..Runtime::default() };
            // The task that receives takes the place of the reader while the one that sends asks.
            let mut poll = || {
                let cx = &mut Context::from_waker(&receives);
                let polled = one.endpoint.poll_receive(&mut task, Want::Message, &runtime, cx);
                assert!(polled.is_pending() && runtime.would_wake(&receives));
            };
            asker.beside.replace(Some(Box::new(&mut poll)));
            let mut sending = one.endpoint.sending();
            let polled = poll_to_send(&one, &mut sending, &asker, &sends);
            assert!(!matches!(polled, Poll::Ready(Ok(_))), "there is no space");
            assert_eq!((receiver.wakes(), sender.wakes()), (1, 0), "the reader asks again");
            drop(asker);
            poll();
            assert_eq!((receiver.wakes(), sender.wakes()), (1, 0), "each asks once");
        }
    }

    #[test]
    fn task_that_sends_is_woken_when_it_may_read_again() {
        let (one, other) = Channel::pair().unwrap();
        let event = Event::manual_reset().unwrap();
        while one.endpoint.receiving.lock().may_read_beside() {
            other.send(Message::new("").with("event", &event)).unwrap();
            // A send that finds no space reads.
            fill(&one);
        }
        let (sender, sends) = Task::new();
        let (mut sending, runtime) = (one.endpoint.sending(), Runtime::default());
        assert!(poll_to_send(&one, &mut sending, &runtime, &sends).is_pending());
        assert!(!runtime.would_wake(&sends), "it may not read");
        let before = sender.wakes();
        one.recv_timeout(Duration::ZERO).unwrap();
        assert_eq!(sender.wakes(), before + 1, "there is room");
        one.recv_timeout(Duration::ZERO).unwrap();
        assert_eq!(sender.wakes(), before + 1, "it is told once");
    }
}
