//! What the exercises do in another way on each system, and how it is called there.
//!
//! Each provides `call`, the names of its calls, and `duplication`, the two halves of giving an object to a child that
//! runs. Both tell their own steps, because there aren't as many on each system.

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{call, duplication};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::{call, duplication};
