//! How an endpoint leaves this process, and how it arrives in another one.
//!
//! - An endpoint is four handles: to the pipe, to the section with the ownership page, to the event `fetched`, and to the
//!   process at the other endpoint. They travel as the values of a message, or a child inherits them.
//! - The rights of the event say which role the receiver's endpoint has, since the process that sends it decides that. A
//!   stronger endpoint also needs a process handle with the right to duplicate: that of the channel which the message came
//!   over, or, if that makes this process the weaker one, the one that travels with the endpoint. A receiver that is stronger
//!   than the sender believes nothing else of what it sends.
//! - While both endpoints of a pair are in one process, the sender of objects duplicates them within that process. When the
//!   first endpoint moves, both get their roles, as the two processes have them already. Each later move leaves neither
//!   process with the right to duplicate, so that only bytes travel.
//! - An endpoint moves only if no object is in transit. The ownership page excludes a send of objects at the same time.
//! - The page counts the moves of each endpoint. So the process at the other one notices that its peer isn't the process that
//!   it knows any more, and whether an exit of that process counts.

use std::os::windows::io::AsHandle;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};

use super::endpoint::{Connection, Endpoint};
use super::outbox::Outbox;
use super::ownership_page::{OwnershipPage, Unmovable, WORDS};
use super::pair::{SECTION_MAP, events, nonce};
use super::peer::{Current, Peer, Travel, Unopened};
use crate::channel::wire::VERSION;
use crate::error::{Error, Result};
use crate::handle::{Access, HandleValue, ObjectKind};
use crate::inherit::Reserved;
use crate::name::SecurityDescriptor;
use crate::object::sealed::FromHandle;
use crate::process::Process;
use crate::sys::io::Owned;
use crate::sys::memory::Words;
use crate::sys::pipe::{self, Direction};
use crate::sys::rights::{self, Rights};
use crate::sys::{SysError, SysResult, create_object, handle, object_info};

/// The number of handles of an endpoint.
pub(crate) const HANDLES: usize = 4;
/// The beginnings of the names under which a child inherits the handles of an endpoint with a name.
pub(crate) const ENDPOINT_NAMES: [&str; HANDLES] =
    ["handover/pipe/", "handover/page/", "handover/fetched/", "handover/process/"];

/// The role that an endpoint has when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Stronger,
    Weaker,
    Equal,
}

impl Role {
    /// Returns the rights of the event `fetched`: the ones that the role needs. An equal endpoint doesn't use it.
    fn rights(self) -> Access {
        match self {
            Self::Stronger => Access::EVENT_MODIFY_STATE,
            Self::Weaker => Access::SYNCHRONIZE,
            Self::Equal => Access::READ_CONTROL,
        }
    }

    fn of_rights(granted: Access) -> Option<Self> {
        [Self::Stronger, Self::Weaker, Self::Equal].into_iter().find(|role| role.rights() == granted)
    }
}

fn failed(error: SysError) -> Error {
    Error::system("a pair of endpoints", error)
}

/// Creates two endpoints that are connected to each other.
pub(crate) fn pair() -> Result<(Endpoint, Endpoint)> {
    let this = Process::open_with(std::process::id(), Access::PROCESS_DUP_HANDLE)?;
    let (one, other) = connected([Peer::Same(this.clone()), Peer::Same(this)], false)?;
    for endpoint in [&one, &other] {
        let changed = create_object::event(true).map_err(failed)?;
        endpoint.current.lock().changed = Some(Arc::new(changed));
    }
    Ok((one, other))
}

/// Creates two endpoints for the processes at the other ends of two channels.
pub(crate) fn introduced(one: &Endpoint, other: &Endpoint) -> Result<(Endpoint, Endpoint)> {
    connected([Peer::Equal(other.process()), Peer::Equal(one.process())], true)
}

/// Creates two endpoints for the processes at the other ends of two channels. The first process becomes the stronger one.
pub(super) fn introduced_stronger(one: &Endpoint, other: &Endpoint) -> Result<(Endpoint, Endpoint)> {
    match (one.peer(), other.peer()) {
        (Peer::Weaker(stronger), Peer::Weaker(weaker)) => {
            connected([Peer::Weaker(weaker), Peer::Stronger(Ok(stronger))], true)
        }
        _ => Err(Error::invalid(
            "the channels to the processes to introduce",
            "give this process no power over both of them; the parent of both, or a server for both, can introduce them so",
        )),
    }
}

