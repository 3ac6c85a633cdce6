//! The adapter to tokio, and a runtime with two threads.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use handover::Event;
pub use handover::tokio::{
    Channel, Child, ChildStderr, ChildStdin, ChildStdout, Incoming, Listener, TypedChannel, wait,
};
pub use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}

/// Starts the runtime, and waits once: both open handles of their own. Tests count only those that are opened later.
///
/// # Panics
///
/// Panics if the system has no resources.
pub fn prepare() {
    let event = Event::manual_reset().expect("an event");
    block_on(async { drop(timeout(Duration::from_millis(1), wait(&event)).await) });
}

/// Runs the future to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// A task that was started with [`spawn`].
#[derive(Debug)]
pub struct Task<T>(tokio::task::JoinHandle<T>);

impl<T> Task<T> {
    /// Waits for the task, and returns its result.
    ///
    /// # Panics
    ///
    /// Panics if the task did.
    pub async fn join(self) -> T {
        self.0.await.expect("the task ends")
    }

    /// Drops the task's future, and waits until that is done.
    pub async fn cancel(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

/// Starts a task.
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    Task(runtime().spawn(future))
}

/// Waits for the future, at most for this time. Then drops it and returns `None`.
pub async fn timeout<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(time, future).await.ok()
}

/// Waits for this time.
pub async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}
