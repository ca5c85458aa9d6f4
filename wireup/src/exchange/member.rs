//! The rank's end of the exchange.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;

use rustc_hash::FxHashMap;

use super::message::Message;
use super::{
    Abort, Card, ExchangeError, Failure, Fault, Loss, MAX_RANKS, Misuse, RankSet, Scope, Who,
};

/// A rank in the exchange: puts its card, waits at fences, fetches cards.
///
/// Call in any order: an operation (`put`, `start_*`, `abort`, `leave`), then [`poll_frame`](Self::poll_frame) until it has
/// nothing, and send what it gave; [`handle_frame`](Self::handle_frame) for what arrives; `poll_*` for results. Nothing blocks.
/// The module's page has an example.
#[derive(Debug)]
pub struct Member {
    rank: u32,
    size: u32,
    /// Its parent, once it has said its name.
    agent: Option<Who>,
    host: RankSet,
    own: Option<Arc<Card>>,
    fences: [Fence; 2],
    /// The cards asked for; `None` until the answer is there.
    cards: FxHashMap<u32, Option<Arc<Card>>>,
    losses: Vec<Loss>,
    lost: RankSet,
    left: RankSet,
    end: Option<Failure>,
    outgoing: VecDeque<Message>,
}

/// Fences of one scope that this rank has come to and has passed.
#[derive(Debug, Default)]
struct Fence {
    started: u32,
    passed: u32,
}

impl Member {
    /// Rank `rank` of `size`. Its greeting waits in [`poll_frame`](Self::poll_frame).
    ///
    /// # Panics
    /// If `rank` is not below `size`, or `size` is above [`MAX_RANKS`].
    #[must_use]
    pub fn new(rank: u32, size: u32) -> Self {
        assert!(
            rank < size && size <= MAX_RANKS,
            "a rank is below the size of its job"
        );
        let hello = Message::Hello {
            who: Who::Rank(rank),
            size,
        };
        Self {
            rank,
            size,
            agent: None,
            host: RankSet::default(),
            own: None,
            fences: Default::default(),
            cards: FxHashMap::default(),
            losses: Vec::new(),
            lost: RankSet::default(),
            left: RankSet::default(),
            end: None,
            outgoing: VecDeque::from([hello]),
        }
    }

    /// This rank's number.
    #[must_use]
    pub const fn rank(&self) -> u32 {
        self.rank
    }

    /// Ranks of the job.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// The ranks below the same agent, this one included; `None` until the agent has said so.
    #[must_use]
    pub fn host_ranks(&self) -> Option<&RankSet> {
        self.agent.map(|_| &self.host)
    }

    /// Who is lost, in the order in which it was told.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// Who has left in good order, as far as it was told.
    #[must_use]
    pub const fn left(&self) -> &RankSet {
        &self.left
    }

    /// Why nothing more can be learned, once that is so.
    #[must_use]
    pub const fn end(&self) -> Option<&Failure> {
        self.end.as_ref()
    }

    /// Tells all others how this rank is reached.
    ///
    /// # Errors
    /// [`Failure::Misuse`] for a card that is too large or a second one; any other when the wire-up has ended.
    pub fn put(&mut self, card: Card) -> Result<(), Failure> {
        self.check_open()?;
        card.check().map_err(Misuse::from)?;
        if self.own.is_some() {
            return Err(Misuse::PutTwice { rank: self.rank }.into());
        }
        let card = Arc::new(card);
        self.own = Some(Arc::clone(&card));
        self.outgoing
            .push_back(Message::Put(vec![(self.rank, card)]));
        Ok(())
    }

