//! What the departure of a rank ends: all that needs it, and nothing else.

use std::sync::Weak;

use phalanx_transport::{Link, PeerState, Transport};

use crate::error::Error;

use super::Engine;
use super::operation::{OpId, ReceiveStage, SendStage, Sink, State};
use super::receive::Wanted;

/// How departed ranks are told apart from those that only were slow: by what is written, never by a clock.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    seen: u32,
}

impl Departures {
    /// Whether there is news. To be asked once more between the decision to sleep and the sleep: who departs before it wakes nobody.
    pub(crate) fn are_due(&self, link: &Link) -> bool {
        link.departures() != self.seen
    }

    /// The ranks that departed since the last call. What they sent before is still in the link: it is to be taken out first, and
    /// [`Engine::depart`] called then.
    pub(crate) fn news(&mut self, link: &Link, engine: &Engine) -> Vec<(usize, PeerState)> {
        let now = link.departures();
        if now == self.seen {
            return Vec::new();
        }
        self.seen = now;
        let others = (0..engine.peers.len())
            .filter(|&peer| peer != engine.rank && !engine.peers.has_gone(peer));
        let states = others.map(|peer| (peer, link.state_of(peer)));
        states
            .filter(|&(peer, state)| match state {
                PeerState::Present => false,
                PeerState::Leaving => !engine.peers.is_deaf(peer),
                _ => true,
            })
            .collect()
    }
}

impl Engine {
    /// Ends what needs a rank that has gone.
    pub(crate) fn depart(&mut self, link: &mut Link, peer: usize, state: PeerState) {
        if state == PeerState::Leaving {
            self.end_unmatched_sends(peer);
            self.peers.stop(peer);
            return;
        }
        if let Some(trouble) = link.trouble_with(peer) {
            self.peers.note_trouble(peer, trouble);
        }
        // Before the sends end, so that they say how the peer went.
        self.peers.depart(peer, state);
        self.end_unmatched_sends(peer);
        link.forget(peer);
        // A request of the departed can no longer be answered. Whole messages stay.
        while self
            .unexpected
            .take_where(|address, kept| address.source as usize == peer && kept.is_request())
            .is_some()
        {}
        for id in self
            .operations
            .ids_where(|operation| needs(operation, peer))
        {
            self.end(id, peer, "the operation was complete");
        }
        for id in self
            .operations
            .ids_where(|operation| matches!(operation, State::Receiving(_)))
        {
            let Some(receiving) = self.operations.receiving(id) else {
                continue;
            };
            let (wanted, place) = match receiving.stage {
                ReceiveStage::Posted(place) => (receiving.wanted, place),
                ReceiveStage::Moving(_) => continue,
            };
            if let Some(error) = self.nobody_will_send(&wanted) {
                self.posted.withdraw(place);
                self.finish(id, Err(error));
            }
        }
    }

    /// Why a receive that finds nothing will never find anything.
    pub(crate) fn nobody_will_send(&self, wanted: &Wanted) -> Option<Error> {
        const DOING: &str = "it sent the message that is waited for";
        match wanted.pattern.source {
            Some(source) => self.gone(source as usize, DOING),
            None if self.peers.all_are_here() => None,
            None => {
                let members = self.groups.get(&wanted.pattern.context);
                match members.and_then(Weak::upgrade) {
                    Some(members) => {
                        self.peers
                            .nobody_left(self.rank, members.world_ranks(), DOING)
                    }
                    None => self
                        .peers
                        .nobody_left(self.rank, 0..self.peers.len(), DOING),
                }
            }
        }
    }

    /// Sends that no receive of `peer` has matched, and none will.
    fn end_unmatched_sends(&mut self, peer: usize) {
        let unmatched = |operation: &State| match operation {
            State::Sending(sending) => {
                sending.peer == peer
                    && matches!(
                        sending.stage,
                        SendStage::Queued | SendStage::Requested { .. }
                    )
            }
            _ => false,
        };
        for id in self.operations.ids_where(unmatched) {
            self.end(id, peer, "it took a message");
        }
    }

    fn end(&mut self, id: OpId, peer: usize, doing: &'static str) {
        self.streaming.retain(|&streaming| streaming != id);
        let error = self
            .gone(peer, doing)
            .unwrap_or(Error::PeerLeft { rank: peer, doing });
        self.finish(id, Err(error));
    }
}

/// Whether an operation cannot go on without `peer`.
fn needs(operation: &State, peer: usize) -> bool {
    match operation {
        State::Sending(sending) => sending.peer == peer,
        State::Receiving(receiving) => match &receiving.stage {
            ReceiveStage::Posted(_) => false,
            // Parts that have all arrived, or memory that is still mapped, need nobody.
            ReceiveStage::Moving(moving) => {
                let waiting: usize = moving.parts.iter().map(|(_, part)| part.len()).sum();
                let complete = moving.received + waiting == moving.len || moving.exposed.is_some();
                moving.from == peer && (!complete || matches!(receiving.sink, Sink::Discard))
            }
        },
        State::Finished(_) => false,
    }
}
