//! The tests of the templates with each system's tools.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{REMARKS_ON_NAMING, TESTS};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::{REMARKS_ON_NAMING, TESTS};
