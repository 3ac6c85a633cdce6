//! `Listener`: a listener whose waits are futures.

use std::marker::PhantomData;

use super::{Channel, Reactor, imp, wait};
use crate::channel::{self as blocking};
use crate::error::Result;
use crate::process::{Process, User};

#[derive(Debug)]
pub(crate) struct Listener<R: Reactor> {
    listener: blocking::Listener,
    _runtime: PhantomData<R>,
}

impl<R: Reactor> Listener<R> {
    pub(crate) fn new(listener: blocking::Listener) -> Self {
        Self { listener, _runtime: PhantomData }
    }

    pub(crate) fn blocking(&mut self) -> &mut blocking::Listener {
        &mut self.listener
    }

    pub(crate) fn into_blocking(self) -> blocking::Listener {
        self.listener
    }

    pub(crate) async fn accept(&mut self) -> Result<Incoming<'_, R>> {
        loop {
            if let Some(client) = self.listener.next_client()? {
                let incoming = blocking::Incoming::new(&mut self.listener, client);
                return Ok(Incoming { incoming, _runtime: PhantomData });
            }
            wait::<R>(&self.listener).await?;
        }
    }
}

#[derive(Debug)]
pub(crate) struct Incoming<'a, R: Reactor> {
    incoming: blocking::Incoming<'a>,
    _runtime: PhantomData<R>,
}

impl<R: Reactor> Incoming<'_, R> {
    pub(crate) fn process(&self) -> &Process {
        self.incoming.process()
    }

    pub(crate) fn user(&self) -> &User {
        self.incoming.user()
    }

    pub(crate) async fn accept(self) -> Result<Channel<R>> {
        imp::accept::<R>(self.incoming).await.map(Channel::new)
    }
}
