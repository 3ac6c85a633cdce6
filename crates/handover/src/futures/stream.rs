//! `Stream`: this process's end of a child's standard stream.

use std::io;
use std::task::{Context, Poll, ready};

use super::Reactor;
use super::imp::Pipe;
use crate::sys::io::{Owned, OwnedHandle};
use crate::sys::{SysError, SysResult, call};

/// An end of a pipe, until it is closed.
#[derive(Debug)]
pub(crate) struct Stream<R: Reactor>(Option<Pipe<R>>);

impl<R: Reactor> Stream<R> {
    pub(crate) fn to_write(handle: impl Into<OwnedHandle>) -> Self {
        Self(Some(Pipe::new(Owned::from(handle.into()), true)))
    }

    pub(crate) fn to_read(handle: impl Into<OwnedHandle>) -> Self {
        Self(Some(Pipe::new(Owned::from(handle.into()), false)))
    }

    /// Returns the end, for blocking use, unless it was closed.
    pub(crate) fn into_handle(self) -> Option<OwnedHandle> {
        self.0.map(|pipe| pipe.into_handle().into())
    }

    pub(crate) fn poll_read(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<SysResult<usize>> {
        match &mut self.0 {
            Some(pipe) if !buffer.is_empty() => pipe.poll_read(buffer, cx),
            _ => Poll::Ready(Ok(0)),
        }
    }

    pub(crate) fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<SysResult<usize>> {
        match &mut self.0 {
            Some(pipe) => pipe.poll_write(bytes, cx),
            None => Poll::Ready(Err(SysError::new(call::WRITE, io::ErrorKind::BrokenPipe))),
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<SysResult<()>> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |pipe| pipe.poll_flush(cx))
    }

    /// Flushes and closes the end.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<SysResult<()>> {
        let flushed = ready!(self.poll_flush(cx));
        self.0 = None;
        Poll::Ready(flushed)
    }
}
