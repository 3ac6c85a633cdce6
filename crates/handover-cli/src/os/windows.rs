//! Windows.

use std::process::ExitStatus;

/// What to do where a right is lacking.
pub(crate) const WHO_HAS_RIGHTS: &str = "run this as the process's own user or as an administrator";

/// The exit code that stands for how a command ended: its own.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_default()
}
