//! Sends and keeps objects over channels of handover's.

use std::rc::Rc;

use handover::{Channel, Message, ReceivedMessage};

use super::{CHANNELS, Objects, Receive, Receiver, Service};
use crate::Outcome;
use crate::peer_process::{ChannelPeer, DEADLINE, message};

pub(super) const OURS: Service = Service { name: "handover", start, receive };

const NAME: &str = "channel";

fn start(objects: &Rc<Objects>) -> Outcome<Receiver> {
    let control = ChannelPeer::start_with("in-flight", &[OURS.name])?;
    let mut channels = Vec::with_capacity(CHANNELS);
    for _ in 0..CHANNELS {
        let (ours, theirs) = Channel::pair()?;
        control.channel.send(Message::new(b"").with_channel(NAME, theirs))?;
        channels.push(ours);
    }
    let objects = Rc::clone(objects);
    let send = move |index: usize| -> Outcome {
        Ok(channels[index].send(message(&[0], &objects.names, &objects.events))?)
    };
    Ok(Receiver { control, send: Box::new(send) })
}

struct Kept {
    channels: Vec<Channel>,
    messages: Vec<ReceivedMessage>,
}

fn receive(parent: &Channel) -> Outcome<Box<dyn Receive>> {
    let channels = (0..CHANNELS).map(|_| parent.recv_timeout(DEADLINE)?.take_channel(NAME));
    Ok(Box::new(Kept { channels: channels.collect::<Result<_, _>>()?, messages: Vec::new() }))
}

impl Receive for Kept {
    fn receive(&mut self, channels: usize) -> Outcome {
        for channel in &self.channels[..channels] {
            self.messages.push(channel.recv_timeout(DEADLINE)?);
        }
        Ok(())
    }

    fn close(&mut self) {
        self.messages.clear();
    }
}
