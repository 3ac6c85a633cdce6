//! Fuzzes names of objects and listeners, and the system names that they are mapped to.

use handover::fuzzing;

use super::input::Input;
use super::os::fits_in_local;

const USER: &str = "S-1-5-21-1004336348-1177238915-682003330-512";

/// Checks that two names are kept apart, and checks the rules of the first name, which may be lengthened.
pub fn name(data: &[u8]) {
    let mut input = Input::new(data);
    let padding = match input.byte() {
        many @ 0xe0.. => usize::from(many),
        few => usize::from(few % 8),
    };
    let one = input.text();
    let other = String::from_utf8_lossy(input.rest()).into_owned();
    check_distinct(&one, &other);
    let long = one + &"_".repeat(padding);
    check_object_name(&long);
    check_listener_name(&long);
}

fn check_object_name(name: &str) {
    let fits = !name.is_empty() && !name.chars().any(|character| character == '\\' || character == '\0');
    assert_eq!(fuzzing::objection_to_name(name).is_none(), fits, "{name:?}");
    assert_eq!(name.parse::<handover::ObjectName>().is_ok(), fits && fits_in_local(name), "{name:?}");
    if !fits {
        return;
    }
    for is_global in [true, false] {
        let (object, excess) = fuzzing::object_on_windows(name, is_global);
        let (namespace, rest) = object.split_once('\\').expect("it has a namespace");
        assert_eq!((namespace, rest), (if is_global { "Global" } else { "Local" }, name));
        // The system's limit includes the NUL at the end.
        let units = object.encode_utf16().count() + 1;
        assert_eq!(excess, units.checked_sub(260).filter(|excess| *excess > 0), "{object:?}");
    }
    check_files(name, false);
}

fn check_listener_name(name: &str) {
    let fits = !name.is_empty()
        && !name.chars().any(|character| matches!(character, '\\' | '/' | '\0'))
        && !matches!(name.chars().next_back(), Some('.' | ' '));
    assert_eq!(fuzzing::objection_to_listen(name).is_none(), fits, "{name:?}");
    if !fits {
        return;
    }
    let (pipe, excess) = fuzzing::pipe_on_windows(USER, name);
    let rest = pipe.strip_prefix(r"\\.\pipe\").expect("it is a local pipe");
    assert!(!rest.contains(['\\', '/']) && rest.contains(USER) && rest.ends_with(name), "{pipe:?}");
    let units = pipe.encode_utf16().count();
    assert_eq!(excess, units.checked_sub(256).filter(|excess| *excess > 0), "{pipe:?}");
    check_files(name, true);
}

/// Checks that the socket and the lock file stay in their folder, and that the name can be decoded from them.
fn check_files(name: &str, is_listener: bool) {
    let (socket, lock) = fuzzing::files_on_linux(name, is_listener);
    for file in [&socket, &lock] {
        assert!(!file.contains(['/', '\0']) && file != "." && file != "..", "{file:?} of {name:?}");
        assert_eq!(std::path::Path::new(file).file_name(), Some(file.as_ref()));
    }
    assert_eq!(fuzzing::socket_of_lock(&lock), Some(socket.as_str()));
    assert_eq!(fuzzing::socket_of_lock(&socket), None);
    let encoded = socket
        .strip_prefix(if is_listener { "l." } else { "o." })
        .expect("the prefix gives the kind of name");
    assert_eq!(encoded.replace("%2f", "/").replace("%25", "%"), name);
}

/// Checks that two different names share no system name.
fn check_distinct(one: &str, other: &str) {
    let fits = |name: &str| fuzzing::objection_to_listen(name).is_none();
    if one == other || !fits(one) || !fits(other) {
        return;
    }
    let mut system_names = Vec::new();
    for name in [one, other] {
        system_names.push(fuzzing::pipe_on_windows(USER, name).0);
        system_names.extend([true, false].map(|is_global| fuzzing::object_on_windows(name, is_global).0));
        for is_listener in [true, false] {
            let (socket, lock) = fuzzing::files_on_linux(name, is_listener);
            system_names.extend([socket, lock]);
        }
    }
    let count = system_names.len();
    system_names.sort_unstable();
    system_names.dedup();
    assert_eq!(system_names.len(), count, "{one:?} and {other:?}");
}
