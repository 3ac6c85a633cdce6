//! Handle values, object kinds, access rights and process identities. This module makes no system calls.

#[cfg(windows)]
mod access;
#[allow(dead_code, reason = "only Windows has access rights to name, and the tests run everywhere")]
pub(crate) mod access_names;
pub(crate) mod escaped;
mod identity;
#[allow(dead_code, reason = "only Windows asks for some columns of the table")]
mod kind;
#[allow(dead_code, reason = "each system has its own range, and both are tested everywhere")]
pub(crate) mod range;
mod value;

#[cfg(windows)]
pub use access::Access;
pub use identity::ProcessIdentity;
pub use kind::ObjectKind;
pub use value::HandleValue;
pub(crate) use value::{InvalidIdentity, InvalidValue, number_for_people, shortened};
