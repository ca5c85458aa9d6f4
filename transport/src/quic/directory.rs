//! Where a rank learns of its peers, and what it does with what it learns.
//!
//! Nothing is known of a peer until it is talked to: its card is asked for when this rank dials it, or when somebody dials this rank
//! and says that he is that peer. So a job of a thousand ranks costs a rank what the few cost that it talks to.
//!
//! ```text
//!   send -> want -> ask --+                          +--> dial
//!                         +--> directory --> card ---+
//!   handshake -> claim ---+                          +--> compare, and let in or turn away
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::link::PeerState;

use super::connection::Stage;
use super::driver::Driver;
use super::error::Refusal;
use super::identity::Card;

/// Where a rank learns of its peers. Never waits.
///
/// Whoever can change what a directory says can pretend to be any rank: it has to come by a way that is trusted.
pub trait Directory: Send + fmt::Debug {
    /// Asks for the card of `rank`; the answer is one of the next news, at once or much later.
    fn ask(&mut self, rank: usize);

    /// What is new, one thing at a time.
    fn poll(&mut self) -> Option<News>;

    /// Becomes readable when there may be something new, and stops being so when all of that has been polled. None when nothing ever
    /// comes by itself: departures then are not reported, so that a rank has to tell each peer itself that it leaves.
    fn input(&self) -> Option<BorrowedFd<'_>>;

    /// Is told who was turned away, or turned this rank away: a line for whoever runs the job.
    fn turned_away(&mut self, _refusal: &Refusal) {}
}

/// What a directory has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// The card of a rank, asked for or not.
    Card(Card),
    /// How a rank is, as others saw it: dead, left, or out of reach.
    State(usize, PeerState),
    /// Why a rank cannot be reached, or what is known of how it was lost.
    OutOfReach(usize, String),
    /// Nothing more can be learned, and why. What is known stays so.
    End(String),
}

/// A directory that knows everybody from the beginning.
///
/// ```
/// use phalanx_transport::quic::{Directory, Identity, JobId, News, Roll};
///
/// let job = JobId::random()?;
/// let card = Identity::generate(1, job)?.card(vec!["10.0.0.7:4433".parse()?]);
/// let mut roll = Roll::new(vec![card.clone()]);
/// assert_eq!(roll.poll(), None);
/// roll.ask(1);
/// assert_eq!(roll.poll(), Some(News::Card(card)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Roll {
    cards: Vec<Card>,
    answers: VecDeque<News>,
}

impl Roll {
    /// The directory of the ranks that have these cards. All others it calls out of reach.
    #[must_use]
    pub fn new(cards: Vec<Card>) -> Self {
        Self {
            cards,
            answers: VecDeque::new(),
        }
    }
}

impl Directory for Roll {
    fn ask(&mut self, rank: usize) {
        let card = self.cards.iter().find(|card| card.rank == rank);
        let unknown = News::State(rank, PeerState::Unreachable);
        self.answers
            .push_back(card.cloned().map_or(unknown, News::Card));
    }

