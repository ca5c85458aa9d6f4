//! Messages that are handed over and read where they lie.
//!
//! What is measured is taking a loan, handing it over, seeing it and giving it back. Neither side touches the bytes: what it costs to
//! write and read them is the program's, with or without a message.

use std::hint::black_box;

use phalanx::Result;

use super::{Carrier, PAYLOAD, Route, fill, is_pattern};

/// Fresh loans each time.
#[derive(Debug)]
pub(super) struct Lent {
    route: Route,
    bytes: usize,
}

impl Lent {
    pub(super) const fn new(route: Route, bytes: usize) -> Self {
        Self { route, bytes }
    }
}

impl Carrier for Lent {
    fn send(&mut self) -> Result<()> {
        let loan = self.route.world.loan::<[u8]>(self.bytes)?;
        loan.send(self.route.to, PAYLOAD)
    }

    fn receive(&mut self) -> Result<()> {
        let message = self.route.world.recv::<[u8]>(self.route.from, PAYLOAD)?;
        black_box(&message[..]);
        Ok(())
    }

    fn send_many(&mut self, count: u64) -> Result<()> {
        (0..count).try_for_each(|_| self.send())
    }

    fn exchange_many(&mut self, count: u64) -> Result<()> {
        self.send_many(count)?;
        (0..count).try_for_each(|_| self.receive())
    }

    fn send_pattern(&mut self) -> Result<()> {
        let mut loan = self.route.world.loan::<[u8]>(self.bytes)?;
        fill(&mut loan);
        loan.send(self.route.to, PAYLOAD)
    }

    fn receive_pattern(&mut self) -> Result<bool> {
        let message = self.route.world.recv::<[u8]>(self.route.from, PAYLOAD)?;
        Ok(is_pattern(&message, self.bytes))
    }
}
