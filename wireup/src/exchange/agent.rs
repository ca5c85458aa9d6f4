//! The inner nodes of the tree: one agent per host, and the root.
//!
//! An agent keeps the cards of all ranks below it and those that somebody below has asked for. It gathers what its children
//! say before it says so itself to its parent. Fences and losses of the whole job are decided at the root alone: the order in
//! which the root says them is the order in which every rank sees them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::failure::shortened;
use super::fence::Gate;
use super::message::Message;
use super::{Abort, Card, ExchangeError, Fault, Loss, RankSet, Scope, Who};

mod cards;
mod departures;
mod shape;

pub use shape::{Shape, ShapeError};

/// An agent, or the root.
///
/// Feed it with [`handle_frame`](Self::handle_frame) and [`handle_closed`](Self::handle_closed), then send what
/// [`poll_frame`](Self::poll_frame) gives until it has nothing, and look at [`poll_event`](Self::poll_event). Nothing blocks.
/// The module's page has an example.
#[derive(Debug)]
pub struct Agent {
    name: Who,
    parent: Option<Who>,
    size: u32,
    /// The ranks that are its children: those of its host.
    host: RankSet,
    /// All ranks below.
    below: RankSet,
    children: BTreeMap<Who, Child>,
    cards: FxHashMap<u32, Arc<Card>>,
    /// Cards that the parent does not have yet.
    fresh: Vec<(u32, Arc<Card>)>,
    /// Who waits for a card that is not here.
    waiting: FxHashMap<u32, Vec<Who>>,
    gates: [Gate; 2],
    losses: Vec<Loss>,
    lost: RankSet,
    /// Who has left, as all were told.
    left: RankSet,
    /// Who has left since that was passed on.
    newly_left: RankSet,
    abort: Option<Abort>,
    has_left: bool,
    outgoing: VecDeque<(Who, Arc<[u8]>)>,
    events: VecDeque<AgentEvent>,
}

/// What the owner of an agent may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentEvent {
    /// All have passed a fence of this scope.
    Passed(Scope),
    /// Somebody is lost.
    Lost(Loss),
    /// Somebody ended the job.
    Aborted(Abort),
    /// Every child has left or is lost: there is nothing more to do.
    Finished,
}

#[derive(Debug)]
struct Child {
    /// The child and all ranks below it.
    ranks: RankSet,
    stage: Stage,
    /// The last fence of each scope that it has come to.
    rounds: [u32; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has not said its name.
    Silent,
    Present,
    Left,
    Lost,
}

impl Agent {
    /// The root of a tree.
    ///
    /// # Errors
    /// [`ShapeError`] when the children have not every rank of the job exactly once.
    pub fn root(shape: Shape) -> Result<Self, ShapeError> {
        let below = shape.check()?;
        if below.len() != shape.size as usize {
            let missing = RankSet::from(0..shape.size).without(&below);
            return Err(ShapeError::Missing { missing });
        }
        Ok(Self::with(Who::Root, None, shape, below))
    }

    /// Agent `number`, whose parent is `parent`. Its greeting waits in [`poll_frame`](Self::poll_frame).
    ///
    /// # Errors
    /// [`ShapeError`] when a rank is below two of the children, or none is below any.
    pub fn below(number: u32, parent: Who, shape: Shape) -> Result<Self, ShapeError> {
        let below = shape.check()?;
        let mut agent = Self::with(Who::Agent(number), Some(parent), shape, below);
        agent.tell_parent(&Message::Hello {
            who: agent.name,
            size: agent.size,
        });
        Ok(agent)
    }

    fn with(name: Who, parent: Option<Who>, shape: Shape, below: RankSet) -> Self {
        let children = shape.children();
        let gate = |of| Gate {
            of,
            ..Gate::default()
        };
        Self {
            name,
            parent,
            size: shape.size,
            gates: [gate(shape.ranks.len()), gate(children.len())],
            host: shape.ranks,
            below,
            children: children
                .into_iter()
                .map(|(who, ranks)| (who, Child::new(ranks)))
                .collect(),
            cards: FxHashMap::default(),
            fresh: Vec::new(),
            waiting: FxHashMap::default(),
            losses: Vec::new(),
            lost: RankSet::default(),
            left: RankSet::default(),
            newly_left: RankSet::default(),
            abort: None,
            has_left: false,
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Its own place in the tree.
    #[must_use]
    pub const fn name(&self) -> Who {
        self.name
    }

    /// Its parent; `None` at the root.
    #[must_use]
    pub const fn parent(&self) -> Option<Who> {
        self.parent
    }

    /// The ranks of the job.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Who is lost, in the order in which all ranks are told.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// The abort that ended the job, if one did.
    #[must_use]
    pub const fn aborted(&self) -> Option<&Abort> {
        self.abort.as_ref()
    }

    /// The ranks below children that have not said their name and are not lost.
    #[must_use]
    pub fn absent(&self) -> RankSet {
        let children = self.children.values();
        children
            .filter(|child| child.stage == Stage::Silent)
            .fold(RankSet::default(), |ranks, child| ranks.union(&child.ranks))
    }

    /// The number of children, whatever has become of them.
    #[must_use]
    pub fn children(&self) -> usize {
        self.children.len()
    }

    /// Whether every child has left or is lost.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let mut children = self.children.values();
        children.all(|child| matches!(child.stage, Stage::Left | Stage::Lost))
    }

    /// The child that speaks first on a connection of which nothing else is known.
    ///
    /// This changes nothing: hand the same frame to [`handle_frame`](Self::handle_frame), as from that child.
    ///
    /// # Errors
    /// [`Fault`] when the frame is no greeting, or one of somebody who is no child or has a connection already.
    ///
    /// # Examples
    /// ```
    /// use phalanx_wireup::exchange::{Agent, Member, Shape, Who};
    ///
    /// let root = Agent::root(Shape::new(2).with_ranks(0..2))?;
    /// let greeting = Member::new(1, 2).poll_frame().expect("it speaks first");
    /// assert_eq!(root.greeted_by(&greeting)?, Who::Rank(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn greeted_by(&self, frame: &[u8]) -> Result<Who, Fault> {
        match Message::decode(frame)? {
            Message::Hello { who, size } => {
                self.check_greeting(who, who, size)?;
                Ok(who)
            }
            message => Err(message.out_of_order()),
        }
    }

