//! What the programs of the exercises have in common: options, the lines they print, and how they end.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done: the event was shared, signaled and waited for |
//! | 1 | a call failed, or the other side did |
//! | 2 | wrong usage, or a value that can't be a handle, or text that can't be a name |
//! | 3 | a deadline passed |

#[cfg(not(windows))]
compile_error!("the exercises are Win32 programs; `cargo xtask demo` builds and runs them here too");

mod ending;
mod line;
mod options;

pub use ending::{Stop, end_of};
pub use line::{Story, line_within};
pub use options::{CHILD_EXIT_CODES, ChildOptions, NAMED_CHILD_EXIT_CODES, PARENT_EXIT_CODES, ParentOptions};
