//! Handle counts and memory over time, as a picture: SVG with a ground of its own, for light and for dark, in the reader's
//! own font.

use std::fmt::Write;

use crate::record::kept;
use crate::samples::{PROCESSES, Sample, Soaked, When};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
/// How high a field with lines is, and how much there is between two.
const FIELD: f64 = 170.0;
const BETWEEN: f64 = 62.0;
const TOP: f64 = 128.0;
/// What is drawn of a sample for one of the processes.
type Value<'a> = &'a dyn Fn(&Sample, usize) -> Option<f64>;

const FONT: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

pub(crate) fn svg(soaked: &Soaked, system: &str) -> String {
    let height = TOP + 2.0 * FIELD + BETWEEN + 44.0;
    let summary = soaked.summary();
    let what = summary.lines().next().unwrap_or_default();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" role=\"img\">\n\
         <title>Soak: {system}</title>\n<style>{}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
         <text class=\"strong\" x=\"20\" y=\"30\">What two processes have while they hand objects over: {system}</text>\n\
         <text class=\"quiet\" x=\"20\" y=\"49\">{what}</text>\n",
        style(),
        WIDTH - 1.0,
        height - 1.0,
    );
    let mut x = 20.0;
    for (process, name) in PROCESSES.iter().enumerate() {
        for (class, words) in [("rest", "at rest"), ("work", "at work")] {
            line(&mut out, &format!("{class} c{process}"), (x, 68.0), (x + 26.0, 68.0));
            let words = format!("{name}, {words}");
            text(&mut out, "text", (x + 34.0, 72.0), &words);
            x += 44.0 + 7.6 * words.chars().count() as f64;
        }
    }
    let seconds = soaked.samples.last().map_or(1.0, |sample| sample.seconds.max(0.1));
    let across = |sample: &Sample| LEFT + (WIDTH - LEFT - RIGHT) * sample.seconds / seconds;
    let mebibytes = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    let fields: [(&str, Value<'_>); 2] = [
        ("handles", &|sample, process| sample.handles[process].map(|count| count as f64)),
        ("private memory, MiB", &|sample, process| Some(mebibytes(sample.memory[process]))),
    ];
    for (field, (title, value)) in fields.into_iter().enumerate() {
        let bottom = TOP + FIELD + field as f64 * (FIELD + BETWEEN);
        let both = [0, 1];
        let all = soaked.samples.iter().flat_map(|sample| both.map(|process| value(sample, process)));
        let high = all.flatten().fold(1.0, f64::max) * 1.08;
        let up = |value: f64| bottom - FIELD * value / high;
        text(&mut out, "text", (20.0, bottom - FIELD - 14.0), title);
        for tick in ticks(high) {
            line(&mut out, "grid", (LEFT, up(tick)), (WIDTH - RIGHT, up(tick)));
            text(&mut out, "quiet end", (LEFT - 8.0, up(tick) + 4.0), &format!("{tick}"));
        }
        for process in both {
            for (class, is_at_rest) in [("work", false), ("rest", true)] {
                let corners: Vec<String> = kept(&soaked.samples)
                    .filter(|sample| (sample.when != When::AtWork) == is_at_rest)
                    .filter_map(|sample| Some((across(sample), up(value(sample, process)?))))
                    .map(|(x, y)| format!("{x:.1},{y:.1}"))
                    .collect();
                if corners.len() > 1 {
                    let points = corners.join(" ");
                    let _ = writeln!(out, "<polyline class=\"{class} c{process}\" points=\"{points}\"/>");
                }
            }
        }
        for tick in ticks(seconds) {
            let x = LEFT + (WIDTH - LEFT - RIGHT) * tick / seconds;
            text(&mut out, "quiet middle", (x, bottom + 20.0), &format!("{tick} s"));
        }
    }
    out += "</svg>\n";
    out
}

/// From zero up, three to six round numbers.
fn ticks(high: f64) -> Vec<f64> {
    let power = 10.0_f64.powf(high.log10().floor());
    let steps = [0.2, 0.5, 1.0, 2.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| high / step < 6.0).unwrap_or(high);
    (0..6).map(|number| round(f64::from(number) * step)).filter(|tick| *tick <= high).collect()
}

/// Without what binary fractions leave.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
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
    let ground = |ground: &str, frame: &str, ink: &str, quiet: &str, grid: &str, this: &str, peer: &str| {
        format!(
            ".ground{{fill:{ground};stroke:{frame}}}text{{fill:{ink}}}.quiet{{fill:{quiet}}}\
             .grid{{stroke:{grid}}}.c0{{stroke:{this}}}.c1{{stroke:{peer}}}"
        )
    };
    let light = ground("#ffffff", "#d1d9e0", "#1f2328", "#59636e", "#e4e8ec", "#0969da", "#953800");
    let dark = ground("#0d1117", "#3d444d", "#f0f6fc", "#9198a1", "#262c36", "#4493f8", "#f0883e");
    format!(
        "text{{font:13px {FONT}}}.strong{{font-size:17px;font-weight:bold}}.quiet{{font-size:12px}}\
         .end{{text-anchor:end}}.middle{{text-anchor:middle}}\
         .rest{{fill:none;stroke-width:2.5}}.work{{fill:none;stroke-width:1;opacity:.55}}\
         {light}@media(prefers-color-scheme:dark){{{dark}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_its_lines() {
        let sample = |number: u64, when| Sample {
            seconds: number as f64,
            when,
            hand_overs: number,
            spawns: 0,
            handles: [Some(40 + number % 2), (when != When::AtWork).then_some(30)],
            memory: [5 << 20, 4 << 20],
        };
        let both = |number| [sample(number, When::Rest), sample(number, When::AtWork)];
        let soaked = Soaked { threads: 8, samples: (1..9).flat_map(both).collect(), ..Soaked::default() };
        let picture = svg(&soaked, "here");
        // At rest and at work, handles and memory, this process and the peer; but not what wasn't counted.
        assert_eq!(picture.matches("<polyline").count(), 7);
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        assert_eq!(ticks(45.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks(1.08), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    }
}
