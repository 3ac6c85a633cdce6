//! The Windows half: waits by threads of the library, which need nothing of a runtime.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::windows::io::AsHandle;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use super::sleep;
use crate::channel::imp::{AcceptStep, Accepting, ConnectStep, Connecting, Endpoint, Waits};
use crate::channel::{Channel, Incoming};
use crate::error::{Error, Result};
use crate::sys::handle::duplicate_here;
use crate::sys::io::Owned;
use crate::sys::mutex::Mutex;
use crate::sys::overlapped::{self, Transfer};
use crate::sys::wait::{Target, Waited, can_not_be_waited_for};
use crate::sys::waking_wait::WakingWait;
use crate::sys::{SysError, SysResult, call, create_object, object_info, pipe, rights, wait as sys_wait};
use crate::wait::{Waitable, put_back};

/// A runtime. It has no part in the waits.
pub(crate) trait Reactor: fmt::Debug + Send + Sync + 'static {}

/// Waits for an endpoint. Each task has waits of its own, and the next one gets those that are still under way.
pub(super) struct ChannelIo<R> {
    idle: Mutex<Waits>,
    _runtime: PhantomData<R>,
}

impl<R: Reactor> ChannelIo<R> {
    pub(super) fn new() -> Self {
        Self { idle: Mutex::new(Waits::default()), _runtime: PhantomData }
    }

    /// Returns the waits of a task.
    pub(super) fn begin(&self) -> TaskWaits<'_> {
        TaskWaits { waits: std::mem::take(&mut *self.idle.lock()), idle: &self.idle }
    }
}

/// The waits of a task, until it is dropped.
pub(super) struct TaskWaits<'a> {
    waits: Waits,
    idle: &'a Mutex<Waits>,
}

impl Deref for TaskWaits<'_> {
    type Target = Waits;

    fn deref(&self) -> &Waits {
        &self.waits
    }
}

impl Drop for TaskWaits<'_> {
    fn drop(&mut self) {
        if self.waits.rest() {
            let replaced = std::mem::replace(&mut *self.idle.lock(), std::mem::take(&mut self.waits));
            drop(replaced);
        }
    }
}

/// A wait for an object, until it is over. Dropping it takes nothing.
struct ObjectWait {
    wait: WakingWait,
    handle: Arc<Owned>,
    /// Whether a wait changes the object.
    is_taken: bool,
}

impl Drop for ObjectWait {
    fn drop(&mut self) {
        if self.wait.end() && self.is_taken {
            put_back(self.handle.as_handle());
        }
    }
}

fn failed_to_wait(object: Target<'_>, error: SysError) -> Error {
    const OBJECT: &str = "the object to wait for";
    if error.kind() == io::ErrorKind::PermissionDenied && can_not_be_waited_for(&object) {
        return Error::AccessDenied { call: error.call, object: OBJECT.into(), right: call::TO_WAIT };
    }
    Error::system(OBJECT, error)
}

/// How often a task looks at an object that is signaled and not ready, before others get their turn.
const MAX_LOOKS: u32 = 32;

