//! The story in a few sentences, made of what the recording shows.

use super::events::{Recording, Role};
use super::explain::HandOver;
use super::object_history::{Object, Story};
use super::replay::Handle;
use super::text_width::{self, a, count, plain};
use super::transfer::Failure;

/// The recording in a few sentences, for somebody who has never read about handles.
#[must_use]
pub fn summary(recording: &Recording) -> String {
    let sentences = sentences(&Story::of(recording));
    plain_lines(&sentences)
}

fn plain_lines(sentences: &[String]) -> String {
    sentences.iter().map(|paragraph| plain(paragraph)).collect::<Vec<_>>().join("\n\n")
}

/// What is shown, in a line.
pub(crate) fn title(story: &Story<'_>) -> String {
    let started = story.recording.started();
    let what = started.map_or("A hand-over".to_owned(), |started| {
        let mut strategy = started.strategy.chars();
        let first = strategy.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        format!("{first}{} on {}", strategy.as_str(), started.system)
    });
    let [parent, child] = [Role::Parent, Role::Child].map(|role| story.process(role));
    let object = story.objects.first().map_or("an object".to_owned(), |object| a(&object.kind));
    match (parent, child) {
        (Some(parent), Some(child)) if story.failure().is_none() => {
            format!("{what}: process {parent} gives process {child} {object}")
        }
        (Some(parent), _) => {
            let ends = if story.failure().is_some() { ", and fails" } else { "" };
            format!("{what}: process {parent} gives another process {object}{ends}")
        }
        _ => what,
    }
}

/// What the kernel says that both have.
pub(crate) fn answer(story: &Story<'_>, event: usize) -> String {
    let has = |object: &Object| {
        let handles = live(story, object, event);
        (handles.len() > 1).then(|| format!("{} refer to one {}", all_of(&handles), object.kind))
    };
    let objects: Vec<_> = story.objects.iter().filter_map(has).collect();
    if objects.is_empty() {
        return "the two have nothing of this in common".to_owned();
    }
    objects.join("; ")
}

/// The story, a paragraph each.
pub(crate) fn sentences(story: &Story<'_>) -> Vec<String> {
    let failure = story.failure().map(|failure| failed(story, failure));
    let Some(object) = story.objects.first() else {
        return vec![
            failure.unwrap_or_else(|| "The recording shows nothing that was handed over.".to_owned()),
        ];
    };
    let (given, taken) = story.ends(object);
    let mut paragraphs: Vec<_> = failure.into_iter().collect();
    paragraphs.extend(facts(story, object));
    if let (Some(given), Some((taken_index, crossing))) = (given, taken) {
        let [given, taken] = [given, taken_index].map(|handle| &story.handles[handle]);
        let told = story.told().into_iter().find(|told| told.handle == taken_index);
        let hand_over = HandOver { story, object, given, taken, taken_index, told };
        paragraphs.push(hand_over.crossed(crossing));
        paragraphs.extend(hand_over.signaled());
    }
    paragraphs
}

/// How many handles to what, and who says so.
fn facts(story: &Story<'_>, object: &Object) -> Option<String> {
    let shared = story.shared?;
    let handles = live(story, object, shared);
    if handles.len() < 2 {
        return None;
    }
    let linux = story.recording.started().is_some_and(|started| started.system == "Linux");
    let descriptors = if linux { " (file descriptors, on Linux)" } else { "" };
    let mut facts = format!(
        "One {}, {} handles{descriptors}: {}. The kernel says that they refer to the same object.",
        object.kind,
        count(handles.len()),
        all_of(&handles),
    );
    for other in &story.objects[1..] {
        let handles = live(story, other, shared);
        if handles.len() > 1 {
            let all = all_of(&handles);
            facts += &format!(" The two also have {} in common: {all}.", a(&other.kind));
        }
    }
    Some(facts)
}

fn live<'a>(story: &'a Story<'_>, object: &Object, event: usize) -> Vec<&'a Handle> {
    let live = object.handles.iter().filter(|handle| story.is_live(**handle, event));
    live.map(|handle| &story.handles[*handle]).collect()
}

/// "0x30 in process 264 and 0xc in process 272".
fn all_of(handles: &[&Handle]) -> String {
    let mut all: Vec<_> = handles.iter().map(|handle| place(handle)).collect();
    let last = all.pop().unwrap_or_default();
    if all.is_empty() { last } else { format!("{} and {last}", all.join(", ")) }
}

fn place(handle: &Handle) -> String {
    format!("{:#x} in process {}", handle.value, handle.process)
}

/// At which call it failed, and why.
fn failed(story: &Story<'_>, failure: Failure<'_>) -> String {
    let Failure { role, process, call, why } = failure;
    let mut sentence = format!("It failed in the {role}, process {process}");
    if let Some(call) = call.and_then(|event| story.call(event)) {
        let result = call.result.trim_end_matches('.');
        sentence += &format!(": {}({}) returned {result}", call.call, text_width::brief(&call.arguments));
    }
    sentence += ".";
    if let Some(why) = why {
        sentence += &format!(" The program says: {}.", why.trim_end_matches('.'));
    }
    let crossed = story.objects.iter().any(|object| story.ends(object).1.is_some());
    if !crossed {
        sentence += " Nothing had arrived in the other process by then.";
    }
    sentence
}
