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

/// Waits for an endpoint's descriptors, by a runtime. Each method has one task at a time that waits.
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
        loop {
            let mut receiving = self.receiving.lock();
            self.check_open()?;
            room.note(&mut receiving.tasks, cx.waker());
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
                Read::Nothing => match wait.poll_input(self, false, cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(found) => {
                        if found?.exit {
                            self.check_exit(peer)?;
                        }
                    }
                },
            }
        }
    }

    /// Returns an error if the peer process has exited, and had its endpoint then.
    fn check_exit(&self, peer: u32) -> Result<()> {
        if self.has_other_exited() && !self.has_left(peer)? { Err(self.disconnect_error()) } else { Ok(()) }
    }
}
