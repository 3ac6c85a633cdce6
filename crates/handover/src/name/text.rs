//! What text can be a name, and what becomes of it on each system (pure).

/// Why a text can't be an object's name, on any system. `of_letters` is what is said of letters that no name has.
pub(crate) fn objection<'a>(text: &str, of_letters: &'a str) -> Option<&'a str> {
    if text.is_empty() {
        return Some("is empty");
    }
    text.contains(['\\', '\0']).then_some(of_letters)
}

/// Why a text can't be a name to listen under, on any system.
pub(crate) fn objection_to_listen(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.contains(['\\', '/', '\0']) {
        return Some("is invalid; expected a name without backslash, slash and NUL");
    }
    text.ends_with(['.', ' ']).then_some("ends with a dot or a space, which Windows would strip")
}

#[allow(dead_code, reason = "each system has its own")]
pub(crate) mod on_windows {
    /// The most units of an object's name: 260 with the NUL that ends it.
    const LONGEST: usize = 259;
    /// The most units of a pipe's name.
    const LONGEST_OF_PIPE: usize = 256;

    /// An object's name with what says where it is found.
    pub(crate) fn object(name: &str, is_global: bool) -> String {
        let space = if is_global { "Global" } else { "Local" };
        format!(r"{space}\{name}")
    }

    /// By how many units such a name is too long, if it is.
    pub(crate) fn excess(object: &str) -> Option<usize> {
        over(object, LONGEST)
    }

    /// The pipe behind a name: one for each user, so that two users of one machine don't take it from each other.
    pub(crate) fn pipe(user: &str, name: &str) -> String {
        format!(r"\\.\pipe\handover.{user}.{name}")
    }

    /// By how many units such a pipe's name is too long, if it is.
    pub(crate) fn excess_of_pipe(pipe: &str) -> Option<usize> {
        over(pipe, LONGEST_OF_PIPE)
    }

    fn over(text: &str, most: usize) -> Option<usize> {
        text.encode_utf16().count().checked_sub(most).filter(|excess| *excess > 0)
    }
}

#[allow(dead_code, reason = "each system has its own")]
pub(crate) mod on_linux {
    /// What a name is for; those of one sort don't collide with those of another.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Sort {
        /// Objects of all kinds, and single instances.
        Object,
        Listener,
    }

    /// What stands before the name of a file that is locked.
    const LOCK: &str = "lock.";

    /// The file of the socket behind a name.
    pub(crate) fn socket(sort: Sort, name: &str) -> String {
        let sort = if sort == Sort::Object { "o." } else { "l." };
        format!("{sort}{}", encoded(name))
    }

    /// The file that is locked as long as the name of that socket is in use.
    pub(crate) fn lock_of(socket: &str) -> String {
        format!("{LOCK}{socket}")
    }

    /// The socket whose lock this file is, if it is one.
    pub(crate) fn socket_of_lock(file: &str) -> Option<&str> {
        file.strip_prefix(LOCK)
    }

    /// The name as a file can have it, each name another.
    fn encoded(name: &str) -> String {
        name.chars().fold(String::with_capacity(name.len()), |mut file, letter| {
            match letter {
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
    fn what_no_name_can_be_is_objected_to() {
        assert_eq!(objection("a b.ä/", "letters"), None);
        for (text, why) in [("", "is empty"), ("a\\b", "letters"), ("a\0b", "letters")] {
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
    fn each_name_has_its_place_on_windows() {
        assert_eq!(on_windows::object("my-app.ready", false), r"Local\my-app.ready");
        assert_eq!(on_windows::object("my-app.ready", true), r"Global\my-app.ready");
        assert_eq!(on_windows::pipe("S-1-5-21", "my-app"), r"\\.\pipe\handover.S-1-5-21.my-app");
        let long = |length| on_windows::object(&"n".repeat(length), false);
        assert_eq!(
            [253, 254, 300].map(|length| on_windows::excess(&long(length))),
            [None, Some(1), Some(47)]
        );
        // In units, of which a crab has two and four bytes.
        assert_eq!(on_windows::excess(&on_windows::object(&"🦀".repeat(127), false)), Some(1));
        let long = |length| "n".repeat(length);
        assert_eq!([256, 257].map(|length| on_windows::excess_of_pipe(&long(length))), [None, Some(1)]);
    }

    #[test]
    fn each_name_has_another_file_on_linux() {
        use on_linux::{Sort, lock_of, socket, socket_of_lock};
        assert_eq!(socket(Sort::Object, "my-app.ready"), "o.my-app.ready");
        assert_eq!(socket(Sort::Listener, "a/b%2fc ä"), "l.a%2fb%252fc ä");
        assert_eq!(lock_of("o.a"), "lock.o.a");
        assert_eq!(socket_of_lock("lock.o.a"), Some("o.a"));
        assert_eq!(socket_of_lock("l.ock.a"), None);
    }
}
