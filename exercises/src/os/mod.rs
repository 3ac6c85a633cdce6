//! Objects that the library doesn't have on both systems: unnamed pipes, which std has from Rust 1.87 on, and mutexes.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::{MutexObject, SharedMutex, pipe};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{MutexObject, SharedMutex, pipe};
