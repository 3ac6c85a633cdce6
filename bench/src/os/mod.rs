//! The parts that differ between the systems.
//!
//! The module of each system provides:
//! - `baseline`: the floor, which is the same work in C, and settings of the measuring process itself;
//! - `in_flight`: the floor of many objects in flight, and a clock for work without waits;
//! - `peer`: the other crates that can start a child with objects, or send objects, on this system;
//! - `wait_set`: the floor of one thread that serves many channels, and the most channels to measure;
//! - `IS_RACE_FREE_SPAWN_SLOWER`: whether `Command::race_free` makes a spawn do more work.

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
