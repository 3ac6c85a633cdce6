//! Checks names, and translates them for each system. Pure functions, so all of them compile on both systems.

/// Returns the reason why a text can't be an object's name on any system, or `None` if it can. `invalid_character` is
/// the reason to return for a text with a character that no name may contain.
pub(crate) fn objection<'a>(text: &str, invalid_character: &'a str) -> Option<&'a str> {
    if text.is_empty() {
        return Some("is empty; expected at least 1 character");
    }
    text.contains(['\\', '\0']).then_some(invalid_character)
}

/// Returns the reason why a text can't be a listener's name on any system, or `None` if it can.
pub(crate) fn objection_to_listen(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty; expected at least 1 character");
    }
    if text.contains(['\\', '/', '\0']) {
        return Some(
            "contains a backslash, a slash or a NUL; none of them is allowed, because names must work on Windows and on \
             Linux",
        );
    }
    text.ends_with(['.', ' '])
        .then_some("ends with a dot or a space, which Windows would remove; choose another last character")
}

#[allow(dead_code, reason = "each system has its own")]
pub(crate) mod on_windows {
    /// The maximum length of an object's name in UTF-16 units, without the NUL.
    const LONGEST: usize = 259;
    /// The maximum length of a pipe's name in UTF-16 units.
    const LONGEST_OF_PIPE: usize = 256;

    /// Returns an object's name with its namespace prefix, `Global\` or `Local\`.
    pub(crate) fn object(name: &str, is_global: bool) -> String {
        let namespace = if is_global { "Global" } else { "Local" };
        format!(r"{namespace}\{name}")
    }

    /// Returns by how many units such an object's name is too long, if it is.
    pub(crate) fn excess(object: &str) -> Option<usize> {
        excess_over(object, LONGEST)
    }

    /// Returns the name of the pipe for a listener. It contains the user, so two users of a machine can't take the same
    /// name from each other.
    pub(crate) fn pipe(user: &str, name: &str) -> String {
        format!(r"\\.\pipe\handover.{user}.{name}")
    }

    /// Returns by how many units such a pipe's name is too long, if it is.
    pub(crate) fn excess_of_pipe(pipe: &str) -> Option<usize> {
        excess_over(pipe, LONGEST_OF_PIPE)
    }

    fn excess_over(text: &str, maximum: usize) -> Option<usize> {
        text.encode_utf16().count().checked_sub(maximum).filter(|excess| *excess > 0)
    }
}

#[allow(dead_code, reason = "each system has its own")]
pub(crate) mod on_linux {
    /// The use of a name. Names of different sorts don't collide.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Sort {
        /// An object of any kind, or a single instance.
        Object,
        /// A channel listener.
        Listener,
    }

    /// The prefix of a lock file's name.
    const LOCK: &str = "lock.";

    /// Returns the file name of the socket for a name.
    pub(crate) fn socket(sort: Sort, name: &str) -> String {
        let sort = if sort == Sort::Object { "o." } else { "l." };
        format!("{sort}{}", encoded(name))
    }

    /// Returns the file name of the lock for a socket. The file is locked while the socket's name is in use.
    pub(crate) fn lock_of(socket: &str) -> String {
        format!("{LOCK}{socket}")
    }

    /// Returns the file name of the socket for a lock, or `None` if the file isn't a lock.
    pub(crate) fn socket_of_lock(file: &str) -> Option<&str> {
        file.strip_prefix(LOCK)
    }

    /// Encodes a name as a file name. Different names have different file names.
    fn encoded(name: &str) -> String {
        name.chars().fold(String::with_capacity(name.len()), |mut file, character| {
            match character {
                '%' => file.push_str("%25"),
                '/' => file.push_str("%2f"),
                other => file.push(other),
            }
            file
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objection_rejects_invalid_names() {
        assert_eq!(objection("a b.ä/", "letters"), None);
        let empty = "is empty; expected at least 1 character";
        for (text, why) in [("", empty), ("a\\b", "letters"), ("a\0b", "letters")] {
            assert_eq!(objection(text, "letters"), Some(why), "{text:?}");
        }
        assert_eq!(objection_to_listen("a b.ä"), None);
        for (text, part) in [
            ("", "is empty"),
            ("a\\b", "slash"),
            ("a/b", "slash"),
            ("a\0b", "NUL"),
            ("a.", "dot"),
            ("a ", "space"),
        ] {
            let why = objection_to_listen(text).expect(text);
            assert!(why.contains(part), "{text:?}: {why}");
        }
    }

    #[test]
    fn windows_names_have_a_prefix_and_a_maximum_length() {
        assert_eq!(on_windows::object("my-app.ready", false), r"Local\my-app.ready");
        assert_eq!(on_windows::object("my-app.ready", true), r"Global\my-app.ready");
        assert_eq!(on_windows::pipe("S-1-5-21", "my-app"), r"\\.\pipe\handover.S-1-5-21.my-app");
        let long = |length| on_windows::object(&"n".repeat(length), false);
        assert_eq!(
            [253, 254, 300].map(|length| on_windows::excess(&long(length))),
            [None, Some(1), Some(47)]
        );
        // The length counts UTF-16 units: a crab has two units and four bytes.
        assert_eq!(on_windows::excess(&on_windows::object(&"🦀".repeat(127), false)), Some(1));
        let long = |length| "n".repeat(length);
        assert_eq!([256, 257].map(|length| on_windows::excess_of_pipe(&long(length))), [None, Some(1)]);
    }

    #[test]
    fn linux_names_have_distinct_files() {
        use on_linux::{Sort, lock_of, socket, socket_of_lock};
        assert_eq!(socket(Sort::Object, "my-app.ready"), "o.my-app.ready");
        assert_eq!(socket(Sort::Listener, "a/b%2fc ä"), "l.a%2fb%252fc ä");
        assert_eq!(lock_of("o.a"), "lock.o.a");
        assert_eq!(socket_of_lock("lock.o.a"), Some("o.a"));
        assert_eq!(socket_of_lock("l.ock.a"), None);
    }
}
