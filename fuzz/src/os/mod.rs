//! Which system's rules are the library's own here.

/// Whether a handle of this system can have this number, by its description.
pub(crate) const fn can_be_handle(number: u128) -> bool {
    if cfg!(windows) { is_handle(number) } else { is_descriptor(number) }
}

/// Windows: multiples of four from 4 to 0x7ffffffc.
pub(crate) const fn is_handle(number: u128) -> bool {
    number >= 4 && number <= 0x7fff_fffc && number & 3 == 0
}

/// Linux: from 0 to 2147483647.
pub(crate) const fn is_descriptor(number: u128) -> bool {
    number <= 2_147_483_647
}

/// Whether a local name is short enough: on Windows it is looked at when the name is made, on Linux when it is used.
pub(crate) fn fits_in_local(name: &str) -> bool {
    cfg!(not(windows)) || name.encode_utf16().count() <= 253
}
