//! User ids.

use std::path::Path;

use super::SysError;
use super::SysResult;
use super::handle::page_at;

/// Returns the effective user id of this process.
pub(crate) fn current() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns the effective user id of a process. The caller must ensure that the id still belongs to the process that
/// it means.
pub(crate) fn of_process(id: u32) -> SysResult<u32> {
    let page = format!("/proc/{id}/status");
    let page = page_at(Path::new(&page))?;
    let page = String::from_utf8_lossy(&page);
    let line = page.lines().find_map(|line| line.strip_prefix("Uid:"));
    // The line has the real, effective, saved and filesystem user ids.
    let effective = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    effective.ok_or_else(|| SysError::unexpected("read", "the status file of the process has no user id"))
}
