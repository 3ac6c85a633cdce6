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

/// The rights to a process, by their names in the documentation.
const OF_PROCESSES: [(u32, &str); 15] = [
    (0x0001, "PROCESS_TERMINATE"),
    (0x0002, "PROCESS_CREATE_THREAD"),
    (0x0008, "PROCESS_VM_OPERATION"),
    (0x0010, "PROCESS_VM_READ"),
    (0x0020, "PROCESS_VM_WRITE"),
    (0x0040, "PROCESS_DUP_HANDLE"),
    (0x0080, "PROCESS_CREATE_PROCESS"),
    (0x0100, "PROCESS_SET_QUOTA"),
    (0x0200, "PROCESS_SET_INFORMATION"),
    (0x0400, "PROCESS_QUERY_INFORMATION"),
    (0x0800, "PROCESS_SUSPEND_RESUME"),
    (0x1000, "PROCESS_QUERY_LIMITED_INFORMATION"),
    (0x0001_0000, "DELETE"),
    (0x0002_0000, "READ_CONTROL"),
    (0x0010_0000, "SYNCHRONIZE"),
];

impl Access {
    /// The rights as those to a process, for a message: names, and in hex what has none here.
    pub(crate) fn names_for_process(self) -> String {
        let mut rest = self.bits();
        let mut names = Vec::new();
        for (bit, name) in OF_PROCESSES {
            if rest & bit != 0 {
                names.push(name.to_owned());
                rest &= !bit;
            }
        }
        if rest != 0 {
            names.push(format!("{rest:#x}"));
        }
        names.join(", ")
    }
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
    fn rights_to_a_process_are_named() {
        let access = Access::PROCESS_DUP_HANDLE | Access::SYNCHRONIZE | Access::from_bits_retain(0x4004_0000);
        assert_eq!(access.names_for_process(), "PROCESS_DUP_HANDLE, SYNCHRONIZE, 0x40040000");
    }

    #[test]
    fn no_bit_is_dropped() {
        assert_eq!(Access::from_bits_truncate(0x001f_0003).bits(), 0x001f_0003);
    }
}
