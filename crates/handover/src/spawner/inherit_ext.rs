//! `InheritExt`: adds objects to a command of std or tokio.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::RawFd;
use std::process::Command;

use crate::channel::{Channel, imp};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::{Manifest, RECIPIENT, VARIABLE, has_proof, nonce_text};
use crate::object::BorrowedObject;
use crate::process::{check_name, listed_twice};
use crate::sys::pre_exec::Step;

/// Passes objects to the children of [`std::process::Command`] and, with the feature `tokio`, `tokio::process::Command`.
///
/// Use it where a program or a library is bound to one of these types. Otherwise prefer [`Command`](crate::Command), which
/// can do more and passes on nothing else. The child is a program as for `Command`: it takes the objects with
/// [`inherited`](crate::inherited), and its endpoint of the channel with [`Channel::parent`].
///
/// ```no_run
/// use std::process::Command;
/// use std::time::Duration;
/// use handover::Event;
/// use handover::os::linux::InheritExt;
///
/// let ready = Event::manual_reset()?;
/// let mut command = Command::new("worker");
/// command.inherit("ready", &ready)?;
/// let channel = command.channel()?;
/// let mut child = command.spawn()?;
/// ready.set()?;
/// let answer = channel.recv_timeout(Duration::from_secs(5))?;
/// child.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
#[doc = include_str!("../../docs/spawners.md")]
///
/// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec)
pub trait InheritExt: sealed::Sealed {
    /// Lists an object for the children of this command to inherit, under a name.
    ///
    /// Each child gets a descriptor of its own, takes it by name from [`inherited`](crate::inherited), owns it and closes
    /// it. This process's descriptor isn't changed, and may be closed right after the call: the command owns a duplicate,
    /// which is close-on-exec in this process, and closes it when it is dropped. If the object is a file, that releases this
    /// process's record locks on it ([fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html)).
    ///
    /// # Errors
    ///
    /// After an error the command is as before.
    ///
    /// - [`Error::InvalidInput`] if the name is listed already, is empty, reserved, or contains a NUL or a brace; if the
    ///   names of all objects are too long for a variable; or if the command sets the variable `HANDOVER_INHERITED` itself.
    /// - [`Error::InvalidHandle`] if the descriptor isn't open.
    /// - [`Error::System`] if no descriptor is free.
    #[doc(alias("fd_mappings", "preserved_fds", "F_DUPFD_CLOEXEC"))]
    fn inherit<'a>(
        &mut self,
        name: impl Into<String>,
        object: impl Into<BorrowedObject<'a>>,
    ) -> Result<&mut Self>;

    /// Gives the child a channel to this process, and returns this process's endpoint. The child gets its own from
    /// [`Channel::parent`].
    ///
    /// The caller owns the endpoint. The child's endpoint isn't open in this process: it waits in a socket that belongs to
    /// the command, and the first new process takes it out. So a receive ends when that child exits, also while this
    /// process keeps the command. It ends as well if the command is dropped before it has started a child.
    ///
    /// The child isn't known before it runs. [`Channel::peer`] returns it, and errors name it, once it has called
    /// [`Channel::parent`] and this process has received something after that. Before, a receive at the end of the
    /// connection fails with [`Error::Disconnected`] for the process id 0.
    ///
    /// One process gets the endpoint. A second spawn of the same command fails with
    /// [`ResourceBusy`](std::io::ErrorKind::ResourceBusy) and starts no process, also if the first one failed because it
    /// found no program: build the command again.
    ///
    /// # Errors
    ///
    /// After an error the command is as before.
    ///
    /// - [`Error::InvalidInput`] if the command has a channel already, or for the other reasons of
    ///   [`inherit`](Self::inherit).
    /// - [`Error::System`] if the system has no resources for it.
    fn channel(&mut self) -> Result<Channel>;

    /// Passes on the standard streams and the objects of this command, and no other descriptor, even if other descriptors
    /// of this process are inheritable. By default these reach the child too, as from every child of std's `Command`.
    ///
    /// The objects may be listed before or after. A descriptor that a closure of
    /// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec) makes inheritable is passed on if the closure was added
    /// after this call.
    ///
    /// [`close_range(2)`](https://man7.org/linux/man-pages/man2/close_range.2.html) with `CLOSE_RANGE_CLOEXEC`, in the new
    /// process; where that is refused, `FD_CLOEXEC` is set on each descriptor that `/proc/self/fd` shows.
    #[doc(alias("close_fds", "close_range", "race_free"))]
    fn close_other_fds(&mut self) -> &mut Self;
}

