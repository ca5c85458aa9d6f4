//! Frames between threads of one process: the reference for what a [`Transport`] promises, and the double for tests.
//!
//! Ranks are threads that share a [`Job`]; a packet moves from the sender's hands into the receiver's mailbox under a lock, with
//! nothing in between to go wrong. What real links do rarely, this one does on request: [`InprocSettings`] makes queues short and
//! packets late, [`Controls`] kills ranks and fills queues. Lateness is counted in polls of the receiver and not in time, so that a
//! test's schedule is the same on every machine.

mod controls;
mod job;
mod mailbox;

use std::sync::Arc;
use std::time::Duration;

use phalanx_shm::Death;

use crate::frame::Header;
use crate::link::{Capabilities, LinkError, Packet, PeerState, Transport, check, has_room};
use crate::payload::{AlignedBytes, Buffer, Inline, Payload};

pub use controls::Controls;
use job::Job;

/// Bytes of a part of a large message: as shared memory has it by default.
const CHUNK: usize = 32 << 10;

/// The link between ranks that are threads of one process. Dropping it is leaving the job.
#[derive(Debug)]
pub struct Inproc {
    job: Arc<Job>,
    rank: usize,
}

/// How the links of a job behave. The default behaves as well as shared memory does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InprocSettings {
    /// Packets that wait between one rank and another before the sender hears "no room now"; at least 1.
    pub capacity: usize,
    /// Chunks of one sender that are under way at a time; at least 1.
    pub chunks: usize,
    /// Most polls that a packet stays invisible to its receiver. Every packet is given its own number of polls, so that packets of
    /// different senders overtake each other; those of one sender never do.
    pub delay: u32,
    /// What the numbers of polls are made from; an equal seed gives equal numbers.
    pub seed: u64,
}

impl Default for InprocSettings {
    fn default() -> Self {
        Self {
            capacity: 62,
            chunks: 64,
            delay: 0,
            seed: 0,
        }
    }
}

impl Inproc {
    /// What every link of this kind can do. No memory is exposed: its bytes go by reference or by copy, as between hosts.
    pub const CAPABILITIES: Capabilities =
        Capabilities::new("inproc", Inline::CAPACITY, true, false);

    /// The links of a job of `ranks` ranks, in the order of ranks.
    ///
    /// ```
    /// use phalanx_transport::{Envelope, Header, Inproc, InprocSettings, Transport};
    ///
    /// let mut links = Inproc::job(2, InprocSettings::default());
    /// let hello = Header::Eager(Envelope::new(0, 7, 0));
    /// assert!(links[0].send(1, &hello, b"hello")?);
    ///
    /// let (sender, packet) = links[1].poll()?.expect("it has arrived");
    /// assert_eq!((sender, packet.header), (0, hello));
    /// assert_eq!(&*packet.payload, b"hello");
    /// # Ok::<(), phalanx_transport::LinkError>(())
    /// ```
    #[must_use]
    pub fn job(ranks: usize, settings: InprocSettings) -> Vec<Self> {
        let job = Arc::new(Job::new(ranks, settings));
        (0..ranks)
            .map(|rank| Self {
                job: Arc::clone(&job),
                rank,
            })
            .collect()
    }

    /// The handle by which a test makes this link's job misbehave.
    #[must_use]
    pub fn controls(&self) -> Controls {
        Controls::new(Arc::clone(&self.job))
    }

    pub(crate) fn depart(&mut self, state: PeerState) {
        self.job.depart(self.rank, state);
    }

    pub(crate) fn leave(&mut self, failed: bool) {
        // What a thread that panics exits with, if nobody catches it.
        self.depart(if failed {
            PeerState::Dead(Death::Exit(101))
        } else {
            PeerState::Left
        });
    }

    pub(crate) fn sleeper(&self) -> InprocSleeper {
        InprocSleeper {
            job: Arc::clone(&self.job),
            rank: self.rank,
        }
    }
}

impl Transport for Inproc {
    fn capabilities(&self, _: usize) -> Capabilities {
        Self::CAPABILITIES
    }

    fn send(&mut self, peer: usize, header: &Header, bytes: &[u8]) -> Result<bool, LinkError> {
        check(self.rank, peer, header, has_room(header, bytes.len()));
        let packet = || Packet::new(*header, Payload::copy_of(bytes));
        self.job.post(self.rank, peer, packet)
    }

    fn send_buffer(
        &mut self,
        peer: usize,
        header: &Header,
        buffer: Buffer,
    ) -> Result<Option<Buffer>, LinkError> {
        check(self.rank, peer, header, matches!(header, Header::Eager(_)));
        let mut kept = Some(buffer);
        self.job.post(self.rank, peer, || {
            let payload = match kept.take().expect("asked for once") {
                Buffer::Heap(bytes) => Payload::Heap(bytes),
                foreign @ Buffer::Block(_) => Payload::copy_of(&foreign),
            };
            Packet::new(*header, payload)
        })?;
        Ok(kept)
    }

    fn reserve(&mut self, len: usize) -> Result<Buffer, LinkError> {
        let mut bytes =
            AlignedBytes::with_capacity(len).ok_or(LinkError::OutOfMemory { bytes: len })?;
        bytes.resize(len).fill(0);
        Ok(Buffer::Heap(bytes))
    }

    fn send_part(
        &mut self,
        peer: usize,
        header: &Header,
        bytes: &[u8],
    ) -> Result<usize, LinkError> {
        check(
            self.rank,
            peer,
            header,
            matches!(header, Header::Chunk { .. }),
        );
        let Some(permit) = self.job.take_permit(self.rank) else {
            return Ok(0);
        };
        let bytes = &bytes[..bytes.len().min(CHUNK)];
        let payload = || Payload::Heap(AlignedBytes::copy_of(bytes).with_permit(permit));
        let sent = self
            .job
            .post(self.rank, peer, || Packet::new(*header, payload()))?;
        Ok(if sent { bytes.len() } else { 0 })
    }

    fn poll(&mut self) -> Result<Option<(usize, Packet)>, LinkError> {
        self.job.poll(self.rank)
    }

    fn want_room(&mut self) {
        self.job.mailbox(self.rank).want_room();
    }

    fn prepare_sleep(&mut self) -> bool {
        self.job.prepare_sleep(self.rank)
    }

    fn departures(&self) -> u32 {
        self.job.departures()
    }

    fn state_of(&self, peer: usize) -> PeerState {
        self.job.state_of(peer)
    }
}

impl Drop for Inproc {
    fn drop(&mut self) {
        self.leave(false);
    }
}

/// Lets a thread sleep until its rank has mail. Separate from the link, so that other threads can use that meanwhile.
#[derive(Clone, Debug)]
pub struct InprocSleeper {
    job: Arc<Job>,
    rank: usize,
}

impl InprocSleeper {
    pub(crate) fn sleep(&self, timeout: Duration) {
        self.job.mailbox(self.rank).sleep(timeout);
    }

    pub(crate) fn wake(&self) {
        self.job.mailbox(self.rank).wake();
    }
}

#[cfg(test)]
mod tests;
