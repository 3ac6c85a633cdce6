//! Reads std's sources: their unit tests, the examples of their documentation, and their public items.
//!
//! std's sources are formatted by rustfmt, so an item of a file begins and ends in the first column.

use super::System;

/// A unit test or an example of std, as a program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    /// The module and the item, such as `process::Command::spawn` or `process::tests::smoke`.
    pub(crate) name: String,
    /// The attributes of the code block, such as `no_run`.
    pub(crate) attributes: String,
    pub(crate) code: String,
    /// The unstable features that it needs.
    pub(crate) features: Vec<String>,
}

/// A public item of std.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// The type or the header of the `impl` block, empty for an item of the module itself.
    pub(crate) owner: String,
    /// The name of the function or of the type, empty for an `impl` block of a trait.
    pub(crate) name: String,
}

/// Returns the value of `feature` if the line is the attribute of an unstable item.
fn unstable(line: &str) -> Option<String> {
    let line = line.trim_start();
    if !line.starts_with("#[unstable(") && !line.starts_with("#![unstable(") {
        return None;
    }
    Some(line.split("feature = \"").nth(1)?.split('"').next()?.to_owned())
}

/// Returns the text of a line of documentation.
fn documentation(line: &str) -> Option<&str> {
    let line = line.trim_start();
    // Of two alternatives for a target, the one that most targets have.
    if let Some((_, text)) = line.strip_prefix("#[cfg_attr(not(").and_then(|line| line.split_once("doc = \""))
    {
        return text.split('"').next();
    }
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

/// Returns the code blocks of a documentation comment: the attributes and the lines of each.
fn blocks(comment: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in comment {
        match (open.as_mut(), line.strip_prefix("```")) {
            (None, Some(attributes)) => {
                open = Some((attributes.trim_matches(['`', ' ']).to_owned(), String::new()));
            }
            (Some(_), Some(rest)) if rest.trim_matches('`').is_empty() => found.extend(open.take()),
            (Some((_, code)), _) => {
                code.push_str(line);
                code.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// Returns the text after the generic parameters that a header begins with.
fn without_parameters(text: &str) -> &str {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text[at..].trim_start_matches('>').trim();
        }
    }
    text
}

/// Returns the name of the item that a line defines.
fn defined(line: &str) -> Option<&str> {
    const WORDS: [&str; 8] =
        ["fn ", "struct ", "enum ", "trait ", "type ", "const fn ", "unsafe fn ", "unsafe trait "];
    let line = line.trim_start();
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let rest = WORDS.iter().find_map(|word| line.strip_prefix(word))?;
    rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

/// Returns the header of the block that a line in the first column opens, without paths: `From<OwnedFd> for Stdio`.
fn header(line: &str) -> Option<String> {
    let block = line.trim_end_matches(['{', ' ']);
    if let Some(rest) = block.strip_prefix("impl") {
        let words = without_parameters(rest).split(' ').map(|word| match word.split_once('<') {
            // A path inside of the angle brackets, as in `From<io::PipeReader>`, is one too.
            Some((name, inner)) => format!("{}<{}", last(name), last(inner)),
            None => last(word).to_owned(),
        });
        return Some(words.collect::<Vec<_>>().join(" "));
    }
    line.starts_with("pub ").then(|| defined(line).map(str::to_owned))?
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// The state of the search at an item of a file.
struct Place<'a> {
    /// The documentation of the item, or of the module.
    comment: Vec<&'a str>,
    owner: String,
    line: &'a str,
    features: Vec<String>,
}

/// Returns the items of a file, and first the module itself.
fn places(text: &str) -> Vec<Place<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let of_module: Vec<&str> =
        lines.iter().filter(|line| line.starts_with("//!")).filter_map(|line| documentation(line)).collect();
    let everywhere: Vec<String> =
        lines.iter().filter(|line| line.starts_with("#![")).filter_map(|line| unstable(line)).collect();
    let mut found =
        vec![Place { comment: of_module, owner: String::new(), line: "", features: everywhere.clone() }];
    let (mut comment, mut features) = (Vec::new(), everywhere.clone());
    let (mut owner, mut of_owner) = (String::new(), everywhere.clone());
    let mut in_attribute = false;
    for line in lines {
        if in_attribute {
            in_attribute = !line.ends_with(']');
        } else if line.starts_with("//!") {
            // The documentation of the module.
        } else if let Some(text) = documentation(line) {
            comment.push(text);
        } else if let Some(feature) = unstable(line) {
            features.push(feature);
        } else if line.trim_start().starts_with(['#', '/']) {
            in_attribute = line.trim_start().starts_with('#') && !line.ends_with(']');
        } else if line == "}" {
            (owner, of_owner) = (String::new(), everywhere.clone());
        } else if !line.trim().is_empty() && !line.starts_with(['{', ')']) {
            let opened = (!line.starts_with(' ')).then(|| header(line)).flatten();
            let is_block = opened.is_some() && !line.ends_with([';', '}']);
            features.extend(of_owner.iter().cloned());
            found.push(Place {
                comment: std::mem::take(&mut comment),
                owner: owner.clone(),
                line,
                features: features.clone(),
            });
            if is_block {
                (owner, of_owner) = (opened.unwrap_or_default(), features.clone());
            }
            features.clone_from(&everywhere);
        }
    }
    found
}

/// Returns the examples of a module's documentation.
pub(crate) fn examples(module: &str, text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for place in places(text) {
        let item = defined(place.line).or_else(|| field(place.line)).unwrap_or_default();
        let parts = [module, &place.owner, item];
        let name = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("::");
        for (index, (attributes, code)) in blocks(&place.comment).into_iter().enumerate() {
            let named = code.lines().filter_map(|line| line.strip_prefix("#![feature(")?.split(')').next());
            let mut features: Vec<String> = named.map(str::to_owned).chain(place.features.clone()).collect();
            features.sort_unstable();
            features.dedup();
            let count = if index == 0 { String::new() } else { format!(" ({})", index + 1) };
            cases.push(Case { name: format!("{name}{count}"), attributes, code, features });
        }
    }
    cases
}

/// Returns the name of the field that a line defines.
fn field(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("pub ")?.split_once(':').map(|(name, _)| name)
}

/// Returns the stable public items of a module.
pub(crate) fn items(text: &str) -> Vec<Item> {
    let stable = places(text).into_iter().filter(|place| place.features.is_empty());
    let item = |place: Place<'_>| {
        let is_public = place.line.trim_start().starts_with("pub ");
        // The functions of a trait are as public as it.
        let is_in_trait = place.owner.ends_with("Ext") || place.owner == "Termination";
        if let Some(name) = defined(place.line).or_else(|| field(place.line)) {
            return (is_public || is_in_trait)
                .then(|| Item { owner: place.owner.clone(), name: name.to_owned() });
        }
        let header = place.line.starts_with("impl").then(|| header(place.line)).flatten()?;
        header.contains(" for ").then(|| Item { owner: header, name: String::new() })
    };
    stable.filter_map(item).collect()
}

/// Returns the unit tests of a file that are for this system. Each case has all other items of the file, because the
/// tests use some of them.
pub(crate) fn unit_tests(module: &str, text: &str, system: System) -> Vec<Case> {
    let (mut tests, mut others) = (Vec::new(), Vec::new());
    let mut chunk = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("#![") && !line.starts_with("//")) {
        chunk.push(line);
        let is_end = line == "}" || (line.ends_with(';') && !line.starts_with(' '));
        if is_end {
            let chunk = std::mem::take(&mut chunk);
            if chunk.contains(&"#[test]") { tests.push(chunk) } else { others.push(chunk) }
        }
    }
    let others = others.concat().join("\n");
    let case = |chunk: Vec<&str>| {
        let at = chunk.iter().position(|line| line.starts_with("fn "))?;
        let (attributes, function) = chunk.split_at(at);
        let name = defined(function[0])?;
        let is_for = |attribute: &&str| match *attribute {
            "#[cfg(windows)]" => system != System::Linux,
            "#[cfg(unix)]" | "#[cfg(not(windows))]" | "#[cfg(target_os = \"linux\")]" => {
                system == System::Linux
            }
            "#[cfg_attr(windows, ignore)]" => system == System::Linux,
            _ => true,
        };
        // Some tests start their own program again, with an argument. std's test programs take it for the name of a
        // test, find none and succeed.
        let main = format!("fn main() {{ if std::env::args().len() == 1 {{ {name}() }} }}");
        attributes.iter().all(|attribute| is_for(&attribute.trim())).then(|| Case {
            name: format!("{module}::{name}"),
            attributes: String::new(),
            code: format!("#![allow(warnings)]\n{others}\n{}\n{main}\n", function.join("\n")),
            features: Vec::new(),
        })
    };
    tests.into_iter().filter_map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"//! A module.
//!
//! ```no_run
//! one();
//! ```

#![stable(feature = "tools", since = "1.0.0")]

/// A tool.
///
/// ```should_panic
/// two();
/// ```
///
/// ````
/// ```not a block
/// three();
/// ````
#[stable(feature = "tools", since = "1.0.0")]
pub struct Tool {
    /// ```ignore (incomplete)
    /// four();
    /// ```
    pub field: u8,
}

impl<T: AsRef<str>> fmt::Debug for Tool {
    fn fmt(&self) {}
}

impl From<io::Other> for Tool {
    /// ```
    /// five();
    /// ```
    fn from(x: io::Other) -> Self {
        x
    }
}

impl Tool {
    #[cfg_attr(target_vendor = "win7", doc = "```no_run")]
    #[cfg_attr(not(target_vendor = "win7"), doc = "```")]
    /// #![feature(tool_pause)]
    /// six();
    /// ```
    #[unstable(feature = "tool_pause", issue = "1")]
    pub fn pause(&mut self) {}

    /// ```
    /// eight();
    /// ```
    #[doc(
        alias = "stop"
    )]
    pub const fn stop(&mut self) {
    }
}

