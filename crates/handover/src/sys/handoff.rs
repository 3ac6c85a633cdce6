//! Passes values from one thread to another.
//!
//! It does what this crate needs of std's `mpsc`, in a small part of the code: that has several kinds of queues, each compiled
//! for each type of value.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// Creates both ends. They hold one value: the next one is sent only after the receiver has answered in another way.
pub(crate) fn handoff<T>() -> (Sender<T>, Receiver<T>) {
    let state = Mutex::new(State { value: None, is_open: true });
    let shared = Arc::new(Shared { state, changed: Condvar::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Shared<T>>);

#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    /// Whether both ends exist.
    is_open: bool,
}

impl<T> Shared<T> {
    /// Poisoning is ignored, because no code of a caller runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().is_open = false;
        self.changed.notify_one();
    }
}

impl<T> Sender<T> {
    /// Sends a value. Gives it back if the receiver has been dropped.
    pub(crate) fn send(&self, value: T) -> Result<(), T> {
        let mut state = self.0.lock();
        if !state.is_open {
            return Err(value);
        }
        state.value = Some(value);
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Waits for a value. Returns `None` if the sender has been dropped and left none.
    pub(crate) fn recv(&self) -> Option<T> {
        let mut state = self.0.lock();
        while state.value.is_none() && state.is_open {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.value.take()
    }

    /// Does the same without waiting.
    #[cfg_attr(not(feature = "inspect"), allow(dead_code, reason = "only `inspect` uses it"))]
    pub(crate) fn try_recv(&self) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        if state.value.is_none() && state.is_open { Poll::Pending } else { Poll::Ready(state.value.take()) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_of_a_dropped_sender_arrives_and_then_none() {
        let (sender, receiver) = handoff();
        assert_eq!(receiver.try_recv(), Poll::Pending);
        sender.send(1).expect("the receiver exists");
        assert_eq!(receiver.recv(), Some(1));
        sender.send(2).expect("the receiver exists");
        drop(sender);
        assert_eq!(receiver.try_recv(), Poll::Ready(Some(2)));
        assert_eq!((receiver.try_recv(), receiver.recv()), (Poll::Ready(None), None));
    }

    #[test]
    fn send_to_a_dropped_receiver_gives_the_value_back() {
        let (sender, receiver) = handoff();
        drop(receiver);
        assert_eq!(sender.send(1), Err(1));
    }

    #[test]
    fn recv_waits_for_another_thread() {
        let ((sender, receiver), (answer, answered)) = (handoff(), handoff());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(value) = receiver.recv() {
                    answer.send(2 * value).expect("the receiver exists");
                }
            });
            for value in 0..1000 {
                sender.send(value).expect("the receiver exists");
                assert_eq!(answered.recv(), Some(2 * value));
            }
            drop(sender);
        });
    }
}
