//! Draws plots as SVG, readable on a light and on a dark background, in the reader's own font.
//!
//! `plotters` rounds to whole units, so one unit is a tenth of a pixel. It writes colours and widths as attributes. The
//! style sheet selects elements by these attributes: it makes gaps in dashed lines, and sets other colours on a dark
//! background.

use std::ops::Range;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const PX: i32 = 10;
const WIDTH: i32 = 760 * PX;
/// The left edge of the titles and headings.
const MARGIN: i32 = 20 * PX;
/// The left edge of the fields.
const LEFT: i32 = 64 * PX;
/// The right edge of the fields.
const RIGHT: i32 = 736 * PX;
/// The height of a field.
const FIELD: i32 = 230 * PX;
/// The height of the heading above a field.
const ABOVE: i32 = 26 * PX;
/// The height of the labels below a field.
const BELOW: i32 = 44 * PX;
/// The height of a line in the legend.
const LINE: i32 = 20 * PX;

/// A colour on a light background and its counterpart on a dark one, as 0xRRGGBB.
pub type Colour = (u32, u32);

const GROUND: Colour = (0xff_ff_ff, 0x0d_11_17);
const FRAME: Colour = (0xd1_d9_e0, 0x3d_44_4d);
const GRID: Colour = (0xe4_e8_ec, 0x26_2c_36);
const INK: Colour = (0x1f_23_28, 0xf0_f6_fc);
/// The colour of labels.
pub const QUIET: Colour = (0x59_63_6e, 0x91_98_a1);
/// Blue.
pub const BLUE: Colour = (0x09_69_da, 0x44_93_f8);
/// Orange.
pub const ORANGE: Colour = (0x95_38_00, 0xf0_88_3e);

/// The style of a line. Its number is the width in tenths of a pixel, which also selects gaps and opacity.
pub type Stroke = u32;
/// A solid line.
pub const SOLID: Stroke = 20;
/// A line with gaps.
pub const DASHED: Stroke = 21;
/// A thin line, half transparent.
pub const FAINT: Stroke = 11;
const BAR: Stroke = 19;

/// A series of points.
#[derive(Debug)]
pub struct Line<'a> {
    /// The name in the legend. A line without a name is not in the legend.
    pub name: &'a str,
    /// The colour of the line and of its marks.
    pub colour: Colour,
    /// The style of the line.
    pub stroke: Stroke,
    /// The points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// The lowest and highest value of the vertical bar through each point. A point without a bar has no mark.
    pub bars: Vec<(f64, f64)>,
}

/// An axis: its range, and the values that have a label.
pub type Axis = (Range<f64>, Vec<(f64, String)>);

/// Creates an axis from 0 to `high` with round numbers as labels, each followed by `unit`.
pub fn linear(high: f64, unit: &str) -> Axis {
    let values = RangedCoordf64::from(0.0..high).key_points(7);
    // Rounding removes the remainders of binary fractions.
    let label = |value: f64| (value, format!("{}{unit}", (value * 1000.0).round() / 1000.0));
    (0.0..high, values.into_iter().map(label).collect())
}

/// An area with lines.
#[derive(Debug)]
pub struct Field<'a> {
    /// The text above the area.
    pub heading: &'a str,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines, in drawing order: later lines cover earlier ones.
    pub lines: Vec<Line<'a>>,
}

type Result<T = ()> = std::result::Result<T, DrawingAreaErrorKind<std::io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws the fields as an SVG image, one below the other. The legend lists the lines of the first field.
///
/// # Errors
/// Returns the errors of `plotters`. None is known, because drawing into memory does not fail.
pub fn svg(title: &str, subtitle: &str, fields: &[Field<'_>]) -> Result<String> {
    let (mut legend, mut x, mut y) = (Vec::new(), MARGIN, 67 * PX);
    for line in fields.iter().take(1).flat_map(|field| &field.lines).filter(|line| !line.name.is_empty()) {
        let letter_width = |letter| if "ilt,. ".contains(letter) { 45 } else { 80 };
        let width = 50 * PX + line.name.chars().map(letter_width).sum::<i32>();
        if x + width > WIDTH {
            (x, y) = (MARGIN, y + LINE);
        }
        legend.push((line, x, y));
        x += width;
    }
    let height = y + LINE + fields.iter().map(|_| ABOVE + FIELD + BELOW).sum::<i32>();

    let mut drawn = String::new();
    let area = SVGBackend::with_string(&mut drawn, (WIDTH.unsigned_abs(), height.unsigned_abs()))
        .into_drawing_area();
    text(&area, title, (MARGIN, 24 * PX), 17, INK, HPos::Left)?;
    text(&area, subtitle, (MARGIN, 45 * PX), 12, QUIET, HPos::Left)?;
    for (line, x, y) in legend {
        area.draw(&PathElement::new([(x, y), (x + 26 * PX, y)], stroke(line.colour, line.stroke)))?;
        if !line.bars.is_empty() {
            area.draw(&mark((x + 13 * PX, y), line.colour))?;
        }
        text(&area, line.name, (x + 34 * PX, y), 13, INK, HPos::Left)?;
    }
    for (field, number) in fields.iter().zip(0..) {
        draw(&area, field, y + LINE + ABOVE + number * (ABOVE + FIELD + BELOW))?;
    }
    area.present()?;
    drop(area);

    let (_, drawn) = drawn.split_once('\n').unwrap_or_default();
    let drawn_in = fields.iter().flat_map(|field| &field.lines).map(|line| line.colour);
    let mut colours: Vec<Colour> = drawn_in.chain([GROUND, FRAME, GRID, INK, QUIET]).collect();
    colours.sort_unstable();
    colours.dedup();
    let dark_rule = |(light, dark)| {
        ["fill", "stroke"].map(|part| format!("[{part}='#{light:06X}']{{{part}:#{dark:06x}}}"))
    };
    let dark_rules: String = colours.into_iter().flat_map(dark_rule).collect();
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"760\" role=\"img\">\n\
         <title>{title}: {subtitle}</title>\n\
         <style>text{{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}}\
         [stroke-width='{DASHED}']{{stroke-dasharray:50 40}}@media(prefers-color-scheme:dark){{{dark_rules}}}</style>\n\
         <rect x=\"5\" y=\"5\" width=\"{}\" height=\"{}\" rx=\"80\" fill=\"#{:06X}\" stroke=\"#{:06X}\" stroke-width=\"{PX}\"/>\n\
         {drawn}",
        WIDTH - PX,
        height - PX,
        GROUND.0,
        FRAME.0,
    ))
}

