//! `cargo xtask book`: web pages of the exercises and of the pages that they link to, in `target/book`.
//!
//! The pages are the Markdown files of the repository themselves. The exercises, their levels and two pages about checks and
//! pictures are the book's chapters. Other files that a page links to are in the book too, without being chapters, so no link
//! leads out of it.

mod links;
mod render;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::sources::files;
use crate::step::Failed;
use links::{Pages, Target, links, target};
use render::{Chapter, folder_page, markdown_page, redirect, source_page};

/// The first chapters and the last ones. The levels of the exercises are between them.
const FIRST: [&str; 4] =
    ["exercises/README.md", "exercises/inheritance.md", "exercises/duplication.md", "exercises/naming.md"];
const LEVELS: &str = "exercises/levels/";
const LAST: [&str; 2] = ["docs/checks.md", "docs/seeing.md"];

/// The files of the book by their paths in its folder.
type Files = BTreeMap<String, Vec<u8>>;

/// Writes the book.
pub(crate) fn book() -> Result<(), Failed> {
    let root = crate::root();
    let folder = root.join("target").join("book");
    let files = assemble(&root)?;
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(Failed::at(&folder))?;
    }
    for (name, content) in &files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent).map_err(Failed::at(parent))?;
        std::fs::write(&path, content).map_err(Failed::at(&path))?;
    }
    println!("{} files; open {}", files.len(), folder.join("index.html").display());
    Ok(())
}

/// Returns the Markdown files of the repository.
fn pages(root: &Path) -> Result<Pages, Failed> {
    let mut pages = Pages::new();
    for path in files(root, &["md"]).map_err(Failed::at(root))? {
        let text = std::fs::read_to_string(&path).map_err(Failed::at(&path))?;
        let parts = path.strip_prefix(root).unwrap_or(&path).components();
        let name = parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        pages.insert(name, text);
    }
    // Their links are those of the folder that `handover new` writes.
    pages.retain(|path, _| !path.contains("/templates/"));
    Ok(pages)
}

/// Returns a message for each broken link on the repository's pages.
fn broken_links(root: &Path, pages: &Pages) -> Vec<String> {
    links::broken(pages, |path| root.join(path).exists())
}

/// Returns the paths of the chapters: the levels in the order in which the first chapter links to them, then the others.
fn chapters(pages: &Pages) -> Vec<String> {
    let first = FIRST[0];
    let linked = links(pages.get(first).map_or("", String::as_str)).into_iter();
    let linked = linked.filter_map(|link| match target(first, &link) {
        Some(Target::Here { path, .. }) => Some(path),
        _ => None,
    });
    let levels = linked
        .chain(pages.keys().cloned())
        .filter(|path| path.starts_with(LEVELS) && pages.contains_key(path));
    let mut seen = BTreeSet::new();
    let all = FIRST.iter().map(|path| (*path).to_owned()).chain(levels);
    all.chain(LAST.iter().map(|path| (*path).to_owned())).filter(|path| seen.insert(path.clone())).collect()
}

/// Makes the book's files from those of the repository.
fn assemble(root: &Path) -> Result<Files, Failed> {
    let pages = pages(root)?;
    let broken = broken_links(root, &pages);
    if !broken.is_empty() {
        return Err(Failed(broken.join("\n")));
    }
    let chapters = chapters(&pages);
    let titled = |path: &String| {
        let text =
            pages.get(path).ok_or_else(|| Failed(format!("{path}, a chapter of the book, doesn't exist")))?;
        Ok(Chapter { path: path.clone(), title: render::title(text), is_level: path.starts_with(LEVELS) })
    };
    let contents = chapters.iter().map(titled).collect::<Result<Vec<_>, Failed>>()?;
    let mut files = Files::new();
    let mut waiting = chapters;
    let mut seen: BTreeSet<String> = waiting.iter().cloned().collect();
    while let Some(path) = waiting.pop() {
        let file = root.join(&path);
        let mut linked = Vec::new();
        let content = if let Some(text) = pages.get(&path) {
            linked.extend(links(text).iter().filter_map(|link| match target(&path, link) {
                Some(Target::Here { path, .. }) => Some(path),
                _ => None,
            }));
            markdown_page(&path, text, &contents, |other| kind(root, other)).into_bytes()
        } else if file.is_dir() {
            let names = names(&file)?;
            linked.extend(names.iter().map(|name| format!("{path}/{name}")));
            folder_page(&path, &names, &contents, |other| kind(root, other)).into_bytes()
        } else {
            let bytes = std::fs::read(&file).map_err(Failed::at(&file))?;
            match (kind(root, &path), std::str::from_utf8(&bytes)) {
                (Kind::Page, Ok(text)) => source_page(&path, text, &contents).into_bytes(),
                _ => bytes,
            }
        };
        files.insert(address(&path, kind(root, &path)), content);
        waiting.extend(linked.into_iter().filter(|path| seen.insert(path.clone())));
    }
    files.insert("style.css".into(), render::STYLE.into());
    files.insert("index.html".into(), redirect(&address(FIRST[0], Kind::Page)).into_bytes());
    Ok(files)
}

