//! Names of objects and of listeners, and what they become on each system.

use handover::fuzzing;

use super::input::Input;
use super::os::fits_in_local;

const USER: &str = "S-1-5-21-1004336348-1177238915-682003330-512";

/// Two names, and the first with so many letters more.
pub fn name(data: &[u8]) {
    let mut input = Input::new(data);
    let more = match input.byte() {
        many @ 0xe0.. => usize::from(many),
        few => usize::from(few % 8),
    };
    let one = input.text();
    let other = String::from_utf8_lossy(input.rest()).into_owned();
    apart(&one, &other);
    let long = one + &"_".repeat(more);
    of_object(&long);
    of_listener(&long);
}

fn of_object(name: &str) {
    let fits = !name.is_empty() && !name.chars().any(|letter| letter == '\\' || letter == '\0');
    assert_eq!(fuzzing::objection_to_name(name).is_none(), fits, "{name:?}");
    assert_eq!(name.parse::<handover::ObjectName>().is_ok(), fits && fits_in_local(name), "{name:?}");
    if !fits {
        return;
    }
    for is_global in [true, false] {
        let (object, excess) = fuzzing::object_on_windows(name, is_global);
        let (space, rest) = object.split_once('\\').expect("it stands in a space");
        assert_eq!((space, rest), (if is_global { "Global" } else { "Local" }, name));
        // With the NUL at its end, as it is passed to the system.
        let units = object.encode_utf16().count() + 1;
        assert_eq!(excess, units.checked_sub(260).filter(|excess| *excess > 0), "{object:?}");
    }
    of_files(name, false);
}

fn of_listener(name: &str) {
    let fits = !name.is_empty()
        && !name.chars().any(|letter| matches!(letter, '\\' | '/' | '\0'))
        && !matches!(name.chars().next_back(), Some('.' | ' '));
    assert_eq!(fuzzing::objection_to_listen(name).is_none(), fits, "{name:?}");
    if !fits {
        return;
    }
    let (pipe, excess) = fuzzing::pipe_on_windows(USER, name);
    let rest = pipe.strip_prefix(r"\\.\pipe\").expect("it is a pipe of this machine");
    assert!(!rest.contains(['\\', '/']) && rest.contains(USER) && rest.ends_with(name), "{pipe:?}");
    let units = pipe.encode_utf16().count();
    assert_eq!(excess, units.checked_sub(256).filter(|excess| *excess > 0), "{pipe:?}");
    of_files(name, true);
}

/// Both stay in their folder, and the name can be read from them.
fn of_files(name: &str, is_listener: bool) {
    let (socket, lock) = fuzzing::files_on_linux(name, is_listener);
    for file in [&socket, &lock] {
        assert!(!file.contains(['/', '\0']) && file != "." && file != "..", "{file:?} of {name:?}");
        assert_eq!(std::path::Path::new(file).file_name(), Some(file.as_ref()));
    }
    assert_eq!(fuzzing::socket_of_lock(&lock), Some(socket.as_str()));
    assert_eq!(fuzzing::socket_of_lock(&socket), None);
    let encoded = socket.strip_prefix(if is_listener { "l." } else { "o." }).expect("of its sort");
    assert_eq!(encoded.replace("%2f", "/").replace("%25", "%"), name);
}

/// Neither takes the other's place.
fn apart(one: &str, other: &str) {
    let fits = |name: &str| fuzzing::objection_to_listen(name).is_none();
    if one == other || !fits(one) || !fits(other) {
        return;
    }
    let mut places = Vec::new();
    for name in [one, other] {
        places.push(fuzzing::pipe_on_windows(USER, name).0);
        places.extend([true, false].map(|is_global| fuzzing::object_on_windows(name, is_global).0));
        for is_listener in [true, false] {
            let (socket, lock) = fuzzing::files_on_linux(name, is_listener);
            places.extend([socket, lock]);
        }
    }
    let many = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), many, "{one:?} and {other:?}");
}
