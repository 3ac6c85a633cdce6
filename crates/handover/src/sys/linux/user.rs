//! Users.

use std::io;

use super::fault;

/// The user that this process acts as.
pub(crate) fn current() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The user that a process acts as, by its id; the caller knows that the process is still the one that it means.
pub(crate) fn of_process(id: u32) -> io::Result<u32> {
    fault("read")?;
    let page = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = page.lines().find_map(|line| line.strip_prefix("Uid:"));
    // Real, effective, saved, of the file system.
    let effective = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    effective.ok_or_else(|| io::Error::other("the page about the process names no user"))
}
