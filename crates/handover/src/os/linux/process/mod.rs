//! Starting processes.

mod keeper;
mod left;
mod lookup;
mod spawn;
mod stream;

pub(crate) use left::leave;
pub(crate) use spawn::spawn;
