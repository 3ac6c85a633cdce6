//! `handover new`: writes an empty parent and child for one of the exercises.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::exit::{Stop, print};
use crate::os::template;
use crate::table::printable;

const EXAMPLES: &str = "\
Examples:
  handover new inheritance --language c exercise
  handover new duplication --language python exercise
  handover new naming --language rust exercise

The folder must not exist yet, or be empty. The programs compile and run at once, on Windows and Linux, and exit with code 4 until the steps marked TODO are done.";

/// Write an empty parent and child for an exercise, to be completed and checked
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How the child is to get its handle
    strategy: Strategy,
    /// The language of the programs
    #[arg(long, short)]
    language: Language,
    /// The folder for the files
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// The exercises that have templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// The child inherits the handle of an unnamed event
    Inheritance,
    /// The handle of an unnamed event is duplicated into the running child
    Duplication,
    /// The child opens the event by its name
    Naming,
}

/// The languages of the templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    C,
    #[value(name = "c++", alias = "cpp")]
    Cpp,
    Rust,
    Python,
}

/// A file of a template: its name and its text.
type FileOfTemplate = (&'static str, String);

/// Returns the parent and the child of a strategy in a language.
macro_rules! sources {
    ($strategy:literal) => {
        |language| match language {
            // The C sources are also C++.
            Language::C | Language::Cpp => [
                include_str!(concat!("../templates/", $strategy, "/parent.c")),
                include_str!(concat!("../templates/", $strategy, "/child.c")),
            ],
            Language::Rust => [
                include_str!(concat!("../templates/", $strategy, "/parent.rs")),
                include_str!(concat!("../templates/", $strategy, "/child.rs")),
            ],
            Language::Python => [
                include_str!(concat!("../templates/", $strategy, "/parent.py")),
                include_str!(concat!("../templates/", $strategy, "/child.py")),
            ],
        }
    };
}

/// Returns the files of a template.
fn files(strategy: Strategy, language: Language) -> Vec<FileOfTemplate> {
    let (name, sources): (_, fn(Language) -> [&'static str; 2]) = match strategy {
        Strategy::Inheritance => ("inheritance", sources!("inheritance")),
        Strategy::Duplication => ("duplication", sources!("duplication")),
        Strategy::Naming => ("naming", sources!("naming")),
    };
    let [parent, child] = sources(language);
    let ([parent_name, child_name], others): (_, &[(&str, &str)]) = match language {
        Language::C => (
            ["parent.c", "child.c"],
            &[
                ("Makefile", include_str!("../templates/shared/Makefile.c")),
                ("README.md", include_str!("../templates/shared/README.c.md")),
            ],
        ),
        Language::Cpp => (
            ["parent.cpp", "child.cpp"],
            &[
                ("Makefile", include_str!("../templates/shared/Makefile.cpp")),
                ("README.md", include_str!("../templates/shared/README.cpp.md")),
            ],
        ),
        Language::Rust => (
            ["parent.rs", "child.rs"],
            &[
                ("Cargo.toml", include_str!("../templates/shared/Cargo.toml.txt")),
                (".gitignore", "/target\n"),
                ("README.md", include_str!("../templates/shared/README.rs.md")),
            ],
        ),
        Language::Python => {
            (["parent.py", "child.py"], &[("README.md", include_str!("../templates/shared/README.py.md"))])
        }
    };
    let sources = [(parent_name, parent.to_owned()), (child_name, child.to_owned())];
    let others = others.iter().map(|(file, text)| (*file, text.replace("{strategy}", name)));
    sources.into_iter().chain(others).collect()
}

pub(crate) fn new(options: &Options) -> Result<(), Stop> {
    let files = files(options.strategy, options.language);
    write_all(&options.folder, &files)?;
    print(&next_steps(options, &files))
}

/// Writes the files into a folder that doesn't exist yet or is empty. After a failure, the folder is as it was.
fn write_all(folder: &Path, files: &[FileOfTemplate]) -> Result<(), Stop> {
    let failed =
        |path: &Path, error: &io::Error| Stop::failed(format_args!("cannot create {path:?}: {error}"));
    let is_new = match fs::create_dir(folder) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            check_empty(folder)?;
            false
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Stop::failed(format_args!(
                "cannot create {folder:?}: the folder in which it would be doesn't exist; create that one first"
            )));
        }
        Err(error) => return Err(failed(folder, &error)),
    };
    let mut written = Vec::new();
    let outcome = files.iter().try_for_each(|(name, text)| {
        let path = folder.join(name);
        // Another process may have created the file since.
        let mut file = File::create_new(&path).map_err(|error| failed(&path, &error))?;
        written.push(path);
        file.write_all(text.as_bytes()).map_err(|error| failed(&folder.join(name), &error))
    });
    if outcome.is_err() {
        for path in written {
            // The first error is the one to report.
            let _ = fs::remove_file(path);
        }
        if is_new {
            let _ = fs::remove_dir(folder);
        }
    }
    outcome
}

