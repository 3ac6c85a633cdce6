//! A table's ratios as a picture: SVG with a ground of its own, for light and for dark, in the reader's own font.

use std::fmt::Write;

use super::table::{distinct, shown, with_commas};
use crate::results::{Ratio, Row};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
/// How high the field with the lines is.
const FIELD: f64 = 260.0;
const FONT: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";
/// Between two lines of the legend.
const LINE: f64 = 20.0;

/// Colours of each way: on a light ground, on a dark one, and whether its line is broken.
const COLOURS: [(&str, (&str, &str, bool)); 10] = [
    ("C floor: fork", ("#6e7781", "#9198a1", true)),
    ("C floor, kept", ("#6e7781", "#9198a1", true)),
    ("C floor, with a deadline", ("#6e7781", "#9198a1", true)),
    ("C floor", ("#6e7781", "#9198a1", false)),
    ("ours, ", ("#0969da", "#4493f8", true)),
    ("ours", ("#0969da", "#4493f8", false)),
    ("std", ("#953800", "#f0883e", false)),
    ("ipmb", ("#1a7f37", "#3fb950", false)),
    ("ipc-channel", ("#8250df", "#bc8cff", false)),
    ("", ("#bf3989", "#f778ba", false)),
];

/// One way's line: of each place, its ratio if it has one.
struct Series<'a> {
    name: &'a str,
    ratios: Vec<Option<Ratio>>,
}

impl Series<'_> {
    /// Which of the colours it has.
    fn colour(&self) -> usize {
        COLOURS.iter().position(|(name, _)| self.name.starts_with(name)).unwrap_or(COLOURS.len() - 1)
    }
}

/// The picture; `None` if there is no line to draw.
pub(super) fn svg(rows: &[&Row], title: &str, system: &str) -> Option<String> {
    let places = distinct(rows, |row| &row.x);
    let series: Vec<Series<'_>> = distinct(rows, |row| &row.way)
        .into_iter()
        .map(|name| {
            let at =
                |x: &&str| rows.iter().find(|row| row.way == name && row.x == **x)?.found.as_ref().ok()?.1;
            Series { name, ratios: places.iter().map(at).collect() }
        })
        .filter(|series| series.ratios.iter().any(Option::is_some))
        .collect();
    let all = series.iter().flat_map(|series| series.ratios.iter().flatten());
    let (low, high) =
        all.fold((1.0_f64, 1.0_f64), |(low, high), ratio| (low.min(ratio.low), high.max(ratio.high)));
    if places.len() < 2 || series.is_empty() {
        return None;
    }
    // A little more than is needed, and never so little that noise looks like mountains.
    let (low, high) = ((low * 0.93).min(0.8), (high * 1.07).max(1.5));

    let legend = Legend::of(&series);
    let top = 66.0 + legend.lines * LINE;
    let bottom = top + FIELD;
    let height = bottom + 40.0;
    let across = |place: f64| LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / places.len() as f64;
    let up = |ratio: f64| bottom - FIELD * (ratio / low).ln() / (high / low).ln();

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" role=\"img\">\n\
         <title>{title}: {system}</title>\n<style>{}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
         <text class=\"strong\" x=\"20\" y=\"30\">{title}</text>\n\
         <text class=\"quiet\" x=\"20\" y=\"49\">{system}; medians, the lower the better; bars: eight tenths of the rounds</text>\n",
        style(),
        WIDTH - 1.0,
        height - 1.0,
    );
    legend.draw(&mut out, &series);
    for tick in ticks(low, high) {
        let y = up(tick);
        let class = if tick == 1.0 { "one" } else { "grid" };
        line(&mut out, class, (LEFT, y), (WIDTH - RIGHT, y));
        text(&mut out, "quiet end", (LEFT - 8.0, y + 4.0), &format!("{} ×", tick));
    }
    for (place, x) in places.iter().enumerate() {
        text(&mut out, "quiet middle", (across(place as f64), bottom + 24.0), &with_commas(x));
    }
    for (number, series) in series.iter().enumerate() {
        // Side by side, so that no bar hides another.
        let aside = (number as f64 - 0.5 * (legend.places.len() as f64 - 1.0)) * 5.0;
        draw(&mut out, series, |place| across(place as f64) + aside, up);
    }
    out += "</svg>\n";
    Some(out)
}

