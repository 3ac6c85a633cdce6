//! The Linux half: descriptors in `/proc`, and `ptrace`.

pub(super) mod audit;
mod audited_process;
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
mod calls;
pub(super) mod handle_table;
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
pub(super) mod observe;
mod tracees;

#[cfg(all(feature = "observe", not(target_pointer_width = "64")))]
pub(super) use super::untraced as observe;
