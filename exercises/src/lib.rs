//! What the programs of the exercises have in common: options, the lines they print, and how they end.
//!
//! The programs are the same on each system. What differs is the names of its calls, which stand in the story, and how
//! a child that runs is given an object; [`call`] and [`duplication`] have a version for each.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done: the event was shared, signaled and waited for |
//! | 1 | a call failed, or the other side did |
//! | 2 | wrong usage, or a value that can't be a handle, or text that can't be a name |
//! | 3 | a deadline passed |

mod ending;
mod line;
mod options;
mod os;

pub use ending::{Stop, end_of};
pub use line::Story;
pub use options::{CHILD_EXIT_CODES, ChildOptions, NAMED_CHILD_EXIT_CODES, PARENT_EXIT_CODES, ParentOptions};
pub use os::{call, duplication};