    /// Comes to the next fence of `scope`; [`poll_fence`](Self::poll_fence) tells when it is passed.
    ///
    /// # Errors
    /// [`Failure::Lost`] when a rank of the scope is lost; [`Failure::Misuse`] before the card was put and while the last
    /// fence of the scope is not passed; any other when the wire-up has ended.
    pub fn start_fence(&mut self, scope: Scope) -> Result<(), Failure> {
        self.check_open()?;
        if self.own.is_none() {
            return Err(Misuse::NotPut { rank: self.rank }.into());
        }
        if let Some(loss) = self.loss_in(scope) {
            return Err(Failure::Lost(loss.clone()));
        }
        let fence = &mut self.fences[scope.index()];
        if fence.started != fence.passed {
            let rank = self.rank;
            return Err(Misuse::FencePending { rank, scope }.into());
        }
        fence.started = fence.started.wrapping_add(1);
        let round = fence.started;
        self.outgoing.push_back(Message::Arrive { scope, round });
        Ok(())
    }

    /// Whether the last fence of `scope` is passed.
    ///
    /// Ready with an error when a rank of the scope is lost, the wire-up has ended, or no fence was started.
    pub fn poll_fence(&self, scope: Scope) -> Poll<Result<(), Failure>> {
        let fence = &self.fences[scope.index()];
        if fence.started == 0 {
            return Poll::Ready(Err(Misuse::NotStarted { rank: self.rank }.into()));
        }
        if fence.started == fence.passed {
            return Poll::Ready(Ok(()));
        }
        match (&self.end, self.loss_in(scope)) {
            (Some(end), _) => Poll::Ready(Err(end.clone())),
            (None, Some(loss)) => Poll::Ready(Err(Failure::Lost(loss.clone()))),
            (None, None) => Poll::Pending,
        }
    }

    /// Asks for the card of `rank`, unless it is here or was asked for already.
    ///
    /// # Errors
    /// [`Failure::Lost`] when `rank` is lost; [`Failure::Misuse`] when there is no such rank; any other when the wire-up has
    /// ended.
    pub fn start_get(&mut self, rank: u32) -> Result<(), Failure> {
        if rank >= self.size {
            let (of, size, rank) = (rank, self.size, self.rank);
            return Err(Misuse::NoSuchRank { rank, of, size }.into());
        }
        if matches!(self.cards.get(&rank), Some(Some(_))) {
            return Ok(());
        }
        self.check_open()?;
        if let Some(loss) = self.loss_of(rank) {
            return Err(Failure::Lost(loss.clone()));
        }
        if self.cards.insert(rank, None).is_none() {
            self.outgoing.push_back(Message::Get { rank });
        }
        Ok(())
    }

    /// The card of `rank` that was asked for.
    ///
    /// Ready with an error when `rank` is lost, its program cannot talk to this one, the wire-up ended before the card came,
    /// or it was not asked for.
    pub fn poll_get(&self, rank: u32) -> Poll<Result<Arc<Card>, Failure>> {
        if let Some(loss) = self.loss_of(rank) {
            return Poll::Ready(Err(Failure::Lost(loss.clone())));
        }
        match (self.cards.get(&rank), &self.end) {
            (Some(Some(card)), _) => Poll::Ready(self.compatible(rank, card)),
            (None, _) => Poll::Ready(Err(Misuse::NotStarted { rank: self.rank }.into())),
            (Some(None), Some(end)) => Poll::Ready(Err(end.clone())),
            (Some(None), None) => Poll::Pending,
        }
    }

    /// Ends the job for all ranks.
    ///
    /// # Errors
    /// When the wire-up has ended already.
    pub fn abort(&mut self, code: i32, text: &str) -> Result<(), Failure> {
        self.check_open()?;
        let abort = Abort::new(Who::Rank(self.rank), code, text);
        self.outgoing.push_back(Message::Abort(abort.clone()));
        self.end = Some(Failure::Aborted(abort));
        Ok(())
    }

    /// Says farewell: what was fetched stays, and the end of the connection is no loss. Ranks that come to a fence later are
    /// told that this one is gone.
    pub fn leave(&mut self) {
        if self.end.is_none() {
            self.outgoing.push_back(Message::Leave);
            self.end = Some(Misuse::Left { rank: self.rank }.into());
        }
    }