/// Creates two endpoints, whose peers these are.
fn connected(peers: [Peer; 2], is_introduced: bool) -> Result<(Endpoint, Endpoint)> {
    let (server, client) =
        pipe::pair(Direction::Both, Some(SecurityDescriptor::current_user()?.protection()))
            .map_err(failed)?;
    let (section, page_memory) = Words::<WORDS>::create().map_err(failed)?;
    OwnershipPage(page_memory.words()).initialize(Process::current_identity()?, nonce());
    let other_memory = Words::<WORDS>::of_section(HandleValue::of(&section)?).map_err(failed)?;
    let (section, fetched) = (Arc::new(section), Arc::new(create_object::event(false).map_err(failed)?));
    let [one_peer, other_peer] = peers;
    let endpoint = |side, peer, memory, pipe, sibling| -> Result<Endpoint> {
        let travel = Travel::new(side, Arc::clone(&section), sibling, is_introduced);
        Ok(Endpoint::new(peer, memory, Arc::clone(&fetched), Connection::new(pipe, events()?), Some(travel)))
    };
    let mut one = endpoint(0, one_peer, page_memory, server, Weak::new())?;
    let other = endpoint(1, other_peer, other_memory, client, Arc::downgrade(&one.current))?;
    if let Some(travel) = &mut one.travel {
        travel.sibling = Arc::downgrade(&other.current);
    }
    Ok((one, other))
}

/// Opens an endpoint that has travelled to this process, over a channel to the peer `from`. `describe` names it in errors.
#[allow(clippy::result_large_err, reason = "the caller keeps the handles for another attempt")]
pub(crate) fn arrive(
    handles: [Owned; HANDLES],
    from: Option<Peer>,
    describe: impl Fn() -> String,
) -> Result<Endpoint, (Error, [Owned; HANDLES])> {
    match Arriving::prepare(&handles, from, &describe) {
        Ok(arriving) => Ok(arriving.finish(handles)),
        Err(error) => Err((error, handles)),
    }
}

/// Opens an endpoint that the parent gave this process. After an error it can be tried again.
pub(crate) fn arrive_inherited(
    handles: Reserved<HANDLES>,
    describe: impl Fn() -> String,
) -> Result<Endpoint> {
    let arriving = Arriving::prepare(handles.handles(), None, &describe)?;
    Ok(arriving.finish(handles.into_handles()))
}

/// An endpoint whose handles were checked.
struct Arriving {
    side: usize,
    page_memory: Words<WORDS>,
    role: Role,
    /// The process at the other endpoint.
    process: Option<Process>,
    sender: u32,
    events: [Owned; 2],
}

impl Arriving {
    /// Checks the handles. If the sender is weaker than this process, they can be any.
    fn prepare(
        handles: &[Owned; HANDLES],
        from: Option<Peer>,
        describe: &impl Fn() -> String,
    ) -> Result<Self> {
        let [pipe, section, fetched, process] = handles;
        let failed = |error| Error::on_handle(describe(), error);
        let refused = |reason: &str| Error::invalid(describe(), reason);
        let kind = |handle: &Owned| handle::kind_of(handle.as_handle()).map_err(failed);
        let kinds = [kind(pipe)?, kind(section)?, kind(fetched)?];
        let is_endpoint = kinds == [ObjectKind::File, ObjectKind::SharedMemory, ObjectKind::Event];
        let end = if is_endpoint { pipe::is_server_end(pipe.as_handle()).map_err(failed)? } else { None };
        let Some(is_server) = end else {
            return Err(refused("is not an endpoint of a channel; expected a pipe, a section and an event"));
        };
        if !object_info::is_overlapped(pipe.as_handle()).map_err(failed)? {
            return Err(refused("is not an endpoint of a channel; expected an overlapped pipe"));
        }
        let page_memory = Words::<WORDS>::of_section(HandleValue::of(section)?).map_err(failed)?;
        match OwnershipPage(page_memory.words()).version() {
            Some(theirs) if theirs == u64::from(VERSION) => {}
            Some(theirs) => {
                let theirs = u32::try_from(theirs).unwrap_or(u32::MAX);
                return Err(Error::IncompatibleVersion { ours: VERSION.into(), theirs });
            }
            None => return Err(refused("is not an endpoint of a channel; its section has other contents")),
        }
        let sender_is_weaker = matches!(from, Some(Peer::Weaker(_)));
        let granted = handle::granted_access_of(HandleValue::of(fetched)?).map_err(failed)?;
        let role = Role::of_rights(granted);
        let sender = from.as_ref().and_then(Peer::process).map_or(0, Process::id);
        let (role, process) = match (role, from) {
            (Some(Role::Stronger), Some(Peer::Weaker(sender))) => (Role::Stronger, Some(sender)),
            (Some(Role::Weaker), Some(Peer::Weaker(_))) | (None, _) => {
                return Err(refused("is an endpoint that its sender can't give this process"));
            }
            (Some(role), _) => (role, peer_process(process, role, sender_is_weaker).map_err(failed)?),
        };
        if role == Role::Stronger && process.is_none() {
            return Err(refused(
                "lacks the right to duplicate handles into the process at the other endpoint",
            ));
        }
        let side = usize::from(!is_server);
        let events = events()?;
        Ok(Self { side, page_memory, role, process, sender, events })
    }

