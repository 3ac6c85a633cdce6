//! `cargo xtask words`: counts words in comments and documentation that make sentences hard to read.
//!
//! It only prints. The limits come from counts in widely used crates, per 10,000 words.

use crate::sources::files;
use crate::step::Failed;

/// A group of words that are counted together.
struct Measure {
    title: &'static str,
    words: &'static [&'static str],
    /// Whether only the first word of a sentence counts.
    at_start: bool,
    /// The most that is plain English per 10,000 words; `None` for words that are welcome.
    limit: Option<u8>,
}

const MEASURES: [Measure; 6] = [
    Measure {
        title: "What/Who at the start",
        words: &["what", "who", "whose", "whom", "whoever", "whatever"],
        at_start: true,
        limit: Some(5),
    },
    Measure {
        title: "nobody/somebody",
        words: &["nobody", "somebody", "anybody", "everybody"],
        at_start: false,
        limit: Some(2),
    },
    Measure {
        title: "whoever/whatever",
        words: &["whoever", "whatever", "whomever"],
        at_start: false,
        limit: Some(3),
    },
    Measure { title: "so many", words: &["so many", "so much"], at_start: false, limit: Some(0) },
    Measure {
        title: "exit/terminate (process)",
        words: &[
            "exit",
            "exits",
            "exited",
            "exiting",
            "terminate",
            "terminates",
            "terminated",
            "terminating",
        ],
        at_start: false,
        limit: None,
    },
    Measure { title: "endpoint (channel)", words: &["endpoint", "endpoints"], at_start: false, limit: None },
];

/// Prints the counts, and each counted sentence if `list` is set.
pub(crate) fn words(list: bool) -> Result<(), Failed> {
    let root = crate::root();
    let files = files(&root, &["rs", "md"]).map_err(Failed::at(&root))?;
    let mut total = 0;
    let mut counts = [0_usize; MEASURES.len()];
    for path in &files {
        let text = std::fs::read_to_string(path).map_err(Failed::at(path))?;
        let name = path.strip_prefix(&root).unwrap_or(path).display();
        for sentence in sentences(&prose(&text, path.extension().is_some_and(|it| it == "rs"))) {
            let words = words_of(&sentence);
            total += words.len();
            for (count, measure) in counts.iter_mut().zip(&MEASURES) {
                let found = measure.count(&words);
                *count += found;
                if list && found > 0 && measure.limit.is_some() {
                    println!("{name}: {}: {sentence}", measure.title);
                }
            }
        }
    }
    println!("{total} words in {} files", files.len());
    println!("{:<24} {:>6} {:>11}  limit", "", "count", "per 10,000");
    for (count, measure) in counts.iter().zip(&MEASURES) {
        #[allow(clippy::cast_precision_loss, reason = "the counts are small")]
        let rate = *count as f64 * 10_000.0 / total.max(1) as f64;
        let limit = measure.limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
        println!("{:<24} {count:>6} {rate:>11.1}  {limit}", measure.title);
    }
    Ok(())
}

impl Measure {
    fn count(&self, sentence: &[String]) -> usize {
        let places = if self.at_start { sentence.len().min(1) } else { sentence.len() };
        (0..places)
            .filter(|at| {
                self.words.iter().any(|words| {
                    let words = words.split(' ').collect::<Vec<_>>();
                    sentence[*at..].len() >= words.len()
                        && sentence[*at..].iter().zip(&words).all(|(a, b)| a == b)
                })
            })
            .count()
    }
}

/// Returns the paragraphs of a file: its comments for Rust, its text without code for Markdown.
fn prose(text: &str, is_rust: bool) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    let mut is_code = false;
    for line in text.lines() {
        let line = line.trim_start();
        let line = if is_rust {
            line.strip_prefix("//").map(|line| line.trim_start_matches(['/', '!']))
        } else {
            Some(line)
        };
        let line = line.map(str::trim).unwrap_or_default();
        if line.starts_with("```") {
            is_code = !is_code;
        }
        let begins_paragraph = line.starts_with(['|', '#', '-', '*']) || line.starts_with("```");
        if line.is_empty() || is_code || begins_paragraph {
            paragraphs.push(String::new());
        }
        if !line.is_empty() && !is_code && !line.starts_with("```") {
            let last = paragraphs.last_mut().expect("it has one from the start");
            *last += " ";
            *last += line;
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs
}

/// Splits paragraphs into sentences, and tables into cells.
fn sentences(paragraphs: &[String]) -> Vec<String> {
    let mut sentences = Vec::new();
    for paragraph in paragraphs {
        let marked =
            paragraph.replace(". ", ".\n").replace("? ", "?\n").replace(": ", ":\n").replace('|', "\n");
        sentences.extend(marked.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()));
    }
    sentences
}

/// Returns the words of a sentence in lower case, without code and punctuation.
fn words_of(sentence: &str) -> Vec<String> {
    let without_code: String = sentence.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    let letters = |c: char| c.is_alphabetic() || c == '\'';
    without_code
        .split(|c: char| !letters(c))
        .filter(|word| word.starts_with(char::is_alphabetic))
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str, is_rust: bool) -> Vec<usize> {
        let sentences = sentences(&prose(text, is_rust));
        let of = |measure: &Measure| sentences.iter().map(|it| measure.count(&words_of(it))).sum();
        MEASURES.iter().map(of).collect()
    }

    #[test]
    fn words_are_counted_in_comments_alone() {
        let source = "//! What is in here. Who asks?\n\nlet so_many = \"What\"; // kept\n    /// For so many, whatever they are.\n";
        assert_eq!(counts(source, true), [2, 0, 1, 1, 0, 0]);
    }

    #[test]
    fn words_are_counted_in_text_without_code() {
        let page =
            "# Where\n\nNobody exits `whatever`\nwhat.\n\n```\nsomebody\n```\n\n| Who | the endpoint |\n";
        assert_eq!(counts(page, false), [1, 1, 0, 0, 1, 1]);
    }
}
