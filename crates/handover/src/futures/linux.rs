//! The Linux half: descriptors that a runtime waits for.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags};

use crate::channel::imp::{ConnectStep, Connecting, Endpoint, Found, QUEUE_PAUSE, Wait};
use crate::error::{Error, Result};
use crate::process::Process;
use crate::sys::descriptor::{self, Descriptor, Interest};
use crate::sys::handle::duplicate_here;
use crate::sys::io::Owned;
use crate::sys::mutex::Mutex;
use crate::sys::reset_mode::Way;
use crate::sys::wait::{handle_of, take, way_of_target};
use crate::sys::{SysError, SysResult};
use crate::sys::{epoll, rights, wait as sys_wait};
use crate::wait::Waitable;

/// A runtime that waits for descriptors.
///
/// It reports each event once. The caller then reads, or writes, until the system has nothing more, or no space.
pub(crate) trait Reactor: fmt::Debug + Send + Sync + 'static {
    /// A descriptor that is registered with the runtime. Dropping it ends that.
    type Registration: Send + Sync + 'static;

    /// Registers a descriptor with the current runtime. A runtime accepts each descriptor once.
    fn register(descriptor: Descriptor, interest: Interest) -> io::Result<Self::Registration>;

    /// Waits until the descriptor may be readable. If several tasks call it, the last one is woken.
    fn poll_readable(registration: &Self::Registration, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits until the descriptor may be writable. If several tasks call it, the last one is woken.
    fn poll_writable(registration: &Self::Registration, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A descriptor that is registered at the first wait.
struct Registered<R: Reactor>(Mutex<Option<Arc<R::Registration>>>);

impl<R: Reactor> Registered<R> {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the registration, and registers the descriptor at the first call.
    fn get(
        &self,
        descriptor: impl Fn() -> Arc<Owned>,
        interest: Interest,
    ) -> io::Result<Arc<R::Registration>> {
        let mut registered = self.0.lock();
        if let Some(registration) = &*registered {
            return Ok(Arc::clone(registration));
        }
        let registration = Arc::new(register::<R>(&descriptor(), interest)?);
        *registered = Some(Arc::clone(&registration));
        Ok(registration)
    }

    /// Polls the registration. If its runtime is gone, registers the descriptor again, with the current one.
    fn poll(
        &self,
        descriptor: impl Fn() -> Arc<Owned>,
        interest: Interest,
        mut poll: impl FnMut(&R::Registration) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let registration = self.get(&descriptor, interest)?;
        match poll(&registration) {
            Poll::Ready(Err(_)) => {}
            polled => return polled,
        }
        let mut registered = self.0.lock();
        let gone = registered.take_if(|current| Arc::ptr_eq(current, &registration));
        drop(registered);
        drop((gone, registration));
        poll(&*self.get(&descriptor, interest)?)
    }
}

/// Registers a descriptor. If it is registered already, for another value with the same handle, registers a copy.
fn register<R: Reactor>(descriptor: &Arc<Owned>, interest: Interest) -> io::Result<R::Registration> {
    match R::register(Descriptor::new(Arc::clone(descriptor)), interest) {
        Err(error) if epoll::is_present(&error) => {
            let copy = duplicate_here(descriptor.as_fd(), rights::SAME).map_err(|error| error.source)?;
            R::register(Descriptor::new(Arc::new(copy)), interest)
        }
        registration => registration,
    }
}

/// Waits for an endpoint.
pub(super) struct ChannelIo<R: Reactor> {
    socket: Registered<R>,
    /// The peer process.
    process: Mutex<Option<Arc<Watched<R>>>>,
}

/// A process whose exit is waited for.
struct Watched<R: Reactor> {
    process: Process,
    registered: Registered<R>,
    has_exited: AtomicBool,
}

impl<R: Reactor> ChannelIo<R> {
    pub(super) fn new() -> Self {
        Self { socket: Registered::new(), process: Mutex::new(None) }
    }

    /// Returns the waits of a task. On Linux all tasks share the registrations.
    pub(super) fn begin(&self) -> &Self {
        self
    }

    /// Waits for the exit of the process that is the peer now.
    fn poll_exit(&self, endpoint: &Endpoint, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let current = endpoint.process();
        let mut watched = self.process.lock();
        let before =
            watched.take_if(|watched| !current.as_ref().is_some_and(|it| it.is_same(&watched.process)));
        if let (Some(process), None) = (current, &*watched) {
            let (registered, has_exited) = (Registered::new(), AtomicBool::new(false));
            *watched = Some(Arc::new(Watched { process, registered, has_exited }));
        }
        let current = watched.clone();
        drop(watched);
        drop(before);
        let Some(watched) = current else { return Poll::Pending };
        if !watched.has_exited.load(Relaxed) {
            let handle = || watched.process.shared_handle();
            let exit = watched.registered.poll(handle, Interest::Input, |it| R::poll_readable(it, cx));
            ready!(exit).map_err(failed_to_wait)?;
            watched.has_exited.store(true, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<R: Reactor> Wait for &ChannelIo<R> {
    fn poll_input(&self, endpoint: &Endpoint, only_exit: bool, cx: &mut Context<'_>) -> Poll<Result<Found>> {
        let exit = self.poll_exit(endpoint, cx)?.is_ready();
        let input = !only_exit && {
            let poll = |it: &R::Registration| R::poll_readable(it, cx);
            self.socket.poll(|| endpoint.socket(), Interest::Both, poll).map_err(failed_to_wait)?.is_ready()
        };
        if exit || input { Poll::Ready(Ok(Found { input, exit })) } else { Poll::Pending }
    }

    fn poll_output(&self, endpoint: &Endpoint, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let poll = |it: &R::Registration| R::poll_writable(it, cx);
        self.socket.poll(|| endpoint.socket(), Interest::Both, poll).map_err(failed_to_wait)
    }
}

/// The call by which a runtime begins to wait for a descriptor.
const WAIT: &str = "epoll_ctl";

fn failed_to_wait(source: io::Error) -> Error {
    Error::System { call: WAIT, context: "a wait by the asynchronous runtime".into(), source }
}

/// Waits for an object.
pub(super) async fn wait<R: Reactor, W: Waitable + ?Sized>(object: &W) -> Result<()> {
    let failed = |error: SysError| Error::system("the object to wait for", error);
    let (descriptor, way) = {
        let target = object.target()?;
        let way = way_of_target(&target).map_err(failed)?;
        // Each registration needs a descriptor of its own, because an object can be waited for several times.
        (duplicate_here(handle_of(&target), rights::SAME).map_err(failed)?, way)
    };
    let descriptor = Arc::new(descriptor);
    let registered = Registered::<R>::new();
    poll_fn(|cx| {
        loop {
            // A look first: a runtime reports only what changes after the registration. It does, but a look is cheaper.
            let is_signaled = match way {
                Way::Look => {
                    let mut polled = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
                    sys_wait::ready(&mut polled, Some(0)).map_err(failed)?
                }
                _ => take(descriptor.as_fd()).map_err(failed)?,
            };
            if is_signaled {
                let check = object.ready_check().and_then(|check| check.upgrade());
                if check.is_none_or(|check| check.is_ready()) {
                    return Poll::Ready(Ok(()));
                }
            }
            let poll = |it: &R::Registration| R::poll_readable(it, cx);
            let wait = registered.poll(|| Arc::clone(&descriptor), Interest::Input, poll);
            ready!(wait).map_err(failed_to_wait)?;
        }
    })
    .await
}

/// Connects to the listener of this name.
pub(super) async fn connect<R: Reactor>(name: &str) -> Result<Endpoint> {
    let mut connecting = Connecting::new(name)?;
    loop {
        match connecting.step()? {
            ConnectStep::Connected(connected) => return Ok(connected.into_endpoint()),
            ConnectStep::QueueIsFull => super::sleep::<R>(QUEUE_PAUSE).await?,
            ConnectStep::Unanswered { connection, server } => {
                let (answer, exit) = (Registered::<R>::new(), Registered::<R>::new());
                let mut grace = pin!(async {
                    match &server {
                        Some(_) => std::future::pending().await,
                        None => super::sleep::<R>(connecting.grace_deadline.left()).await,
                    }
                });
                poll_fn(|cx| -> Poll<Result<()>> {
                    let poll = |it: &R::Registration| R::poll_readable(it, cx);
                    let answered = answer.poll(|| Arc::clone(&connection), Interest::Input, poll);
                    let mut is_over = answered.map_err(failed_to_wait)?.is_ready();
                    if let Some(server) = &server {
                        let poll = |it: &R::Registration| R::poll_readable(it, cx);
                        let exited = exit.poll(|| server.shared_handle(), Interest::Input, poll);
                        is_over |= exited.map_err(failed_to_wait)?.is_ready();
                    }
                    is_over |= grace.as_mut().poll(cx)?.is_ready();
                    if is_over { Poll::Ready(Ok(())) } else { Poll::Pending }
                })
                .await?;
            }
        }
    }
}

/// Accepts a client. On Linux that needs no wait.
pub(super) async fn accept<R: Reactor>(
    client: crate::channel::Incoming<'_>,
) -> Result<crate::channel::Channel> {
    client.accept()
}

/// This process's end of a pipe to a child.
pub(super) struct Pipe<R: Reactor> {
    descriptor: Arc<Owned>,
    interest: Interest,
    registered: Registered<R>,
    /// Whether the end was made non-blocking. The child's end isn't, because it is another open file description.
    is_non_blocking: AtomicBool,
}

impl<R: Reactor> Pipe<R> {
    pub(super) fn new(handle: Owned, writes: bool) -> Self {
        let interest = if writes { Interest::Output } else { Interest::Input };
        let (registered, is_non_blocking) = (Registered::new(), AtomicBool::new(false));
        Self { descriptor: Arc::new(handle), interest, registered, is_non_blocking }
    }

    /// Returns the end, for blocking use.
    pub(super) fn into_handle(self) -> Owned {
        if self.is_non_blocking.load(Relaxed) {
            // It was set before, so it can be cleared.
            let _ = descriptor::set_non_blocking(self.descriptor.as_fd(), false);
        }
        drop(self.registered);
        Arc::into_inner(self.descriptor).expect("the registration had the other reference")
    }

    /// Reads what is available, and waits for the first of it.
    pub(super) fn poll_read(&self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<SysResult<usize>> {
        loop {
            match self.now(|end| descriptor::read_into(end, buffer))? {
                Some(length) => return Poll::Ready(Ok(length)),
                None => ready!(self.poll(|it| R::poll_readable(it, cx)))?,
            }
        }
    }

    /// Writes as much as there is space for, and waits for the first of it.
    pub(super) fn poll_write(&self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<SysResult<usize>> {
        loop {
            match self.now(|end| descriptor::write(end, bytes))? {
                Some(length) => return Poll::Ready(Ok(length)),
                None => ready!(self.poll(|it| R::poll_writable(it, cx)))?,
            }
        }
    }

    /// Waits until everything is written. The kernel holds what was written.
    #[allow(clippy::unused_self, reason = "on Windows a write can be under way")]
    pub(super) fn poll_flush(&self, _cx: &mut Context<'_>) -> Poll<SysResult<()>> {
        Poll::Ready(Ok(()))
    }

    fn now<T>(&self, transfer: impl FnOnce(BorrowedFd<'_>) -> SysResult<T>) -> SysResult<Option<T>> {
        if !self.is_non_blocking.load(Relaxed) {
            descriptor::set_non_blocking(self.descriptor.as_fd(), true)?;
            self.is_non_blocking.store(true, Relaxed);
        }
        match transfer(self.descriptor.as_fd()) {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn poll(&self, poll: impl FnMut(&R::Registration) -> Poll<io::Result<()>>) -> Poll<SysResult<()>> {
        let poll = self.registered.poll(|| Arc::clone(&self.descriptor), self.interest, poll);
        poll.map_err(SysError::of(WAIT))
    }
}

impl<R: Reactor> fmt::Debug for Pipe<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}
