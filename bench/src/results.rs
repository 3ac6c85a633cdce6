//! Stores the results of one system in a text file. Measuring a part replaces the lines of that part.

use std::fmt;
use std::path::Path;

use crate::Outcome;

/// The unit of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Count,
}

/// A way's time divided by the time of another way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) of_medians: f64,
    /// The 10th percentile of the rounds' ratios.
    pub(crate) low: f64,
    /// The 90th percentile of the rounds' ratios.
    pub(crate) high: f64,
}

impl Ratio {
    /// Creates the ratio of two numbers that were measured once, without rounds.
    pub(crate) fn exact(ratio: f64) -> Self {
        Self { of_medians: ratio, low: ratio, high: ratio }
    }
}

/// One number, or the reason why none was measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) part: String,
    pub(crate) table: String,
    /// The label of the table's row, such as the number of objects.
    pub(crate) x: String,
    /// The label of the table's column: the name of the way.
    pub(crate) way: String,
    pub(crate) unit: Unit,
    /// The number, and its ratio to another number if one was computed; or the reason why none was measured.
    pub(crate) result: Result<(f64, Option<Ratio>), String>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, table, x, way, unit, result } = self;
        let unit = match unit {
            Unit::Seconds => "s",
            Unit::Bytes => "B",
            Unit::Count => "1",
        };
        write!(f, "{part}\t{table}\t{x}\t{way}\t{unit}\t")?;
        match result {
            Ok((value, Some(Ratio { of_medians, low, high }))) => {
                write!(f, "{value:.4e}\t{of_medians:.3}\t{low:.3}\t{high:.3}")
            }
            Ok((value, None)) => write!(f, "{value:.4e}"),
            Err(reason) => write!(f, "-\t{reason}"),
        }
    }
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [part, table, x, way, unit, result @ ..] = fields.as_slice() else { return None };
        let unit = match *unit {
            "s" => Unit::Seconds,
            "B" => Unit::Bytes,
            "1" => Unit::Count,
            _ => return None,
        };
        let result = match result {
            ["-", reason] => Err((*reason).to_owned()),
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
        Some(Self { part, table, x, way, unit, result })
    }
}

/// The results of one system.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Each part, with the description of the machine and the date of its measurement.
    pub(crate) machines: Vec<(String, String)>,
    pub(crate) rows: Vec<Row>,
}

/// The start of a line with a part's machine.
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
                results.rows.push(
                    Row::parse(line)
                        .ok_or_else(|| format!("{}: the line is not a result: {line}", file.display()))?,
                );
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

    /// Returns the rows of a table, in the order in which they were measured.
    pub(crate) fn of<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.table == table)
    }
}

/// Replaces a part's older results in the file.
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
    fn a_row_survives_formatting_and_parsing() {
        let ratio = Ratio { of_medians: 1.25, low: 1.0, high: 2.5 };
        for result in [Ok((0.000_125, Some(ratio))), Ok((4.0, None)), Err("can't".to_owned())] {
            let row = Row {
                part: "spawn".into(),
                table: "spawn".into(),
                x: "64".into(),
                way: "handover".into(),
                unit: Unit::Seconds,
                result,
            };
            assert_eq!(Row::parse(&row.to_string()), Some(row));
        }
        assert_eq!(Row::parse("spawn\tspawn"), None);
    }
}