#[unstable(feature = "tool_ext", issue = "1")]
pub trait ToolExt {
    /// ```
    /// seven();
    /// ```
    fn go(&self);
}

pub fn lone() {}
"#;

    #[test]
    fn examples_are_named_after_their_items() {
        let found = examples("tools", MODULE);
        let found: Vec<_> = found
            .iter()
            .map(|case| {
                (case.name.as_str(), case.attributes.as_str(), case.code.lines().last().unwrap_or(""))
            })
            .collect();
        assert_eq!(
            found,
            [
                ("tools", "no_run", "one();"),
                ("tools::Tool", "should_panic", "two();"),
                ("tools::Tool (2)", "", "three();"),
                ("tools::Tool::field", "ignore (incomplete)", "four();"),
                ("tools::From<Other> for Tool::from", "", "five();"),
                ("tools::Tool::pause", "", "six();"),
                ("tools::Tool::stop", "", "eight();"),
                ("tools::ToolExt::go", "", "seven();"),
            ]
        );
    }

    #[test]
    fn examples_of_unstable_items_name_the_feature() {
        let found = examples("tools", MODULE);
        let unstable: Vec<_> = found.iter().filter(|case| !case.features.is_empty()).collect();
        let unstable: Vec<_> =
            unstable.iter().map(|case| (case.name.as_str(), case.features.join(" "))).collect();
        assert_eq!(
            unstable,
            [("tools::Tool::pause", "tool_pause".into()), ("tools::ToolExt::go", "tool_ext".into())]
        );
        let all = format!("#![unstable(feature = \"tools\", issue = \"1\")]\n{MODULE}");
        assert!(examples("tools", &all).iter().all(|case| case.features.contains(&"tools".to_owned())));
    }

    #[test]
    fn stable_public_items_are_found() {
        let found: Vec<_> = items(MODULE).into_iter().map(|item| (item.owner, item.name)).collect();
        let expected = [
            ("", "Tool"),
            ("Tool", "field"),
            ("Debug for Tool", ""),
            ("From<Other> for Tool", ""),
            ("Tool", "stop"),
            ("", "lone"),
        ];
        assert_eq!(found, expected.map(|(owner, name)| (owner.to_owned(), name.to_owned())));
    }

    #[test]
    fn unit_tests_are_programs_of_their_own() {
        const TESTS: &str = "#![cfg(any())]\nuse crate::{\n    io,\n};\n\nfn helper() {\n    io();\n}\n\n#[test]\n#[cfg_attr(\n    \
            any(target_os = \"other\"),\n    ignore\n)]\nfn first() {\n    helper();\n}\n\n#[test]\n#[cfg(windows)]\nfn second() \
            {\n}\n\n#[test]\n#[cfg(unix)]\nfn third() {\n}\n";
        let names = |system| -> Vec<String> {
            unit_tests("tools::tests", TESTS, system).into_iter().map(|case| case.name).collect()
        };
        assert_eq!(names(System::Linux), ["tools::tests::first", "tools::tests::third"]);
        assert_eq!(names(System::Wine), ["tools::tests::first", "tools::tests::second"]);
        let first = unit_tests("tools::tests", TESTS, System::Linux).remove(0).code;
        for (part, is_there) in [
            ("use crate::{\n    io,\n};", true),
            ("fn helper() {\n    io();\n}", true),
            ("fn first() {\n    helper();\n}\nfn main()", true),
            ("fn third", false),
            ("#[test]", false),
            ("ignore", false),
        ] {
            assert_eq!(first.contains(part), is_there, "{part}: {first}");
        }
    }
}
