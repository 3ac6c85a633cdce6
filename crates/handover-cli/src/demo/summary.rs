//! Summarizes a recording in a few sentences.

use super::events::{Recording, Role};
use super::explain::Explanation;
use super::object_history::{History, Object};
use super::replay::Handle;
use super::text_width::{self, count_in_words, plain, with_article};
use super::transfer::Failure;

/// Summarizes the recording in a few sentences, for readers who are new to handles.
#[must_use]
pub fn summary(recording: &Recording) -> String {
    let sentences = sentences(&History::of(recording));
    plain_lines(&sentences)
}

fn plain_lines(sentences: &[String]) -> String {
    sentences.iter().map(|paragraph| plain(paragraph)).collect::<Vec<_>>().join("\n\n")
}

/// Returns the title: the strategy, the system and the processes.
pub(crate) fn title(history: &History<'_>) -> String {
    let started = history.recording.started();
    let subject = started.map_or("A shared object".to_owned(), |started| {
        let mut strategy = started.strategy.chars();
        let first = strategy.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        format!("{first}{} on {}", strategy.as_str(), started.system)
    });
    let [parent, child] = [Role::Parent, Role::Child].map(|role| history.process(role));
    let object = history.objects.first().map_or("an object".to_owned(), |object| with_article(&object.kind));
    match (parent, child) {
        (Some(parent), Some(child)) if history.failure().is_none() => {
            format!("{subject}: process {parent} gives process {child} {object}")
        }
        (Some(parent), _) => {
            let failed = if history.failure().is_some() { ", and fails" } else { "" };
            format!("{subject}: process {parent} gives another process {object}{failed}")
        }
        _ => subject,
    }
}

/// Describes the kernel's answer to which objects both processes share.
pub(crate) fn answer(history: &History<'_>, event: usize) -> String {
    let has = |object: &Object| {
        let handles = live(history, object, event);
        (handles.len() > 1).then(|| format!("{} refer to one {}", all_of(&handles), object.kind))
    };
    let objects: Vec<_> = history.objects.iter().filter_map(has).collect();
    if objects.is_empty() {
        return "the processes share none of these objects".to_owned();
    }
    objects.join("; ")
}

/// Returns the paragraphs of the summary.
pub(crate) fn sentences(history: &History<'_>) -> Vec<String> {
    let failure = history.failure().map(|failure| failed(history, failure));
    let Some(object) = history.objects.first() else {
        return vec![failure.unwrap_or_else(|| {
            "The recording shows no object that one process gave to the other.".to_owned()
        })];
    };
    let (given, taken) = history.giver_and_receiver(object);
    let mut paragraphs: Vec<_> = failure.into_iter().collect();
    paragraphs.extend(facts(history, object));
    if let (Some(given), Some((taken_index, transfer))) = (given, taken) {
        let [given, taken] = [given, taken_index].map(|handle| &history.handles[handle]);
        let passed = history.passed_values().into_iter().find(|passed| passed.handle == taken_index);
        let explanation = Explanation { history, object, given, taken, taken_index, passed };
        paragraphs.push(explanation.transfer(transfer));
        paragraphs.extend(explanation.signaled());
    }
    paragraphs
}

/// Counts the handles to each shared object, according to the kernel.
fn facts(history: &History<'_>, object: &Object) -> Option<String> {
    let shared = history.shared?;
    let handles = live(history, object, shared);
    if handles.len() < 2 {
        return None;
    }
    let linux = history.recording.started().is_some_and(|started| started.system == "Linux");
    let descriptors = if linux { " (file descriptors, on Linux)" } else { "" };
    let mut facts = format!(
        "One {}, {} handles{descriptors}: {}. The kernel says that they refer to the same object.",
        object.kind,
        count_in_words(handles.len()),
        all_of(&handles),
    );
    for other in &history.objects[1..] {
        let handles = live(history, other, shared);
        if handles.len() > 1 {
            let all = all_of(&handles);
            facts += &format!(" The processes also share {}: {all}.", with_article(&other.kind));
        }
    }
    Some(facts)
}

fn live<'a>(history: &'a History<'_>, object: &Object, event: usize) -> Vec<&'a Handle> {
    let live = object.handles.iter().filter(|handle| history.is_live(**handle, event));
    live.map(|handle| &history.handles[*handle]).collect()
}

/// Lists handles: "0x30 in process 264 and 0xc in process 272".
fn all_of(handles: &[&Handle]) -> String {
    let mut all: Vec<_> = handles.iter().map(|handle| describe(handle)).collect();
    let last = all.pop().unwrap_or_default();
    if all.is_empty() { last } else { format!("{} and {last}", all.join(", ")) }
}

fn describe(handle: &Handle) -> String {
    format!("{:#x} in process {}", handle.value, handle.process)
}

/// Describes which call failed and why.
fn failed(history: &History<'_>, failure: Failure<'_>) -> String {
    let Failure { role, process, call, reason } = failure;
    let mut sentence = format!("The {role}, process {process}, failed");
    if let Some(call) = call.and_then(|event| history.call(event)) {
        let result = call.result.trim_end_matches('.');
        sentence +=
            &format!(": {}({}) returned {result}", call.call, text_width::shorten_paths(&call.arguments));
    }
    sentence += ".";
    if let Some(reason) = reason {
        sentence += &format!(" Its error message: {}.", reason.trim_end_matches('.'));
    }
    let is_received = history.objects.iter().any(|object| history.giver_and_receiver(object).1.is_some());
    if !is_received {
        sentence += " The other process had not received the object by then.";
    }
    sentence
}
