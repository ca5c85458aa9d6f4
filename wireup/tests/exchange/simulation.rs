//! A whole job in one thread: the root, the agents and the ranks, with every frame carried by hand.

use std::collections::VecDeque;

use phalanx_wireup::exchange::{
    Agent, Build, Card, Fingerprint, Host, Member, RankSet, Scope, Tree, Who,
};

pub(crate) struct Simulation {
    pub(crate) root: Agent,
    pub(crate) agents: Vec<Agent>,
    pub(crate) ranks: Vec<Member>,
    /// The parent of each rank.
    pub(crate) parents: Vec<Who>,
    /// Who is to be asked for frames.
    due: VecDeque<Who>,
    /// The state of a generator of numbers, where the order of deliveries is to vary.
    pub(crate) seed: Option<u64>,
    pub(crate) traffic: Traffic,
    /// A rank whose frames do not leave it.
    pub(crate) held: Option<u32>,
}

/// What went over all edges of the tree.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
    /// The longest frame.
    pub(crate) longest: usize,
}

impl Simulation {
    /// `hosts` hosts of `each` ranks.
    pub(crate) fn new(hosts: u32, each: u32, fan_out: usize) -> Self {
        let ranks_of = |host| RankSet::from(host * each..(host + 1) * each);
        let tree = Tree::new((0..hosts).map(ranks_of).collect(), fan_out);
        let agents = (0..hosts).map(|host| tree.agent(host).expect("the hosts are in order"));
        Self::with(
            tree.root().expect("the hosts have all ranks"),
            agents.collect(),
            (0..hosts * each)
                .map(|rank| Who::Agent(rank / each))
                .collect(),
        )
    }

    pub(crate) fn with(root: Agent, agents: Vec<Agent>, parents: Vec<Who>) -> Self {
        let size = root.size();
        Self {
            root,
            agents,
            ranks: (0..size).map(|rank| Member::new(rank, size)).collect(),
            parents,
            due: VecDeque::new(),
            seed: None,
            traffic: Traffic::default(),
            held: None,
        }
    }

    /// All ranks put their cards and come to the fence of the job.
    pub(crate) fn put_all(&mut self) {
        for (number, rank) in (0_u32..).zip(&mut self.ranks) {
            rank.put(card(number)).expect("a card like others");
            rank.start_fence(Scope::Job).expect("nobody is lost");
        }
    }

    /// Carries frames until nobody has any.
    pub(crate) fn settle(&mut self) {
        self.settle_for(usize::MAX);
    }

    /// Carries so many frames, or all.
    pub(crate) fn settle_for(&mut self, frames: usize) {
        let end = self.traffic.frames.saturating_add(frames);
        self.due = (0_u32..)
            .zip(&self.ranks)
            .map(|(rank, _)| Who::Rank(rank))
            .chain(
                (0_u32..)
                    .zip(&self.agents)
                    .map(|(agent, _)| Who::Agent(agent)),
            )
            .chain([Who::Root])
            .collect();
        while let Some(from) = self.next_due().filter(|_| self.traffic.frames < end) {
            // One frame at a time where the order varies, all at once where it does not matter.
            while let Some((to, frame)) = self.poll(from) {
                self.deliver(from, to, &frame);
                self.due.push_back(to);
                if self.seed.is_some() {
                    self.due.push_back(from);
                    break;
                }
            }
        }
    }

    fn next_due(&mut self) -> Option<Who> {
        if let (Some(seed), false) = (&mut self.seed, self.due.is_empty()) {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let index = (*seed >> 33) as usize % self.due.len();
            self.due.swap(0, index);
        }
        self.due.pop_front()
    }

    fn poll(&mut self, from: Who) -> Option<(Who, Vec<u8>)> {
        match from {
            Who::Rank(rank) if self.held == Some(rank) => None,
            Who::Rank(rank) => {
                let frame = self.ranks[rank as usize].poll_frame()?;
                Some((self.parents[rank as usize], frame))
            }
            _ => self
                .agent(from)
                .poll_frame()
                .map(|(to, frame)| (to, frame.to_vec())),
        }
    }

    fn deliver(&mut self, from: Who, to: Who, frame: &[u8]) {
        self.traffic.frames += 1;
        self.traffic.bytes += frame.len();
        self.traffic.longest = self.traffic.longest.max(frame.len());
        let handled = match to {
            Who::Rank(rank) => self.ranks[rank as usize].handle_frame(frame),
            _ => self.agent(to).handle_frame(from, frame),
        };
        handled.unwrap_or_else(|error| panic!("{to}: {error}"));
    }

    pub(crate) fn agent(&mut self, who: Who) -> &mut Agent {
        match who {
            Who::Agent(number) => &mut self.agents[number as usize],
            _ => &mut self.root,
        }
    }
}

/// A job whose ranks meet, fetch the cards of those whom algorithms over trees and rings talk to, and leave.
pub(crate) fn whole_job(hosts: u32, each: u32) -> Simulation {
    let mut job = Simulation::new(hosts, each, 8);
    let size = hosts * each;
    job.put_all();
    job.settle();
    for rank in 0..size {
        for peer in peers(rank, size) {
            job.ranks[rank as usize]
                .start_get(peer)
                .expect("nobody is lost");
        }
    }
    job.settle();
    for rank in 0..size {
        for peer in peers(rank, size) {
            let got = job.ranks[rank as usize].poll_get(peer);
            assert!(matches!(got, std::task::Poll::Ready(Ok(found)) if *found == card(peer)));
        }
        job.ranks[rank as usize].leave();
    }
    job.settle();
    assert!(job.root.is_finished());
    job
}

/// The neighbours of a dissemination: logarithmically many.
fn peers(rank: u32, size: u32) -> impl Iterator<Item = u32> {
    let steps = std::iter::successors(Some(1_u32), |step| step.checked_mul(2));
    steps
        .take_while(move |&step| step < size)
        .map(move |step| (rank + step) % size)
}

/// A card as a rank over QUIC has it.
pub(crate) fn card(rank: u32) -> Card {
    let [_, high, middle, low] = rank.to_be_bytes();
    Card {
        addresses: vec![
            ([10, high, middle, low], 4433).into(),
            ([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(low)], 4433).into(),
        ],
        fingerprint: Fingerprint([low; 32]),
        host: Host {
            name: format!("node{}.cluster.example.org", rank / 16),
            boot: [high; 16],
            shared_memory: u64::from(rank / 16),
        },
        build: Build::of_this_program(1),
    }
}
