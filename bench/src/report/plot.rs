//! Draws the ratios of a table as a plot.

use chart::{BLUE, Colour, DASHED, Field, Line, ORANGE, QUIET, SOLID, Stroke};

use super::table::{distinct, with_commas};
use crate::Outcome;
use crate::results::{Ratio, Row};

const GREY: Colour = (0x6e_77_81, 0x91_98_a1);
const PURPLE: Colour = (0x82_50_df, 0xbc_8c_ff);

/// The colour and the stroke of each way, by the start of its name.
const COLOURS: [(&str, Colour, Stroke); 19] = [
    ("C floor: fork", GREY, DASHED),
    ("C floor, kept", GREY, DASHED),
    ("C floor, with a timeout", GREY, DASHED),
    ("C floor", GREY, SOLID),
    ("memcpy", GREY, SOLID),
    ("send, recv", GREY, SOLID),
    ("blocking", GREY, SOLID),
    ("call, reply", BLUE, SOLID),
    ("tokio", BLUE, SOLID),
    ("async-io", BLUE, DASHED),
    ("handover, ", BLUE, DASHED),
    ("handover", BLUE, SOLID),
    ("std", ORANGE, SOLID),
    ("ipmb", (0x1a_7f_37, 0x3f_b9_50), SOLID),
    ("ipc-channel, async", PURPLE, DASHED),
    ("ipc-channel", PURPLE, SOLID),
    ("command-fds", (0x0a_7b_83, 0x39_c5_cf), SOLID),
    ("sendfd", (0x9a_67_00, 0xd2_99_22), SOLID),
    ("", (0xbf_39_89, 0xf7_78_ba), SOLID),
];

/// Draws the plot. Returns `None` if the table has fewer than two rows or no ratios.
pub(super) fn svg(rows: &[&Row], title: &str, system: &str) -> Outcome<Option<String>> {
    let labels = distinct(rows, |row| &row.x);
    let ratio =
        |way: &str, x: &str| rows.iter().find(|row| row.way == way && row.x == x)?.result.as_ref().ok()?.1;
    let mut ways = distinct(rows, |row| &row.way);
    ways.retain(|way| labels.iter().any(|x| ratio(way, x).is_some()));
    if labels.len() < 2 || ways.is_empty() {
        return Ok(None);
    }
    let all = ways.iter().flat_map(|way| labels.iter().filter_map(|x| ratio(way, x)));
    let (low, high) =
        all.fold((1.0_f64, 1.0_f64), |(low, high), ratio| (low.min(ratio.low), high.max(ratio.high)));
    // A minimum range keeps noise from looking large.
    let (low, high) = ((low * 0.93).min(0.8), (high * 1.07).max(1.5));

    // The vertical axis is logarithmic. Each row of the table takes one unit of the horizontal axis.
    let end = labels.len() as f64;
    let ratio_one = vec![(0.0, 0.0), (end, 0.0)];
    let mut lines =
        vec![Line { name: "", colour: QUIET, stroke: SOLID, points: ratio_one, bars: Vec::new() }];
    for (number, name) in ways.iter().enumerate() {
        let way = COLOURS.into_iter().find(|(start, ..)| name.starts_with(start));
        let (_, colour, stroke) = way.unwrap_or(COLOURS[COLOURS.len() - 1]);
        // Shifts each way sideways, so that no bar hides another.
        let shift = 0.5 + (number as f64 - 0.5 * (ways.len() as f64 - 1.0)) * end / 134.0;
        let result = labels.iter().enumerate();
        let (points, bars) = result
            .filter_map(|(index, x)| Some((index as f64 + shift, ratio(name, x)?)))
            .map(|(x, Ratio { of_medians, low, high })| ((x, of_medians.ln()), (low.ln(), high.ln())))
            .unzip();
        lines.push(Line { name, colour, stroke, points, bars });
    }
    let x = labels.iter().enumerate().map(|(index, x)| (index as f64 + 0.5, with_commas(x)));
    let y = ticks(low, high).into_iter().map(|tick| (tick.ln(), format!("{tick} ×")));
    let (x, y) = ((0.0..end, x.collect()), (low.ln()..high.ln(), y.collect()));
    let subtitle = format!("{system}; medians, lower is better; bars: 10th to 90th percentile of the rounds");
    Ok(Some(chart::svg(title, &subtitle, &[Field { heading: "", x, y, lines }])?))
}

/// Returns the round numbers between `low` and `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let fine: &[f64] =
        if high / low < 4.0 { &[0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 2.5, 3.0] } else { &[] };
    let coarse = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
    let all = if fine.is_empty() { coarse.as_slice() } else { fine };
    all.iter().copied().filter(|tick| (low..=high).contains(tick)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Unit;

    #[test]
    fn each_way_with_a_ratio_has_a_line() {
        let row = |x: &str, way: &str, result| Row {
            part: "spawn".into(),
            table: "spawn".into(),
            x: x.into(),
            way: way.into(),
            unit: Unit::Seconds,
            result,
        };
        let ratio = |ratio| Ok((1.0, Some(Ratio::exact(ratio))));
        let rows = [
            row("1", "C floor", ratio(1.0)),
            row("1", "handover", ratio(1.5)),
            row("1", "other", Err("can't".into())),
            row("8", "handover", ratio(30.0)),
        ];
        let plot = svg(&rows.iter().collect::<Vec<_>>(), "A title", "a system")
            .expect("drawing succeeds")
            .expect("the table has two rows");
        // Each way has one more mark in the legend.
        let marks = ["#6E7781", "#0969DA"].map(|colour| plot.matches(&format!("fill=\"{colour}\"")).count());
        assert_eq!(marks, [1 + 1, 1 + 2]);
        assert!(!plot.contains("NaN") && !plot.contains("other"), "{plot}");
    }
}
