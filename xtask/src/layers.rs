//! Checks that the imports of the library's sources only go down, in the order of docs/architecture.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::sources::without_tests;

/// The modules of the library, lowest first. Modules in the same row don't import each other.
const ORDER: [&[&str]; 13] = [
    &["handle"],
    &["sys"],
    &["error"],
    &["wait"],
    &["object"],
    &["inherit"],
    &["process"],
    &["duplicate", "name"],
    &["channel"],
    &["inspect", "spawner", "typed"],
    &["futures"],
    &["tokio", "async_io"],
    &["os", "fuzzing", "lib"],
];

fn floor(module: &str) -> Option<usize> {
    ORDER.iter().position(|modules| modules.contains(&module))
}

/// Removes tests and comments from the source.
fn code(text: &str) -> String {
    without_tests(text)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns the path after each `crate::`. Groups are split: `crate::{a::{b, c}}` gives `a::b` and `a::c`.
fn paths(code: &str) -> Vec<String> {
    fn rest_of(text: &str, before: &str, found: &mut Vec<String>) -> usize {
        let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':');
        let end = end.unwrap_or(text.len());
        let path = format!("{before}{}", &text[..end]);
        if !text[end..].starts_with('{') || !(path.is_empty() || path.ends_with("::")) {
            found.push(path);
            return end;
        }
        let mut at = end + 1;
        loop {
            at += text[at..].len() - text[at..].trim_start_matches([' ', '\n', ',']).len();
            match text[at..].chars().next() {
                None => return at,
                Some('}') => return at + 1,
                Some(letter) if letter.is_alphanumeric() || letter == '_' => {
                    at += rest_of(&text[at..], &path, found);
                    // Skip the new name of a renamed import.
                    let renamed = text[at..].trim_start();
                    if renamed.starts_with("as ") {
                        at += text[at..].find([',', '}']).unwrap_or(text.len() - at);
                    }
                }
                Some(_) => return at,
            }
        }
    }
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        rest_of(rest, "", &mut found);
    }
    found
}

/// Returns the imports of a file that its module must not have.
fn forbidden_imports(module: &str, text: &str) -> Vec<String> {
    let own = floor(module).unwrap_or_else(|| panic!("{module} has no place in ORDER"));
    let is_up = |path: &String| {
        let first = path.split("::").next().unwrap_or_default();
        match floor(first) {
            Some(other) => other > own || (other == own && first != module),
            // The crate's root is above all modules.
            None => own < ORDER.len() - 1 && !first.is_empty(),
        }
    };
    paths(&code(text)).into_iter().filter(is_up).collect()
}

/// Returns the files that import each other, given the files that each one imports, or `None` if there is no circle.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut left = imports.clone();
    loop {
        let done: Vec<String> = left
            .iter()
            .filter(|(_, imported)| imported.iter().all(|name| !left.contains_key(name)))
            .map(|(name, _)| name.clone())
            .collect();
        if done.is_empty() {
            return (!left.is_empty()).then(|| left.into_keys().collect());
        }
        left.retain(|name, _| !done.contains(name));
    }
}

