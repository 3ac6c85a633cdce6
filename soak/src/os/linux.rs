//! The Linux parts, which read `/proc`.

use handover::{Channel, Process, ReceivedMessage};

use crate::Outcome;
use crate::work::Work;

/// The numbers of hand-overs and spawns that take some seconds.
pub(crate) const SHORT: (u64, u64) = (40_000, 300);

/// Returns the number of open descriptors of a process. Linux can count them at any moment.
pub(crate) fn handles(process: &Process, _is_at_rest: bool) -> Outcome<Option<u64>> {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", process.id()))?;
    let count = u64::try_from(entries.count())?;
    // Reading this process's own folder opens one more descriptor.
    let is_own = process.id() == std::process::id();
    Ok(Some(count - u64::from(is_own)))
}

/// Returns the resident anonymous memory of a process in bytes.
pub(crate) fn memory(process: &Process) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .ok_or("/proc/PID/status has no line RssAnon")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Linux has no kinds of work of its own.
pub(crate) const MORE_WORK: &[Work] = &[];

/// Returns an error, because Linux has no requests of its own.
pub(crate) fn answer_to_more(_channel: &Channel, message: &ReceivedMessage) -> Outcome {
    Err(format!("unknown request: {message:?}").into())
}
