//! The range of valid handle values on each system.

/// Returns the reason why a number can't be a handle value on this system, or `None` if it can.
#[cfg(windows)]
pub(crate) use self::objection_on_windows as objection;

/// The words in a reason for a number that stands for a handle, but is none.
pub(crate) const PSEUDO_HANDLE: &str = "pseudo handle";

/// Whether error messages also show handle values in hex, as Windows tools do.
#[cfg(windows)]
pub(crate) const HEX_TOO: bool = true;

/// The valid range on this system, for error messages.
#[cfg(windows)]
pub(crate) const EXPECTED: &str = "a multiple of 4 from 4 to 2147483644";

/// Returns the reason why a number can't be a handle value on this system, or `None` if it can.
#[cfg(target_os = "linux")]
pub(crate) use self::objection_on_linux as objection;

/// Whether error messages also show handle values in hex, as Windows tools do.
#[cfg(target_os = "linux")]
pub(crate) const HEX_TOO: bool = false;

/// The valid range on this system, for error messages.
#[cfg(target_os = "linux")]
pub(crate) const EXPECTED: &str = "a file descriptor from 0 to 2147483647";

/// Returns the reason why a number can't be a handle value on Windows, or `None` if it can.
#[inline]
pub(crate) fn objection_on_windows(number: u64) -> Option<&'static str> {
    let Ok(value) = u32::try_from(number) else {
        // The numbers from -12 to -1 in 64 bits are pseudo handles that were sign-extended from 32 bits.
        let pseudo = number >= u64::MAX - 11;
        return Some(if pseudo { "a pseudo handle" } else { "more than 32 bits" });
    };
    match value {
        0 => Some("NULL"),
        _ if value >= u32::MAX - 11 => Some("INVALID_HANDLE_VALUE or a pseudo handle"),
        _ if value > 0x7fff_ffff => Some("negative as a 32-bit number"),
        // The kernel ignores the two low bits, and applications may use them as tags. A tagged value would be a second
        // name for the same table entry, so the entry could be closed twice.
        _ if value % 4 != 0 => Some("not a multiple of 4"),
        _ => None,
    }
}

/// Returns the reason why a number can't be a file descriptor on Linux, or `None` if it can.
#[inline]
pub(crate) fn objection_on_linux(number: u64) -> Option<&'static str> {
    match number {
        0..=0x7fff_ffff => None,
        // -1 (no descriptor) and AT_FDCWD, -100 (the current directory), have this form in 32 bits.
        0xffff_ff00..=0xffff_ffff => Some("negative as a 32-bit number, such as -1 or AT_FDCWD"),
        0x8000_0000..=0xffff_feff => Some("negative as a 32-bit number"),
        0xffff_ffff_ffff_ff00.. => Some("negative as a 32-bit number, such as -1 or AT_FDCWD"),
        _ => Some("more than 32 bits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objection_on_windows_gives_the_reason_for_each_invalid_number() {
        for (number, reason) in [
            (0, Some("NULL")),
            (4, None),
            (42, Some("not a multiple of 4")),
            (0x45, Some("not a multiple of 4")),
            (0x7fff_fffc, None),
            (0x7fff_ffff, Some("not a multiple of 4")),
            (0x8000_0000, Some("negative as a 32-bit number")),
            (0xffff_fff0, Some("negative as a 32-bit number")),
            (0xffff_fff4, Some("INVALID_HANDLE_VALUE or a pseudo handle")),
            (0xffff_ffff, Some("INVALID_HANDLE_VALUE or a pseudo handle")),
            (0x1_0000_0000, Some("more than 32 bits")),
            (0x1_0000_0044, Some("more than 32 bits")),
            (0xffff_ffff_ffff_fff0, Some("more than 32 bits")),
            (0xffff_ffff_ffff_fff4, Some("a pseudo handle")),
            (0xffff_ffff_ffff_ffff, Some("a pseudo handle")),
        ] {
            assert_eq!(objection_on_windows(number), reason, "{number:#x}");
        }
    }

    #[test]
    fn objection_on_linux_gives_the_reason_for_each_invalid_number() {
        for (number, reason) in [
            (0, None),
            (3, None),
            (0x7fff_ffff, None),
            (0x8000_0000, Some("negative as a 32-bit number")),
            (0xffff_feff, Some("negative as a 32-bit number")),
            (0xffff_ff00, Some("negative as a 32-bit number, such as -1 or AT_FDCWD")),
            (0xffff_ff9c, Some("negative as a 32-bit number, such as -1 or AT_FDCWD")),
            (0xffff_ffff, Some("negative as a 32-bit number, such as -1 or AT_FDCWD")),
            (0x1_0000_0000, Some("more than 32 bits")),
            (0x1_0000_0044, Some("more than 32 bits")),
            (0xffff_ffff_ffff_feff, Some("more than 32 bits")),
            (0xffff_ffff_ffff_fff4, Some("negative as a 32-bit number, such as -1 or AT_FDCWD")),
        ] {
            assert_eq!(objection_on_linux(number), reason, "{number:#x}");
        }
    }
}
