//! What only Linux has.
//!
#![doc = include_str!("../../docs/linux.md")]