    fn finish(self, handles: [Owned; HANDLES]) -> Endpoint {
        let Self { side, page_memory, role, process, sender, events } = self;
        let [pipe, section, fetched, _process] = handles;
        let peer = match (role, process) {
            (Role::Stronger, Some(process)) => Peer::Weaker(process),
            (Role::Weaker, Some(process)) => Peer::Stronger(Ok(process)),
            (Role::Weaker, None) => Peer::Stronger(Err(Unopened { id: sender, has_exited: false })),
            (_, process) => Peer::Equal(process),
        };
        let page = OwnershipPage(page_memory.words());
        page.arrived(side);
        let (moves, [sends, receives]) = (page.moves(1 - side), page.next_numbers(side));
        let travel = Travel::new(side, Arc::new(section), Weak::new(), false);
        let endpoint = Endpoint::new(peer, page_memory, fetched, Connection::new(pipe, events), Some(travel));
        // If the other endpoint is moving, the peer won't be that process.
        endpoint.current.lock().moves = moves & !1;
        endpoint.receiving.lock().next = receives;
        if let Some(mut writer) = endpoint.writer.take() {
            writer.next = sends;
        }
        endpoint
    }
}

/// Returns the process whose handle travels with an endpoint, if it is one with the rights that the role needs.
fn peer_process(handle: &Owned, role: Role, sender_is_weaker: bool) -> SysResult<Option<Process>> {
    if handle::kind_of(handle.as_handle())? != ObjectKind::Process {
        return Ok(None);
    }
    let granted = handle::granted_access(handle::raw_of(handle.as_handle()))?;
    let needed = process_rights(role);
    // A weaker sender must not make this process give its callers a handle with power over the process.
    if !granted.contains(needed) || (sender_is_weaker && granted != needed) {
        return Ok(None);
    }
    handle::duplicate_here(handle.as_handle(), Some(needed), false).map(|own| Some(Process::from_handle(own)))
}

fn process_rights(role: Role) -> Access {
    match role {
        Role::Stronger => rights::PROCESS | Access::PROCESS_DUP_HANDLE,
        Role::Weaker | Role::Equal => rights::PROCESS,
    }
}

impl Endpoint {
    /// Lets the endpoint leave this process, which can't use it any more. Its handles stay open until it is dropped.
    pub(in crate::channel) fn depart(&self, describe: &dyn Fn() -> String) -> Result<()> {
        let refused = |reason| Err(Error::invalid(describe(), reason));
        let Some(travel) = &self.travel else {
            return refused(
                "belongs to this process and the one that it connects; give away an endpoint of Channel::pair",
            );
        };
        self.memberships.leave();
        let Some(writer) = self.writer.take() else { return refused("is in use by another thread") };
        self.check_writer(&writer)?;
        if writer.unfinished.is_some() {
            return refused("has begun to send a message; flush it first");
        }
        self.close_fetched();
        let mut receiving = self.receiving.lock();
        // A read that is done has brought data, or an error, which the process that gets the endpoint sees again.
        let _ = receiving.transfer.cancel();
        if receiving.calls.has_message() || !receiving.unread().is_empty() {
            self.publish(&mut receiving);
            return refused("has received messages that only this process can read; receive them first");
        }
        if !travel.is_introduced {
            let tell_sibling = |is_left| {
                let sibling = travel.sibling.upgrade();
                sibling.inspect(|sibling| sibling.lock().is_left_by_other = is_left);
            };
            tell_sibling(true);
            match self.page().begin_move(travel.side) {
                Ok(number) => travel.number.store(number, SeqCst),
                Err(unmovable) => {
                    tell_sibling(false);
                    self.publish(&mut receiving);
                    return refused(match unmovable {
                        Unmovable::OtherMoves => "can't leave while the other endpoint does; try again later",
                        Unmovable::ObjectsInTransit => {
                            "can't leave while objects are on their way to one of the endpoints; receive them first"
                        }
                    });
                }
            }
        }
        self.page().set_next_numbers(travel.side, [writer.next, receiving.next]);
        self.has_left.store(true, SeqCst);
        self.set_closed();
        Ok(())
    }

    /// Returns the handles that a child needs to get the endpoint, each with the least access.
    pub(in crate::channel) fn handles(&self) -> Result<[(Arc<Owned>, Rights); HANDLES]> {
        self.handles_for(true)
    }

