//! Checks that each system call of the library is made through `sys/syscall.rs`, where a test can make it fail.
//!
//! The compiler checks a part of that: unsafe code is allowed only in `sys`, and all functions of windows-sys and libc
//! are unsafe. Neither the compiler nor clippy knows whether a call is in the arguments of `call` or `ask`, so this
//! test reads the tokens of both systems' sources. `seam.tsv` lists the exceptions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::sources::{sources, without_tests};

/// The functions that make the calls in their arguments (the seam).
const SEAM: [&str; 6] = ["call", "ask", "always", "always_ask", "composed", "ask_page"];
/// Further such functions in the files that create a process on Linux.
const SPAWN_SEAM: [&str; 3] = ["step", "checked", "checked_raw"];
const SPAWN_FILES: [&str; 6] =
    ["clone", "child_call", "child_exec", "close_at_exec", "pre_exec", "recipient"];
/// The function in whose arguments a method of std starts a thread.
const THREAD_SEAM: &str = "begin_thread";
/// The files in `sys` that define these functions.
const SEAM_FILES: [&str; 4] = ["call_info", "fault_injection", "syscall", "trace_event"];

/// Methods of std that make a system call.
#[rustfmt::skip]
const METHODS: [&str; 12] = [
    "exists", "is_file", "metadata", "output", "read_line", "read_to_end", "read_until", "set_len", "spawn",
    "spawn_scoped", "symlink_metadata", "write_all",
];

/// Functions of rustix and libc that make no system call, or one that can't fail.
#[rustfmt::skip]
const NO_CALLS: [&str; 8] = [
    "spare_capacity", "retry_on_intr", "page_size", "geteuid", "getpid", "getppid", "__errno_location", "sigfillset",
];

const EXCEPTIONS: &str = include_str!("seam.tsv");

/// A call or another use of a name: the name, and the functions and closures that enclose it.
type Site = (String, Vec<String>);

/// Returns the system calls of a file outside the seam, by function, and the count of the calls inside it.
fn calls(file: &str, text: &str) -> (BTreeMap<String, BTreeSet<String>>, usize) {
    let mut tokens = Vec::new();
    flatten(without_tests(text).parse().expect("it compiles"), &mut tokens);
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let systems = names_of_the_system(&tokens);
    let is_start = SPAWN_FILES.contains(&file);
    let is_seam = |name| SEAM.contains(&name) || is_start && SPAWN_SEAM.contains(&name);

    // One entry for each open bracket: "seam", "thread", "fn NAME", "closure NAME of FUNCTION", or empty. A named
    // closure has no bracket of its own, and is removed at its semicolon.
    let mut around: Vec<String> = Vec::new();
    let (mut opens, mut body) = ("", None);
    let mut private = HashSet::new();
    let (mut made, mut used): (Vec<Site>, Vec<Site>) = Default::default();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            ["use", rest @ ..] => at += rest.iter().take_while(|token| **token != ";").count(),
            ["fn", name, ..] if is_name(name) => {
                let mut since_last =
                    tokens[..at].iter().rev().take_while(|token| ![";", "{", "}"].contains(token));
                if *name != "drop" && !since_last.any(|token| *token == "pub") {
                    private.insert(format!("fn {name}"));
                }
                body = Some((name, around.len()));
                at += 1;
            }
            ["let", name, "=", "|", ..] | ["let", name, "=", "move", "|", ..] => {
                around.push(format!("closure {name} of {}", function(&around)));
                private.extend(around.last().cloned());
                at += 1;
            }
            ["(" | "[", ..] => around.push(std::mem::take(&mut opens).into()),
            ["{", ..] => match body.take_if(|(_, depth)| *depth == around.len()) {
                Some((name, _)) => around.push(format!("fn {name}")),
                None => around.push(String::new()),
            },
            [";", ..] => {
                around.pop_if(|last| last.starts_with("closure "));
                body.take_if(|(_, depth)| *depth == around.len());
            }
            [")" | "]" | "}", ..] => while around.pop().is_some_and(|last| last.starts_with("closure ")) {},
            [first, ..] if is_name(first) => {
                let is_method = at > 0 && tokens[at - 1] == ".";
                let mut path = vec![*first];
                at += 1;
                while let ["::", name, ..] = &tokens[at..] {
                    at += 2;
                    match *name {
                        "<" => at = behind_types(&tokens, at),
                        name => path.push(name),
                    }
                }
                let last = path[path.len() - 1];
                // Assembly code can make a system call.
                let is_called = tokens.get(at) == Some(if last == "asm" { &"!" } else { &"(" });
                let begins =
                    is_method && last.starts_with("spawn") && around.iter().any(|around| around == "thread");
                let is_of_the_system =
                    if is_method { METHODS.contains(&last) } else { is_call(&path, &systems) };
                match is_called && is_of_the_system {
                    true if begins => {}
                    true => made.push((last.into(), around.clone())),
                    false => used.push((last.into(), around.clone())),
                }
                opens = match last {
                    _ if !is_called => "",
                    THREAD_SEAM => "thread",
                    _ if is_seam(last) && !is_method => "seam",
                    _ => "",
                };
                continue;
            }
            _ => {}
        }
        at += 1;
    }

    // A private function or a closure is inside the seam if all its uses are.
    let means =
        |(name, around): &Site| [format!("fn {name}"), format!("closure {name} of {}", function(around))];
    let all: HashSet<String> = used.iter().flat_map(means).collect();
    let mut inside = HashSet::from(["seam".to_owned()]);
    loop {
        let is_outside = |site: &&Site| !site.1.iter().any(|around| inside.contains(around));
        let outside: HashSet<String> = used.iter().filter(is_outside).flat_map(means).collect();
        let more: Vec<_> =
            (&(&private & &all) - &outside).into_iter().filter(|one| !inside.contains(one)).collect();
        if more.is_empty() {
            let mut bare = BTreeMap::<_, BTreeSet<_>>::new();
            for (name, around) in made.iter().filter(is_outside) {
                bare.entry(function(around).to_owned()).or_default().insert(name.clone());
            }
            let in_seam = made.len() - made.iter().filter(is_outside).count();
            return (bare, in_seam);
        }
        inside.extend(more);
    }
}

