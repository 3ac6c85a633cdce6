//! The documented names of access rights. The lower bits of an access mask mean something else for each kind.

use super::ObjectKind;

type Names = &'static [(u32, &'static str)];

/// The documented names of a kind's access rights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rights {
    /// Names that stand for several rights at once. Larger sets are first, so that they win over their subsets.
    combined: Names,
    /// Names that stand for one bit.
    single: Names,
}

const STANDARD: Names = &[
    (0x0001_0000, "DELETE"),
    (0x0002_0000, "READ_CONTROL"),
    (0x0004_0000, "WRITE_DAC"),
    (0x0008_0000, "WRITE_OWNER"),
    (0x0010_0000, "SYNCHRONIZE"),
    (0x0100_0000, "ACCESS_SYSTEM_SECURITY"),
];

pub(super) const EVENT: Rights = Rights {
    combined: &[(0x001f_0003, "EVENT_ALL_ACCESS")],
    single: &[(0x1, "EVENT_QUERY_STATE"), (0x2, "EVENT_MODIFY_STATE")],
};
pub(super) const MUTEX: Rights =
    Rights { combined: &[(0x001f_0001, "MUTEX_ALL_ACCESS")], single: &[(0x1, "MUTEX_MODIFY_STATE")] };
pub(super) const SEMAPHORE: Rights = Rights {
    combined: &[(0x001f_0003, "SEMAPHORE_ALL_ACCESS")],
    single: &[(0x1, "SEMAPHORE_QUERY_STATE"), (0x2, "SEMAPHORE_MODIFY_STATE")],
};
pub(super) const TIMER: Rights = Rights {
    combined: &[(0x001f_0003, "TIMER_ALL_ACCESS")],
    single: &[(0x1, "TIMER_QUERY_STATE"), (0x2, "TIMER_MODIFY_STATE")],
};
pub(super) const SECTION: Rights = Rights {
    combined: &[(0x000f_001f, "SECTION_ALL_ACCESS")],
    single: &[
        (0x01, "SECTION_QUERY"),
        (0x02, "SECTION_MAP_WRITE"),
        (0x04, "SECTION_MAP_READ"),
        (0x08, "SECTION_MAP_EXECUTE"),
        (0x10, "SECTION_EXTEND_SIZE"),
        (0x20, "SECTION_MAP_EXECUTE_EXPLICIT"),
    ],
};
pub(super) const FILE: Rights = Rights {
    combined: &[
        (0x001f_01ff, "FILE_ALL_ACCESS"),
        (0x0012_0089, "FILE_GENERIC_READ"),
        (0x0012_0116, "FILE_GENERIC_WRITE"),
        (0x0012_00a0, "FILE_GENERIC_EXECUTE"),
    ],
    single: &[
        (0x001, "FILE_READ_DATA"),
        (0x002, "FILE_WRITE_DATA"),
        (0x004, "FILE_APPEND_DATA"),
        (0x008, "FILE_READ_EA"),
        (0x010, "FILE_WRITE_EA"),
        (0x020, "FILE_EXECUTE"),
        (0x040, "FILE_DELETE_CHILD"),
        (0x080, "FILE_READ_ATTRIBUTES"),
        (0x100, "FILE_WRITE_ATTRIBUTES"),
    ],
};
pub(super) const PROCESS: Rights = Rights {
    combined: &[(0x001f_ffff, "PROCESS_ALL_ACCESS")],
    single: &[
        (0x0001, "PROCESS_TERMINATE"),
        (0x0002, "PROCESS_CREATE_THREAD"),
        (0x0004, "PROCESS_SET_SESSIONID"),
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
        (0x2000, "PROCESS_SET_LIMITED_INFORMATION"),
    ],
};
pub(super) const THREAD: Rights = Rights {
    combined: &[(0x001f_ffff, "THREAD_ALL_ACCESS")],
    single: &[
        (0x0001, "THREAD_TERMINATE"),
        (0x0002, "THREAD_SUSPEND_RESUME"),
        (0x0008, "THREAD_GET_CONTEXT"),
        (0x0010, "THREAD_SET_CONTEXT"),
        (0x0020, "THREAD_SET_INFORMATION"),
        (0x0040, "THREAD_QUERY_INFORMATION"),
        (0x0080, "THREAD_SET_THREAD_TOKEN"),
        (0x0100, "THREAD_IMPERSONATE"),
        (0x0200, "THREAD_DIRECT_IMPERSONATION"),
        (0x0400, "THREAD_SET_LIMITED_INFORMATION"),
        (0x0800, "THREAD_QUERY_LIMITED_INFORMATION"),
        (0x1000, "THREAD_RESUME"),
    ],
};
pub(super) const JOB: Rights = Rights {
    combined: &[(0x001f_003f, "JOB_OBJECT_ALL_ACCESS")],
    single: &[
        (0x01, "JOB_OBJECT_ASSIGN_PROCESS"),
        (0x02, "JOB_OBJECT_SET_ATTRIBUTES"),
        (0x04, "JOB_OBJECT_QUERY"),
        (0x08, "JOB_OBJECT_TERMINATE"),
        (0x10, "JOB_OBJECT_SET_SECURITY_ATTRIBUTES"),
        (0x20, "JOB_OBJECT_IMPERSONATE"),
    ],
};
pub(super) const TOKEN: Rights = Rights {
    combined: &[(0x000f_01ff, "TOKEN_ALL_ACCESS")],
    single: &[
        (0x001, "TOKEN_ASSIGN_PRIMARY"),
        (0x002, "TOKEN_DUPLICATE"),
        (0x004, "TOKEN_IMPERSONATE"),
        (0x008, "TOKEN_QUERY"),
        (0x010, "TOKEN_QUERY_SOURCE"),
        (0x020, "TOKEN_ADJUST_PRIVILEGES"),
        (0x040, "TOKEN_ADJUST_GROUPS"),
        (0x080, "TOKEN_ADJUST_DEFAULT"),
        (0x100, "TOKEN_ADJUST_SESSIONID"),
    ],
};
const KEY: Rights = Rights {
    combined: &[(0x000f_003f, "KEY_ALL_ACCESS"), (0x0002_0019, "KEY_READ"), (0x0002_0006, "KEY_WRITE")],
    single: &[
        (0x01, "KEY_QUERY_VALUE"),
        (0x02, "KEY_SET_VALUE"),
        (0x04, "KEY_CREATE_SUB_KEY"),
        (0x08, "KEY_ENUMERATE_SUB_KEYS"),
        (0x10, "KEY_NOTIFY"),
        (0x20, "KEY_CREATE_LINK"),
    ],
};
const COMPLETION: Rights = Rights {
    combined: &[],
    single: &[(0x1, "IO_COMPLETION_QUERY_STATE"), (0x2, "IO_COMPLETION_MODIFY_STATE")],
};
const SYMBOLIC_LINK: Rights = Rights { combined: &[], single: &[(0x1, "SYMBOLIC_LINK_QUERY")] };
const DIRECTORY: Rights = Rights {
    combined: &[(0x000f_000f, "DIRECTORY_ALL_ACCESS")],
    single: &[
        (0x1, "DIRECTORY_QUERY"),
        (0x2, "DIRECTORY_TRAVERSE"),
        (0x4, "DIRECTORY_CREATE_OBJECT"),
        (0x8, "DIRECTORY_CREATE_SUBDIRECTORY"),
    ],
};