fn draw(out: &mut String, series: &Series<'_>, across: impl Fn(usize) -> f64, up: impl Fn(f64) -> f64) {
    let class = format!("c{}", series.colour());
    let points: Vec<(usize, Ratio)> =
        series.ratios.iter().enumerate().filter_map(|(place, ratio)| Some((place, (*ratio)?))).collect();
    let corners: Vec<String> = points
        .iter()
        .map(|(place, ratio)| format!("{:.1},{:.1}", across(*place), up(ratio.of_medians)))
        .collect();
    let _ = writeln!(out, "<polyline class=\"line {class}\" points=\"{}\"/>", corners.join(" "));
    for (place, ratio) in points {
        let (x, y) = (across(place), up(ratio.of_medians));
        line(out, &format!("bar {class}"), (x, up(ratio.low)), (x, up(ratio.high)));
        let _ = writeln!(
            out,
            "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{}: {} ({} to {})</title></circle>",
            series.name,
            shown(ratio.of_medians),
            shown(ratio.low),
            shown(ratio.high),
        );
    }
}

/// Where each name stands, and how many lines they take.
struct Legend {
    places: Vec<(f64, f64)>,
    lines: f64,
}

impl Legend {
    fn of(series: &[Series<'_>]) -> Self {
        let (mut places, mut x, mut y) = (Vec::new(), 20.0, 72.0);
        for series in series {
            // As wide as any likely font.
            let width = 34.0 + 7.6 * series.name.chars().count() as f64 + 18.0;
            if x + width > WIDTH - RIGHT {
                (x, y) = (20.0, y + LINE);
            }
            places.push((x, y));
            x += width;
        }
        Self { places, lines: (y - 72.0) / LINE + 1.0 }
    }

    fn draw(&self, out: &mut String, series: &[Series<'_>]) {
        for (series, (x, y)) in series.iter().zip(&self.places) {
            let class = format!("c{}", series.colour());
            line(out, &format!("line {class}"), (*x, y - 4.0), (x + 26.0, y - 4.0));
            let _ = writeln!(
                out,
                "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"/>",
                x + 13.0,
                y - 4.0
            );
            text(out, "text", (x + 34.0, *y), series.name);
        }
    }
}

/// Round numbers between the two.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let fine: &[f64] =
        if high / low < 4.0 { &[0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 2.5, 3.0] } else { &[] };
    let coarse = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
    let all = if fine.is_empty() { coarse.as_slice() } else { fine };
    all.iter().copied().filter(|tick| (low..=high).contains(tick)).collect()
}

fn line(out: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        out,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, class: &str, place: (f64, f64), text: &str) {
    let _ = writeln!(out, "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>", place.0, place.1);
}

fn style() -> String {
    let ground = |ground: &str, frame: &str, ink: &str, quiet: &str, grid: &str| {
        format!(
            ".ground{{fill:{ground};stroke:{frame}}}text{{fill:{ink}}}.quiet{{fill:{quiet}}}\
             .grid{{stroke:{grid}}}.one{{stroke:{quiet};stroke-width:1.5}}"
        )
    };
    let mut light = ground("#ffffff", "#d1d9e0", "#1f2328", "#59636e", "#e4e8ec");
    let mut dark = ground("#0d1117", "#3d444d", "#f0f6fc", "#9198a1", "#262c36");
    for (number, (_, (on_light, on_dark, is_broken))) in COLOURS.iter().enumerate() {
        let _ = write!(light, ".c{number}{{stroke:{on_light}}}.dot.c{number}{{fill:{on_light}}}");
        let _ = write!(dark, ".c{number}{{stroke:{on_dark}}}.dot.c{number}{{fill:{on_dark}}}");
        if *is_broken {
            let _ = write!(light, ".line.c{number}{{stroke-dasharray:5 4}}");
        }
    }
    format!(
        "text{{font:13px {FONT}}}.strong{{font-size:17px;font-weight:bold}}.quiet{{font-size:12px}}\
         .end{{text-anchor:end}}.middle{{text-anchor:middle}}\
         .line{{fill:none;stroke-width:2}}.bar{{stroke-width:2;opacity:.55}}\
         {light}@media(prefers-color-scheme:dark){{{dark}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Unit;

    #[test]
    fn each_way_with_a_ratio_has_a_line() {
        let row = |x: &str, way: &str, found| Row {
            part: "spawn".into(),
            table: "spawn".into(),
            x: x.into(),
            way: way.into(),
            unit: Unit::Seconds,
            found,
        };
        let ratio = |ratio| Ok((1.0, Some(Ratio::exact(ratio))));
        let rows = [
            row("1", "C floor", ratio(1.0)),
            row("1", "ours", ratio(1.5)),
            row("1", "other", Err("can't".into())),
            row("8", "ours", ratio(30.0)),
        ];
        let picture = svg(&rows.iter().collect::<Vec<_>>(), "A title", "here").expect("two places");
        assert_eq!(picture.matches("<polyline").count(), 2);
        assert!(!picture.contains("NaN") && !picture.contains("other"), "{picture}");
    }
}