/// Returns the files of a folder, each with the files of the same folder that it imports by `super::`.
fn imports_within(folder: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder exists")
        .filter_map(|entry| {
            let path = entry.expect("the file can be read").path();
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
            name.filter(|name| is_source && name != "mod").map(|name| (name, path))
        })
        .collect();
    let names: BTreeSet<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let imported = |text: &str| {
        let code = code(text).replace("crate::", "crate::~");
        let used = code.match_indices("super::").filter_map(|(at, _)| {
            let rest = &code[at + "super::".len()..];
            let name: String =
                rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            names.contains(&name).then_some(name)
        });
        used.collect::<BTreeSet<_>>()
    };
    let read = |path: &Path| std::fs::read_to_string(path).expect("the file can be read");
    files
        .iter()
        .map(|(name, path)| {
            let mut others = imported(&read(path));
            others.remove(name);
            (name.clone(), others)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::sources;

    #[test]
    fn imports_only_go_down() {
        let library = crate::root().join("crates/handover/src");
        let files = sources(&library);
        assert!(files.len() > 100, "{files:?}");
        let mut found = Vec::new();
        for path in files {
            let inside = path.strip_prefix(&library).expect("it is in there");
            let module = inside.components().next().expect("it has a name").as_os_str().to_string_lossy();
            let text = std::fs::read_to_string(&path).expect("the file can be read");
            let forbidden = forbidden_imports(module.trim_end_matches(".rs"), &text);
            found
                .extend(forbidden.into_iter().map(|import| format!("{}: crate::{import}", inside.display())));
        }
        assert!(
            found.is_empty(),
            "imports that go up, or that pass through the crate's root:\n{}",
            found.join("\n")
        );
    }

    #[test]
    fn files_of_a_folder_import_in_one_direction() {
        let library = crate::root().join("crates/handover/src");
        let files = sources(&library);
        let folders: BTreeSet<_> = files.iter().filter_map(|file| file.parent()).collect();
        for folder in folders {
            let circle = circle(&imports_within(folder));
            assert_eq!(circle, None, "{}: files that import one another", folder.display());
        }
    }

    /// Code for one system is allowed in these places:
    /// - in `sys`, `os`, `linux` and `windows`, and in the library's `mod.rs` files, which choose between them;
    /// - in examples, some of which exist on one system only, and in the templates of `handover new`, which are for both;
    /// - in xtask, where it runs the programs of another system, or std's tests.
    #[test]
    fn few_files_depend_on_the_system() {
        /// Files for both systems with a line that only one of them has; docs/architecture.md has the reasons.
        const MIXED: [&str; 7] = [
            "handover/src/handle/range.rs",
            "handover/src/name/create.rs",
            "handover/src/lib.rs",
            "exercises/src/bin/duplication-parent.rs",
            "exercises/src/bin/duplication-child.rs",
            "exercises/src/bin/least-access-parent.rs",
            "exercises/src/bin/least-access-child.rs",
        ];
        const XTASK: [&str; 7] = [
            "xtask/src/check.rs",
            "xtask/src/native.rs",
            "xtask/src/std_tests/extract.rs",
            "xtask/src/std_tests/mod.rs",
            "xtask/src/std_tests/scratch_lib.rs",
            "xtask/src/win32.rs",
            "xtask/src/wine10.rs",
        ];
        let mut files = Vec::new();
        for package in ["crates", "exercises", "soak", "tests", "bench", "chart", "xtask", "fuzz/src"] {
            files.extend(sources(&crate::root().join(package)));
        }
        assert!(files.len() > 100, "{files:?}");
        let systems = ["windows", "unix", "target_os", "target_family"];
        for path in files {
            let is_of_a_system = path.components().any(|part| {
                ["os", "sys", "linux", "windows", "examples", "templates"]
                    .iter()
                    .any(|name| part.as_os_str() == *name)
            });
            let may_ask = is_of_a_system
                || (path.ends_with("mod.rs") && path.components().any(|part| part.as_os_str() == "handover"))
                || MIXED.iter().chain(&XTASK).any(|file| path.ends_with(file));
            let text = std::fs::read_to_string(&path).expect("the file can be read");
            for (number, line) in text.lines().enumerate() {
                let asks = line.contains("cfg") && line.contains('(') && !line.contains("docsrs");
                let of = systems.iter().find(|system| asks && line.contains(**system));
                assert!(may_ask || of.is_none(), "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }

    /// A subscriber's code must not run under a lock of the library, so each lock is one that keeps events back.
    #[test]
    fn locks_keep_events_back() {
        // The lock itself, and one that keeps events back, but no wakes; the failures that tests inject; three locks under which
        // no call is made; two of threads on which no subscriber may run.
        const ALLOWED: [&str; 8] = [
            "sys/mutex.rs",
            "channel/timed_mutex.rs",
            "sys/fault_injection.rs",
            "sys/handoff.rs",
            "channel/kind_filter.rs",
            "wait/windows.rs",
            "windows/lasting_thread.rs",
            "windows/waking_wait.rs",
        ];
        let files = sources(&crate::root().join("crates/handover/src"));
        assert!(files.len() > 50, "{files:?}");
        for path in files.iter().filter(|path| !ALLOWED.iter().any(|allowed| path.ends_with(allowed))) {
            let text = std::fs::read_to_string(path).expect("the file can be read");
            for line in without_tests(&text).lines().filter(|line| !line.contains("gate:")) {
                let is_lock = line.contains("sync::") && (line.contains("Mutex") || line.contains("RwLock"));
                assert!(!is_lock || line.contains("sys::"), "{}: use sys::mutex: {line}", path.display());
            }
        }
    }

    #[test]
    fn planted_imports_are_found() {
        let up = |module: &str, text: &str| forbidden_imports(module, text);
        assert_eq!(up("object", "use crate::handle::{Access, HandleValue};\nuse crate::sys::io;"), [""; 0]);
        assert_eq!(up("object", "use crate::name::ObjectName;"), ["name::ObjectName"]);
        assert_eq!(up("object", "fn f() { crate::process::open(1) }"), ["process::open"]);
        assert_eq!(
            up("object", "use crate::{handle::{A, B}, channel::{C, d::E}};"),
            ["channel::C", "channel::d::E"]
        );
        assert_eq!(up("duplicate", "use crate::name::ObjectName;"), ["name::ObjectName"], "another strategy");
        assert_eq!(up("handle", "use crate::Error;"), ["Error"], "the root is above all modules");
        assert_eq!(up("handle", "/// [`crate::Error`]\n// crate::name\n"), [""; 0]);
        assert_eq!(up("handle", "struct A;\n\n#[cfg(test)]\nmod tests {\n    use crate::Error;\n}"), [""; 0]);
        assert_eq!(up("sys", "macro_rules! m { () => { $crate::object::A } }"), ["object::A"]);
    }

    #[test]
    fn circles_are_found() {
        let imports = |all: &[(&str, &[&str])]| {
            let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
            circle(&all.iter().map(|(name, names)| ((*name).to_owned(), set(names))).collect())
        };
        assert_eq!(imports(&[("a", &["b"]), ("b", &["c"]), ("c", &[])]), None);
        assert_eq!(
            imports(&[("a", &["b"]), ("b", &["a"]), ("c", &["a"])]),
            Some(vec!["a".into(), "b".into(), "c".into()])
        );
    }
}
