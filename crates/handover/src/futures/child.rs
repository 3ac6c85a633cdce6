//! `Child`: a child process whose waits are futures.

use std::future::poll_fn;
use std::process::{ExitStatus, Output};
use std::task::{Context, Poll};

use super::{Reactor, Stream, sleep, wait};
use crate::error::{Error, Result};
use crate::process as blocking;
use crate::process::child::RETRY_INTERVAL;
use crate::sys::SysResult;

#[derive(Debug)]
pub(crate) struct Child<R: Reactor> {
    child: blocking::Child,
    _runtime: std::marker::PhantomData<R>,
}

/// The streams of a child, unless they were taken.
pub(crate) type Streams<R> = [Option<Stream<R>>; 3];

impl<R: Reactor> Child<R> {
    /// Takes the child's streams.
    pub(crate) fn new(mut child: blocking::Child) -> (Self, Streams<R>) {
        let streams = [
            child.stdin.take().map(Stream::to_write),
            child.stdout.take().map(Stream::to_read),
            child.stderr.take().map(Stream::to_read),
        ];
        (Self { child, _runtime: std::marker::PhantomData }, streams)
    }

    /// Gives the child its streams back.
    pub(crate) fn into_blocking(self, [stdin, stdout, stderr]: Streams<R>) -> blocking::Child {
        let mut child = self.child;
        child.stdin = stdin.and_then(Stream::into_handle).map(Into::into);
        child.stdout = stdout.and_then(Stream::into_handle).map(Into::into);
        child.stderr = stderr.and_then(Stream::into_handle).map(Into::into);
        child
    }

    pub(crate) fn blocking(&self) -> &blocking::Child {
        &self.child
    }

    pub(crate) fn blocking_mut(&mut self) -> &mut blocking::Child {
        &mut self.child
    }

    pub(crate) async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.close_inputs();
        loop {
            wait::<R>(self.child.process()).await?;
            match self.child.status_at_exit()? {
                Some(status) => return Ok(status),
                None => sleep::<R>(RETRY_INTERVAL).await?,
            }
        }
    }

    pub(crate) async fn wait_with_output(mut self, streams: Streams<R>) -> Result<Output> {
        let [stdin, mut stdout, mut stderr] = streams;
        drop(stdin);
        self.child.close_inputs();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let read = poll_fn(|cx| {
            let both = [poll_to_end(&mut stdout, &mut out, cx)?, poll_to_end(&mut stderr, &mut err, cx)?];
            if both.iter().all(Poll::is_ready) { Poll::Ready(Ok(())) } else { Poll::Pending }
        });
        read.await.map_err(|error| Error::system("the child's output", error))?;
        Ok(Output { status: self.wait().await?, stdout: out, stderr: err })
    }
}

/// Reads a stream to its end, and closes it then.
fn poll_to_end<R: Reactor>(
    stream: &mut Option<Stream<R>>,
    bytes: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> SysResult<Poll<()>> {
    const CHUNK: usize = 16 * 1024;
    /// How often a stream is read in a row, before other tasks get their turn.
    const MAX_READS: u32 = 32;
    let Some(open) = stream else { return Ok(Poll::Ready(())) };
    for _ in 0..MAX_READS {
        let length = bytes.len();
        bytes.resize(length + CHUNK, 0);
        let read = open.poll_read(&mut bytes[length..], cx);
        bytes.truncate(length + if let Poll::Ready(Ok(read)) = read { read } else { 0 });
        match read? {
            Poll::Ready(0) => {
                *stream = None;
                return Ok(Poll::Ready(()));
            }
            Poll::Ready(_) => {}
            Poll::Pending => return Ok(Poll::Pending),
        }
    }
    cx.waker().wake_by_ref();
    Ok(Poll::Pending)
}
