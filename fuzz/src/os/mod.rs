//! The rules for handle values and names that depend on the system, written from their descriptions.

/// Returns whether a number can be a handle value on this system.
pub(crate) const fn can_be_handle(number: u128) -> bool {
    if cfg!(windows) { is_handle(number) } else { is_descriptor(number) }
}

/// Returns whether a number can be a handle value on Windows: a multiple of four from 4 to 0x7ffffffc.
pub(crate) const fn is_handle(number: u128) -> bool {
    number >= 4 && number <= 0x7fff_fffc && number & 3 == 0
}

/// Returns whether a number can be a file descriptor on Linux: 0 to 2147483647.
pub(crate) const fn is_descriptor(number: u128) -> bool {
    number <= 2_147_483_647
}

/// Returns whether a local name is short enough. Windows checks the length when the name is parsed, Linux when it is
/// used.
pub(crate) fn fits_in_local(name: &str) -> bool {
    cfg!(not(windows)) || name.encode_utf16().count() <= 253
}
