//! Tests of a weaker endpoint that breaks the rules for descriptors. Each violation closes the channel and leaves no
//! descriptors.

use std::time::Duration;

use handover::{Channel, Child, Command, Error, Event, Listener, Message, Stdio};
use handover_tests::{Suite, door, role, table, tests, this_program, weaker};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "protocol_violations",
    tests: tests![
        unannounced_descriptors_close_the_channel,
        wrong_number_of_descriptors_closes_the_channel,
        descriptors_inside_a_frame_close_the_channel,
        flood_of_descriptors_closes_the_channel,
        descriptors_of_stalled_message_are_closed_with_channel,
        messages_before_violation_arrive,
        descriptors_sent_while_connecting_are_closed,
        connect_rejects_invalid_answers,
    ],
    roles: tests![hostile, connects_with_descriptors],
};

/// Returns a frame with objects of these names.
fn frame(number: u64, names: &[&str], bytes: &[u8]) -> Vec<u8> {
    let objects: Vec<(u32, &[u8])> = names.iter().map(|name| (0, name.as_bytes())).collect();
    handover_tests::frame::frame(number, &objects, bytes)
}

fn hostile(arguments: &[String]) {
    let end = weaker::Endpoint::inherited();
    let events: Vec<Event> = (0..3).map(|_| Event::manual_reset().unwrap()).collect();
    let own: Vec<u32> = events.iter().map(table::value).collect();
    let say = |bytes: &[u8], objects: &[u32]| {
        assert!(end.write(bytes, objects, SOON), "the peer has closed");
        // The pause lets the peer read each packet before the next one is there.
        std::thread::sleep(Duration::from_millis(200));
    };
    let (none, one) = (frame(0, &[], b"bytes"), frame(0, &["a"], b"bytes"));
    match arguments[0].as_str() {
        "unannounced" => say(&none, &own[..1]),
        "unannounced, later" => {
            say(&none, &[]);
            say(&frame(1, &[], b"bytes"), &own);
        }
        "fewer" => say(&frame(0, &["a", "b"], b""), &own[..1]),
        "none" => say(&one, &[]),
        "more" => say(&one, &own[..2]),
        "with the second byte" => {
            say(&one[..1], &[]);
            say(&one[1..], &own[..1]);
        }
        "with the last byte" => {
            let last = one.len() - 1;
            say(&one[..last], &[]);
            say(&one[last..], &own[..1]);
        }
        "with each byte" => {
            for byte in &frame(0, &["a", "b", "c"], b"") {
                if !end.write(std::slice::from_ref(byte), &own[..1], SOON) {
                    break;
                }
            }
        }
        "in two parts" => {
            let two = frame(0, &["a", "b"], b"");
            say(&two[..10], &own[..1]);
            say(&two[10..], &own[1..2]);
        }
        "flood" => {
            // Fills the socket with parts of a frame that never ends.
            let large = frame(0, &[], &vec![7; 1 << 20]);
            let many: Vec<u32> = own.iter().copied().cycle().take(200).collect();
            for bytes in large.chunks(10) {
                if !end.write(bytes, &many, Duration::from_secs(1)) {
                    break;
                }
            }
        }
        "stall" => say(&one[..one.len() - 1], &own[..1]),
        "good, then bad" => {
            say(&one, &own[..1]);
            say(&frame(1, &["b"], b"good too"), &own[1..2]);
            say(&frame(2, &[], b"bad"), &own[2..]);
        }
        other => panic!("{other}"),
    }
    std::thread::sleep(Duration::from_secs(20));
}

/// Runs the hostile child with this case, and asserts that the handle count is as before.
fn met(case: &str, meet: impl FnOnce(&Child, &Channel)) {
    let before = table::count();
    let mut command = Command::new(this_program());
    command.args(role("hostile", &[case])).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    meet(&child, &channel);
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
    drop((child, channel));
    assert_eq!(table::count(), before, "{case}");
}

fn breaks_a_rule<T: std::fmt::Debug>(outcome: Result<T, Error>, child: &Child, case: &str) {
    match outcome {
        Err(error @ Error::Protocol { pid: process, .. }) if process == child.id() => {
            assert!(error.to_string().contains("descriptors"), "{case}: {error}");
        }
        other => panic!("{case}: {other:?}"),
    }
}

fn refused(case: &str) {
    met(case, |child, channel| {
        let handles = table::count();
        breaks_a_rule(channel.recv_timeout(SOON), child, case);
        assert_eq!(table::count(), handles, "{case}");
        // The channel stays closed in both directions.
        breaks_a_rule(channel.recv_timeout(SOON), child, case);
        let event = Event::manual_reset().unwrap();
        breaks_a_rule(channel.send(Message::new(b"").with("event", &event)), child, case);
        assert_eq!(table::values_of(&event, child.id()), []);
    });
}

fn unannounced_descriptors_close_the_channel() {
    refused("unannounced");
    met("unannounced, later", |child, channel| {
        let handles = table::count();
        // The earlier message may arrive, or may be lost with the error.
        let first = channel.recv_timeout(SOON);
        if let Ok(message) = &first {
            assert_eq!(message.bytes(), b"bytes");
            breaks_a_rule(channel.recv_timeout(SOON), child, "unannounced, later");
        } else {
            breaks_a_rule(first, child, "unannounced, later");
        }
        assert_eq!(table::count(), handles);
    });
}

fn wrong_number_of_descriptors_closes_the_channel() {
    for case in ["fewer", "none", "more"] {
        refused(case);
    }
}

fn descriptors_inside_a_frame_close_the_channel() {
    for case in ["with the second byte", "with the last byte", "with each byte", "in two parts"] {
        refused(case);
    }
}

