//! Access rights, and which ones a kind passes on by default.

use std::fmt;

bitflags::bitflags! {
    /// The rights that one handle carries: an access mask.
    ///
    /// Bits from 16 up mean the same for every kind of object
    /// ([standard access rights](https://learn.microsoft.com/windows/win32/secauthz/standard-access-rights)); the
    /// lower ones belong to the kind
    /// ([synchronization objects](https://learn.microsoft.com/windows/win32/sync/synchronization-object-security-and-access-rights)).
    /// Any mask can be made with [`Access::from_bits_retain`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Access: u32 {
        /// Set and reset an event.
        const EVENT_MODIFY_STATE = 0x0002;
        /// Delete the object's name, where the kind has such a thing.
        const DELETE = 0x0001_0000;
        /// Read the security descriptor.
        const READ_CONTROL = 0x0002_0000;
        /// Change who may do what with the object.
        const WRITE_DAC = 0x0004_0000;
        /// Change the owner.
        const WRITE_OWNER = 0x0008_0000;
        /// Wait for the object.
        const SYNCHRONIZE = 0x0010_0000;
        // Every bit is some kind's: what the kernel reports is kept as it is.
        const _ = !0;
    }
}

impl Access {
    /// The rights to use an event, without those to own it: wait, set, reset.
    pub const EVENT_USE: Self = Self::SYNCHRONIZE.union(Self::EVENT_MODIFY_STATE);
    /// The rights to use a mutex, without those to own it: wait, release.
    pub const MUTEX_USE: Self = Self::SYNCHRONIZE.union(Self::from_bits_retain(0x0001));
    /// Release a semaphore.
    pub const SEMAPHORE_MODIFY_STATE: Self = Self::from_bits_retain(0x0002);
    /// The rights to use a semaphore, without those to own it: wait, release.
    pub const SEMAPHORE_USE: Self = Self::SYNCHRONIZE.union(Self::SEMAPHORE_MODIFY_STATE);
    /// Set and cancel a timer.
    pub const TIMER_MODIFY_STATE: Self = Self::from_bits_retain(0x0002);
    /// The rights to use a timer, without those to own it: wait, set, cancel.
    pub const TIMER_USE: Self =
        Self::SYNCHRONIZE.union(Self::TIMER_MODIFY_STATE).union(Self::from_bits_retain(0x0001));
    /// View a section for reading, and ask how large it is.
    pub const SECTION_READ: Self = Self::from_bits_retain(0x0005);
    /// The rights to use a section, without those to own it: view it for reading and writing.
    pub const SECTION_USE: Self = Self::from_bits_retain(0x0007);
    /// End a process.
    pub const PROCESS_TERMINATE: Self = Self::from_bits_retain(0x0001);
    /// Duplicate handles into and out of a process. Whoever has this right can do all that the process can
    /// ([process access rights](https://learn.microsoft.com/windows/win32/procthread/process-security-and-access-rights)).
    pub const PROCESS_DUP_HANDLE: Self = Self::from_bits_retain(0x0040);
    /// Ask for a process's times, exit code and user.
    pub const PROCESS_QUERY_LIMITED_INFORMATION: Self = Self::from_bits_retain(0x1000);
}

impl fmt::Display for Access {
    /// The mask in hex, eight digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn using_is_not_owning() {
        let owning = Access::DELETE | Access::WRITE_DAC | Access::WRITE_OWNER;
        assert!(Access::EVENT_USE.intersection(owning).is_empty());
        assert_eq!(Access::EVENT_USE.to_string(), "0x00100002");
    }

    #[test]
    fn no_bit_is_dropped() {
        assert_eq!(Access::from_bits_truncate(0x001f_0003).bits(), 0x001f_0003);
    }
}
