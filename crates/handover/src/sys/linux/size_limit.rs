//! The limit on the size of this process's files.

use std::io;

use rustix::io::Errno;

use super::{Answered, Argument, SysError, SysResult, ask};

/// Fails with `EFBIG` if this process may not have a file of this size. Without this check, `call` would raise SIGXFSZ,
/// which ends the process.
pub(crate) fn check_file_size(call: &'static str, size: u64) -> SysResult<()> {
    let Answered(limit) = ask("prlimit", &[("RLIMIT_FSIZE", Argument::Yes)], || {
        let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer refers to a live, writable `rlimit64`.
        match unsafe { libc::getrlimit64(libc::RLIMIT_FSIZE, &raw mut limit) } {
            0 => Ok(Answered(limit.rlim_cur)),
            _ => match io::Error::last_os_error() {
                // A filter that refuses the call sets no limit itself.
                error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    Ok(Answered(u64::MAX))
                }
                error => Err(error),
            },
        }
    })?;
    if size > limit { Err(SysError::new(call, Errno::FBIG)) } else { Ok(()) }
}
