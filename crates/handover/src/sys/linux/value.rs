//! The numbers that can be file descriptors.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Returns the number of a descriptor of this process.
#[inline]
pub(crate) fn number_of(handle: BorrowedFd<'_>) -> u64 {
    // The number of an open descriptor is never negative. A `BorrowedFd` that a program made from a negative number
    // maps to a number that no descriptor has, so it leads to an error.
    u64::try_from(handle.as_raw_fd()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::error::Error;
    use crate::handle::HandleValue;

    #[test]
    fn numbers_outside_any_descriptor_table_are_refused_with_the_reason() {
        for (text, reason) in [
            ("4294967295", "negative as a 32-bit number, such as -1 or AT_FDCWD"),
            ("0xffffff9c", "negative as a 32-bit number, such as -1 or AT_FDCWD"),
            ("0xfffffffffffffff4", "negative as a 32-bit number, such as -1 or AT_FDCWD"),
            ("0x80000000", "negative as a 32-bit number"),
            ("4294967296", "more than 32 bits"),
            ("0x100000044", "more than 32 bits"),
        ] {
            match text.parse::<HandleValue>() {
                Err(Error::InvalidHandleValue { reason: actual, .. }) => {
                    assert_eq!(actual, reason, "{text:?}");
                }
                other => panic!("{text:?} gave {other:?}"),
            }
        }
        for number in [0, 1, 2, 3, 70, 0x7fff_ffff_u64] {
            assert_eq!(HandleValue::try_from(number).map(|value| u64::from(value.get())).ok(), Some(number));
        }
    }
}
