//! How the picture looks: its shapes, its colours in light and in dark, and how much room text takes.

use svg::node::element::Element;
use svg::node::{Node, Text};

use super::events::Role;
use super::text_width::{self, plain};

/// Height of a line of text.
pub(crate) const LINE: usize = 16;

/// The fonts that a system has; none is loaded.
const MONO: &str = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";
const SANS: &str = "system-ui,-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif";

/// Each class: the property that it colours, the colour on a light ground, and on a dark one. Blue, vermilion, green and
/// purple of Okabe and Ito, which most colour-blind people tell apart, darkened or lightened until text of them is read
/// with ease (a contrast of 4.5 at least).
const COLOURS: [(&str, &str, &str, &str); 20] = [
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
    ("told", "fill", "#8a2c6f", "#e08cc8"),
    ("told-line", "stroke", "#8a2c6f", "#e08cc8"),
    ("way", "fill", "#1f2328", "#e6edf3"),
    ("way-line", "stroke", "#1f2328", "#e6edf3"),
];

/// The style sheet, for both grounds.
pub(crate) fn style() -> String {
    let rule = |(class, property, colour): (&str, &str, &str)| format!(".{class}{{{property}:{colour}}}");
    let light: String = COLOURS.into_iter().map(|(class, on, light, _)| rule((class, on, light))).collect();
    let dark: String = COLOURS.into_iter().map(|(class, on, _, dark)| rule((class, on, dark))).collect();
    format!(
        "text{{font:13px {SANS}}}.mono{{font:12px {MONO}}}.small{{font-size:11px}}.title{{font-size:17px}}\
         .strong{{font-weight:bold}}.struck{{text-decoration:line-through}}.outline{{fill:none}}\
         {light}@media(prefers-color-scheme:dark){{{dark}}}"
    )
}

/// Colours of what is a process's.
pub(crate) fn of(role: Role, what: &str) -> String {
    format!("{role}{what}")
}

/// How wide a text of the fixed-width font is, at 12 px; no such font is wider.
pub(crate) fn mono(text: &str) -> usize {
    text_width::width(text) * 73 / 10
}

/// How wide a text is at 13 px, if the font is as wide as any that is likely.
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

/// Where text stands relative to its place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// The picture as far as it has been drawn.
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

    /// A line of a call, which may begin with the call's name.
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

    /// A line through these points.
    pub(crate) fn line(&mut self, class: &str, points: &[(usize, usize)], (wide, dashes): (usize, &str)) {
        let mut line = element("polyline", &format!("{class} outline"), &[("stroke-width", wide)]);
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
        line.assign("points", points.join(" "));
        if !dashes.is_empty() {
            line.assign("stroke-dasharray", dashes);
        }
        self.shapes.push(line);
    }

    /// The head of an arrow whose point is here, coming from that direction.
    pub(crate) fn head(&mut self, class: &str, (x, y): (usize, usize), from: From) {
        let [a, b] = match from {
            From::Left => [(x.saturating_sub(9), y.saturating_sub(5)), (x.saturating_sub(9), y + 5)],
            From::Right => [(x + 9, y.saturating_sub(5)), (x + 9, y + 5)],
            From::Above => [(x.saturating_sub(5), y.saturating_sub(9)), (x + 5, y.saturating_sub(9))],
        };
        let mut head = element("path", class, &[]);
        head.assign("d", format!("M{x},{y}L{},{}L{},{}Z", a.0, a.1, b.0, b.1));
        self.shapes.push(head);
    }
}

/// Where an arrow comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From {
    Left,
    Right,
    Above,
}
