//! A source file with all of its mutants in it, each behind a switch.
//!
//! A function's body gets `if on(7) { return VALUE; }` before it; an operator `(if on(8) { a - b } else { a + b })`; a
//! match arm is deleted by a guard that fails. One mutant is on at a time, so a mutant's own text is plain.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use proc_macro2::LineColumn;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::list::{Mutant, Place};

const ON: &str = "crate::mutant::on";

/// What is where in a file that has mutants.
#[derive(Debug)]
enum What {
    /// A function's statements: each mutant returns at once.
    Body(Vec<usize>),
    /// The end of an arm's pattern with its guard, if it has one: those that delete the arm, and that make the guard this.
    Arm {
        guard: Option<Range<usize>>,
        delete: Option<usize>,
        always: Option<usize>,
        never: Option<usize>,
    },
    Binary {
        operator: Range<usize>,
        mutants: Vec<usize>,
    },
    Unary {
        operator: Range<usize>,
        mutant: usize,
    },
    /// The word `const` of a function, which can't ask a switch otherwise.
    Const,
}

#[derive(Debug)]
struct Node {
    range: Range<usize>,
    what: What,
    inner: Vec<Node>,
}

/// A file's text, and where which mutant's own text is in it.
#[derive(Debug)]
pub(crate) struct Switched {
    pub(crate) text: String,
    pub(crate) regions: Vec<(Range<usize>, usize)>,
}

/// Puts the mutants into the file's text. The rest of them, which no switch can turn on, is the second result.
pub(crate) fn switched(
    text: &str,
    mutants: &[(usize, &Mutant)],
) -> Result<(Switched, BTreeSet<usize>), String> {
    let file = syn::parse_file(text).map_err(|error| error.to_string())?;
    let lines = Lines::of(text);
    let mut finder =
        Finder { lines: &lines, by_place: BTreeMap::new(), constant: Vec::new(), nodes: Vec::new() };
    for (id, mutant) in mutants {
        finder.by_place.entry((mutant.genre.clone(), mutant.from)).or_default().push((*id, mutant));
    }
    finder.visit_file(&file);
    let mut nodes = finder.nodes;
    // A function's mutants all stand before its first statement.
    let mut bodies: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (id, mutant) in mutants {
        if mutant.genre == "FnValue" && !mutant.returns.starts_with("-> impl") {
            let range = (lines.offset(mutant.from), lines.offset(mutant.to));
            bodies.entry(range).or_default().push(*id);
        }
    }
    nodes.extend(bodies.into_iter().map(|((from, to), ids)| Node {
        range: from..to,
        what: What::Body(ids),
        inner: vec![],
    }));
    nodes.retain(|node| {
        !finder.constant.iter().any(|range| range.start <= node.range.start && node.range.end <= range.end)
    });
    let order = |node: &Node| match node.what {
        What::Body(_) => 0,
        What::Arm { .. } | What::Const => 1,
        What::Binary { .. } | What::Unary { .. } => 2,
    };
    nodes.sort_by_key(|node| (node.range.start, std::cmp::Reverse(node.range.end), order(node)));
    let mut in_it = BTreeSet::new();
    for node in &nodes {
        match &node.what {
            What::Body(ids) | What::Binary { mutants: ids, .. } => in_it.extend(ids.iter().copied()),
            What::Arm { delete, always, never, .. } => {
                in_it.extend([delete, always, never].into_iter().flatten())
            }
            What::Unary { mutant, .. } => {
                in_it.insert(*mutant);
            }
            What::Const => {}
        }
    }
    let rest = mutants.iter().map(|(id, _)| *id).filter(|id| !in_it.contains(id)).collect();
    let mut nodes = nodes.into_iter().peekable();
    let mut roots = Vec::new();
    while let Some(node) = nodes.next() {
        roots.push(nested(node, &mut nodes));
    }
    let replacement: BTreeMap<usize, &str> =
        mutants.iter().map(|(id, mutant)| (*id, mutant.replacement.as_str())).collect();
    let mut writer = Writer { text, replacement, out: String::new(), regions: Vec::new() };
    writer.inside(&(0..text.len()), &roots);
    Ok((Switched { text: writer.out, regions: writer.regions }, rest))
}

fn nested(mut node: Node, rest: &mut std::iter::Peekable<impl Iterator<Item = Node>>) -> Node {
    while let Some(next) = rest.next_if(|next| next.range.end <= node.range.end) {
        let next = nested(next, rest);
        node.inner.push(next);
    }
    node
}

struct Writer<'a> {
    text: &'a str,
    replacement: BTreeMap<usize, &'a str>,
    out: String,
    regions: Vec<(Range<usize>, usize)>,
}

