//! Linux: pages of `/proc`.

use handover::{Channel, Process, ReceivedMessage};

use crate::Outcome;
use crate::work::Work;

/// How many hand-overs and spawns take some seconds.
pub(crate) const SHORT: (u64, u64) = (40_000, 300);

/// How many handles a process has. It can be asked at any moment.
pub(crate) fn handles(process: &Process, _is_at_rest: bool) -> Outcome<Option<u64>> {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", process.id()))?;
    let count = u64::try_from(entries.count())?;
    // The look at one's own takes a place among them.
    let is_own = process.id() == std::process::id();
    Ok(Some(count - u64::from(is_own)))
}

/// How many bytes of memory a process has for itself alone: what it has written to, and no files.
pub(crate) fn memory(process: &Process) -> Outcome<u64> {
    let page = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = page.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// What both systems have is all there is.
pub(crate) const MORE_WORK: &[Work] = &[];

/// Nothing else is asked for.
pub(crate) fn answer_to_more(_channel: &Channel, message: &ReceivedMessage) -> Outcome {
    Err(format!("no such request: {message:?}").into())
}
