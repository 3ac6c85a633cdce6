//! Text comparisons that depend on the system.

use std::cmp::Ordering;
use std::ffi::OsStr;

/// Returns whether two names denote the same environment variable.
pub(crate) fn is_same_variable(one: &OsStr, other: &OsStr) -> bool {
    one == other
}

/// Compares the names of two environment variables, by their bytes.
pub(crate) fn compare_variables(one: &OsStr, other: &OsStr) -> Ordering {
    one.cmp(other)
}
