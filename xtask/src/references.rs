//! Checks that names of tests in documentation and in commands exist: a filter that matches no test reports success.

use std::path::PathBuf;

use crate::root;
use crate::sources::sources;

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

fn has_test(sources: &[PathBuf], name: &str) -> bool {
    let function = format!("fn {name}(");
    sources.iter().any(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains(&function)))
}

#[test]
fn tests_that_the_documentation_names_exist() {
    let mut count = 0;
    for page in ["docs/verified.md", "docs/threat-model.md", "docs/windows-facts.md"] {
        let page_text = text(page);
        let quoted = page_text.split('`').skip(1).step_by(2);
        for (file, name) in quoted.filter_map(|quoted| quoted.split_once("::")) {
            let name = name.trim_end_matches('*');
            let is_small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/".contains(c);
            if !name.contains('_') || !(file.chars().chain(name.chars())).all(is_small) {
                continue;
            }
            // A suite for several kinds of channels is in `shared`.
            let source = [format!("tests/tests/{file}.rs"), format!("tests/tests/shared/{file}.rs")];
            let source = source.map(|path| text(&path)).concat();
            assert!(source.contains(&format!("fn {name}")), "{page}: {file}::{name} does not exist");
            count += 1;
        }
    }
    assert!(count > 80, "{count}");
}

#[test]
fn tests_that_commands_select_or_skip_exist() {
    let tests = sources(&root().join("tests/tests"));
    for name in crate::check::SKIPPED_WITH_ADDRESS_SANITIZER {
        assert!(has_test(&tests, name), "{name} does not exist");
    }
    let all = [tests.clone(), sources(&root().join("crates/handover/src"))].concat();
    for name in crate::linux::NOT_EMULATED {
        assert!(has_test(&all, name), "{name} does not exist");
    }
    for suite in crate::linux::EMULATED {
        assert!(root().join(format!("tests/tests/{suite}.rs")).exists(), "the suite {suite} does not exist");
    }
    for part in crate::kernel::SKIPPED {
        let is_there = |path: &PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains(part));
        assert!(all.iter().any(is_there), "no test has {part} in its name");
    }
    assert!(has_test(&tests, crate::faults::KILLS), "{} does not exist", crate::faults::KILLS);
    for suite in crate::check::TRACING_SUITES {
        let is_there = [format!("{suite}.rs"), format!("{suite}/main.rs")]
            .iter()
            .any(|file| root().join("tests/tests").join(file).exists());
        assert!(is_there, "the suite {suite} does not exist");
    }
    for module in crate::check::PURE_TESTS {
        let path = module.trim_end_matches("::").replace("::", "/");
        let source = text(&format!("crates/handover/src/{path}.rs"));
        assert!(source.contains("mod tests {"), "{module} has no tests");
    }
}

#[test]
fn sweeps_have_the_name_that_selects_them() {
    let mut count = 0;
    for path in sources(&root().join("tests/tests")) {
        let source = std::fs::read_to_string(&path).unwrap_or_default();
        let mut function = "";
        for line in source.lines() {
            if let Some(rest) = line.strip_prefix("fn ") {
                function = rest;
            } else if line.contains("Sweep::of(") || line.trim_start().starts_with("sweep(") {
                let is_selected = function.contains(crate::faults::SWEEP);
                // A helper of such a test gets the sweep's name.
                assert!(is_selected || function.contains("name: &str"), "{}: {function}", path.display());
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn facts_of_windows_that_promises_rest_on_exist() {
    const COLUMN: usize = 7;
    let facts = text("docs/windows-facts.md");
    let calls =
        facts.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | ")).map(|(calls, _)| calls);
    let calls: Vec<&str> = calls.collect();
    let verified = text("docs/verified.md");
    let columns = verified.lines().filter_map(|line| line.split(" | ").nth(COLUMN));
    let names: Vec<&str> = columns.flat_map(|column| column.split('`').skip(1).step_by(2)).collect();
    for name in &names {
        assert!(calls.iter().any(|call| call.contains(*name)), "docs/windows-facts.md has no row for {name}");
    }
    assert!(names.len() > 40, "{names:?}");
}
