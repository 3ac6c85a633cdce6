//! User ids.

/// Returns the effective user id of this process.
pub(crate) fn current() -> u32 {
    rustix::process::geteuid().as_raw()
}
