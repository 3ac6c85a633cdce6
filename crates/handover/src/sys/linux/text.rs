//! What only the system knows about text.

use std::ffi::OsStr;

/// Whether two names are one variable's.
pub(crate) fn is_same_variable(one: &OsStr, other: &OsStr) -> bool {
    one == other
}
