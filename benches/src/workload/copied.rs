//! Messages between ordinary vectors: what most programs do.

use std::hint::black_box;

use phalanx::Result;

use super::{Carrier, PAYLOAD, Route, fill, is_pattern};

/// One vector that is sent from, one that is received into.
#[derive(Debug)]
pub(super) struct Copied {
    route: Route,
    out: Vec<u8>,
    into: Vec<u8>,
}

impl Copied {
    pub(super) fn new(route: Route, bytes: usize) -> Self {
        let mut out = vec![0; bytes];
        fill(&mut out);
        Self {
            route,
            out,
            // Not zeros, which would be pages that nobody has written and the kernel has yet to make.
            into: vec![1; bytes],
        }
    }
}

impl Carrier for Copied {
    fn send(&mut self) -> Result<()> {
        self.route.world.send(self.route.to, PAYLOAD, &self.out[..])
    }

    fn receive(&mut self) -> Result<()> {
        self.route
            .world
            .recv_into(self.route.from, PAYLOAD, &mut self.into[..])?;
        black_box(&self.into);
        Ok(())
    }

    fn send_many(&mut self, count: u64) -> Result<()> {
        let Self { route, out, .. } = self;
        route.world.scope(|scope| {
            (0..count).try_for_each(|_| scope.isend(route.to, PAYLOAD, &out[..]).map(drop))
        })
    }

    fn exchange_many(&mut self, count: u64) -> Result<()> {
        let Self { route, out, into } = self;
        route.world.scope(|scope| {
            (0..count).try_for_each(|_| scope.isend(route.to, PAYLOAD, &out[..]).map(drop))?;
            (0..count).try_for_each(|_| {
                route.world.recv_into(route.from, PAYLOAD, &mut into[..])?;
                black_box(&*into);
                Ok(())
            })
        })
    }

    fn send_pattern(&mut self) -> Result<()> {
        self.send()
    }

    fn receive_pattern(&mut self) -> Result<bool> {
        self.into.fill(0);
        self.receive()?;
        Ok(is_pattern(&self.into, self.out.len()))
    }
}