fn draw(area: &Area<'_>, field: &Field<'_>, top: i32) -> Result {
    let bottom = top + FIELD;
    let ranges = (RangedCoordf64::from(field.x.0.clone()), RangedCoordf64::from(field.y.0.clone()));
    let at = |(x, y): (f64, f64)| (ranges.0.map(&x, (LEFT, RIGHT)), ranges.1.map(&y, (bottom, top)));
    text(area, field.heading, (MARGIN, top - 17 * PX), 13, INK, HPos::Left)?;
    for (value, label) in &field.y.1 {
        let (_, y) = at((0.0, *value));
        area.draw(&PathElement::new([(LEFT, y), (RIGHT, y)], stroke(GRID, PX.unsigned_abs())))?;
        text(area, label, (LEFT - 8 * PX, y), 12, QUIET, HPos::Right)?;
    }
    for (value, label) in &field.x.1 {
        let (x, _) = at((*value, 0.0));
        // About 96 characters fit into the width of a field, and the labels share them.
        for (line, y) in break_into_lines(label, 96 / field.x.1.len().max(1)).iter().zip(1..) {
            text(area, line, (x, bottom + y * 16 * PX), 12, QUIET, HPos::Center)?;
        }
    }
    for Line { colour, stroke: width, points, bars, .. } in &field.lines {
        let path: Vec<_> = points.iter().copied().map(at).collect();
        if path.len() > 1 {
            area.draw(&PathElement::new(path, stroke(*colour, *width)))?;
        }
        for (&(x, y), &(low, high)) in points.iter().zip(bars) {
            area.draw(&PathElement::new([at((x, low)), at((x, high))], stroke(*colour, BAR)))?;
            area.draw(&mark(at((x, y)), *colour))?;
        }
    }
    Ok(())
}

fn rgb((light, _): Colour) -> RGBColor {
    let [_, red, green, blue] = light.to_be_bytes();
    RGBColor(red, green, blue)
}

fn stroke(colour: Colour, width: Stroke) -> ShapeStyle {
    let opacity = if [FAINT, BAR].contains(&width) { 0.55 } else { 1.0 };
    rgb(colour).mix(opacity).stroke_width(width)
}

fn mark(at: (i32, i32), colour: Colour) -> Circle<(i32, i32), i32> {
    Circle::new(at, 35, rgb(colour).filled())
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), pixels: i32, colour: Colour, side: HPos) -> Result {
    let weight = if pixels > 13 { FontStyle::Bold } else { FontStyle::Normal };
    // The backend divides the size by 1.24.
    let font = ("sans-serif", f64::from(pixels * PX) * 1.24, weight).into_font();
    area.draw(&Text::new(text, at, font.color(&rgb(colour)).pos(Pos::new(side, VPos::Center))))
}

/// Breaks a text between words into lines of at most `width` characters. A longer word gets a line of its own.
fn break_into_lines(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < width => *line += &format!(" {word}"),
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_break_between_words() {
        assert_eq!(break_into_lines("clean release build", 19), ["clean release build"]);
        assert_eq!(break_into_lines("clean release build", 18), ["clean release", "build"]);
        assert_eq!(break_into_lines("10,000", 3), ["10,000"]);
    }

    #[test]
    fn linear_axes_have_round_labels() {
        let labels = |high| linear(high, " s").1.into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(45.0), ["0 s", "10 s", "20 s", "30 s", "40 s"]);
        assert_eq!(labels(1.08), ["0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1 s"]);
    }
}