/// Waits for an object.
pub(super) async fn wait<R: Reactor, W: Waitable + ?Sized>(object: &W) -> Result<()> {
    let mut waiting: Option<ObjectWait> = None;
    poll_fn(|cx| {
        let target = object.target()?;
        for _ in 0..MAX_LOOKS {
            let is_signaled = match &mut waiting {
                Some(wait) if !wait.wait.poll(cx.waker()) => return Poll::Pending,
                Some(wait) => {
                    // It is reported now.
                    wait.is_taken = false;
                    waiting = None;
                    true
                }
                None => {
                    let waited =
                        sys_wait::wait(target, Some(0)).map_err(|error| failed_to_wait(target, error))?;
                    waited != Waited::TimedOut
                }
            };
            if is_signaled {
                let check = object.ready_check().and_then(|check| check.upgrade());
                if check.is_none_or(|check| check.is_ready()) {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let failed = |error| failed_to_wait(target, error);
            // No thread waits for a handle that is closed.
            let handle = Arc::new(duplicate_here(target, rights::SAME, false).map_err(failed)?);
            let wait = WakingWait::begin(Arc::clone(&handle), cx.waker()).map_err(failed)?;
            waiting = Some(ObjectWait { wait, handle, is_taken: object.is_taken() });
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Waits for one of these objects, which aren't changed by that.
async fn wait_for(objects: &[Arc<Owned>]) -> SysResult<()> {
    let mut waits: Vec<WakingWait> = Vec::with_capacity(objects.len());
    poll_fn(|cx| {
        for (index, object) in objects.iter().enumerate() {
            if waits.len() == index {
                waits.push(WakingWait::begin(Arc::clone(object), cx.waker())?);
            }
            if waits[index].poll(cx.waker()) {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    })
    .await
}

/// The pause between two attempts to connect to a listener that has another client.
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// Connects to the listener of this name.
pub(super) async fn connect<R: Reactor>(name: &str) -> Result<Endpoint> {
    let failed = |error| Error::system(format!("the listener {name:?}"), error);
    let mut connecting = Connecting::new(name)?;
    loop {
        match connecting.step()? {
            ConnectStep::Connected(endpoint) => return Ok(*endpoint),
            ConnectStep::Busy | ConnectStep::Disconnected => sleep::<R>(BUSY_PAUSE).await?,
            ConnectStep::Unanswered { answered, server } => {
                wait_for(&[answered, server.shared_handle()]).await.map_err(failed)?;
            }
        }
    }
}

/// Accepts a client.
pub(super) async fn accept<R: Reactor>(mut incoming: Incoming<'_>) -> Result<Channel> {
    let endpoint = {
        let (listener, name, client) = incoming.parts();
        let failed = |error| Error::system(format!("the listener {name:?}"), error);
        let mut accepting = Accepting::new(listener, client, name)?;
        loop {
            match accepting.step()? {
                AcceptStep::Accepted(endpoint) => break *endpoint,
                AcceptStep::Unanswered { answered, client, deadline } => {
                    let objects = [answered, client.shared_handle()];
                    let mut answer = pin!(wait_for(&objects));
                    let mut timeout = pin!(sleep::<R>(deadline.left()));
                    let waited = poll_fn(|cx| match answer.as_mut().poll(cx) {
                        Poll::Ready(answered) => Poll::Ready(answered.map_err(failed)),
                        Poll::Pending => timeout.as_mut().poll(cx),
                    });
                    if let Err(error) = waited.await {
                        break accepting.give_up(error)?;
                    }
                }
            }
        }
    };
    Ok(incoming.accepted(endpoint))
}

/// The maximum number of bytes that a write accepts.
const MAX_WRITTEN: usize = 64 * 1024;

/// How often a task reads in a row without a byte, before others get their turn.
const MAX_EMPTY_READS: u32 = 32;

/// This process's end of a pipe to a child.
///
/// A wait to read is a read of nothing, which ends when there is something to read, and takes none of it. A write takes a copy of
/// its bytes. One is under way at a time.
pub(super) struct Pipe<R> {
    handle: Arc<Owned>,
    /// Exists since the first use.
    io: Option<Io>,
    _runtime: PhantomData<R>,
}

/// The transfers over a pipe.
struct Io {
    transfer: Transfer,
    /// Set when a transfer is finished.
    done: Arc<Owned>,
    wait: Option<WakingWait>,
    /// How many bytes of the buffer were written.
    written: usize,
}

impl Io {
    fn new(handle: &Arc<Owned>) -> SysResult<Self> {
        if !object_info::is_overlapped(handle.as_handle())? {
            let reason = "the stream's pipe isn't overlapped; expected one that this library or std has created for a child";
            return Err(SysError::new(call::READ, io::Error::new(io::ErrorKind::InvalidInput, reason)));
        }
        let done = Arc::new(create_object::event(true)?);
        let pipe = Arc::new(overlapped::Pipe::new(Arc::clone(handle)));
        Ok(Self { transfer: Transfer::new(pipe, Arc::clone(&done)), done, wait: None, written: 0 })
    }

    fn is_writing(&self) -> bool {
        self.transfer.is_writing()
    }

    /// Waits until the transfer is finished.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<SysResult<usize>> {
        loop {
            if let Some(finished) = self.transfer.try_finish_exactly() {
                self.wait = None;
                return Poll::Ready(finished);
            }
            match &self.wait {
                Some(wait) if wait.poll(cx.waker()) => self.wait = None,
                Some(_) => return Poll::Pending,
                None => self.wait = Some(WakingWait::begin(Arc::clone(&self.done), cx.waker())?),
            }
        }
    }

    /// Waits until everything is written that a write has accepted.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<SysResult<()>> {
        loop {
            let outcome = if self.transfer.is_under_way() {
                ready!(self.poll_finish(cx)).map(|length| self.written += length)
            } else if self.written < self.transfer.buffer().len() {
                self.transfer.write_lasting(self.written, MAX_WRITTEN).map(drop)
            } else {
                return Poll::Ready(Ok(()));
            };
            if let Err(error) = outcome {
                // The rest of it can't be written.
                if !self.transfer.is_under_way() {
                    self.transfer.buffer().clear();
                }
                return Poll::Ready(Err(error));
            }
        }
    }
}

impl<R: Reactor> Pipe<R> {
    pub(super) fn new(handle: Owned, _writes: bool) -> Self {
        Self { handle: Arc::new(handle), io: None, _runtime: PhantomData }
    }

    /// Returns the end, for blocking use. If a write is under way, it goes on, and later ones come behind it.
    pub(super) fn into_handle(mut self) -> Owned {
        if let Some(io) = self.io.as_mut().filter(|io| io.is_writing()) {
            match duplicate_here(self.handle.as_handle(), rights::SAME, false) {
                Ok(other) => return other,
                // An error shows up again in the next write.
                Err(_) => drop(io.transfer.finish()),
            }
        }
        let handle = Arc::clone(&self.handle);
        drop(self);
        Arc::into_inner(handle).expect("the transfers had the other references")
    }

    fn io(&mut self) -> SysResult<&mut Io> {
        match &mut self.io {
            Some(io) => Ok(io),
            none => Ok(none.insert(Io::new(&self.handle)?)),
        }
    }

    /// Reads what is available, and waits for the first of it.
    pub(super) fn poll_read(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<SysResult<usize>> {
        for _ in 0..MAX_EMPTY_READS {
            match self.read(buffer, cx) {
                // A process may have written nothing, or the thread that began the read has exited.
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Err(error)) if pipe::is_cancelled(&error) => {}
                Poll::Ready(Err(error)) if pipe::is_end(&error) => return Poll::Ready(Ok(0)),
                polled => return polled,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn read(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<SysResult<usize>> {
        let handle = Arc::clone(&self.handle);
        let io = self.io()?;
        if io.transfer.is_under_way() {
            return io.poll_finish(cx);
        }
        let available = pipe::available(handle.as_handle())?.min(buffer.len());
        io.transfer.read(available)?;
        if available == 0 {
            return io.poll_finish(cx);
        }
        // The bytes are there, unless another reader has taken them just now.
        match io.transfer.try_finish() {
            Some(finished) => drop(finished?),
            None => drop(io.transfer.cancel()?),
        }
        let bytes = io.transfer.buffer();
        let length = bytes.len();
        buffer[..length].copy_from_slice(bytes);
        bytes.clear();
        Poll::Ready(Ok(length))
    }

    /// Writes a part of the bytes, which is accepted at once, unless an earlier write is under way.
    pub(super) fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<SysResult<usize>> {
        let io = self.io()?;
        ready!(io.poll_written(cx))?;
        let length = bytes.len().min(MAX_WRITTEN);
        let buffer = io.transfer.buffer();
        buffer.clear();
        buffer.extend_from_slice(&bytes[..length]);
        io.written = 0;
        // The task is woken when it may write again.
        match io.poll_written(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(length)),
        }
    }

    /// Waits until everything is written.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<SysResult<()>> {
        self.io.as_mut().map_or(Poll::Ready(Ok(())), |io| io.poll_written(cx))
    }
}

impl<R> Drop for Pipe<R> {
    /// Closes the end. A write that is under way goes on, and the end is closed behind it.
    fn drop(&mut self) {
        if let Some(Io { transfer, done, wait, .. }) = self.io.take_if(|io| io.is_writing()) {
            drop(wait);
            Lingering::begin(transfer, done);
        }
    }
}

impl<R> fmt::Debug for Pipe<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// A write whose stream was dropped. A thread waits for its end, and then closes the pipe.
struct Lingering(Mutex<Option<(Transfer, WakingWait)>>);

impl Lingering {
    fn begin(transfer: Transfer, done: Arc<Owned>) {
        let this = Arc::new(Self(Mutex::new(None)));
        let waker = Waker::from(Arc::clone(&this));
        // Without a wait, the write is cancelled.
        let Ok(wait) = WakingWait::begin(done, &waker) else { return };
        let mut slot = this.0.lock();
        // If the write isn't finished yet, `wake` waits for the lock.
        if !wait.poll(&waker) {
            *slot = Some((transfer, wait));
        }
    }
}

impl Wake for Lingering {
    fn wake(self: Arc<Self>) {
        let finished = self.0.lock().take();
        drop(finished);
    }
}
