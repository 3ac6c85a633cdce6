//! Formats results as a Markdown table of ratios and times.

use crate::results::{Ratio, Row, Unit};

/// Returns the distinct labels of the rows, in the order of their first use.
pub(super) fn distinct<'a>(rows: &[&'a Row], label: impl Fn(&'a Row) -> &'a str) -> Vec<&'a str> {
    let mut labels: Vec<&str> = Vec::new();
    for row in rows {
        if !labels.contains(&label(row)) {
            labels.push(label(row));
        }
    }
    labels
}

pub(super) fn markdown(rows: &[&Row]) -> String {
    let (ways, labels) = (distinct(rows, |row| &row.way), distinct(rows, |row| &row.x));
    let mut text = format!("| | {} |\n|{}\n", ways.join(" | "), "---|".repeat(ways.len() + 1));
    for x in labels {
        text += &format!("| {} |", with_commas(x));
        for way in &ways {
            let row = rows.iter().find(|row| row.x == x && row.way == *way);
            let cell = row.map_or_else(String::new, |row| cell(row, row.way == ways[0]));
            text += &format!(" {cell} |");
        }
        text += "\n";
    }
    text
}

fn cell(row: &Row, is_first: bool) -> String {
    match &row.result {
        Err(reason) => format!("– ({reason})"),
        Ok((value, None)) => amount(*value, row.unit),
        Ok((value, Some(ratio))) if is_first && ratio.of_medians == 1.0 => amount(*value, row.unit),
        Ok((value, Some(ratio))) => {
            format!("**{}**{}; {}", ratio_text(ratio.of_medians), spread(ratio), amount(*value, row.unit))
        }
    }
}

fn spread(ratio: &Ratio) -> String {
    if ratio.low == ratio.high {
        return String::new();
    }
    format!(" ({} to {})", ratio_text(ratio.low), ratio_text(ratio.high))
}

/// Formats a ratio with two decimals, or with none from 9.95 on.
pub(super) fn ratio_text(ratio: f64) -> String {
    if ratio < 9.95 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

/// Formats a number with three digits and its unit.
pub(super) fn amount(value: f64, unit: Unit) -> String {
    let (value, unit) = match unit {
        Unit::Count => return format!("{value:.0}"),
        Unit::Seconds if value >= 1.0 => (value, "s"),
        Unit::Seconds if value >= 1e-3 => (value * 1e3, "ms"),
        Unit::Seconds if value >= 1e-6 => (value * 1e6, "µs"),
        Unit::Seconds => (value * 1e9, "ns"),
        Unit::Bytes if value >= 1024.0 => (value / 1024.0, "KiB"),
        Unit::Bytes => (value, "B"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

/// Inserts commas into a number of four or more digits. Returns other text unchanged.
pub(super) fn with_commas(x: &str) -> String {
    if x.len() < 4 || !x.bytes().all(|byte| byte.is_ascii_digit()) {
        return x.to_owned();
    }
    let mut text = String::new();
    for (index, digit) in x.chars().enumerate() {
        if index > 0 && (x.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_digits() {
        for (value, unit, text) in [
            (0.000_012_34, Unit::Seconds, "12.3 µs"),
            (0.000_000_4, Unit::Seconds, "400 ns"),
            (2.5, Unit::Seconds, "2.50 s"),
            (2048.0, Unit::Bytes, "2.00 KiB"),
            (4.0, Unit::Count, "4"),
        ] {
            assert_eq!(amount(value, unit), text);
        }
        assert_eq!((with_commas("100000"), with_commas("64 B")), ("100,000".into(), "64 B".into()));
    }
}
