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
            // Another thread may have been sending when the peer asked.
            self.settle();
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
            let is_free = receiving.waiting == 0 && !receiving.calls.reads;
            if !is_free || !room.become_reader(&mut receiving.tasks) {
                drop(receiving);
                return self.check_exit(peer);
            }
            let is_full = !receiving.may_read_beside();
            let read = if is_full {
                receiving.wakes_for_room = true;
                Read::Nothing
            } else {
                // A read error shows up again in the next receive, which reports it.
                let read = self.read(&mut receiving).unwrap_or(Read::Nothing);
                self.check_queued(&mut receiving)?;
                self.publish(&mut receiving)?;
                read
            };
            if read == Read::Packet {
                // The socket shows no more that it has arrived.
                receiving.tasks.wake_receivers();
            }
            drop(receiving);
            match read {
                Read::End => return Err(self.disconnect_error()),
                Read::Packet => {}
                Read::Nothing => {
                    let found = wait.poll_input(self, is_full, cx);
                    // Another task may have become the reader meanwhile, and may have asked the runtime first. Then it has to
                    // ask again.
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
    use crate::channel::{Channel, Limits};
    use crate::error::Error;
    use crate::object::Event;
    use crate::wait::Deadline;

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

    /// The maximum time until another thread has done its part.
    const SOON: Duration = Duration::from_secs(20);

    /// A runtime that reports nothing, and would wake the task that has asked last.
    #[derive(Default)]
    struct Runtime<'a> {
        waiting: RefCell<Option<Waker>>,
        /// The task that waits for the exit of the peer process alone.
        waiting_for_exit: RefCell<Option<Waker>>,
        /// Another thread runs it while a task asks.
        beside: RefCell<Option<Box<dyn FnMut() + 'a>>>,
        /// The answer to the first task that asks.
        found: RefCell<Option<Result<Found>>>,
    }

    impl Runtime<'_> {
        fn would_wake(&self, waker: &Waker) -> bool {
            self.waiting.borrow().as_ref().is_some_and(|waiting| waiting.will_wake(waker))
        }

        fn would_wake_at_exit(&self, waker: &Waker) -> bool {
            self.waiting_for_exit.borrow().as_ref().is_some_and(|waiting| waiting.will_wake(waker))
        }
    }

    impl Wait for Runtime<'_> {
        fn poll_input(&self, _: &Endpoint, only_exit: bool, cx: &mut Context<'_>) -> Poll<Result<Found>> {
            let found = self.found.take();
            if let Some(mut beside) = self.beside.take() {
                beside();
            }
            if let Some(found) = found {
                return Poll::Ready(found);
            }
            let waiting = if only_exit { &self.waiting_for_exit } else { &self.waiting };
            waiting.replace(Some(cx.waker().clone()));
            Poll::Pending
        }

        fn poll_output(&self, _: &Endpoint, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Pending
        }
    }

    fn poll_to_receive(
        task: &mut ReadTask<'_>,
        channel: &Channel,
        runtime: &Runtime<'_>,
        waker: &Waker,
    ) -> Poll<Result<Arrived>> {
        poll_for(Want::Message, task, channel, runtime, waker)
    }

    fn poll_for(
        want: Want,
        task: &mut ReadTask<'_>,
        channel: &Channel,
        runtime: &Runtime<'_>,
        waker: &Waker,
    ) -> Poll<Result<Arrived>> {
        channel.endpoint.poll_receive(task, want, runtime, &mut Context::from_waker(waker))
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
                let polled = poll_to_receive(&mut task, &one, &runtime, &receives);
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

    /// Returns a channel whose first endpoint can neither send, nor read beside a send.
    fn full_pair() -> (Channel, Channel) {
        let (one, other) = Channel::pair().unwrap();
        let event = Event::manual_reset().unwrap();
        while one.endpoint.receiving.lock().may_read_beside() {
            other.send(Message::new("").with("event", &event)).unwrap();
            // A send that finds no space reads.
            fill(&one);
        }
        (one, other)
    }

    #[test]
    fn task_that_sends_is_woken_when_it_may_read_again() {
        let (one, _other) = full_pair();
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

    #[test]
    fn task_that_sends_and_may_not_read_watches_the_peer_process() {
        let (one, _other) = full_pair();
        let (_, sends) = Task::new();
        let (mut sending, runtime) = (one.endpoint.sending(), Runtime::default());
        assert!(poll_to_send(&one, &mut sending, &runtime, &sends).is_pending());
        assert!(runtime.would_wake_at_exit(&sends));
    }

    #[test]
    fn task_is_woken_while_a_thread_that_sends_has_read_its_message() {
        let (one, other) = Channel::pair().unwrap();
        fill(&one);
        let ((receiver, receives), runtime) = (Task::new(), Runtime::default());
        let mut task = one.endpoint.read_task(Reason::For(Want::Message));
        assert!(poll_to_receive(&mut task, &one, &runtime, &receives).is_pending());
        std::thread::scope(|scope| {
            let sends = scope.spawn(|| one.send_timeout(vec![0; 4096], 2 * SOON));
            other.send("for the task").unwrap();
            let deadline = Deadline::after(SOON);
            while receiver.wakes() == 0 && !deadline.has_passed() {
                std::thread::yield_now();
            }
            let is_sending = !sends.is_finished();
            other.close();
            assert!(is_sending && sends.join().unwrap().is_err());
        });
        assert!(receiver.wakes() > 0, "the message is in the buffer");
    }

    #[test]
    fn another_receiver_is_woken_if_the_next_reader_is_dropped_behind_a_task_that_sends() {
        let (one, other) = Channel::pair().unwrap();
        fill(&one);
        let ((_, sends), runtime) = (Task::new(), Runtime::default());
        let [first, next, last] = [(); 3].map(|()| Task::new());
        let mut tasks = [(); 3].map(|()| one.endpoint.read_task(Reason::For(Want::Message)));
        for (task, (_, receives)) in tasks.iter_mut().zip([&first, &next, &last]) {
            assert!(poll_to_receive(task, &one, &runtime, receives).is_pending());
        }
        let mut sending = one.endpoint.sending();
        assert!(poll_to_send(&one, &mut sending, &runtime, &sends).is_pending());
        assert!(runtime.would_wake(&first.1));
        other.send("for the first").unwrap();
        let [mut task, next_task, mut last_task] = tasks;
        assert!(poll_to_receive(&mut task, &one, &runtime, &first.1).is_ready());
        drop(task);
        assert_eq!((next.0.wakes(), last.0.wakes()), (1, 0));
        // The task that sends is polled first, because there may be space.
        assert!(poll_to_send(&one, &mut sending, &runtime, &sends).is_pending());
        assert!(runtime.would_wake(&sends));
        drop(next_task);
        assert_eq!(last.0.wakes(), 1, "it becomes the reader");
        other.send("for the last").unwrap();
        assert!(poll_to_receive(&mut last_task, &one, &runtime, &last.1).is_ready());
    }

    #[test]
    fn task_that_sends_reads_for_a_receive_of_its_own() {
        let (one, other) = Channel::pair().unwrap();
        fill(&one);
        let ((task, waker), runtime) = (Task::new(), Runtime::default());
        let mut receive = one.endpoint.read_task(Reason::For(Want::Message));
        assert!(poll_to_receive(&mut receive, &one, &runtime, &waker).is_pending());
        let mut sending = one.endpoint.sending();
        assert!(poll_to_send(&one, &mut sending, &runtime, &waker).is_pending());
        assert_eq!(task.wakes(), 0, "there is nothing to read");
        other.send("beside the send").unwrap();
        assert!(poll_to_send(&one, &mut sending, &runtime, &waker).is_pending());
        assert!(one.endpoint.receiving.lock().buffer.has_message());
        assert_eq!(task.wakes(), 1, "the receive may have been polled before");
        assert!(poll_to_receive(&mut receive, &one, &runtime, &waker).is_ready());
    }

    #[test]
    fn call_reads_for_a_receive_of_its_own_task() {
        let (one, other) = Channel::pair().unwrap();
        let ((task, waker), runtime) = (Task::new(), Runtime::default());
        let mut receive = one.endpoint.read_task(Reason::For(Want::Message));
        assert!(poll_to_receive(&mut receive, &one, &runtime, &waker).is_pending());
        let call = one.endpoint.begin_call();
        let mut reply = one.endpoint.read_task(Reason::For(Want::Reply(call.id)));
        other.send("beside the call").unwrap();
        assert!(poll_for(Want::Reply(call.id), &mut reply, &one, &runtime, &waker).is_pending());
        assert!(one.endpoint.receiving.lock().calls.has_message());
        assert_eq!(task.wakes(), 1, "the receive may have been polled before");
        assert!(poll_to_receive(&mut receive, &one, &runtime, &waker).is_ready());
    }

    #[test]
    fn call_that_may_keep_no_more_is_woken_when_the_channel_ends() {
        const QUEUED: usize = 100;
        let (one, other) = Channel::pair().unwrap();
        one.set_limits(Limits::default().queued(QUEUED));
        let (event, call) = (Event::manual_reset().unwrap(), one.endpoint.begin_call());
        let ((caller, calls), runtime) = (Task::new(), Runtime::default());
        let mut task = one.endpoint.read_task(Reason::For(Want::Reply(call.id)));
        let mut poll = || poll_for(Want::Reply(call.id), &mut task, &one, &runtime, &calls);
        while !one.endpoint.receiving.lock().calls.are_full() {
            other.send(Message::new("").with("event", &event)).unwrap();
            assert!(poll().is_pending());
        }
        assert!(poll().is_pending() && runtime.would_wake_at_exit(&calls));
        for _ in 0..=QUEUED {
            other.send("more").unwrap();
        }
        let ended = (0..=QUEUED).find_map(|_| {
            let before = caller.wakes();
            one.endpoint.read_beside().err().map(|error| (error, caller.wakes() - before))
        });
        assert!(matches!(ended, Some((Error::Protocol { .. }, 1))), "{ended:?}");
        assert!(matches!(poll(), Poll::Ready(Err(Error::Protocol { .. }))));
    }
}
