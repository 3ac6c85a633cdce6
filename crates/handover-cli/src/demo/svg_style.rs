//! Shapes, light and dark colors, and text widths for the picture.

use svg::node::element::Element;
use svg::node::{Node, Text};

use super::events::Role;
use super::text_width::{self, plain};

/// The height of a line of text.
pub(crate) const LINE: usize = 16;

/// Fonts that the systems have. The picture loads no font.
const MONO: &str = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";
const SANS: &str = "system-ui,-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif";

/// The color of each class: the class, the CSS property, the color on a light and on a dark background. The colors are
/// the blue, vermilion, green and purple of Okabe and Ito, which most color-blind people can distinguish. They are
/// darkened or lightened until text has a contrast of at least 4.5.
const COLORS: [(&str, &str, &str, &str); 20] = [
    ("ground", "fill", "#ffffff", "#0d1117"),
    ("frame", "stroke", "#d0d7de", "#30363d"),
    ("rule", "stroke", "#e6eaee", "#21262d"),
    ("text", "fill", "#1f2328", "#e6edf3"),
    ("quiet", "fill", "#57606a", "#9da7b3"),
    ("wrong", "fill", "#b42318", "#ff8a80"),
    ("on", "fill", "#ffffff", "#0d1117"),
    ("parent", "fill", "#0060a8", "#56b4e9"),
    ("parent-line", "stroke", "#0060a8", "#56b4e9"),
    ("parent-tint", "fill", "#eaf3fa", "#101e2b"),
    ("child", "fill", "#a84400", "#f0a04b"),
    ("child-line", "stroke", "#a84400", "#f0a04b"),
    ("child-tint", "fill", "#fcf0e6", "#26190d"),
    ("kernel", "fill", "#00664a", "#3cc99b"),
    ("kernel-line", "stroke", "#00664a", "#3cc99b"),
    ("kernel-tint", "fill", "#e8f5f0", "#0e241d"),
    ("passed", "fill", "#8a2c6f", "#e08cc8"),
    ("passed-line", "stroke", "#8a2c6f", "#e08cc8"),
    ("arrow", "fill", "#1f2328", "#e6edf3"),
    ("arrow-line", "stroke", "#1f2328", "#e6edf3"),
];

/// Returns the style sheet, for both backgrounds.
pub(crate) fn style() -> String {
    let rule = |(class, property, color): (&str, &str, &str)| format!(".{class}{{{property}:{color}}}");
    let light: String = COLORS.into_iter().map(|(class, on, light, _)| rule((class, on, light))).collect();
    let dark: String = COLORS.into_iter().map(|(class, on, _, dark)| rule((class, on, dark))).collect();
    format!(
        "text{{font:13px {SANS}}}.mono{{font:12px {MONO}}}.small{{font-size:11px}}.title{{font-size:17px}}\
         .strong{{font-weight:bold}}.struck{{text-decoration:line-through}}.outline{{fill:none}}\
         {light}@media(prefers-color-scheme:dark){{{dark}}}"
    )
}

/// Returns the class for an element of a process, such as `parent-line`.
pub(crate) fn of(role: Role, suffix: &str) -> String {
    format!("{role}{suffix}")
}

/// Returns the width of a text in the monospace font at 12 px. The listed fonts are at most this wide.
pub(crate) fn mono(text: &str) -> usize {
    text_width::width(text) * 73 / 10
}

/// Estimates the width of a text in the proportional font at 13 px, for the widest likely font.
pub(crate) fn sans(text: &str) -> usize {
    let hundredths = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ';' | ':' | '\'' | '|' | '!' | ' ' | 'I' => 38,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '"' | '/' | '\\' | '-' => 47,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' | '—' => 102,
        'A'..='Z' | '+' | '=' | '<' | '>' | '~' | '#' => 84,
        c if c.is_ascii() => 65,
        _ => 105,
    };
    (text.chars().map(hundredths).sum::<usize>() * 13).div_ceil(100)
}

fn element(name: &str, class: &str, attributes: &[(&str, usize)]) -> Element {
    let mut element = Element::new(name);
    element.assign("class", class);
    for (name, value) in attributes {
        element.assign(*name, *value);
    }
    element
}

/// The alignment of a text relative to its position.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// The shapes that have been drawn, in order.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    pub(crate) shapes: Vec<Element>,
}

impl Canvas {
    pub(crate) fn text(&mut self, class: &str, anchor: Anchor, (x, y): (usize, usize), text: &str) {
        if text.is_empty() {
            return;
        }
        let mut element = element("text", class, &[("x", x), ("y", y)]);
        match anchor {
            Anchor::Start => {}
            Anchor::Middle => element.assign("text-anchor", "middle"),
            Anchor::End => element.assign("text-anchor", "end"),
        }
        element.append(Text::new(plain(text)));
        self.shapes.push(element);
    }

    /// Draws a line of a call. If the line begins with the call's name, the name is bold.
    pub(crate) fn call(&mut self, class: &str, (x, y): (usize, usize), strong: &str, line: &str) {
        let Some(rest) = line.strip_prefix(strong).filter(|_| !strong.is_empty()) else {
            return self.text(&format!("mono {class}"), Anchor::Start, (x, y), line);
        };
        let mut name = element("tspan", "strong", &[]);
        name.append(Text::new(strong));
        let mut text = element("text", &format!("mono {class}"), &[("x", x), ("y", y)]);
        text.append(name);
        text.append(Text::new(rest));
        self.shapes.push(text);
    }

    pub(crate) fn rectangle(
        &mut self,
        class: &str,
        (x, y): (usize, usize),
        (width, height): (usize, usize),
        round: usize,
    ) {
        let attributes = [("x", x), ("y", y), ("width", width), ("height", height), ("rx", round)];
        self.shapes.push(element("rect", class, &attributes));
    }

    pub(crate) fn dot(&mut self, class: &str, (x, y): (usize, usize)) {
        self.shapes.push(element("circle", class, &[("cx", x), ("cy", y), ("r", 4)]));
    }

    /// Draws a line through these points.
    pub(crate) fn line(&mut self, class: &str, points: &[(usize, usize)], (wide, dashes): (usize, &str)) {
        let mut line = element("polyline", &format!("{class} outline"), &[("stroke-width", wide)]);
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
        line.assign("points", points.join(" "));
        if !dashes.is_empty() {
            line.assign("stroke-dasharray", dashes);
        }
        self.shapes.push(line);
    }

    /// Draws the head of an arrow that ends at this point and comes from this direction.
    pub(crate) fn head(&mut self, class: &str, (x, y): (usize, usize), from: Direction) {
        let [a, b] = match from {
            Direction::Left => [(x.saturating_sub(9), y.saturating_sub(5)), (x.saturating_sub(9), y + 5)],
            Direction::Right => [(x + 9, y.saturating_sub(5)), (x + 9, y + 5)],
            Direction::Above => [(x.saturating_sub(5), y.saturating_sub(9)), (x + 5, y.saturating_sub(9))],
        };
        let mut head = element("path", class, &[]);
        head.assign("d", format!("M{x},{y}L{},{}L{},{}Z", a.0, a.1, b.0, b.1));
        self.shapes.push(head);
    }
}

/// The direction from which an arrow comes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction {
    Left,
    Right,
    Above,
}
