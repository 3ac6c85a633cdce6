//! What one system alone has, as in [`std::os`]. A program that imports it is bound to that system.

#[cfg(any(target_os = "linux", docsrs))]
pub mod linux;
#[cfg(windows)]
pub mod windows;
