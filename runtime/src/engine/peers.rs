//! What this rank knows of each other one: its queue, its credit, what it has been told, whether it has gone.

use std::collections::VecDeque;

use phalanx_transport::{Header, PeerState};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::Error;

use super::operation::OpId;

/// What an eager message of `len` bytes costs a receiver that has no receive for it: the entry in the queue, and the bytes, of which a
/// loan of any size counts as no more than a large eager message. Both sides count by this rule.
#[inline]
pub(super) fn cost(len: usize) -> u64 {
    64 + len.min(16 << 10) as u64
}

/// All peers.
#[derive(Debug)]
pub(super) struct Peers {
    all: Vec<Peer>,
    /// Peers for which something is queued; each once.
    busy: VecDeque<usize>,
    /// Eager bytes that a receiver keeps for one sender.
    limit: u64,
    /// How many have gone.
    departed: usize,
    /// Why peers cannot be reached.
    troubles: FxHashMap<usize, Box<str>>,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// Headers that found no room. They go first: none of them waits for a message.
    pub(super) control: VecDeque<Header>,
    /// Sends in order.
    pub(super) sends: VecDeque<OpId>,
    /// The layout of the last message, known to the peer by name.
    last_layout: u32,
    known_layouts: FxHashSet<u32>,
    /// Eager bytes sent to it, and up to where they may go.
    sent: u64,
    allowed: u64,
    /// Eager bytes of it that receives have taken, and what it has been told of that.
    taken: u64,
    told: u64,
    /// It takes nothing any more.
    deaf: bool,
    gone: Option<PeerState>,
    busy: bool,
}

impl Peers {
    pub(super) fn new(rank: usize, size: usize, limit: u64) -> Self {
        let peer = |index| Peer {
            control: VecDeque::new(),
            sends: VecDeque::new(),
            last_layout: 0,
            known_layouts: FxHashSet::default(),
            sent: 0,
            // A rank buffers for itself without limit, and always by the slow path, which knows the way.
            allowed: if index == rank { 0 } else { limit },
            taken: 0,
            told: 0,
            deaf: false,
            gone: None,
            busy: false,
        };
        Self {
            all: (0..size).map(peer).collect(),
            busy: VecDeque::new(),
            limit,
            departed: 0,
            troubles: FxHashMap::default(),
        }
    }

    #[inline]
    pub(super) fn nothing_queued(&self) -> bool {
        self.busy.is_empty()
    }

