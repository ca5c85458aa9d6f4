//! Messages between vectors of the shared allocator, which are copied once.

use std::collections::VecDeque;
use std::hint::black_box;

use phalanx::{Request, Result, SendError, SharedVec};

use super::{Carrier, PAYLOAD, Route, fill, is_pattern};

/// Vectors that are sent, and one that is received into.
#[derive(Debug)]
pub(super) struct Shared {
    route: Route,
    /// Moved into sends and back. A scope must be able to end at once, so only owned sends let a peer read where the bytes lie.
    free: Vec<SharedVec<u8>>,
    into: SharedVec<u8>,
    bytes: usize,
}

impl Shared {
    pub(super) fn new(route: Route, bytes: usize, window: u64) -> Result<Self> {
        let vector = || {
            let mut vector = route.world.shared_vec::<u8>(bytes)?;
            vector.resize(bytes, 1)?;
            Ok(vector)
        };
        let in_flight = (IN_FLIGHT / bytes.max(1)).clamp(2, window.max(2) as usize);
        let mut free = (0..in_flight)
            .map(|_| vector())
            .collect::<Result<Vec<_>>>()?;
        free.iter_mut().for_each(|vector| fill(vector));
        Ok(Self {
            into: vector()?,
            route,
            free,
            bytes,
        })
    }

    /// Begins to send a vector, when one is free.
    fn begin(&mut self, sends: &mut VecDeque<Request<SharedVec<u8>>>) -> Result<()> {
        let Some(vector) = self.free.pop() else {
            return Ok(());
        };
        match self.route.world.isend(self.route.to, PAYLOAD, vector) {
            Ok(request) => sends.push_back(request),
            Err(SendError { value, error, .. }) => {
                self.free.push(value);
                return Err(error);
            }
        }
        Ok(())
    }

    fn end(&mut self, sends: &mut VecDeque<Request<SharedVec<u8>>>) -> Result<()> {
        if let Some(oldest) = sends.pop_front() {
            self.free.push(oldest.wait()?);
        }
        Ok(())
    }
}

impl Carrier for Shared {
    fn send(&mut self) -> Result<()> {
        self.route
            .world
            .send(self.route.to, PAYLOAD, &self.free[0][..])
    }

    fn receive(&mut self) -> Result<()> {
        self.route
            .world
            .recv_into(self.route.from, PAYLOAD, &mut self.into[..])?;
        black_box(&self.into[..]);
        Ok(())
    }

    fn send_many(&mut self, count: u64) -> Result<()> {
        let mut sends = VecDeque::with_capacity(self.free.len());
        for _ in 0..count {
            if self.free.is_empty() {
                self.end(&mut sends)?;
            }
            self.begin(&mut sends)?;
        }
        while !sends.is_empty() {
            self.end(&mut sends)?;
        }
        Ok(())
    }

    /// The peer receives its k-th message before it waits for its k-th send, and so does this side: neither waits in a circle.
    fn exchange_many(&mut self, count: u64) -> Result<()> {
        let mut sends = VecDeque::with_capacity(self.free.len());
        let ahead = count.min(self.free.len() as u64);
        for _ in 0..ahead {
            self.begin(&mut sends)?;
        }
        for received in 1..=count {
            self.receive()?;
            self.end(&mut sends)?;
            if received + ahead <= count {
                self.begin(&mut sends)?;
            }
        }
        Ok(())
    }

    fn send_pattern(&mut self) -> Result<()> {
        self.send()
    }

    fn receive_pattern(&mut self) -> Result<bool> {
        self.into.fill(0);
        self.receive()?;
        Ok(is_pattern(&self.into, self.bytes))
    }
}

/// Bytes in flight: enough that both sides always have work, few enough to stay near the cores.
const IN_FLIGHT: usize = 2 << 20;