/// Returns the name of the innermost function.
fn function(around: &[String]) -> &str {
    around.iter().rev().find_map(|around| around.strip_prefix("fn ")).unwrap_or_default()
}

/// Returns the index after the closing angle bracket.
fn behind_types(tokens: &[&str], mut at: usize) -> usize {
    let mut depth = 1;
    while depth > 0 {
        depth += match tokens[at] {
            "<" => 1,
            ">" if tokens[at - 1] != "-" => -1,
            _ => 0,
        };
        at += 1;
    }
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first == '_' || first.is_alphabetic())
}

/// Appends the tokens as text, with groups as their brackets and content.
fn flatten(stream: TokenStream, to: &mut Vec<String>) {
    for token in stream {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace | Delimiter::None => ("{", "}"),
                };
                to.push(open.into());
                flatten(group.stream(), to);
                to.push(close.into());
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' && to.last().is_some_and(|last| last == ":") => {
                to.pop();
                to.push("::".into());
            }
            token => to.push(token.to_string()),
        }
    }
}

/// Returns the names in a file that belong to the system, each with the crate that it is from.
fn names_of_the_system<'a>(tokens: &[&'a str]) -> HashMap<&'a str, &'a str> {
    let mut names = HashMap::from(["windows_sys", "rustix", "libc"].map(|name| (name, name)));
    for at in 0..tokens.len() {
        let until = |end| tokens[at..].iter().copied().take_while(move |token| *token != end);
        match &tokens[at..] {
            ["use", from @ ("windows_sys" | "rustix" | "libc"), ..]
            | ["use", "std", "::", from @ "fs", ..] => {
                assert!(
                    until(";").all(|token| token != "*"),
                    "import each name of {from}, so that its calls are seen"
                );
                let imported =
                    until(";").skip(1).filter(|name| is_name(name) && !["self", "std"].contains(name));
                names.extend(imported.map(|name| (name, *from)));
            }
            ["use", "std", "::", "{", ..] => {
                assert!(until(";").all(|token| token != "fs"), "import std::fs by itself");
            }
            ["extern", _, "{", ..] => {
                let declared = until("}").zip(until("}").skip(1)).filter(|(before, _)| *before == "fn");
                names.extend(declared.map(|(_, name)| (name, "libc")));
            }
            _ => {}
        }
    }
    names
}

/// Whether a call of this path makes a system call.
fn is_call(path: &[&str], systems: &HashMap<&str, &str>) -> bool {
    let last = path[path.len() - 1];
    let is_of_a_type = path.len() > 1 && path[path.len() - 2].starts_with(char::is_uppercase);
    let from = if path.starts_with(&["std", "fs"]) { "fs" } else { systems.get(path[0]).unwrap_or(&"") };
    match from {
        "windows_sys" => last != "default",
        "rustix" | "libc" => !is_of_a_type && !NO_CALLS.contains(&last),
        "fs" if is_of_a_type => ["open", "create"].contains(&last),
        "fs" => !last.starts_with(char::is_uppercase),
        _ => last == "current_exe" || path.ends_with(&["io", "copy"]) || path.ends_with(&["arch", "asm"]),
    }
}

