//! Which numbers can be descriptors.

use std::os::fd::{AsRawFd, BorrowedFd};

/// A descriptor of this process as a number.
#[inline]
pub(crate) fn number_of(handle: BorrowedFd<'_>) -> u64 {
    // None that is open is negative; what a program makes up is an error and not another number.
    u64::try_from(handle.as_raw_fd()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::error::Error;
    use crate::handle::HandleValue;

    #[test]
    fn what_no_table_can_hold_is_refused_with_the_reason() {
        for (text, reason) in [
            ("4294967295", "-1 or another that stands for no descriptor"),
            ("0xffffff9c", "-1 or another that stands for no descriptor"),
            ("0xfffffffffffffff4", "-1 or another that stands for no descriptor"),
            ("0x80000000", "negative as a 32-bit number"),
            ("4294967296", "more than 32 bits"),
            ("0x100000044", "more than 32 bits"),
        ] {
            match text.parse::<HandleValue>() {
                Err(Error::InvalidHandleValue { reason: why, .. }) => assert_eq!(why, reason, "{text:?}"),
                other => panic!("{text:?} gave {other:?}"),
            }
        }
        for number in [0, 1, 2, 3, 70, 0x7fff_ffff_u64] {
            assert_eq!(HandleValue::try_from(number).map(|value| u64::from(value.get())).ok(), Some(number));
        }
    }
}
