//! Text comparisons that depend on the system.

use std::ffi::OsStr;

/// Returns whether two names denote the same environment variable.
pub(crate) fn is_same_variable(one: &OsStr, other: &OsStr) -> bool {
    one == other
}
