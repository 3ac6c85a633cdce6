//! Renders one file of the repository as a web page.

use pulldown_cmark::{CowStr, Event, LinkType, Tag, TagEnd, html};

use super::links::{Target, anchors, parse, target};
use super::{Kind, address};

/// The style sheet of all pages.
pub(super) const STYLE: &str = include_str!("style.css");

/// A chapter, as the list of contents shows it.
#[derive(Debug)]
pub(super) struct Chapter {
    /// Its path in the repository.
    pub(super) path: String,
    pub(super) title: String,
    pub(super) is_level: bool,
}

/// Returns the text of a page's first heading.
pub(super) fn title(text: &str) -> String {
    let mut title = String::new();
    let mut is_in = false;
    for event in parse(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => is_in = true,
            Event::Text(text) | Event::Code(text) if is_in => title.push_str(&text),
            Event::End(TagEnd::Heading(_)) => break,
            _ => {}
        }
    }
    title
}

/// Renders a Markdown file.
pub(super) fn markdown_page(
    path: &str,
    text: &str,
    contents: &[Chapter],
    kind: impl Fn(&str) -> Kind,
) -> String {
    let mut ids = anchors(text).into_iter();
    let mut hidden = Vec::new();
    let mut events = Vec::new();
    for event in parse(text) {
        match event {
            Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
                let id = ids.next().map(CowStr::from);
                events.push(Event::Start(Tag::Heading { level, id, classes, attrs }));
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let url = url(path, &dest_url, &kind);
                hidden.push(url.is_none());
                events.extend(url.map(|url| {
                    // An automatic link would be printed as its address.
                    let link_type =
                        if link_type == LinkType::Autolink { link_type } else { LinkType::Inline };
                    Event::Start(Tag::Link { link_type, dest_url: url.into(), title, id })
                }));
            }
            // A link to an item of the library becomes its text.
            Event::End(TagEnd::Link) => {
                if hidden.pop() == Some(false) {
                    events.push(Event::End(TagEnd::Link));
                }
            }
            Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
                let dest_url: CowStr = url(path, &dest_url, &kind).unwrap_or_default().into();
                // A picture is wider than a telephone, and opens in full when it is chosen.
                events.push(Event::InlineHtml(format!("<a class=\"picture\" href=\"{dest_url}\">").into()));
                events.push(Event::Start(Tag::Image { link_type, dest_url, title, id }));
            }
            Event::End(TagEnd::Image) => {
                events.push(event);
                events.push(Event::InlineHtml("</a>".into()));
            }
            // A wide table scrolls by itself.
            Event::Start(Tag::Table(_)) => {
                events.push(Event::Html("<div class=\"table\">\n".into()));
                events.push(event);
            }
            Event::End(TagEnd::Table) => {
                events.push(event);
                events.push(Event::Html("</div>\n".into()));
            }
            event => events.push(event),
        }
    }
    let mut body = String::new();
    html::push_html(&mut body, events.into_iter());
    page(path, &address(path, Kind::Page), &title(text), &body, contents)
}

/// Renders a file with source code.
pub(super) fn source_page(path: &str, text: &str, contents: &[Chapter]) -> String {
    let body =
        format!("<h1><code>{}</code></h1>\n<pre><code>{}</code></pre>\n", escaped(path), escaped(text));
    page(path, &address(path, Kind::Page), path, &body, contents)
}

/// Renders the list of the files in a folder.
pub(super) fn folder_page(
    path: &str,
    names: &[String],
    contents: &[Chapter],
    kind: impl Fn(&str) -> Kind,
) -> String {
    let own = address(path, Kind::Folder);
    let item = |name: &String| {
        let file = format!("{path}/{name}");
        let url = relative(&own, &address(&file, kind(&file)));
        format!("<li><a href=\"{}\">{}</a></li>\n", escaped(&url), escaped(name))
    };
    let items: String = names.iter().map(item).collect();
    let body = format!("<h1><code>{}</code></h1>\n<ul>\n{items}</ul>\n", escaped(path));
    page(path, &own, path, &body, contents)
}

/// Returns a page that leads to another one.
pub(super) fn redirect(url: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>handover</title>\n\
         <meta http-equiv=\"refresh\" content=\"0; url={url}\">\n<p><a href=\"{url}\">The exercises</a></p>\n</html>\n"
    )
}

/// Returns the address for a link. `None` if it leads to an item of the library.
fn url(page: &str, link: &str, kind: impl Fn(&str) -> Kind) -> Option<String> {
    match target(page, link)? {
        Target::Item => None,
        Target::Elsewhere => Some(link.to_owned()),
        Target::Here { path, anchor } => {
            let anchor = anchor.map(|anchor| format!("#{anchor}")).unwrap_or_default();
            let to = address(&path, kind(&path));
            let from = address(page, Kind::Page);
            Some(if from == to && !anchor.is_empty() { anchor } else { relative(&from, &to) + &anchor })
        }
    }
}

