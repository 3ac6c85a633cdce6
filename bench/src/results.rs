//! What was measured, as lines of text that last: a measurement of one part replaces that part's lines, and the page is
//! made of all.

use std::fmt;
use std::path::Path;

use crate::Outcome;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Count,
}

/// How much of the other's time it took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) of_medians: f64,
    /// The 10th of 100 rounds, and the 90th.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Ratio {
    /// One of numbers that have no rounds.
    pub(crate) fn exact(ratio: f64) -> Self {
        Self { of_medians: ratio, low: ratio, high: ratio }
    }
}

/// One number, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) part: String,
    pub(crate) table: String,
    /// How many, how large: the table's row.
    pub(crate) x: String,
    /// Who: the table's column.
    pub(crate) way: String,
    pub(crate) unit: Unit,
    /// The number, and its ratio to another where there is one.
    pub(crate) found: Result<(f64, Option<Ratio>), String>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, table, x, way, unit, found } = self;
        let unit = match unit {
            Unit::Seconds => "s",
            Unit::Bytes => "B",
            Unit::Count => "1",
        };
        write!(f, "{part}\t{table}\t{x}\t{way}\t{unit}\t")?;
        match found {
            Ok((value, Some(Ratio { of_medians, low, high }))) => {
                write!(f, "{value:.4e}\t{of_medians:.3}\t{low:.3}\t{high:.3}")
            }
            Ok((value, None)) => write!(f, "{value:.4e}"),
            Err(why) => write!(f, "-\t{why}"),
        }
    }
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [part, table, x, way, unit, found @ ..] = fields.as_slice() else { return None };
        let unit = match *unit {
            "s" => Unit::Seconds,
            "B" => Unit::Bytes,
            "1" => Unit::Count,
            _ => return None,
        };
        let found = match found {
            ["-", why] => Err((*why).to_owned()),
            [value, of_medians, low, high] => {
                let ratio = Ratio {
                    of_medians: of_medians.parse().ok()?,
                    low: low.parse().ok()?,
                    high: high.parse().ok()?,
                };
                Ok((value.parse().ok()?, Some(ratio)))
            }
            [value] => Ok((value.parse().ok()?, None)),
            _ => return None,
        };
        let [part, table, x, way] = [part, table, x, way].map(|text| (*text).to_owned());
        Some(Self { part, table, x, way, unit, found })
    }
}

/// All that is known of one system.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Where each part was measured, and when.
    pub(crate) machines: Vec<(String, String)>,
    pub(crate) rows: Vec<Row>,
}

/// Begins the line that says where a part was measured.
const MACHINE: &str = "machine\t";

impl Results {
    pub(crate) fn read(file: &Path) -> Outcome<Option<Self>> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", file.display()).into()),
        };
        let mut results = Self::default();
        for line in text.lines() {
            if let Some((part, machine)) =
                line.strip_prefix(MACHINE).and_then(|machine| machine.split_once('\t'))
            {
                results.machines.push((part.into(), machine.into()));
            } else {
                results.rows.push(Row::parse(line).ok_or_else(|| format!("no result: {line}"))?);
            }
        }
        Ok(Some(results))
    }

    pub(crate) fn write(&self, file: &Path) -> Outcome {
        let machines = self.machines.iter().map(|(part, machine)| format!("{MACHINE}{part}\t{machine}\n"));
        let text: String = machines.chain(self.rows.iter().map(|row| format!("{row}\n"))).collect();
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
    }

    /// The numbers of this table, in their order.
    pub(crate) fn of<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.table == table)
    }
}

/// Puts a part's results in the place of its older ones.
pub(crate) fn save(file: &Path, part: &str, rows: &[Row]) -> Outcome {
    let mut results = Results::read(file)?.unwrap_or_default();
    results.machines.retain(|(other, _)| other != part);
    results.rows.retain(|row| row.part != part);
    results.rows.extend_from_slice(rows);
    results.write(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_found() {
        let ratio = Ratio { of_medians: 1.25, low: 1.0, high: 2.5 };
        for found in [Ok((0.000_125, Some(ratio))), Ok((4.0, None)), Err("can't".to_owned())] {
            let row = Row {
                part: "spawn".into(),
                table: "spawn".into(),
                x: "64".into(),
                way: "ours".into(),
                unit: Unit::Seconds,
                found,
            };
            assert_eq!(Row::parse(&row.to_string()), Some(row));
        }
        assert_eq!(Row::parse("spawn\tspawn"), None);
    }
}