    /// What to send to somebody who is not let in, before the connection is closed.
    ///
    /// # Examples
    /// ```
    /// use phalanx_wireup::exchange::{Agent, Member, Shape};
    ///
    /// let root = Agent::root(Shape::new(2).with_ranks(0..2))?;
    /// let mut rank = Member::new(1, 3);
    /// let fault = root.greeted_by(&rank.poll_frame().expect("it speaks first")).unwrap_err();
    /// rank.handle_frame(&Agent::refusal(&fault.to_string()))?;
    /// let told = rank.end().expect("it is not let in").to_string();
    /// assert!(told.starts_with("rank 1 was turned away: a greeting from a job of another size"), "{told}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn refusal(cause: &str) -> Vec<u8> {
        Message::Refused(shortened(cause)).encode()
    }

    /// Takes in a frame from `from`, the parent or a child.
    ///
    /// # Errors
    /// [`ExchangeError`] when the frame is none that may come from there now; nothing has changed then, and the caller closes
    /// the connection and says so with [`handle_closed`](Self::handle_closed).
    pub fn handle_frame(&mut self, from: Who, frame: &[u8]) -> Result<(), ExchangeError> {
        let handled = Message::decode(frame).and_then(|message| {
            if self.parent == Some(from) {
                self.handle_from_parent(message)
            } else {
                self.handle_from_child(from, message)
            }
        });
        handled.map_err(|fault| fault.from(from))
    }

    /// Ends the job for all ranks.
    pub fn abort(&mut self, code: i32, text: &str) {
        self.spread_abort(Abort::new(self.name, code, text), None);
    }

    /// The next frame and the peer that shall get it.
    pub fn poll_frame(&mut self) -> Option<(Who, Arc<[u8]>)> {
        if self.outgoing.is_empty() {
            self.send_fresh_cards();
            self.send_newly_left();
        }
        self.outgoing.pop_front()
    }

    /// What has happened since the last call, one thing at a time.
    pub fn poll_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    fn handle_from_parent(&mut self, message: Message) -> Result<(), Fault> {
        match message {
            Message::Pass {
                scope: Scope::Job,
                round,
            } => {
                let gate = &self.gates[Scope::Job.index()];
                if round != gate.round() || !gate.is_complete() {
                    let scope = Scope::Job;
                    return Err(Message::Pass { scope, round }.out_of_order());
                }
                self.pass(Scope::Job);
            }
            Message::Answer { rank, card } => {
                if !self.waiting.contains_key(&rank) || self.below.contains(rank) {
                    return Err(Message::Answer { rank, card }.out_of_order());
                }
                self.keep(rank, card);
            }
            Message::Lost(loss) => {
                if loss.ranks.last() >= Some(self.size) || self.lost.overlaps(&loss.ranks) {
                    return Err(Message::Lost(loss).out_of_order());
                }
                self.spread_loss(loss);
            }
            Message::Left(ranks) => {
                if ranks.last() >= Some(self.size) || self.left.overlaps(&ranks) {
                    return Err(Message::Left(ranks).out_of_order());
                }
                self.spread_left(ranks);
            }
            Message::Abort(abort) => self.spread_abort(abort, self.parent),
            message => return Err(message.out_of_order()),
        }
        Ok(())
    }