impl Writer<'_> {
    /// The text of a range with the nodes in it, as they are written.
    fn inside(&mut self, range: &Range<usize>, nodes: &[Node]) {
        let mut at = range.start;
        for node in nodes.iter().filter(|node| range.start <= node.range.start && node.range.end <= range.end)
        {
            self.out.push_str(&self.text[at..node.range.start]);
            self.node(node);
            at = node.range.end;
        }
        self.out.push_str(&self.text[at..range.end]);
    }

    /// A mutant's own text.
    fn own(&mut self, id: usize, text: &str) {
        let from = self.out.len();
        self.out.push_str(text);
        self.regions.push((from..self.out.len(), id));
    }

    fn node(&mut self, node: &Node) {
        match &node.what {
            What::Const => {}
            What::Body(ids) => {
                for id in ids {
                    let value = self.replacement[id];
                    self.own(*id, &format!("if {ON}({id}) {{ return {value}; }}\n"));
                }
                self.inside(&node.range, &node.inner);
            }
            What::Arm { guard, delete, always, never } => {
                self.out.push_str(" if ");
                if let Some(id) = delete {
                    self.out.push_str(&format!("!{ON}({id})"));
                }
                let Some(guard) = guard else { return };
                if delete.is_some() {
                    self.out.push_str(" && ");
                }
                self.out.push('(');
                if let Some(id) = always {
                    self.out.push_str(&format!("{ON}({id}) || "));
                }
                if let Some(id) = never {
                    self.out.push_str(&format!("!{ON}({id}) && "));
                }
                self.out.push('(');
                self.inside(guard, &node.inner);
                self.out.push_str("))");
            }
            What::Binary { operator, mutants } => {
                self.out.push('(');
                for id in mutants {
                    let (left, right) = (
                        &self.text[node.range.start..operator.start],
                        &self.text[operator.end..node.range.end],
                    );
                    let value = self.replacement[id];
                    self.own(*id, &format!("if {ON}({id}) {{ ({left}{value}{right}) }} else "));
                }
                self.out.push_str("{ (");
                self.inside(&node.range, &node.inner);
                self.out.push_str(") })");
            }
            What::Unary { operator, mutant } => {
                let operand = &self.text[operator.end..node.range.end];
                let value = self.replacement[mutant];
                self.out.push('(');
                self.own(*mutant, &format!("if {ON}({mutant}) {{ ({value}{operand}) }} else "));
                self.out.push_str("{ (");
                self.inside(&node.range, &node.inner);
                self.out.push_str(") })");
            }
        }
    }
}

/// Finds what the mutants are in.
struct Finder<'a> {
    lines: &'a Lines,
    by_place: BTreeMap<(String, Place), Vec<(usize, &'a Mutant)>>,
    /// What is computed by the compiler, where no switch can be asked.
    constant: Vec<Range<usize>>,
    nodes: Vec<Node>,
}

impl Finder<'_> {
    fn at(&self, genre: &str, place: LineColumn) -> Vec<(usize, String)> {
        let found = self.by_place.get(&(genre.to_owned(), (place.line, place.column + 1)));
        found.into_iter().flatten().map(|(id, mutant)| (*id, mutant.replacement.clone())).collect()
    }

    /// A function that is used in constants can't be another; there is none with mutants.
    fn fn_is_not_const(&mut self, signature: &syn::Signature) {
        if let Some(word) = &signature.constness {
            let range = self.range(word);
            self.nodes.push(Node { range, what: What::Const, inner: vec![] });
        }
    }

    fn range(&self, spanned: &impl Spanned) -> Range<usize> {
        self.lines.at(spanned.span().start())..self.lines.at(spanned.span().end())
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.fn_is_not_const(&item.sig);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.fn_is_not_const(&item.sig);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.constant.push(self.range(item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.constant.push(self.range(item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.constant.push(self.range(item));
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let mutants: Vec<usize> =
            self.at("BinaryOperator", binary.op.span().start()).into_iter().map(|(id, _)| id).collect();
        if !mutants.is_empty() {
            let (range, operator) = (self.range(binary), self.range(&binary.op));
            self.nodes.push(Node { range, what: What::Binary { operator, mutants }, inner: vec![] });
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if let Some((mutant, _)) = self.at("UnaryOperator", unary.op.span().start()).into_iter().next() {
            let (range, operator) = (self.range(unary), self.range(&unary.op));
            self.nodes.push(Node { range, what: What::Unary { operator, mutant }, inner: vec![] });
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let delete = self.at("MatchArm", arm.span().start()).into_iter().map(|(id, _)| id).next();
        let (pattern, guard) = match &arm.pat {
            syn::Pat::Guard(guarded) => (&*guarded.pat, Some(&*guarded.guard)),
            pattern => (pattern, None),
        };
        let of_guard = guard.map_or_else(Vec::new, |guard| self.at("MatchArmGuard", guard.span().start()));
        let that = |value: &str| of_guard.iter().find(|(_, other)| other == value).map(|(id, _)| *id);
        let (always, never) = (that("true"), that("false"));
        if delete.or(always).or(never).is_some() {
            let guard = guard.map(|guard| self.range(guard));
            let from = self.range(pattern).end;
            let range = from..guard.as_ref().map_or(from, |guard| guard.end);
            self.nodes.push(Node { range, what: What::Arm { guard, delete, always, never }, inner: vec![] });
        }
        visit::visit_arm(self, arm);
    }
}

/// Where a file's lines begin.
struct Lines {
    text: String,
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text: text.to_owned(), starts }
    }

    fn at(&self, place: LineColumn) -> usize {
        self.offset((place.line, place.column + 1))
    }

    fn offset(&self, (line, column): Place) -> usize {
        let start = self.starts[line - 1];
        let rest = &self.text[start..];
        rest.char_indices().nth(column - 1).map_or(self.text.len(), |(at, _)| start + at)
    }
}