mod sealed {
    /// The types that this crate implements the trait for. It gives access to std's command inside them.
    pub trait Sealed {
        fn std_command(&mut self) -> &mut std::process::Command;
    }

    impl Sealed for std::process::Command {
        fn std_command(&mut self) -> &mut std::process::Command {
            self
        }
    }

    #[cfg(feature = "tokio")]
    impl Sealed for tokio::process::Command {
        fn std_command(&mut self) -> &mut std::process::Command {
            self.as_std_mut()
        }
    }
}

impl<C: sealed::Sealed> InheritExt for C {
    fn inherit<'a>(
        &mut self,
        name: impl Into<String>,
        object: impl Into<BorrowedObject<'a>>,
    ) -> Result<&mut Self> {
        let (name, object) = (name.into(), object.into());
        check_name(&name)?;
        let mut list = List::of(self.std_command())?;
        if list.has(&name) {
            return Err(listed_twice(&name));
        }
        let context = || format!("the listed object {name:?}");
        let handle = object.checked(&context)?;
        let step = Step::pass(handle, object.rights()).map_err(|error| Error::on_handle(context(), error))?;
        list.add(name, step)?;
        list.apply()?;
        Ok(self)
    }

    fn channel(&mut self) -> Result<Channel> {
        let [name] = imp::RESERVED;
        let mut list = List::of(self.std_command())?;
        if list.has(name) {
            return Err(Error::invalid(
                "a second channel for a command",
                "has no place there, because a child has one channel to its parent; give it another endpoint in a message",
            ));
        }
        let (endpoint, theirs) = imp::with_unknown_peer()?;
        let step = Step::pass_away(&theirs).map_err(|error| Error::system("a channel", error))?;
        list.add(name.to_owned(), step)?;
        list.apply()?;
        Ok(Channel::new(endpoint))
    }

    fn close_other_fds(&mut self) -> &mut Self {
        let listed = manifest_of(self.std_command()).ok().flatten().map(|manifest| manifest.objects);
        let number = |(_, value): (String, HandleValue)| RawFd::try_from(value.get()).ok();
        let listed = listed.into_iter().flatten().filter_map(number).collect();
        Step::CloseOthers(listed).add_to(self.std_command());
        self
    }
}

/// The objects of a command, and steps that it doesn't have yet.
struct List<'a> {
    command: &'a mut Command,
    manifest: Manifest,
    new: Vec<Step>,
}

impl<'a> List<'a> {
    /// Reads the list of a command. For the first object of a command, this begins a list.
    fn of(command: &'a mut Command) -> Result<Self> {
        if let Some(manifest) = manifest_of(command)? {
            return Ok(Self { command, manifest, new: Vec::new() });
        }
        let half = |which: u8| u128::from(RandomState::new().hash_one(which));
        let nonce = half(0) << 64 | half(1);
        let manifest = Manifest { meant_for: nonce_text(nonce), objects: Vec::new() };
        let mut list = Self { command, manifest, new: Vec::new() };
        let proof =
            Step::prove(nonce).map_err(|error| Error::system("the list of inherited objects", error))?;
        list.add(RECIPIENT.to_owned(), proof)?;
        Ok(list)
    }

    fn has(&self, name: &str) -> bool {
        self.manifest.objects.iter().any(|(other, _)| other == name)
    }

    /// Adds an object to the list, but not yet to the command.
    fn add(&mut self, name: String, step: Step) -> Result<()> {
        let handle = step.handle().expect("each step for an object has a descriptor");
        self.manifest.objects.push((name, HandleValue::of(handle)?));
        self.new.push(step);
        Ok(())
    }

    /// Adds all that is new to the command, unless the list is too long.
    fn apply(self) -> Result<()> {
        let text = self.manifest.text()?;
        self.new.into_iter().for_each(|step| step.add_to(self.command));
        self.command.env(VARIABLE, text);
        Ok(())
    }
}

/// Returns the list that earlier calls have left in a command. A variable from another source is an error.
fn manifest_of(command: &Command) -> Result<Option<Manifest>> {
    let set = command.get_envs().find(|(name, _)| *name == VARIABLE).and_then(|(_, value)| value);
    let Some(text) = set else { return Ok(None) };
    let manifest = text.to_str().and_then(|text| Manifest::parse(text).ok()).filter(has_proof);
    manifest.map(Some).ok_or_else(|| {
        Error::invalid(
            format!("the variable {VARIABLE:?} of the command"),
            "is reserved for handover; call env_remove with it first",
        )
    })
}
