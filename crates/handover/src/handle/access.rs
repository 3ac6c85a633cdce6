//! Access rights, and the default rights that a shared object of each kind carries.

use std::fmt;

bitflags::bitflags! {
    /// The rights that one handle carries: an
    /// [access mask](https://learn.microsoft.com/windows/win32/secauthz/access-mask).
    ///
    /// Pass it to `with_access` to share an object with fewer rights than by default. The constants that end in `_USE`
    /// are the defaults: the rights to use an object, without those to delete it or to change its owner or permissions.
    ///
    /// - Bits 16 and up mean the same for every kind of object
    ///   ([standard access rights](https://learn.microsoft.com/windows/win32/secauthz/standard-access-rights)).
    /// - The lower bits have a meaning of their own for each kind
    ///   ([synchronization objects](https://learn.microsoft.com/windows/win32/sync/synchronization-object-security-and-access-rights)).
    ///
    /// [`Access::from_bits_retain`] makes any mask, also one for which this type has no constant.
    ///
    /// ```
    /// use handover::os::windows::Access;
    ///
    /// assert_eq!(Access::EVENT_USE, Access::SYNCHRONIZE | Access::EVENT_MODIFY_STATE);
    /// assert_eq!(Access::EVENT_USE.to_string(), "0x00100002");
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Access: u32 {
        /// The right to set and reset an event.
        const EVENT_MODIFY_STATE = 0x0002;
        /// The right to delete the object: a file or a registry key, for example.
        const DELETE = 0x0001_0000;
        /// The right to read the object's security descriptor.
        const READ_CONTROL = 0x0002_0000;
        /// The right to change the object's access control list, and with it every other right.
        const WRITE_DAC = 0x0004_0000;
        /// The right to change the object's owner.
        const WRITE_OWNER = 0x0008_0000;
        /// The right to wait for the object.
        const SYNCHRONIZE = 0x0010_0000;
        // Each bit has a meaning for some kind, so a mask that the kernel reports keeps all its bits.
        const _ = !0;
    }
}

impl Access {
    /// The rights to use an event: wait, set and reset.
    pub const EVENT_USE: Self = Self::SYNCHRONIZE.union(Self::EVENT_MODIFY_STATE);
    /// The rights to use a mutex: wait and release.
    pub const MUTEX_USE: Self = Self::SYNCHRONIZE.union(Self::from_bits_retain(0x0001));
    /// The right to release a semaphore.
    pub const SEMAPHORE_MODIFY_STATE: Self = Self::from_bits_retain(0x0002);
    /// The rights to use a semaphore: wait and release.
    pub const SEMAPHORE_USE: Self = Self::SYNCHRONIZE.union(Self::SEMAPHORE_MODIFY_STATE);
    /// The right to set and cancel a timer.
    pub const TIMER_MODIFY_STATE: Self = Self::from_bits_retain(0x0002);
    /// The rights to use a timer: wait, set and cancel.
    pub const TIMER_USE: Self =
        Self::SYNCHRONIZE.union(Self::TIMER_MODIFY_STATE).union(Self::from_bits_retain(0x0001));
    /// The rights to map shared memory for reading, and to query its size.
    pub const SECTION_READ: Self = Self::from_bits_retain(0x0005);
    /// The rights to use shared memory: map it for reading and writing, and query its size.
    pub const SECTION_USE: Self = Self::from_bits_retain(0x0007);
    /// The right to terminate a process.
    pub const PROCESS_TERMINATE: Self = Self::from_bits_retain(0x0001);
    /// The right to duplicate handles into and out of a process. A caller with this right can do everything that the
    /// process can do ([process access
    /// rights](https://learn.microsoft.com/windows/win32/procthread/process-security-and-access-rights)).
    pub const PROCESS_DUP_HANDLE: Self = Self::from_bits_retain(0x0040);
    /// The right to query a process's times, exit code and user.
    pub const PROCESS_QUERY_LIMITED_INFORMATION: Self = Self::from_bits_retain(0x1000);
}

impl fmt::Display for Access {
    /// Writes the mask in hex with eight digits: "0x00100002".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_rights_exclude_ownership_rights() {
        let owning = Access::DELETE | Access::WRITE_DAC | Access::WRITE_OWNER;
        assert!(Access::EVENT_USE.intersection(owning).is_empty());
        assert_eq!(Access::EVENT_USE.to_string(), "0x00100002");
    }

    #[test]
    fn from_bits_truncate_keeps_every_bit() {
        assert_eq!(Access::from_bits_truncate(0x001f_0003).bits(), 0x001f_0003);
    }
}
