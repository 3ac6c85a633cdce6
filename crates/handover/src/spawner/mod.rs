//! Objects and channels for the children of other spawners than this crate's `Command`: std's and tokio's, on Linux.
//!
//! These spawners decide when they start a process, and run this crate's code only in the new process. So everything is
//! prepared when an object is listed, and each listed object becomes a [`Step`] that the command owns and takes in each new
//! process. The manifest is in the command's environment. It is the only state: each call reads it and adds its object.

mod inherit_ext;

pub use inherit_ext::InheritExt;
