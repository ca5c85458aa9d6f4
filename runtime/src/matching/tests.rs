//! Random schedules against the plainest model of MPI's rules, and the cost of a match among a hundred thousand.

use proptest::prelude::*;

use super::{Address, Pattern, Place, Posted, Turn, Unexpected};

/// What may happen, in small numbers so that everything collides.
#[derive(Clone, Debug)]
enum Event {
    /// A receive takes a waiting message, or is posted.
    Receive(Pattern),
    /// A message goes to a posted receive, or waits.
    Arrive(Address),
    /// A posted receive is cancelled; named by its place among those ever posted.
    Withdraw(prop::sample::Index),
    Peek(Pattern),
    /// A message is taken aside.
    Extract(Pattern),
    /// One that was taken aside is put back.
    Restore(prop::sample::Index),
    /// The sender of a message takes it back.
    Revoke(prop::sample::Index),
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let source = prop::option::weighted(0.7, 0..3_u32);
    let tag = prop::option::weighted(0.7, 0..3_i32);
    (0..2_u32, source, tag).prop_map(|(context, source, tag)| Pattern {
        context,
        source,
        tag,
    })
}

fn address() -> impl Strategy<Value = Address> {
    (0..2_u32, 0..3_u32, 0..3_i32).prop_map(|(context, source, tag)| Address {
        context,
        source,
        tag,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => pattern().prop_map(Event::Receive),
        6 => address().prop_map(Event::Arrive),
        1 => any::<prop::sample::Index>().prop_map(Event::Withdraw),
        1 => pattern().prop_map(Event::Peek),
        2 => pattern().prop_map(Event::Extract),
        2 => any::<prop::sample::Index>().prop_map(Event::Restore),
        1 => any::<prop::sample::Index>().prop_map(Event::Revoke),
    ]
}

/// MPI's rules as one would write them down: lists in order of time, searched from the front.
#[derive(Default)]
struct Model {
    posted: Vec<(Pattern, usize)>,
    waiting: Vec<(Address, usize)>,
}

impl Model {
    fn receive_for(&mut self, address: Address) -> Option<usize> {
        let found = self
            .posted
            .iter()
            .position(|(pattern, _)| pattern.fits(address))?;
        Some(self.posted.remove(found).1)
    }

    fn message_for(&self, pattern: &Pattern) -> Option<usize> {
        self.waiting
            .iter()
            .position(|&(address, _)| pattern.fits(address))
    }

    /// Messages are numbered in the order of arrival.
    fn put_back(&mut self, address: Address, message: usize) {
        let place = self
            .waiting
            .iter()
            .take_while(|&&(_, other)| other < message)
            .count();
        self.waiting.insert(place, (address, message));
    }
}

/// The queues and the model side by side.
struct Pair {
    posted: Posted<usize>,
    unexpected: Unexpected<usize>,
    model: Model,
    places: Vec<(usize, Place)>,
    aside: Vec<(Address, usize, Turn)>,
    count: usize,
}

impl Pair {
    fn new() -> Self {
        Self {
            posted: Posted::new(),
            unexpected: Unexpected::new(),
            model: Model::default(),
            places: Vec::new(),
            aside: Vec::new(),
            count: 0,
        }
    }

    fn take_from_model(&mut self, pattern: &Pattern) -> Option<(Address, usize)> {
        let found = self.model.message_for(pattern)?;
        Some(self.model.waiting.remove(found))
    }

    fn apply(&mut self, event: Event) -> Result<(), TestCaseError> {
        self.count += 1;
        match event {
            Event::Receive(pattern) => {
                let expected = self.take_from_model(&pattern);
                prop_assert_eq!(self.unexpected.take(&pattern), expected);
                if expected.is_none() {
                    self.model.posted.push((pattern, self.count));
                    let place = self.posted.insert(&pattern, self.count);
                    self.places.push((self.count, place));
                }
            }
            Event::Arrive(address) => {
                let expected = self.model.receive_for(address);
                prop_assert_eq!(self.posted.take(address), expected);
                self.places
                    .retain(|&(receive, _)| Some(receive) != expected);
                if expected.is_none() {
                    self.model.waiting.push((address, self.count));
                    self.unexpected.insert(address, self.count);
                }
            }
            Event::Withdraw(index) if !self.places.is_empty() => {
                let (receive, place) = self.places.remove(index.index(self.places.len()));
                self.model.posted.retain(|&(_, other)| other != receive);
                prop_assert_eq!(self.posted.withdraw(place), Some(receive));
            }
            Event::Peek(pattern) => {
                let expected = self.model.message_for(&pattern);
                let expected = expected.map(|found| self.model.waiting[found]);
                let found = self.unexpected.peek(&pattern);
                prop_assert_eq!(
                    found.map(|(address, &message)| (address, message)),
                    expected
                );
            }
            Event::Extract(pattern) => {
                let expected = self.take_from_model(&pattern);
                let found = self.unexpected.extract(&pattern);
                prop_assert_eq!(
                    found.map(|(address, message, _)| (address, message)),
                    expected
                );
                self.aside.extend(found);
            }
            Event::Restore(index) if !self.aside.is_empty() => {
                let (address, message, turn) = self.aside.remove(index.index(self.aside.len()));
                self.model.put_back(address, message);
                self.unexpected.restore(address, message, turn);
            }
            Event::Revoke(index) if !self.model.waiting.is_empty() => {
                let found = index.index(self.model.waiting.len());
                let (address, message) = self.model.waiting.remove(found);
                let wanted = |other, &number: &usize| other == address && number == message;
                prop_assert_eq!(self.unexpected.take_where(wanted), Some((address, message)));
            }
            Event::Withdraw(_) | Event::Restore(_) | Event::Revoke(_) => {}
        }
        prop_assert_eq!(self.posted.is_empty(), self.model.posted.is_empty());
        prop_assert_eq!(self.unexpected.is_empty(), self.model.waiting.is_empty());
        Ok(())
    }

    /// What is left comes out in the order of the model, and leaves no list behind.
    fn drain(mut self) -> Result<(), TestCaseError> {
        for (address, message) in std::mem::take(&mut self.model.waiting) {
            let anything = Pattern {
                context: address.context,
                source: Some(address.source),
                tag: Some(address.tag),
            };
            prop_assert_eq!(self.unexpected.take(&anything), Some((address, message)));
        }
        for (receive, place) in std::mem::take(&mut self.places) {
            prop_assert_eq!(self.posted.withdraw(place), Some(receive));
        }
        prop_assert!(self.unexpected.lists.ends.is_empty());
        prop_assert!(self.posted.lists.ends.is_empty());
        prop_assert_eq!(self.posted.counts, [0; super::KINDS]);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_match_is_the_one_that_mpi_prescribes(
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut pair = Pair::new();
        for event in events {
            pair.apply(event)?;
        }
        pair.drain()?;
    }
}

#[test]
fn a_place_in_no_queue_is_withdrawn_from_none() {
    assert_eq!(Posted::<u8>::new().withdraw(Place::NONE), None);
}

const MANY: usize = 100_000;

/// A message among so many with few of one source or tag.
fn nth(index: usize) -> Address {
    Address {
        context: 0,
        source: (index % 100) as u32,
        tag: (index / 100) as i32,
    }
}

fn exactly(address: Address) -> Pattern {
    Pattern {
        context: address.context,
        source: Some(address.source),
        tag: Some(address.tag),
    }
}

/// Each kind of pattern that fits the message.
fn patterns_of(address: Address) -> [Pattern; 4] {
    let exact = exactly(address);
    let any_source = Pattern {
        source: None,
        ..exact
    };
    let any_tag = Pattern { tag: None, ..exact };
    let anything = Pattern {
        source: None,
        ..any_tag
    };
    [exact, any_source, any_tag, anything]
}

#[test]
fn a_match_costs_as_much_among_many_messages_as_among_few() {
    let cost = |many: usize| {
        let mut unexpected = Unexpected::new();
        // The first wildcard of each kind makes its lists, once.
        for pattern in patterns_of(nth(0)) {
            assert!(unexpected.peek(&pattern).is_none());
        }
        for index in 0..many {
            unexpected.insert(nth(index), index);
        }
        let mut most = 0;
        for index in [0, many / 2, many - 1] {
            for pattern in patterns_of(nth(index)) {
                unexpected.lists.steps.set(0);
                let (address, message) = unexpected.take(&pattern).expect("one fits");
                most = most.max(unexpected.lists.steps.get());
                assert!(pattern.fits(address));
                unexpected.insert(address, message);
            }
        }
        most
    };
    let few = cost(8);
    assert!(few <= 8, "{few} steps");
    assert_eq!(cost(MANY), few);
}

#[test]
fn a_match_costs_as_much_among_many_receives_as_among_few() {
    let cost = |many: usize| {
        let mut posted = Posted::new();
        let mut places = Vec::new();
        for index in 0..many {
            for pattern in patterns_of(nth(index)) {
                places.push(posted.insert(&pattern, index));
            }
        }
        let mut most = 0;
        for index in [0, many / 2, many - 1] {
            posted.lists.steps.set(0);
            posted.take(nth(index)).expect("several fit");
            most = most.max(posted.lists.steps.get());
            // Out of the middle of the longest list: the fourth of each is that of the full wildcard.
            let place = places[4 * (index / 2 + many / 4) + 3];
            posted.lists.steps.set(0);
            if posted.withdraw(place).is_some() {
                most = most.max(posted.lists.steps.get());
            }
        }
        most
    };
    let few = cost(8);
    assert!(few <= 8, "{few} steps");
    assert_eq!(cost(MANY), few);
}

#[test]
fn many_messages_come_out_in_order_by_every_kind_of_pattern() {
    for kind in 0..4 {
        let mut unexpected = Unexpected::new();
        for index in 0..MANY {
            unexpected.insert(nth(index), index);
        }
        for index in 0..MANY {
            // Backwards by name, forwards by wildcards that leave the source open.
            let wanted = if kind == 0 { MANY - 1 - index } else { index };
            let (_, message) = unexpected
                .take(&patterns_of(nth(wanted))[kind])
                .expect("as many as were put in");
            assert_eq!(message, wanted);
        }
        assert!(unexpected.is_empty());
        assert!(unexpected.lists.ends.is_empty());
    }
}
