//! What all ranks of a communicator do together: wait for each other, and agree on new communicators.
//!
//! Messages of a plane of their own, which programs cannot reach, carry it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::communicator::Communicator;
use crate::error::{Error, Result};
use crate::group::Group;

impl Communicator {
    /// Blocks until all ranks of the communicator have called it.
    ///
    /// By dissemination (Hensgen, Finkel, Manber 1988): in round k every rank tells the one 2^k further on.
    ///
    /// # Errors
    /// When a rank has gone or the time-out passed.
    pub fn barrier(&self) -> Result<()> {
        let (internal, size) = (self.internal(), self.size());
        let mut distance = 1;
        while distance < size {
            internal.send((self.rank + distance) % size, TAG_BARRIER, &[] as &[u8])?;
            internal.recv_into::<u8>((self.rank + size - distance) % size, TAG_BARRIER, &mut [])?;
            distance *= 2;
        }
        Ok(())
    }

    /// A communicator of the same ranks whose messages are isolated from this one's. All ranks must call it.
    ///
    /// # Errors
    /// When a rank has gone or the time-out passed.
    pub fn duplicate(&self) -> Result<Self> {
        let (context, _) = self.agree([0, 0])?;
        self.learn_group(context, &self.group);
        Ok(Self {
            context,
            ..self.clone()
        })
    }

    /// Splits the ranks by `color`: those that pass the same one get a communicator together, numbered by `key` and, where keys are
    /// equal, by their rank here. Who passes none gets none. All ranks must call it.
    ///
    /// # Errors
    /// When a rank has gone or the time-out passed.
    ///
    /// # Examples
    /// ```
    /// phalanx_runtime::testing::run(4, |world| {
    ///     let half = world.split(Some(world.rank() as u32 % 2), 0)?.expect("every rank has a color");
    ///     assert_eq!((half.size(), half.rank()), (2, world.rank() / 2));
    ///     Ok(())
    /// });
    /// ```
    pub fn split(&self, color: Option<u32>, key: i32) -> Result<Option<Self>> {
        let mine = color.map_or(u64::MAX, u64::from);
        // Flipping the sign bit makes unsigned order of the words the signed order of the keys.
        let (context, all) = self.agree([mine, u64::from(key.cast_unsigned() ^ 1 << 31)])?;
        if color.is_none() {
            return Ok(None);
        }
        let same = all
            .chunks_exact(WORDS_PER_RANK)
            .enumerate()
            .filter(|(_, words)| words[0] == mine);
        let mut members: Vec<(u64, usize)> = same.map(|(rank, words)| (words[1], rank)).collect();
        members.sort_unstable();
        let rank = members
            .iter()
            .position(|&(_, member)| member == self.rank)
            .unwrap_or(0);
        let world_of = members
            .iter()
            .filter_map(|&(_, member)| self.group.world_rank(member))
            .collect();
        let group = Group::of(world_of);
        self.learn_group(context, &group);
        Ok(Some(Self {
            group,
            context,
            rank,
            ..self.clone()
        }))
    }

    /// How long a cache line takes between this rank and `peer` and back, on average over `rounds`: the floor of all latencies.
    /// `peer` must make the same call at the same time. Blocks by spinning. None when the ranks share no memory.
    ///
    /// # Errors
    /// When the peer has gone or the time-out passed.
    pub fn cache_line_round_trip(&self, peer: usize, rounds: u64) -> Result<Option<Duration>> {
        let world = self.world_rank(peer)?;
        let segment = self.progress().enter(|core| core.link.segment().cloned());
        let Some(segment) = segment else {
            return Ok(None);
        };
        let (me, internal) = (self.progress().rank(), self.internal());
        segment.reset_bounce(me);
        internal.send(peer, TAG_BOUNCE, &[] as &[u8])?;
        internal.recv_into::<u8>(peer, TAG_BOUNCE, &mut [])?;
        let time = segment.bounce(me, world, rounds).ok_or(Error::PeerLeft {
            rank: world,
            doing: "the probe was over",
        })?;
        Ok(Some(
            time / u32::try_from(rounds.max(1)).unwrap_or(u32::MAX),
        ))
    }

    /// This communicator's own plane for messages that are not the program's.
    fn internal(&self) -> Self {
        Self {
            context: self.context + 1,
            ..self.clone()
        }
    }

    /// Lets the engine know whom a wildcard on `context` stands for.
    fn learn_group(&self, context: u32, group: &Group) {
        if let Group::Some(members) = group {
            self.progress()
                .enter(|core| core.engine.learn_group(context, members));
        }
    }

    /// Tells everyone this rank's words; returns a context that is free on all ranks, and everyone's words in order of rank.
    fn agree(&self, words: [u64; 2]) -> Result<(u32, Vec<u64>)> {
        // Relaxed: the messages below order it.
        let proposal = u64::from(self.shared.next_context.load(Ordering::Relaxed));
        let mut all = vec![0; WORDS_PER_RANK * self.size()];
        let mine = WORDS_PER_RANK * self.rank;
        all[mine..mine + WORDS_PER_RANK].copy_from_slice(&[words[0], words[1], proposal]);
        let internal = self.internal();
        if self.rank == 0 {
            for source in 1..self.size() {
                let place = WORDS_PER_RANK * source;
                internal.recv_into(source, TAG_AGREE, &mut all[place..place + WORDS_PER_RANK])?;
            }
            for to in 1..self.size() {
                internal.send(to, TAG_AGREE, &all[..])?;
            }
        } else {
            internal.send(0, TAG_AGREE, &all[mine..mine + WORDS_PER_RANK])?;
            internal.recv_into(0, TAG_AGREE, &mut all)?;
        }
        let free = all
            .iter()
            .skip(2)
            .step_by(WORDS_PER_RANK)
            .copied()
            .max()
            .unwrap_or(proposal);
        let free = u32::try_from(free).map_err(|_| Error::Damaged { rank: self.rank })?;
        self.shared
            .next_context
            .fetch_max(free + 1, Ordering::Relaxed);
        Ok((2 * free, all))
    }
}

const TAG_BARRIER: i32 = 0;
const TAG_AGREE: i32 = 1;
const TAG_BOUNCE: i32 = 2;
const WORDS_PER_RANK: usize = 3;
