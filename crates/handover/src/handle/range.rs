//! The numbers that can be handle values, by the rule of each system.

/// Returns why a number can't be a handle value on this system, or `None` if it can.
#[cfg(windows)]
pub(crate) use self::objection_on_windows as objection;

/// The range of this system, for error messages.
#[cfg(windows)]
pub(crate) const EXPECTED: &str = "a multiple of 4 from 4 to 0x7ffffffc";

/// Returns why a number can't be a handle value on this system, or `None` if it can.
#[cfg(target_os = "linux")]
pub(crate) use self::objection_on_linux as objection;

/// The range of this system, for error messages.
#[cfg(target_os = "linux")]
pub(crate) const EXPECTED: &str = "a file descriptor from 0 to 2147483647";

/// Why a number can't be the index of any handle table of Windows.
#[inline]
pub(crate) fn objection_on_windows(number: u64) -> Option<&'static str> {
    let Ok(value) = u32::try_from(number) else {
        // A pseudo handle that was widened as a signed number is the likelier mistake than a large index.
        let pseudo = number >= u64::MAX - 11;
        return Some(if pseudo { "a pseudo handle" } else { "more than 32 bits" });
    };
    match value {
        0 => Some("NULL"),
        _ if value >= u32::MAX - 11 => Some("INVALID_HANDLE_VALUE or a pseudo handle"),
        _ if value > 0x7fff_ffff => Some("negative as a 32-bit number"),
        // The two low bits are the application's to tag; the kernel ignores them. A tagged value is a second
        // name of the same entry, which would be closed twice.
        _ if value % 4 != 0 => Some("not a multiple of 4"),
        _ => None,
    }
}

/// Why a number can't be any descriptor of Linux.
#[inline]
pub(crate) fn objection_on_linux(number: u64) -> Option<&'static str> {
    match number {
        0..=0x7fff_ffff => None,
        // Those that stand for none or for the current directory are small and negative.
        0xffff_ff00..=0xffff_ffff => Some("-1 or another that stands for no descriptor"),
        0x8000_0000..=0xffff_feff => Some("negative as a 32-bit number"),
        0xffff_ffff_ffff_ff00.. => Some("-1 or another that stands for no descriptor"),
        _ => Some("more than 32 bits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_table_of_windows_can_hold_is_refused_with_the_reason() {
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
    fn what_no_table_of_linux_can_hold_is_refused_with_the_reason() {
        for (number, reason) in [
            (0, None),
            (3, None),
            (0x7fff_ffff, None),
            (0x8000_0000, Some("negative as a 32-bit number")),
            (0xffff_feff, Some("negative as a 32-bit number")),
            (0xffff_ff00, Some("-1 or another that stands for no descriptor")),
            (0xffff_ff9c, Some("-1 or another that stands for no descriptor")),
            (0xffff_ffff, Some("-1 or another that stands for no descriptor")),
            (0x1_0000_0000, Some("more than 32 bits")),
            (0x1_0000_0044, Some("more than 32 bits")),
            (0xffff_ffff_ffff_feff, Some("more than 32 bits")),
            (0xffff_ffff_ffff_fff4, Some("-1 or another that stands for no descriptor")),
        ] {
            assert_eq!(objection_on_linux(number), reason, "{number:#x}");
        }
    }
}