/// Fails unless the path is an empty folder.
fn check_empty(folder: &Path) -> Result<(), Stop> {
    const EXPECTED: &str = "expected a folder that doesn't exist yet, or an empty one; give another path";
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return Err(Stop::failed(format_args!("cannot read the folder {folder:?}: {error}; {EXPECTED}")));
        }
    };
    match entries.next() {
        None => Ok(()),
        Some(Ok(entry)) => {
            let name = entry.file_name();
            Err(Stop::failed(format_args!(
                "the folder {folder:?} isn't empty, it contains {name:?}; {EXPECTED}"
            )))
        }
        Some(Err(error)) => Err(Stop::failed(format_args!("cannot read the folder {folder:?}: {error}"))),
    }
}

/// Returns what to do with the files.
fn next_steps(options: &Options, files: &[FileOfTemplate]) -> String {
    let strategy = options.strategy.to_possible_value();
    let strategy = strategy.as_ref().map_or("", |value| value.get_name());
    let (build, parent) = commands(options.language);
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let folder = printable(&options.folder.to_string_lossy());
    let quoted = if folder.contains(' ') { format!("\"{folder}\"") } else { folder.clone() };
    let build = build.map(|build| format!("  {build}\n")).unwrap_or_default();
    format!(
        "{folder} now contains {}.\n\nNext:\n  cd {quoted}\n{build}  {parent}\n  handover check {strategy} -- {parent}\n\n\
         Then do the steps marked TODO. The page \
         of the exercise, exercises/{strategy}.md, explains them and has hints.\n",
        names.join(", "),
    )
}

/// Returns the command that builds the programs, if one is needed, and the parent as typed in a shell.
fn commands(language: Language) -> (Option<&'static str>, &'static str) {
    match language {
        Language::C => (Some(template::BUILD_C), template::PARENT_IN_C),
        Language::Cpp => (Some(template::BUILD_CPP), template::PARENT_IN_C),
        Language::Rust => (Some("cargo build"), template::PARENT_IN_RUST),
        Language::Python => (None, template::PARENT_IN_PYTHON),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes two files of one name into the folder, of which the second fails.
    fn write_twice(folder: &Path) {
        let twice = [("parent.c", "text".to_owned()), ("parent.c", "text".to_owned())];
        let Err(Stop::Failed { message, .. }) = write_all(folder, &twice) else {
            panic!("the second file exists")
        };
        assert!(message.contains("parent.c"), "{message}");
    }

    #[test]
    fn failure_leaves_the_folder_as_it_was() {
        let folder = std::env::temp_dir().join(format!("handover-new-failure-{}", std::process::id()));
        write_twice(&folder);
        assert!(!folder.exists());
        fs::create_dir(&folder).expect("the folder doesn't exist");
        write_twice(&folder);
        let is_empty = fs::read_dir(&folder).expect("the folder stays").next().is_none();
        fs::remove_dir_all(&folder).expect("it can be removed");
        assert!(is_empty);
    }
}
