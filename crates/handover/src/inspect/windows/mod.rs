//! The Windows half: handle tables, and the debugging interface.

pub(super) mod audit;
mod audited_process;
#[cfg(all(feature = "observe", target_arch = "x86_64"))]
mod calls;
#[cfg(all(feature = "observe", target_arch = "x86_64"))]
mod debuggee;
pub(super) mod handle_table;
#[cfg(all(feature = "observe", target_arch = "x86_64"))]
pub(super) mod observe;
#[cfg(all(feature = "observe", target_arch = "x86_64"))]
mod thunks;

#[cfg(all(feature = "observe", not(target_arch = "x86_64")))]
pub(super) use super::untraced as observe;
