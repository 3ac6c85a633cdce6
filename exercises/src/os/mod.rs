//! Unnamed pipes. std has them from Rust 1.87 on, as `std::io::pipe`.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::pipe;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::pipe;
