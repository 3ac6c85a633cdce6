//! Users.

use std::path::Path;

use super::SysError;
use super::SysResult;
use super::handle::page_at;

/// The user that this process acts as.
pub(crate) fn current() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The user that a process acts as, by its id; the caller knows that the process is still the one that it means.
pub(crate) fn of_process(id: u32) -> SysResult<u32> {
    let page = format!("/proc/{id}/status");
    let page = page_at(Path::new(&page))?;
    let page = String::from_utf8_lossy(&page);
    let line = page.lines().find_map(|line| line.strip_prefix("Uid:"));
    // Real, effective, saved, of the file system.
    let effective = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    effective.ok_or_else(|| SysError::unexpected("read", "the page about the process names no user"))
}
