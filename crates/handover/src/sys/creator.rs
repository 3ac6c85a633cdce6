//! The process that created an object.

/// The process that created an object.
///
/// A copy of that process, made by `fork` without `execve`, has a copy of the object too. When the copy drops it, it
/// closes its own handles, but gives up nothing that belongs to the creator: no name, no lock, no child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Creator(u32);

impl Creator {
    pub(crate) fn this_process() -> Self {
        Self(std::process::id())
    }

    pub(crate) fn is_this_process(self) -> bool {
        self == Self::this_process()
    }
}
