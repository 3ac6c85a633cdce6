//! Reads the output of a child.

use std::io::Read;
use std::os::windows::io::AsHandle;
use std::process::{ChildStderr, ChildStdout};

use crate::sys::io::{Owned, OwnedHandle};
use crate::sys::pipe::is_connected;
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
            Some(stream) => {
                let work = move || read_to_end(stream, err);
                Some(begin_thread(|| std::thread::Builder::new().spawn_scoped(scope, work))?)
            }
            None => None,
        };
        if let Some(stream) = stdout {
            read_to_end(stream, &mut out)?;
        }
        match reader.map(std::thread::ScopedJoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(outcome)) => outcome,
            None => Ok(()),
        }
    })?;
    Ok((out, err))
}

/// Reads a child's stream until no process can write to it any more, and closes it.
fn read_to_end(mut stream: impl Read + AsHandle + Into<OwnedHandle>, bytes: &mut Vec<u8>) -> SysResult<()> {
    let mut outcome = stream.read_to_end(bytes);
    while outcome.is_ok() && is_connected(stream.as_handle()) {
        outcome = stream.read_to_end(bytes);
    }
    drop(Owned::from(stream.into()));
    outcome.map(drop).map_err(SysError::of(call::READ))
}
