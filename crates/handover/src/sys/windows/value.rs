//! The numbers that can be handles.

use std::os::windows::io::{AsRawHandle, BorrowedHandle};

/// Returns the number of a handle of this process.
#[inline]
pub(crate) fn number_of(handle: BorrowedHandle<'_>) -> u64 {
    handle.as_raw_handle().expose_provenance() as u64
}

#[cfg(test)]
mod tests {
    use crate::handle::{HandleValue, InvalidValue};

    #[test]
    fn numbers_outside_any_handle_table_are_refused_with_the_reason() {
        for (text, reason) in [
            ("0", "NULL"),
            ("0x0", "NULL"),
            ("42", "not a multiple of 4"),
            ("0x45", "not a multiple of 4"),
            ("4294967295", "INVALID_HANDLE_VALUE or a pseudo handle"),
            ("0xfffffff4", "INVALID_HANDLE_VALUE or a pseudo handle"),
            ("0xfffffff0", "negative as a 32-bit number"),
            ("0x80000000", "negative as a 32-bit number"),
            ("4294967296", "more than 32 bits"),
            ("0x100000044", "more than 32 bits"),
            ("0xffffffffffffffff", "a pseudo handle"),
            ("0xfffffffffffffff4", "a pseudo handle"),
            ("0xfffffffffffffff0", "more than 32 bits"),
        ] {
            match HandleValue::parse(text) {
                Err(InvalidValue { reason: found, .. }) => assert_eq!(found, reason, "{text:?}"),
                other => panic!("{text:?} gave {other:?}"),
            }
        }
    }
}