    fn poll(&mut self) -> Option<News> {
        self.answers.pop_front()
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A directory in use.
pub(super) struct Inquiry {
    directory: Box<dyn Directory>,
    /// Ranks whose cards were asked for and have not come.
    pending: BTreeSet<usize>,
    /// When to look, if nothing is pending.
    next: Option<Instant>,
    ended: Option<String>,
}

impl Inquiry {
    pub(super) fn new(directory: Box<dyn Directory>) -> Self {
        Self {
            directory,
            pending: BTreeSet::new(),
            next: None,
            ended: None,
        }
    }

    /// A descriptor of its own for whoever rests until there is something new.
    pub(super) fn input(&self) -> io::Result<Option<OwnedFd>> {
        let input = self.directory.input();
        input.map(|input| input.try_clone_to_owned()).transpose()
    }

    /// Whether there can be something new.
    pub(super) fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether peers that this rank never talked to learn from others that it leaves.
    pub(super) fn reports(&self) -> bool {
        self.directory.input().is_some()
    }

    /// Looks at the next occasion: there is something to read.
    pub(super) fn hasten(&mut self) {
        self.next = None;
    }

    /// When to look, where no input tells that.
    pub(super) fn due(&self) -> Option<Instant> {
        let by_itself = self.directory.input().is_some() || !self.is_open();
        self.next.filter(|_| !by_itself && !self.pending.is_empty())
    }

    #[inline]
    fn is_due(&self, now: Instant) -> bool {
        self.is_open() && (!self.pending.is_empty() || self.next.is_none_or(|next| next <= now))
    }

    pub(super) fn turned_away(&mut self, refusal: &Refusal) {
        self.directory.turned_away(refusal);
    }

    fn ask(&mut self, rank: usize) {
        if self.is_open() && self.pending.insert(rank) {
            self.directory.ask(rank);
        }
    }
}

impl Driver {
    /// Looks for what is new of the peers, when it is time.
    #[inline]
    pub(super) fn learn(&mut self, now: Instant) {
        if self.inquiry.is_due(now) {
            self.inquire(now);
        }
    }

    /// Asks for the card of `rank`; a directory that has it answers at once.
    pub(super) fn ask(&mut self, rank: usize, now: Instant) {
        self.inquiry.ask(rank);
        self.inquire(now);
        if let Some(reason) = self.inquiry.ended.clone() {
            self.card_failed(rank, &reason, now);
        }
    }

    #[cold]
    fn inquire(&mut self, now: Instant) {
        self.inquiry.next = Some(now + BETWEEN_LOOKS);
        for _ in 0..MOST_NEWS {
            if !self.inquiry.is_open() {
                return;
            }
            match self.inquiry.directory.poll() {
                Some(news) => self.take_news(news, now),
                None => return,
            }
        }
        self.inquiry.hasten();
    }

    fn take_news(&mut self, news: News, now: Instant) {
        match news {
            News::Card(card) => self.take_card(card, now),
            News::State(rank, _) | News::OutOfReach(rank, _)
                if rank >= self.peers.len() || rank == self.rank => {}
            // Of a rank that shares the segment only a death is news: there may be nobody who saw it and could write it there.
            News::State(rank, state @ PeerState::Dead(_)) if self.is_reached(rank) => {
                self.note_life(rank, state);
            }
            News::State(rank, _) | News::OutOfReach(rank, _) if self.is_reached(rank) => {}
            News::State(rank, state) => self.take_state(rank, state, now),
            News::OutOfReach(rank, trouble) => {
                if !self.peers[rank].gone {
                    self.peers[rank].trouble.get_or_insert(trouble);
                }
                self.take_state(rank, PeerState::Unreachable, now);
            }
            News::End(reason) => {
                self.inquiry.ended = Some(reason.clone());
                for rank in std::mem::take(&mut self.inquiry.pending) {
                    self.card_failed(rank, &reason, now);
                }
            }
        }
    }

    fn take_card(&mut self, card: Card, now: Instant) {
        let rank = card.rank;
        if let Err(reason) = self.pins.learn(&card, self.peers.len()) {
            let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let address = card.addresses.first().copied().unwrap_or(nowhere);
            let line = reason.clone();
            self.refuse(Refusal { address, reason });
            // Whoever asked for this card will get no better one.
            if self.inquiry.pending.contains(&rank) {
                self.card_failed(rank, &line, now);
            }
            return;
        }
        self.inquiry.pending.remove(&rank);
        if rank == self.rank || self.peers[rank].gone {
            return;
        }
        let entry = &mut self.peers[rank];
        entry.addresses = card.addresses;
        if entry.wanted.is_some() {
            // Its patience is for the network from now on.
            entry.wanted = Some(now);
            entry.tried = 0;
            self.meet_again(rank, now);
        }
        self.decide_on_claimants(rank, now);
    }

    fn take_state(&mut self, rank: usize, state: PeerState, now: Instant) {
        match state {
            PeerState::Leaving | PeerState::Present => return self.record(rank, state),
            // What a connection has to say is newer, and ends with a goodbye or with silence.
            PeerState::Left | PeerState::Unreachable if self.is_connected(rank) => {
                self.peers[rank].elsewhere = Some(state);
                return;
            }
            PeerState::Unreachable if !self.peers[rank].gone => {
                let trouble = format!(
                    "rank {rank} cannot be reached: others have lost it, or it is on no list of this job"
                );
                self.peers[rank].trouble.get_or_insert(trouble);
            }
            _ => {}
        }
        self.record(rank, state);
        self.inquiry.pending.remove(&rank);
        self.decide_on_claimants(rank, now);
    }

    /// The card of `rank` will not come.
    pub(super) fn card_failed(&mut self, rank: usize, reason: &str, now: Instant) {
        self.inquiry.pending.remove(&rank);
        self.decide_on_claimants(rank, now);
        if self.peers[rank].wanted.is_some() {
            let trouble = format!("the card of rank {rank} cannot be had: {reason}");
            self.give_up(rank, trouble, now);
        }
    }

    /// Whether the card of `rank` was asked for and has not come.
    pub(super) fn awaits_card(&self, rank: usize) -> bool {
        self.inquiry.pending.contains(&rank)
    }

    /// Whether more can be heard from `rank` itself: it has been reached, or has reached this rank and is about to be known.
    fn is_connected(&self, rank: usize) -> bool {
        self.conns.iter().flatten().any(|conn| match conn.stage {
            Stage::Shaking | Stage::Over => false,
            Stage::Shown => conn.claim.is_some_and(|(claimed, _)| claimed == rank),
            Stage::Known | Stage::Elected => conn.peer == Some(rank),
        })
    }
}

/// Between two looks at a directory that was asked nothing.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
/// News that are taken in one look.
const MOST_NEWS: usize = 64;
