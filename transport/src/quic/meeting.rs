//! How two ranks come to one connection: dialling, answering, electing.
//!
//! Everything that a stranger can cause is bounded: how many handshakes are under way, for how long, and what they cost before the
//! sender has proved that it can be reached where it claims to be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::{ClientConfig, Incoming, ServerConfig};

use super::connection::{Conn, Stage};
use super::driver::{Driver, PATIENCE};
use super::ending::{GIVEN_UP, REDUNDANT};
use super::wire::Due;

impl Driver {
    /// Sees to it that there will be a connection to `peer`.
    pub(super) fn want(&mut self, peer: usize, now: Instant) {
        let entry = &mut self.peers[peer];
        if entry.elected.is_none() && entry.wanted.is_none() && !entry.gone {
            entry.wanted = Some(now);
            entry.tried = 0;
            if !self.knows(peer) {
                self.ask(peer, now);
                if self.knows(peer) {
                    return;
                }
            }
            self.meet_again(peer, now);
        }
    }

    pub(super) fn knows(&self, peer: usize) -> bool {
        self.pins.card_of(peer).is_some()
    }

    /// Whether `peer` and this rank have something to say to each other.
    pub(super) fn is_in_touch(&self, peer: usize) -> bool {
        let entry = &self.peers[peer];
        let is_met = entry.elected.is_some() || entry.wanted.is_some() || self.has_met(peer);
        !entry.gone && is_met
    }

    /// Whether there is a connection to `peer` that is not elected yet.
    fn has_met(&self, peer: usize) -> bool {
        let mut conns = self.conns.iter().flatten();
        conns.any(|conn| conn.peer == Some(peer) && conn.stage == Stage::Known)
    }

    /// Dials the next address of a peer that was not reached yet, or gives up.
    pub(super) fn meet_again(&mut self, peer: usize, now: Instant) {
        let entry = &mut self.peers[peer];
        let Some(since) = entry.wanted else {
            return;
        };
        if !self.knows(peer) {
            return self.await_card(peer, since, now);
        }
        let has_answered = self.has_met(peer);
        let end = self.patience_ends(since, has_answered);
        if now >= end {
            let trouble = self.no_path(peer, has_answered);
            return self.give_up(peer, trouble, now);
        }
        if has_answered {
            return self.retime_peer(peer, end);
        }
        let entry = &mut self.peers[peer];
        let next = (entry.tried..entry.addresses.len())
            .find(|&index| self.wire.io.reaches(entry.addresses[index]));
        let mut again = end;
        if let Some(index) = next {
            entry.tried = index + 1;
            let address = entry.addresses[index];
            if entry.tried < entry.addresses.len() {
                again = end.min(now + NEXT_ADDRESS);
            }
            self.dial(peer, address, now);
        } else if entry.tried == 0 {
            let trouble = format!(
                "rank {peer} cannot be reached from {}: none of its addresses, {:?}, is of that kind",
                self.wire.io.local(),
                entry.addresses
            );
            return self.give_up(peer, trouble, now);
        }
        self.retime_peer(peer, again);
    }

    /// A peer that has answered may have to wait for this rank's card before it lets it in.
    fn patience_ends(&self, since: Instant, has_answered: bool) -> Instant {
        let more = if has_answered {
            self.settings.card_deadline
        } else {
            Duration::ZERO
        };
        since + self.settings.dial_deadline + more
    }

