//! The process that created an object.

/// The process that created an object.
///
/// A copy of that process, made by `fork` without `execve`, has a copy of the object too. When the copy drops it, it
/// closes its own handles, but gives up nothing that belongs to the creator: no name, no lock, no child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Creator {
    id: u32,
    generation: u64,
}

impl Creator {
    pub(crate) fn this_process() -> Self {
        Self { id: std::process::id(), generation: generation() }
    }

    pub(crate) fn is_this_process(self) -> bool {
        self == Self::this_process()
    }
}

#[cfg(target_os = "linux")]
use super::fork::generation;

/// Windows makes no copies of processes.
#[cfg(windows)]
fn generation() -> u64 {
    0
}
