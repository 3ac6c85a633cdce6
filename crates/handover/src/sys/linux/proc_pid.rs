//! The files that `/proc` has for a process. Their paths contain the process's id, which is another process's where
//! `/proc` belongs to another PID namespace.

use std::fmt;
use std::io;
use std::path::Path;

use super::SysError;
use super::SysResult;
use super::ask;
use super::handle::{magic, page_at};
use crate::sys::creator::Creator;
use crate::sys::mutex::Mutex;

/// The reason why nothing can be learned from `/proc` about a process.
#[derive(Debug)]
pub(crate) enum ProcFault {
    NotMounted,
    /// It shows this process by another id, or not at all.
    OtherNamespace {
        shown: Option<u32>,
    },
    Failed(SysError),
}

impl fmt::Display for ProcFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = std::process::id();
        match self {
            Self::NotMounted => f.write_str("is not mounted; mount it"),
            Self::OtherNamespace { shown: Some(id) } => write!(
                f,
                "shows process {id} for this process, whose id is {own}, so it belongs to another PID namespace; mount it \
                 again"
            ),
            Self::OtherNamespace { shown: None } => write!(
                f,
                "doesn't show this process, whose id is {own}, so it belongs to another PID namespace; mount it again"
            ),
            Self::Failed(error) => write!(f, "can't be read: {error}"),
        }
    }
}

/// Checks that `/proc` is mounted and shows processes by the ids that this process uses.
///
/// The check is made once for each process, because neither usually changes.
pub(crate) fn check_shows_our_ids() -> Result<(), ProcFault> {
    let (own, this) = (std::process::id(), Some(Creator::this_process()));
    if *CHECKED_BY.lock() == this {
        return Ok(());
    }
    let page = match page_at(Path::new("/proc/self/status")) {
        Ok(page) => page,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(match is_mounted() {
                Ok(true) => ProcFault::OtherNamespace { shown: None },
                Ok(false) => ProcFault::NotMounted,
                Err(error) => ProcFault::Failed(error),
            });
        }
        Err(error) => return Err(ProcFault::Failed(error)),
    };
    let page = String::from_utf8_lossy(&page);
    // This process's ids, from the namespace of `/proc` down to its own. The first one alone could be equal by chance.
    let line = |name| page.lines().find_map(|line| line.strip_prefix(name));
    // A kernel without PID namespaces has no such line.
    let ids = line("NSpid:").or_else(|| line("Pid:")).unwrap_or_default();
    let ids: Vec<u32> = ids.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    if ids != [own] {
        return Err(ProcFault::OtherNamespace { shown: ids.first().copied() });
    }
    *CHECKED_BY.lock() = this;
    Ok(())
}

/// The process that has made the check.
static CHECKED_BY: Mutex<Option<Creator>> = Mutex::new(None);

fn is_mounted() -> SysResult<bool> {
    ask("statfs", &[("path", Path::new("/proc").into())], || match rustix::fs::statfs("/proc") {
        Ok(system) => Ok(magic!(system.f_type) == magic!(libc::PROC_SUPER_MAGIC)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    })
}

/// Returns a file of a process that exists, and whose id can't be reused meanwhile. If `/proc` has no such file, it
/// hides the process.
pub(crate) fn page_of(id: u32, name: &str) -> SysResult<Vec<u8>> {
    check_shows_our_ids().map_err(into_error)?;
    let page = page_at(Path::new(&format!("/proc/{id}/{name}")));
    if page.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        // This process may have got another root or another `/proc` since the check.
        *CHECKED_BY.lock() = None;
        check_shows_our_ids().map_err(into_error)?;
    }
    page
}

fn into_error(fault: ProcFault) -> SysError {
    match fault {
        ProcFault::Failed(error) => error,
        fault => SysError::new("open", io::Error::other(format!("/proc {fault}"))),
    }
}

/// Turns the error for a file that doesn't exist into one that says why: the process is known to exist.
pub(crate) fn hidden(error: SysError) -> SysError {
    if error.kind() != io::ErrorKind::NotFound {
        return error;
    }
    let reason = "/proc hides the process from this user (the mount option hidepid)";
    SysError::new(error.call, io::Error::new(io::ErrorKind::PermissionDenied, reason))
}