    fn no_path(&self, peer: usize, has_answered: bool) -> String {
        let tried = self.peers[peer].addresses.iter();
        let tried = tried
            .map(SocketAddr::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        if has_answered {
            return format!(
                "rank {peer} at {tried} has answered, but has not let this rank in: has its launcher lost the card of rank {}?",
                self.rank
            );
        }
        format!(
            "no UDP path to rank {peer} at {tried}: nothing answered for {:.1?}; does a firewall block UDP, or is it another host's address?",
            self.settings.dial_deadline
        )
    }

    /// Looks again, or gives up, when there has been time enough for a card to come.
    fn await_card(&mut self, peer: usize, since: Instant, now: Instant) {
        let patience = self.settings.card_deadline;
        if now < since + patience {
            return self.retime_peer(peer, since + patience);
        }
        let reason = format!("it has not come for {patience:.1?}: has that rank started?");
        self.card_failed(peer, &reason, now);
    }

    fn retime_peer(&mut self, peer: usize, to: Instant) {
        let timer = &mut self.peers[peer].timer;
        self.wire.retime(Due::Peer(peer), timer, Some(to));
    }

    fn dial(&mut self, peer: usize, address: SocketAddr, now: Instant) {
        let name = self.pins.name_of(peer);
        // Refused only for addresses that nobody can listen at, which the deadline will say.
        if let Ok((handle, quic)) =
            self.endpoint
                .connect(now, self.client_for(address), address, &name)
        {
            self.add(handle, Conn::new(quic, Some(peer)));
        }
    }

    fn client_for(&self, address: SocketAddr) -> ClientConfig {
        let mut client = self.client.clone();
        client.transport_config(Arc::clone(&self.manners_to(address).transport));
        client
    }

    /// Somebody wants a connection.
    pub(super) fn receive_guest(&mut self, incoming: Incoming, now: Instant, answer: &mut Vec<u8>) {
        let from = incoming.remote_address();
        let is_known = self
            .peers
            .known()
            .any(|(_, peer)| peer.addresses.contains(&from));
        let guests = self.conns.iter().flatten().filter(|conn| conn.is_guest());
        let (all, same) = guests.fold((0, 0), |(all, same), guest| {
            (all + 1, same + usize::from(guest.remote() == from))
        });
        let is_crowded = same >= GUESTS_PER_ADDRESS || !is_known && all >= STRANGERS;
        let must_prove = same > 0 || !is_known && all >= UNPROVEN;
        if self.wire.io.is_blocked() || is_crowded {
            self.endpoint.ignore(incoming);
        } else if must_prove && !incoming.remote_address_validated() {
            // Costs no state here: who claims to be somewhere has to answer from there first.
            if let Ok(transmit) = self.endpoint.retry(incoming, answer) {
                self.wire.io.send(transmit, answer);
            }
        } else {
            let manners = self.manners_to(from);
            let config = match is_known {
                true => &manners.server,
                false => &manners.for_strangers,
            };
            self.admit(incoming, Arc::clone(config), now, answer);
        }
    }

    fn admit(
        &mut self,
        incoming: Incoming,
        config: Arc<ServerConfig>,
        now: Instant,
        answer: &mut Vec<u8>,
    ) {
        let from = incoming.remote_address();
        match self.endpoint.accept(incoming, now, answer, Some(config)) {
            Ok((handle, quic)) => {
                let mut conn = Conn::new(quic, None);
                conn.patience = Some(now + PATIENCE);
                conn.refused = self.pins.take_refusal();
                self.add(handle, conn);
            }
            Err(error) => {
                let refused = self.pins.take_refusal();
                self.turned_away(from, refused, &error.cause);
                if let Some(transmit) = error.response {
                    self.wire.io.send(transmit, answer);
                }
            }
        }
    }

    /// Uses this connection and no other; or not, if another is used already.
    pub(super) fn elect(&mut self, at: usize, conn: &mut Conn, now: Instant) {
        let Some(peer) = conn.peer else {
            return;
        };
        let entry = &mut self.peers[peer];
        if entry.gone {
            return conn.close(now, GIVEN_UP, "it has given this rank up");
        }
        if entry.elected.is_some() {
            return conn.close(now, REDUNDANT, "another connection is used");
        }
        entry.elected = Some(at);
        entry.wanted = None;
        entry.told = false;
        let mut timer = entry.timer.take();
        self.wire.retime(Due::Peer(peer), &mut timer, None);
        conn.elect();
        let window = self.settings.receive_window(self.wire.io.granted());
        conn.quic.set_receive_window(window);
        self.take_leave(peer);
        for other in 0..self.conns.len() {
            let Some(redundant) = self.conns[other].as_mut() else {
                continue;
            };
            if redundant.peer == Some(peer) && redundant.stage != Stage::Over {
                redundant.close(now, REDUNDANT, "another connection is used");
                self.list(other);
            }
        }
    }
}

impl Conn {
    /// Somebody dialled this rank and has not proved who it is.
    fn is_guest(&self) -> bool {
        !self.dialled && matches!(self.stage, Stage::Shaking | Stage::Shown)
    }
}

/// When the next address of a peer is tried beside those before.
pub(super) const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Handshakes from one address at a time: both ranks of a pair dial, perhaps by several addresses.
const GUESTS_PER_ADDRESS: usize = 4;
/// Handshakes from addresses that are on no card that is here: as many as ranks may dial this one at the same time for the first time.
const STRANGERS: usize = 128;
/// Of those, the ones that need not prove first that they are where they claim to be, which takes a round trip.
const UNPROVEN: usize = 4;
