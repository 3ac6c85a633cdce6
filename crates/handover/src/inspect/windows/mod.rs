//! The Windows half: handle tables, and the debugging interface.

pub(super) mod audit;
mod audited_process;
pub(super) mod handle_table;

#[cfg(feature = "observe")]
pub(super) use super::untraced as observe;
