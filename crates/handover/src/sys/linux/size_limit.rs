//! The limit on the size of this process's files.

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::{Answered, Argument, SysError, SysResult, ask};

/// Fails with `EFBIG` if this process may not have a file of this size. Without this check, `call` would raise SIGXFSZ,
/// which ends the process.
pub(crate) fn check_file_size(call: &'static str, size: u64) -> SysResult<()> {
    let Answered(limit) = ask("prlimit", &[("RLIMIT_FSIZE", Argument::Yes)], || {
        Ok(Answered(getrlimit(Resource::Fsize).current))
    })?;
    if limit.is_some_and(|limit| size > limit) { Err(SysError::new(call, Errno::FBIG)) } else { Ok(()) }
}