    pub(super) fn get(&mut self, peer: usize) -> &mut Peer {
        &mut self.all[peer]
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn queue_control(&mut self, peer: usize, header: Header) {
        if self.all[peer].gone.is_none() {
            self.all[peer].control.push_back(header);
            self.mark_busy(peer);
        }
    }

    pub(super) fn queue_send(&mut self, peer: usize, id: OpId) {
        self.all[peer].sends.push_back(id);
        self.mark_busy(peer);
    }

    /// The peers that are busy now; who still is afterwards is to be marked again.
    pub(super) fn take_busy(&mut self) -> VecDeque<usize> {
        let busy = std::mem::take(&mut self.busy);
        for &peer in &busy {
            self.all[peer].busy = false;
        }
        busy
    }

    pub(super) fn mark_busy(&mut self, peer: usize) {
        if !std::mem::replace(&mut self.all[peer].busy, true) {
            self.busy.push_back(peer);
        }
    }

    /// Records that receives have taken `cost` eager bytes of `peer`; a credit is due to it now and then.
    #[inline]
    pub(super) fn take(&mut self, peer: usize, cost: u64) {
        let entry = &mut self.all[peer];
        entry.taken += cost;
        if entry.taken - entry.told >= self.limit / 4 {
            entry.told = entry.taken;
            let taken = entry.taken;
            self.queue_control(peer, Header::Credit { taken });
        }
    }

    /// The peer says how much it has taken.
    pub(super) fn credit(&mut self, peer: usize, taken: u64) {
        let limit = self.limit;
        let entry = &mut self.all[peer];
        // A peer that claims more than it was sent is wrong; believing it would only hurt itself, but not for ever.
        if !entry.deaf && entry.gone.is_none() {
            entry.allowed = entry.allowed.max(taken.min(entry.sent) + limit);
        }
    }

    /// Notes why a peer that is about to depart cannot be reached.
    pub(super) fn note_trouble(&mut self, peer: usize, trouble: String) {
        self.troubles.insert(peer, trouble.into());
    }

    pub(super) fn depart(&mut self, peer: usize, state: PeerState) {
        let entry = &mut self.all[peer];
        self.departed += usize::from(entry.gone.is_none());
        entry.gone = Some(state);
        entry.control.clear();
        entry.sends.clear();
        // Nothing goes out by the fast path any more.
        entry.allowed = 0;
    }

    /// The peer goes on sending but takes nothing any more.
    pub(super) fn stop(&mut self, peer: usize) {
        let entry = &mut self.all[peer];
        entry.deaf = true;
        entry.allowed = 0;
    }

    pub(super) fn is_deaf(&self, peer: usize) -> bool {
        self.all[peer].deaf
    }

    /// Why nothing more can be sent to a peer.
    pub(super) fn refuses(&self, peer: usize) -> Option<Error> {
        const DOING: &str = "it took a message";
        let deaf = || {
            self.all[peer].deaf.then_some(Error::PeerLeft {
                rank: peer,
                doing: DOING,
            })
        };
        self.gone(peer, DOING).or_else(deaf)
    }

    pub(super) fn has_gone(&self, peer: usize) -> bool {
        self.all[peer].gone.is_some()
    }

    pub(super) fn all_are_here(&self) -> bool {
        self.departed == 0
    }

    /// Why nothing comes from `members`, of which `rank` is this rank: one of them died, or all have left.
    pub(super) fn nobody_left(
        &self,
        rank: usize,
        members: impl Iterator<Item = usize>,
        doing: &'static str,
    ) -> Option<Error> {
        let mut left = None;
        let mut present = false;
        for peer in members.filter(|&peer| peer != rank) {
            match self.all[peer].gone {
                Some(PeerState::Dead(_) | PeerState::Unreachable) => return self.gone(peer, doing),
                Some(_) => left = left.or(Some(peer)),
                None => present = true,
            }
        }
        left.filter(|_| !present)
            .and_then(|peer| self.gone(peer, doing))
    }

    pub(super) fn gone(&self, peer: usize, doing: &'static str) -> Option<Error> {
        match self.all[peer].gone? {
            PeerState::Dead(how) => Some(Error::PeerDied {
                rank: peer,
                how,
                doing,
            }),
            PeerState::Unreachable => Some(Error::PeerUnreachable {
                rank: peer,
                doing,
                trouble: self.troubles.get(&peer).cloned().unwrap_or_default(),
            }),
            _ => Some(Error::PeerLeft { rank: peer, doing }),
        }
    }
}

impl Peer {
    /// Whether an eager message of this layout and cost may go right now, past nobody.
    #[inline]
    pub(super) fn is_clear(&self, layout: u32, cost: u64) -> bool {
        !self.busy && self.last_layout == layout && self.sent + cost <= self.allowed
    }

    #[inline]
    pub(super) fn has_credit(&self, cost: u64) -> bool {
        self.sent + cost <= self.allowed
    }

    #[inline]
    pub(super) fn count_sent(&mut self, cost: u64) {
        self.sent += cost;
    }

    /// Whether the peer knows the name of this layout; the next message may then be of it.
    pub(super) fn knows(&mut self, layout: u32) -> bool {
        let known = layout == 0 || self.known_layouts.contains(&layout);
        if known {
            self.last_layout = layout;
        }
        known
    }

    pub(super) fn learn(&mut self, layout: u32) {
        self.known_layouts.insert(layout);
        self.last_layout = layout;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.control.is_empty() && self.sends.is_empty()
    }
}