    fn handle_from_child(&mut self, from: Who, message: Message) -> Result<(), Fault> {
        if let Message::Hello { who, size } = message {
            self.check_greeting(from, who, size)?;
            self.welcome(from);
            return Ok(());
        }
        let child = self.children.get(&from);
        let Some(child) = child.filter(|child| child.stage == Stage::Present) else {
            return Err(message.out_of_order());
        };
        match message {
            Message::Put(cards) => {
                let is_new =
                    |rank: &u32| child.ranks.contains(*rank) && !self.cards.contains_key(rank);
                let ranks: RankSet = cards.iter().map(|(rank, _)| *rank).collect();
                if ranks.len() != cards.len() || !ranks.iter().all(|rank| is_new(&rank)) {
                    return Err(Message::Put(cards).out_of_order());
                }
                self.keep_all(cards);
            }
            Message::Arrive { scope, round } => self.arrive(from, scope, round)?,
            Message::Get { rank } => self.get(from, rank)?,
            Message::Lost(loss) => {
                if !child.ranks.includes(&loss.ranks) {
                    return Err(Message::Lost(loss).out_of_order());
                }
                self.report_loss(&loss);
            }
            Message::Left(ranks) => {
                let known = self.left.union(&self.newly_left);
                if !child.ranks.includes(&ranks) || known.overlaps(&ranks) {
                    return Err(Message::Left(ranks).out_of_order());
                }
                self.note_left(&ranks);
            }
            Message::Abort(abort) => self.spread_abort(abort, Some(from)),
            Message::Leave => {
                self.set_stage(from, Stage::Left);
                if let Who::Rank(rank) = from {
                    self.note_left(&RankSet::from(rank..rank + 1));
                }
                self.check_left();
                self.leave_if_finished();
            }
            message => return Err(message.out_of_order()),
        }
        Ok(())
    }

    fn check_greeting(&self, from: Who, who: Who, size: u32) -> Result<(), Fault> {
        let contradiction = |what| Err(Fault::Contradiction { what });
        if size != self.size {
            return contradiction("a greeting from a job of another size");
        }
        match self.children.get(&from) {
            _ if who != from => contradiction("a greeting in the name of another"),
            None => contradiction("a greeting though it does not belong here"),
            Some(child) if child.stage != Stage::Silent => {
                contradiction("a greeting though it has come already, or was given up")
            }
            Some(_) => Ok(()),
        }
    }

    /// Lets a child in that has said its name, and tells it what it has missed.
    fn welcome(&mut self, child: Who) {
        self.set_stage(child, Stage::Present);
        if matches!(child, Who::Rank(_)) {
            let (agent, host) = (self.name, self.host.clone());
            self.send(child, &Message::Welcome { agent, host });
        }
        for loss in self.losses.clone() {
            self.send(child, &Message::Lost(loss));
        }
        let left: Vec<_> = self.left.portions().collect();
        for ranks in left {
            self.send(child, &Message::Left(ranks));
        }
        if let Some(abort) = self.abort.clone() {
            self.send(child, &Message::Abort(abort));
        }
    }

    fn arrive(&mut self, from: Who, scope: Scope, round: u32) -> Result<(), Fault> {
        let gate = &mut self.gates[scope.index()];
        let arrived = self.children.get_mut(&from).filter(|_| {
            let is_fit = scope == Scope::Job || matches!(from, Who::Rank(_));
            round == gate.round() && is_fit
        });
        match arrived.map(|child| &mut child.rounds[scope.index()]) {
            Some(last) if *last != round => *last = round,
            _ => return Err(Message::Arrive { scope, round }.out_of_order()),
        }
        gate.arrived += 1;
        self.check_left();
        if self.gates[scope.index()].is_complete() && !self.is_broken(scope) {
            if scope == Scope::Job && self.parent.is_some() {
                self.send_fresh_cards();
                self.tell_parent(&Message::Arrive { scope, round });
            } else {
                self.pass(scope);
            }
        }
        Ok(())
    }

    /// Opens the gate of `scope`.
    fn pass(&mut self, scope: Scope) {
        let gate = &mut self.gates[scope.index()];
        let round = gate.round();
        gate.open();
        self.broadcast(&Message::Pass { scope, round }, |who| {
            scope == Scope::Job || matches!(who, Who::Rank(_))
        });
        self.events.push_back(AgentEvent::Passed(scope));
    }

    fn set_stage(&mut self, child: Who, stage: Stage) {
        if let Some(child) = self.children.get_mut(&child) {
            child.stage = stage;
        }
    }

    fn tell_parent(&mut self, message: &Message) {
        if let Some(parent) = self.parent {
            self.outgoing.push_back((parent, message.encode().into()));
        }
    }

    fn send(&mut self, child: Who, message: &Message) {
        self.broadcast(message, |who| who == child);
    }

    /// Sends `message` to all children that are there and meant. It is encoded once.
    fn broadcast(&mut self, message: &Message, is_meant: impl Fn(Who) -> bool) {
        let mut frame: Option<Arc<[u8]>> = None;
        for (&who, child) in &self.children {
            if child.stage == Stage::Present && is_meant(who) {
                let frame = frame.get_or_insert_with(|| message.encode().into());
                self.outgoing.push_back((who, Arc::clone(frame)));
            }
        }
    }
}

impl Child {
    fn new(ranks: RankSet) -> Self {
        Self {
            ranks,
            stage: Stage::Silent,
            rounds: [0; 2],
        }
    }
}