    /// Takes in a frame from the agent.
    ///
    /// # Errors
    /// [`ExchangeError`] when the frame is none that may come now; nothing has changed then, and the caller closes the
    /// connection and says so with [`handle_closed`](Self::handle_closed).
    pub fn handle_frame(&mut self, frame: &[u8]) -> Result<(), ExchangeError> {
        let from = self.agent.unwrap_or(Who::Root);
        let message = Message::decode(frame).map_err(|fault| fault.from(from))?;
        self.handle(message).map_err(|fault| fault.from(from))
    }

    /// Takes note that the connection to the agent has ended.
    pub fn handle_closed(&mut self, cause: &str) {
        self.outgoing.clear();
        if self.end.is_none() {
            let (rank, cause) = (self.rank, cause.to_owned());
            self.end = Some(Failure::Disconnected { rank, cause });
        }
    }

    /// The next frame for the agent.
    pub fn poll_frame(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front().map(|message| message.encode())
    }

    fn handle(&mut self, message: Message) -> Result<(), Fault> {
        match message {
            Message::Welcome { agent, host } if self.agent.is_none() => {
                if !host.contains(self.rank) || host.last() >= Some(self.size) {
                    let what = "a welcome to a host without this rank";
                    return Err(Fault::Contradiction { what });
                }
                self.agent = Some(agent);
                self.host = host;
            }
            Message::Abort(abort) => {
                self.end.get_or_insert(Failure::Aborted(abort));
            }
            Message::Refused(cause) if self.agent.is_none() => {
                let rank = self.rank;
                self.end.get_or_insert(Failure::Refused { rank, cause });
            }
            // Everything else comes after the welcome.
            message if self.agent.is_none() => return Err(message.out_of_order()),
            Message::Pass { scope, round } => {
                let fence = &mut self.fences[scope.index()];
                if round != fence.started || round == fence.passed {
                    return Err(Message::Pass { scope, round }.out_of_order());
                }
                fence.passed = round;
            }
            Message::Answer { rank, card } => match self.cards.get_mut(&rank) {
                Some(answer @ None) => *answer = Some(card),
                _ => return Err(Message::Answer { rank, card }.out_of_order()),
            },
            Message::Lost(loss) => {
                if loss.ranks.last() >= Some(self.size) || self.lost.overlaps(&loss.ranks) {
                    return Err(Message::Lost(loss).out_of_order());
                }
                self.lost = self.lost.union(&loss.ranks);
                self.losses.push(loss);
            }
            Message::Left(ranks) => {
                if ranks.last() >= Some(self.size) || self.left.overlaps(&ranks) {
                    return Err(Message::Left(ranks).out_of_order());
                }
                self.left = self.left.union(&ranks);
            }
            message => return Err(message.out_of_order()),
        }
        Ok(())
    }

    fn check_open(&self) -> Result<(), Failure> {
        self.end.clone().map_or(Ok(()), Err)
    }

    fn loss_of(&self, rank: u32) -> Option<&Loss> {
        self.losses.iter().find(|loss| loss.ranks.contains(rank))
    }

    fn loss_in(&self, scope: Scope) -> Option<&Loss> {
        match scope {
            Scope::Job => self.losses.first(),
            Scope::Host => {
                let mut losses = self.losses.iter();
                losses.find(|loss| loss.ranks.overlaps(&self.host))
            }
        }
    }

    /// `card`, unless the program of `rank` cannot talk to this one.
    fn compatible(&self, rank: u32, card: &Arc<Card>) -> Result<Arc<Card>, Failure> {
        match &self.own {
            Some(own) if !own.build.can_talk_to(&card.build) => Err(Failure::Incompatible {
                rank,
                host: card.host.name.clone(),
                theirs: Box::new(card.build.clone()),
                ours: Box::new(own.build.clone()),
            }),
            _ => Ok(Arc::clone(card)),
        }
    }
}
