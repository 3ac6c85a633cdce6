//! The tests of `handover check` on each system.

mod common;

#[cfg(target_os = "linux")]
mod levels;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use levels::TESTS as LEVELS;
#[cfg(target_os = "linux")]
pub(crate) use linux::{ROLES, TESTS};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::{LEVELS, ROLES, TESTS};