pub(super) const NONE: Rights = Rights { combined: &[], single: &[] };

/// Returns the rights of a kind that [`ObjectKind`] knows only by the kernel's type name.
pub(super) fn of_other(kernel_type: &str) -> Rights {
    match kernel_type {
        "Key" => KEY,
        "Directory" => DIRECTORY,
        "IoCompletion" => COMPLETION,
        "SymbolicLink" => SYMBOLIC_LINK,
        _ => NONE,
    }
}

/// Formats the rights in an access mask by their documented names. Bits without a documented name, or of an unknown
/// kind, are written in hex.
pub(crate) fn words(kind: Option<&ObjectKind>, access: u32) -> String {
    let mut rest = access;
    let mut words: Vec<String> = Vec::new();
    let rights = kind.map_or(NONE, ObjectKind::rights);
    for (bits, name) in rights.combined {
        // Two combined names may share bits (FILE_GENERIC_READ and FILE_GENERIC_WRITE share READ_CONTROL), so each is
        // compared with the whole mask. It is listed only if it covers a bit that no name before it covers.
        if access & bits == *bits && rest & bits != 0 {
            words.push((*name).to_owned());
            rest &= !bits;
        }
    }
    for (bit, name) in rights.single.iter().chain(STANDARD) {
        if rest & bit != 0 {
            words.push((*name).to_owned());
            rest &= !bit;
        }
    }
    if rest != 0 || words.is_empty() {
        words.push(format!("{rest:#x}"));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_names_each_bit_by_the_objects_kind() {
        for (kind, access, expected) in [
            (Some(ObjectKind::Event), 0x0010_0002, "EVENT_MODIFY_STATE, SYNCHRONIZE"),
            (Some(ObjectKind::SharedMemory), 0x0000_0006, "SECTION_MAP_WRITE, SECTION_MAP_READ"),
            (Some(ObjectKind::Process), 0x4004_0040, "PROCESS_DUP_HANDLE, WRITE_DAC, 0x40000000"),
            (Some(ObjectKind::Other("Key".into())), 0x1, "KEY_QUERY_VALUE"),
            (Some(ObjectKind::Other("Session".into())), 0x1, "0x1"),
            (None, 0x0010_0003, "SYNCHRONIZE, 0x3"),
            (Some(ObjectKind::File), 0, "0x0"),
            (Some(ObjectKind::Event), 0x001f_0003, "EVENT_ALL_ACCESS"),
            (Some(ObjectKind::File), 0x0012_019f, "FILE_GENERIC_READ, FILE_GENERIC_WRITE"),
            (Some(ObjectKind::File), 0x0013_0089, "FILE_GENERIC_READ, DELETE"),
        ] {
            assert_eq!(words(kind.as_ref(), access), expected);
        }
    }

    #[test]
    fn words_knows_the_names_of_each_kind() {
        let other = |name: &str| ObjectKind::Other(name.into());
        for (kind, access, expected) in [
            (ObjectKind::Mutex, 0x001f_0001, "MUTEX_ALL_ACCESS"),
            (ObjectKind::Mutex, 0x1, "MUTEX_MODIFY_STATE"),
            (ObjectKind::Semaphore, 0x001f_0003, "SEMAPHORE_ALL_ACCESS"),
            (ObjectKind::Semaphore, 0x2, "SEMAPHORE_MODIFY_STATE"),
            (ObjectKind::Timer, 0x001f_0003, "TIMER_ALL_ACCESS"),
            (ObjectKind::Timer, 0x2, "TIMER_MODIFY_STATE"),
            (ObjectKind::SharedMemory, 0x000f_001f, "SECTION_ALL_ACCESS"),
            (ObjectKind::File, 0x001f_01ff, "FILE_ALL_ACCESS"),
            (ObjectKind::File, 0x0012_00a1, "FILE_GENERIC_EXECUTE, FILE_READ_DATA"),
            (ObjectKind::Process, 0x001f_ffff, "PROCESS_ALL_ACCESS"),
            (ObjectKind::Thread, 0x001f_ffff, "THREAD_ALL_ACCESS"),
            (ObjectKind::Thread, 0x800, "THREAD_QUERY_LIMITED_INFORMATION"),
            (ObjectKind::Job, 0x001f_003f, "JOB_OBJECT_ALL_ACCESS"),
            (ObjectKind::Job, 0x4, "JOB_OBJECT_QUERY"),
            (ObjectKind::Token, 0x000f_01ff, "TOKEN_ALL_ACCESS"),
            (ObjectKind::Token, 0x8, "TOKEN_QUERY"),
            (other("Key"), 0x000f_003f, "KEY_ALL_ACCESS"),
            (other("Key"), 0x0002_001f, "KEY_READ, KEY_WRITE"),
            (other("Directory"), 0x000f_000f, "DIRECTORY_ALL_ACCESS"),
            (other("Directory"), 0x1, "DIRECTORY_QUERY"),
            (other("IoCompletion"), 0x2, "IO_COMPLETION_MODIFY_STATE"),
            (other("SymbolicLink"), 0x1, "SYMBOLIC_LINK_QUERY"),
            (other("Session"), 0x000f_003f, "DELETE, READ_CONTROL, WRITE_DAC, WRITE_OWNER, 0x3f"),
        ] {
            assert_eq!(words(Some(&kind), access), expected, "{kind}");
        }
    }
}
