//! Linux: file descriptors, and what stands for each kind of object.

#![allow(unsafe_code)]

pub(crate) mod call;
pub(crate) mod handle;
pub(crate) mod io;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod named;
pub(crate) mod process;
pub(crate) mod rights;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod trace;
pub(crate) mod user;
pub(crate) mod value;
pub(crate) mod wait;

use super::fault;
