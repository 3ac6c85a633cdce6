//! The adapter to async-io, and the executor of smol.

use std::future::Future;
use std::time::Duration;

use handover::Event;
pub use handover::async_io::{
    Channel, Child, ChildStderr, ChildStdin, ChildStdout, Incoming, Listener, TypedChannel, wait,
};
pub use smol::io::{AsyncReadExt, AsyncWriteExt};

/// Starts the threads, and waits once: both open handles of their own. Tests count only those that are opened later.
///
/// # Panics
///
/// Panics if the system has no resources.
pub fn prepare() {
    let event = Event::manual_reset().expect("an event");
    block_on(async { drop(timeout(Duration::from_millis(1), wait(&event)).await) });
    block_on(smol::spawn(async {}));
}

/// Runs the future to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    smol::block_on(future)
}

/// A task that was started with [`spawn`].
#[derive(Debug)]
pub struct Task<T>(smol::Task<T>);

impl<T> Task<T> {
    /// Waits for the task, and returns its result.
    pub async fn join(self) -> T {
        self.0.await
    }

    /// Drops the task's future, and waits until that is done.
    pub async fn cancel(self) {
        self.0.cancel().await;
    }
}

/// Starts a task.
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    Task(smol::spawn(future))
}

/// Waits for the future, at most for this time. Then drops it and returns `None`.
pub async fn timeout<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    let timer = async {
        smol::Timer::after(time).await;
        None
    };
    smol::future::or(async { Some(future.await) }, timer).await
}

/// Waits for this time.
pub async fn sleep(time: Duration) {
    smol::Timer::after(time).await;
}