    /// Returns the handles for a receiver, which may be weaker than this process.
    pub(super) fn handles_for(&self, receiver_is_weaker: bool) -> Result<[(Arc<Owned>, Rights); HANDLES]> {
        let (Some(pipe), Some(travel)) = (self.pipe.handle(), &self.travel) else {
            return Err(self.disconnect_error());
        };
        let peer = self.current.lock().peer.clone();
        let role = match &peer {
            Peer::Weaker(_) if travel.is_introduced => Role::Stronger,
            Peer::Stronger(_) if travel.is_introduced => Role::Weaker,
            Peer::Same(_) if receiver_is_weaker => Role::Weaker,
            Peer::Same(_) => Role::Stronger,
            _ => Role::Equal,
        };
        let fetched = &self.outbox.fetched;
        let process = match peer.process() {
            // A receiver that is stronger than this process has a handle to it.
            Some(process) if travel.is_introduced => (process.shared_handle(), Some(process_rights(role))),
            Some(process) => (process.shared_handle(), Some(rights::PROCESS)),
            // It stands for an unknown process.
            None => (Arc::clone(fetched), Some(Role::Equal.rights())),
        };
        Ok([
            (pipe, None),
            (Arc::clone(&travel.section), Some(SECTION_MAP)),
            (Arc::clone(fetched), Some(role.rights())),
            process,
        ])
    }

    /// Gives the other endpoint its role, if it is in this process. It must have it before the receiver has this one.
    pub(super) fn give_role(&self, receiver: &Peer) {
        let Some(travel) = &self.travel else { return };
        let is_same = matches!(self.current.lock().peer, Peer::Same(_));
        let Some(sibling) = travel.sibling.upgrade().filter(|_| is_same) else { return };
        let peer = match receiver {
            Peer::Weaker(process) | Peer::Same(process) => Peer::Weaker(process.clone()),
            other => other.clone(),
        };
        travel.has_changed_sibling.store(true, SeqCst);
        Current::change(&sibling, &peer, travel.number.load(SeqCst).wrapping_add(1));
    }

    /// Notes that the message with the endpoint is being written by a task. The receiver may have it before the task notices that,
    /// and may use it, so the other endpoint must not wait for the task when it receives.
    #[cfg(feature = "_async")]
    pub(super) fn is_on_its_way(&self) {
        if let Some(sibling) = self.travel.as_ref().and_then(|travel| travel.sibling.upgrade()) {
            sibling.lock().is_left_by_other = false;
        }
    }

    /// Notes that the endpoint has left this process. If its handles wait in `carrier` until they are fetched, the other
    /// endpoint closes them once that is done, to see when the receiver closes its own.
    pub(super) fn has_departed(&self, carrier: Option<&Arc<Outbox>>) {
        let Some(travel) = &self.travel else { return };
        if let Some(sibling) = travel.sibling.upgrade() {
            let mut current = sibling.lock();
            current.is_left_by_other = false;
            current.carrier = carrier.cloned();
        }
        if !travel.is_introduced {
            self.page().end_move(travel.side, travel.number.load(SeqCst));
        }
    }

    /// Notes that a child has got the endpoint.
    pub(in crate::channel) fn departed_to(&self, child: &Process) {
        self.give_role(&Peer::Weaker(child.clone()));
        self.has_departed(None);
    }

    /// Makes this process use the endpoint again, which has not left it after all.
    pub(in crate::channel) fn stay(&self) {
        let Some(travel) = &self.travel else { return };
        let number = travel.number.load(SeqCst);
        if let Some(sibling) = travel.sibling.upgrade() {
            if travel.has_changed_sibling.swap(false, SeqCst) {
                let own = self.current.lock().peer.clone();
                Current::change(&sibling, &own, number.wrapping_sub(1));
            }
            let mut current = sibling.lock();
            current.is_left_by_other = false;
            if current.changed.is_none() {
                // Without it, a thread that waits notices the next move late.
                current.changed = create_object::event(true).ok().map(Arc::new);
            }
        }
        if !travel.is_introduced {
            self.page().cancel_move(travel.side, number);
        }
        self.has_left.store(false, SeqCst);
        self.reopen();
        self.publish(&mut self.receiving.lock());
    }

    /// Returns whether the other endpoint is just leaving its process, so that its next process may not be known yet.
    pub(super) fn is_left_by_other(&self) -> bool {
        let Some(travel) = &self.travel else { return false };
        self.current.lock().is_left_by_other || self.page().is_moving(1 - travel.side)
    }

    /// Returns whether an endpoint belongs to the same channel as this one.
    pub(super) fn is_of_channel(&self, other: &Self) -> bool {
        match (&self.travel, &other.travel) {
            (Some(one), Some(other)) => Arc::ptr_eq(&one.section, &other.section),
            _ => false,
        }
    }
}
