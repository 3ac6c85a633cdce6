//! Follows the links between the pages of this repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{BrokenLink, CowStr, Event, Options, Parser, Tag, TagEnd};

/// The pages by their paths in the repository, with `/` between folders.
pub(super) type Pages = BTreeMap<String, String>;

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// To a web address, or to a part of rustdoc's own pages.
    Elsewhere,
    /// To an item of the library, which only rustdoc can link.
    Item,
    /// To a path in the repository, and a heading there.
    Here { path: String, anchor: Option<String> },
}

/// Reads a page. A reference without a definition becomes a link to an item, as in rustdoc.
pub(super) fn parse(text: &str) -> impl Iterator<Item = Event<'_>> {
    let item = |link: BrokenLink<'_>| {
        let is_item = link.reference.contains("::") || link.reference.starts_with('`');
        is_item.then(|| (CowStr::from("crate::"), CowStr::from("")))
    };
    Parser::new_with_broken_link_callback(text, Options::ENABLE_TABLES, Some(item))
}

/// Returns where a link on a page leads. `None` if it leads out of the repository's folder.
pub(super) fn target(page: &str, link: &str) -> Option<Target> {
    if link.contains("::") {
        return Some(Target::Item);
    }
    if link.contains("://") || link.starts_with("mailto:") {
        return Some(Target::Elsewhere);
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (link, None),
    };
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.is_empty() { Path::new(page) } else { Path::new(page).parent()? };
    let whole: PathBuf = base.join(path);
    for component in whole.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(Target::Here { path: parts.join("/"), anchor })
}

/// Returns the links and pictures of a page.
pub(super) fn links(text: &str) -> Vec<String> {
    let url = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
        _ => None,
    };
    parse(text).filter_map(url).collect()
}

/// Returns the anchors of a page's headings, in their order: the ones that GitHub makes.
pub(super) fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut heading: Option<String> = None;
    for event in parse(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => heading.iter_mut().for_each(|it| it.push_str(&text)),
            Event::End(TagEnd::Heading(_)) => {
                let plain = slug(&heading.take().unwrap_or_default());
                let numbered = (1..).map(|number| format!("{plain}-{number}"));
                let mut names = std::iter::once(plain.clone()).chain(numbered);
                anchors.extend(names.find(|name| !anchors.contains(name)));
            }
            _ => {}
        }
    }
    anchors
}

fn slug(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
    heading.trim().to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Returns a message for each link of the pages that leads nowhere. `exists` says whether a path of the repository does.
pub(super) fn broken(pages: &Pages, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        pages.iter().map(|(path, text)| (path.as_str(), anchors(text).into_iter().collect())).collect();
    let mut broken = Vec::new();
    for (page, text) in pages {
        for link in links(text) {
            let reason = match target(page, &link) {
                None => "it leads out of the repository".to_owned(),
                Some(Target::Here { path, .. }) if !exists(&path) => format!("{path} doesn't exist"),
                Some(Target::Here { path, anchor: Some(anchor) }) => match anchors.get(path.as_str()) {
                    Some(anchors) if !anchors.contains(&anchor) => {
                        let known: Vec<&str> = anchors.iter().map(String::as_str).collect();
                        format!("{path} has no heading #{anchor}; it has {}", known.join(", "))
                    }
                    _ => continue,
                },
                Some(_) => continue,
            };
            broken.push(format!("{page}: the link ({link}) is broken: {reason}"));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(pages: &[(&str, &str)]) -> Pages {
        pages.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    fn broken_of(text: &str) -> Vec<String> {
        let other = "# One\n\n## How `it` works, in C++\n\n## One\n";
        let pages = pages(&[("docs/page.md", text), ("docs/other.md", other)]);
        broken(&pages, |path| pages.contains_key(path) || ["src/main.rs", "docs"].contains(&path))
    }

    #[test]
    fn links_that_lead_somewhere_are_no_errors() {
        let good = "# Here\n\n[a](other.md) [b](other.md#one-1) [c](../docs/other.md#how-it-works-in-c) [d](#here) \
             [e](../src/main.rs) [f](../docs) [g](https://example.org/#x) [`Event`](crate::Event) [`Mutex::new`] \
             [h][ref] [no link]\n\n`[code](nowhere.md)`\n\n[ref]: other.md\n";
        assert_eq!(broken_of(good), Vec::<String>::new());
    }

    #[test]
    fn broken_links_are_named_with_their_page() {
        for (text, reason) in [
            ("[x](nowhere.md)", "(nowhere.md) is broken: docs/nowhere.md doesn't exist"),
            ("![x](other.svg)", "docs/other.svg doesn't exist"),
            ("[x](other.md#two)", "docs/other.md has no heading #two; it has how-it-works-in-c, one, one-1"),
            ("# A\n\n[x](#b)", "docs/page.md has no heading #b; it has a"),
            ("[x](../../other.md)", "it leads out of the repository"),
            ("[x](/etc/passwd)", "it leads out of the repository"),
            ("<details><summary>x</summary>\n\n[x](nowhere.md)\n\n</details>", "doesn't exist"),
            ("[x][ref]\n\n[ref]: nowhere.md", "doesn't exist"),
        ] {
            let broken = broken_of(text);
            assert!(
                broken.len() == 1 && broken[0].starts_with("docs/page.md: the link ("),
                "{text}: {broken:?}"
            );
            assert!(broken[0].contains(reason), "{text}: {broken:?}");
        }
    }
}