#[test]
fn system_calls_are_made_through_the_seam() {
    let paths = sources(&crate::root().join("crates/handover/src"));
    let mut outside = BTreeMap::<(String, String), BTreeSet<String>>::new();
    let mut through_the_seam = 0;
    for path in paths {
        let file = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_in_sys = path.parent().is_some_and(|folder| folder.ends_with("sys"));
        if !(is_in_sys && SEAM_FILES.contains(&&*file)) {
            let (bare, in_seam) =
                calls(&file, &std::fs::read_to_string(&path).expect("the file can be read"));
            through_the_seam += in_seam;
            for (function, calls) in bare {
                outside.entry((file.clone().into_owned(), function)).or_default().extend(calls);
            }
        }
    }
    for line in EXCEPTIONS.lines().skip(1) {
        let [file, function, listed, why] = *line.split('\t').collect::<Vec<_>>() else { panic!("{line}") };
        assert!(!why.is_empty(), "{line}: the reason is missing");
        let found = outside.remove(&(file.into(), function.into())).unwrap_or_default();
        let listed: BTreeSet<String> = listed.split(' ').map(str::to_owned).collect();
        assert_eq!(found, listed, "{file}, {function}: the calls in the source, and in seam.tsv");
    }
    assert!(outside.is_empty(), "not made through the seam, and not in seam.tsv: {outside:#?}");
    println!("{through_the_seam} calls through the seam, {} exceptions", EXCEPTIONS.lines().count() - 1);
    assert!(through_the_seam > 100, "{through_the_seam}");
}

#[test]
fn each_call_of_windows_is_on_the_page_of_facts() {
    let page = std::fs::read_to_string(crate::root().join("docs/windows-facts.md")).expect("it can be read");
    let mut found = BTreeSet::new();
    for path in sources(&crate::root().join("crates/handover/src/sys/windows")) {
        let text = std::fs::read_to_string(path).expect("the file can be read");
        let mut tokens = Vec::new();
        flatten(without_tests(&text).parse().expect("it compiles"), &mut tokens);
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let mut systems = names_of_the_system(&tokens);
        systems.retain(|_, from| *from != "fs");
        for at in 0..tokens.len() - 1 {
            let path = tokens[..=at].iter().rev().step_by(2);
            let joints = tokens[..at].iter().rev().step_by(2).take_while(|token| **token == "::").count();
            let mut path: Vec<&str> = path.take(joints + 1).copied().collect();
            path.reverse();
            if tokens[at + 1] == "(" && systems.contains_key(path[0]) && is_call(&path, &systems) {
                found.insert(tokens[at].to_owned());
            }
        }
    }
    let missing: Vec<_> = found.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/windows-facts.md: {missing:?}");
    assert!(found.len() > 70, "{found:?}");
}

#[test]
fn calls_outside_the_seam_are_found_in_each_spelling() {
    let seen = |body: &str| {
        let before =
            "use rustix::{fs, io::{self as raw, read}}; use windows_sys::Win32::Foundation::CloseHandle;
            use std::fs::File; unsafe extern \"system\" { fn NtClose(handle: isize) -> i32; }";
        let (bare, _) = calls("file", &format!("{before} pub(crate) fn planted() {{ {body} }}"));
        bare.into_values().flatten().collect::<Vec<_>>().join(" ")
    };
    for (body, call) in [
        ("unsafe { libc::dup(1) };", "dup"),
        ("unsafe { CloseHandle(it) };", "CloseHandle"),
        ("unsafe { windows_sys::Win32::Foundation::CloseHandle(it) };", "CloseHandle"),
        ("unsafe { NtClose(1) };", "NtClose"),
        ("fs::fstat(it)?;", "fstat"),
        ("raw::write(it)?;", "write"),
        ("read::<8>(it)?;", "read"),
        ("None::<fn() -> i32>; read(it);", "read"),
        ("std::io::copy(from, to)?; std::env::current_exe()?;", "copy current_exe"),
        ("assert!(matches!(read(it), Ok(1)));", "read"),
        ("std::fs::remove_file(path)?; File::open(path)?;", "open remove_file"),
        ("path.is_file(); thread::Builder::new().spawn(f);", "is_file spawn"),
        ("begin_thread(|| Builder::new().spawn(|| read(it)));", "read"),
        ("let make = || read(it); make();", "read"),
        ("let make = || read(it); call(\"read\", &[], make)?; make();", "read"),
        ("call(\"read\", &[], || Ok(()))?; read(it);", "read"),
        ("} fn helper() { read(it); } fn user() { helper();", "read"),
        ("call(\"read\", &[], || read(it))?;", ""),
        ("let make = move || read(it); call(\"read\", &[], make)?;", ""),
        ("begin_thread(|| Builder::new().spawn(f))?;", ""),
        ("call(\"read\", &[], helper)?; } fn helper() { read(it);", ""),
        ("OFlags::empty(); getpid();", ""),
    ] {
        assert_eq!(seen(body), call, "{body}");
    }
}