/// Returns the names of the files and folders in a folder of the repository.
fn names(folder: &Path) -> Result<Vec<String>, Failed> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Failed::at(folder))? {
        let name = entry.map_err(Failed::at(folder))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('.') && name != "target");
    names.sort_unstable();
    Ok(names)
}

/// How a path of the repository is in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As a web page.
    Page,
    Folder,
    /// As it is: pictures and packed files.
    Copy,
}

fn kind(root: &Path, path: &str) -> Kind {
    const COPIED: [&str; 3] = ["svg", "png", "tar"];
    if root.join(path).is_dir() {
        return Kind::Folder;
    }
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
    if extension.is_some_and(|extension| COPIED.contains(&extension)) { Kind::Copy } else { Kind::Page }
}

/// Returns the path of a file or folder in the book.
fn address(path: &str, kind: Kind) -> String {
    match kind {
        Kind::Copy => path.to_owned(),
        Kind::Folder => format!("{path}/folder.html"),
        // The book's own index is at the root.
        Kind::Page => match path.strip_suffix("/README.md") {
            Some(folder) => format!("{folder}/index.html"),
            None => format!("{}.html", path.strip_suffix(".md").unwrap_or(path)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_all_pages_lead_somewhere() {
        let root = crate::root();
        let pages = pages(&root).unwrap_or_else(|failed| panic!("{failed}"));
        assert!(pages.len() > 30 && pages.contains_key("exercises/README.md"), "{:?}", pages.keys());
        let broken = broken_links(&root, &pages);
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    /// Returns the texts between `before` and the next quotation mark.
    fn between<'a>(html: &'a str, before: &str) -> Vec<&'a str> {
        html.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn links_of_the_book_lead_into_the_book() {
        let files = assemble(&crate::root()).unwrap_or_else(|failed| panic!("{failed}"));
        let text = |path: &str| String::from_utf8_lossy(&files[path]).into_owned();
        let mut count = 0;
        for page in files.keys().filter(|path| path.ends_with(".html")) {
            let html = text(page);
            let urls = [between(&html, "href=\""), between(&html, "src=\"")].concat();
            for url in urls.into_iter().filter(|url| !url.contains("://")) {
                let Some(Target::Here { path, anchor }) = target(page, url) else {
                    panic!("{page}: {url}");
                };
                assert!(files.contains_key(&path), "{page}: the link {url} leads to no file of the book");
                if let Some(anchor) = anchor {
                    let id = format!("id=\"{anchor}\"");
                    assert!(text(&path).contains(&id), "{page}: {url} leads to no heading");
                }
                count += 1;
            }
        }
        assert!(count > 500, "{count}");
        for chapter in FIRST.iter().chain(&LAST) {
            let page = text(&address(chapter, Kind::Page));
            assert!(page.contains("<h1 id=\"") && page.contains("aria-current=\"page\""), "{chapter}");
        }
    }

    #[test]
    fn levels_are_chapters_in_the_order_of_their_links() {
        let mut pages = Pages::new();
        let index = "[b](levels/b.md) [a](levels/a.md) [gone](levels/gone.md) [x](inheritance.md)";
        pages.insert("exercises/README.md".into(), index.into());
        for level in ["a", "b", "c"] {
            pages.insert(format!("exercises/levels/{level}.md"), "# Level".into());
        }
        let names = chapters(&pages);
        let levels: Vec<&str> = names.iter().filter_map(|path| path.strip_prefix(LEVELS)).collect();
        assert_eq!(levels, ["b.md", "a.md", "c.md"]);
        assert_eq!((names[0].as_str(), names.last().unwrap().as_str()), (FIRST[0], LAST[1]));
    }
}