fn flood_of_descriptors_closes_the_channel() {
    met("flood", |child, channel| {
        let handles = table::count();
        breaks_a_rule(channel.recv_timeout(SOON), child, "flood");
        assert_eq!(table::count(), handles);
    });
    // The same while this endpoint sends, and receives only beside sending.
    met("flood", |child, channel| {
        let handles = table::count();
        let most = std::cell::Cell::new(0);
        let sent = channel.send_timeout(vec![0; 1 << 20], Duration::from_millis(500));
        most.set(table::count() - handles);
        assert!(matches!(sent, Err(Error::TimedOut { .. } | Error::Protocol { .. })), "{sent:?}");
        assert!(most.get() <= 3 * 253, "{} descriptors are kept", most.get());
        let end = channel.recv_timeout(SOON);
        assert!(matches!(end, Err(Error::Protocol { .. })), "{end:?}");
        assert_eq!(table::count(), handles);
        assert!(!child.process().has_exited().unwrap());
    });
}

fn descriptors_of_stalled_message_are_closed_with_channel() {
    // The handles are counted after the channel has been dropped.
    met("stall", |_, channel| {
        let late = channel.recv_timeout(Duration::from_millis(300));
        assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    });
}

fn messages_before_violation_arrive() {
    met("good, then bad", |child, channel| {
        let handles = table::count();
        std::thread::sleep(Duration::from_millis(300));
        for (name, bytes) in [("a", &b"bytes"[..]), ("b", b"good too")] {
            let message = channel.recv_timeout(SOON).unwrap();
            assert_eq!(message.bytes(), bytes);
            drop(message.take::<Event>(name).unwrap());
        }
        breaks_a_rule(channel.recv_timeout(SOON), child, "good, then bad");
        assert_eq!(table::count(), handles);
    });
}

fn connects_with_descriptors(arguments: &[String]) {
    let door = door::connect(&arguments[0]).unwrap();
    let events: Vec<Event> = (0..3).map(|_| Event::manual_reset().unwrap()).collect();
    let beside: Vec<_> = events.iter().map(|event| table::borrowed(table::value(event))).collect();
    let _ = weaker::send(&door, &frame(0, &[], b"before it is let in"), &beside);
    std::thread::sleep(Duration::from_secs(20));
}

fn descriptors_sent_while_connecting_are_closed() {
    let name = format!("hostile.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    let mut command = Command::new(this_program());
    command.args(role("connects_with_descriptors", &[&name])).stdin(Stdio::null()).kill_on_drop(true);
    let before = table::count();
    for is_let_in in [false, true] {
        let mut child = command.spawn().unwrap();
        let incoming = listener.accept_timeout(SOON).unwrap();
        assert_eq!(incoming.process().id(), child.id());
        if is_let_in {
            let channel = incoming.accept().unwrap();
            breaks_a_rule(channel.recv_timeout(SOON), &child, "in the door");
        } else {
            incoming.refuse();
        }
        child.kill().unwrap();
        child.wait_timeout(SOON).unwrap();
        drop(child);
        assert_eq!(table::count(), before);
    }
}

/// A squatter listens under the name, and a client checks its answers.
fn connect_rejects_invalid_answers() {
    use std::io::{Read, Write};
    let name = format!("hostile.squatter.{}", std::process::id());
    // The first name creates the folder.
    drop(Listener::bind(&name).unwrap());
    let squatter = door::listen_at(&door::path(&name)).unwrap();
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let time = Duration::from_millis(300);
    for (parts, closes, expected) in [
        (&[&b"220 a mail server's greeting"[..]][..], false, "answer is malformed"),
        (&[b"HO\x01\x01"], false, "answer is malformed"),
        (&[b"HO\x01\0"], false, "answer is malformed"),
        (&[b"HO", b"\x02W"], false, "uses version 2"),
        (&[b"HO\0"], false, "timed out after"),
        (&[], false, "timed out after"),
        (&[], true, "refused the connection"),
        (&[b"HO\0"], true, "refused the connection"),
        // The control: the right answer, in several parts.
        (&[b"H", b"O\x01", b"W"], false, ""),
    ] {
        std::thread::scope(|scope| {
            let client = scope.spawn(|| Channel::connect_timeout(&name, time).map(drop));
            let (mut stream, _) = squatter.accept().unwrap();
            for part in parts {
                stream.write_all(part).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            let stream = (!closes).then_some(stream);
            match client.join().unwrap() {
                Ok(()) => assert_eq!(expected, ""),
                Err(error) => {
                    assert!(
                        !expected.is_empty() && error.to_string().contains(expected),
                        "{parts:?}: {error}"
                    );
                }
            }
            drop(stream);
        });
        assert_eq!(table::count(), before, "{parts:?}");
    }
    // A server of another version learns this process's version.
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect_timeout(&name, SOON).map(drop));
        let (mut stream, _) = squatter.accept().unwrap();
        stream.write_all(b"HO\x02W").unwrap();
        let other = client.join().unwrap();
        assert!(matches!(other, Err(Error::IncompatibleVersion { ours: 1, theirs: 2, .. })), "{other:?}");
        let mut notice = Vec::new();
        stream.read_to_end(&mut notice).unwrap();
        assert_eq!(notice, b"HO\x01V");
    });
    // A descriptor beside the answer is closed.
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect_timeout(&name, SOON).map(drop));
        let (stream, _) = squatter.accept().unwrap();
        let beside = [table::borrowed(table::value(&event))];
        weaker::send(&stream, b"HO\x01W", &beside).unwrap();
        client.join().unwrap().unwrap();
    });
    assert_eq!(table::count(), before);
    std::fs::remove_file(door::path(&name)).unwrap();
}
