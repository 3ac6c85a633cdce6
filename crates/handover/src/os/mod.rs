//! The items that exist on one system only, as in [`std::os`]. A program that imports them is bound to that system.

#[cfg(any(target_os = "linux", docsrs))]
pub mod linux;
#[cfg(windows)]
pub mod windows;