/// Returns the path from one file of the book to another.
fn relative(from: &str, to: &str) -> String {
    let from: Vec<&str> = from.split('/').collect();
    let to: Vec<&str> = to.split('/').collect();
    let folders = &from[..from.len() - 1];
    let common = folders.iter().zip(&to[..to.len() - 1]).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", folders.len() - common);
    up.chain(to[common..].iter().copied()).collect::<Vec<_>>().join("/")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Puts the body of a page between the parts that all pages have.
fn page(path: &str, own: &str, title: &str, body: &str, contents: &[Chapter]) -> String {
    let link = |chapter: &Chapter, extra: &str| {
        let url = relative(own, &address(&chapter.path, Kind::Page));
        format!("<a href=\"{}\"{extra}>{}</a>", escaped(&url), escaped(&chapter.title))
    };
    let item = |chapter: &Chapter| {
        let class = if chapter.is_level { " class=\"level\"" } else { "" };
        let current = if chapter.path == path { " aria-current=\"page\"" } else { "" };
        format!("<li{class}>{}</li>\n", link(chapter, current))
    };
    let items: String = contents.iter().map(item).collect();
    let place = contents.iter().position(|chapter| chapter.path == path);
    let neighbor = |index: Option<usize>, word: &str| {
        let chapter = index.and_then(|index| contents.get(index));
        chapter.map(|chapter| format!("<span>{word}: {}</span>", link(chapter, ""))).unwrap_or_default()
    };
    let before = neighbor(place.and_then(|place| place.checked_sub(1)), "Back");
    let after = neighbor(place.map(|place| place + 1), "Next");
    let style = relative(own, "style.css");
    // Source code needs more width than sentences.
    let class = if path.ends_with(".md") { "" } else { " class=\"source\"" };
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · handover</title>\n\
         <link rel=\"stylesheet\" href=\"{style}\">\n</head>\n<body>\n\
         <nav aria-label=\"Contents\">\n<details class=\"menu\"><summary>Contents</summary>\n<ol>\n{items}</ol>\n</details>\n\
         <ol class=\"side\">\n{items}</ol>\n</nav>\n\
         <main{class}>\n{body}<footer>{before}{after}</footer>\n</main>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        let chapter =
            |path: &str, title: &str| Chapter { path: path.into(), title: title.into(), is_level: false };
        let contents =
            [chapter("a/README.md", "First"), chapter("a/page.md", "Page"), chapter("b/c.md", "A < C")];
        markdown_page("a/page.md", text, &contents, |path| {
            if path.ends_with(".svg") { Kind::Copy } else { Kind::Page }
        })
    }

    #[test]
    fn links_lead_to_the_rendered_files() {
        for (text, html) in [
            ("[x](README.md)", "<a href=\"index.html\">x</a>"),
            ("[x](../README.md#top)", "<a href=\"../README.html#top\">x</a>"),
            ("[x](../b/c.md)", "<a href=\"../b/c.html\">x</a>"),
            ("[x](../src/main.rs)", "<a href=\"../src/main.rs.html\">x</a>"),
            ("[x](#here)", "<a href=\"#here\">x</a>"),
            ("[x](https://example.org/a.md)", "<a href=\"https://example.org/a.md\">x</a>"),
            ("see [`Event`](crate::Event).", "see <code>Event</code>."),
            ("see [`Error::NameInUse`].", "see <code>Error::NameInUse</code>."),
            (
                "![x](../b/p.svg)",
                "<a class=\"picture\" href=\"../b/p.svg\"><img src=\"../b/p.svg\" alt=\"x\" /></a>",
            ),
            ("## A `b`\n", "<h2 id=\"a-b\">A <code>b</code></h2>"),
        ] {
            let page = rendered(text);
            assert!(page.contains(html), "{text}: {page}");
        }
    }

    #[test]
    fn a_page_shows_the_contents_and_its_neighbors() {
        let page = rendered("# Page & title\n");
        for part in [
            "<title>Page &amp; title · handover</title>",
            "<a href=\"page.html\" aria-current=\"page\">Page</a>",
            "<footer><span>Back: <a href=\"index.html\">First</a></span><span>Next: <a href=\"../b/c.html\">A &lt; C</a></span>",
            "href=\"../style.css\"",
        ] {
            assert!(page.contains(part), "no {part:?}: {page}");
        }
    }

    #[test]
    fn source_code_is_shown_as_it_is() {
        let page = source_page("src/a.c", "if (a < b && c) \"x\";\n", &[]);
        assert!(page.contains("if (a &lt; b &amp;&amp; c) &quot;x&quot;;\n"), "{page}");
    }
}
