//! Reads the output of a child.

use std::io::{self, Read};
use std::process::{ChildStderr, ChildStdout};

use crate::sys::io::{Owned, OwnedHandle};
use crate::sys::{SysError, SysResult, begin_thread, call};

/// Reads both streams to their ends, the second one on a thread of its own. Each is closed at its end.
pub(crate) fn read_output(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
) -> SysResult<(Vec<u8>, Vec<u8>)> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let err = &mut err;
        let reader = match stderr {
            Some(mut stream) => {
                let work = move || close_after(stream.read_to_end(err), stream);
                Some(begin_thread(|| std::thread::Builder::new().spawn_scoped(scope, work))?)
            }
            None => None,
        };
        if let Some(mut stream) = stdout {
            close_after(stream.read_to_end(&mut out), stream)?;
        }
        match reader.map(std::thread::ScopedJoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(outcome)) => outcome,
            None => Ok(()),
        }
    })?;
    Ok((out, err))
}

/// Closes a child's stream after reading it, and returns the outcome of the read.
fn close_after(outcome: io::Result<usize>, stream: impl Into<OwnedHandle>) -> SysResult<()> {
    drop(Owned::from(stream.into()));
    outcome.map(drop).map_err(SysError::of(call::READ))
}
