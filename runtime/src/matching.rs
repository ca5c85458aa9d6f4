//! Which message goes to which receive: two queues, hashed, with MPI's order.
//!
//! A message has a context, a source and a tag; a receive names the context and either names or leaves open each of the other two. An
//! arriving message goes to the receive that was posted first among those that fit; a receive takes the message that arrived first
//! among those that fit. So messages of one source never overtake each other, wildcards or not.
//!
//! Both queues are lists threaded through one slab, found by hashing: a posted receive is in the one list of its pattern; a message is
//! in the list of its exact key and, once somebody asked with a wildcard, in the lists of the three patterns that also fit it. Every
//! operation costs the same with ten entries as with a hundred thousand.
//!
//! Pure data: no message content, no link, no clock.

use rustc_hash::FxHashMap;
use slab::Slab;

/// What a receive asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    pub(crate) context: u32,
    /// World rank of the sender; none for any.
    pub(crate) source: Option<u32>,
    /// None for any.
    pub(crate) tag: Option<i32>,
}

/// What a message offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) context: u32,
    pub(crate) source: u32,
    pub(crate) tag: i32,
}

impl Pattern {
    #[inline]
    pub(crate) fn fits(&self, address: Address) -> bool {
        self.context == address.context
            && self.source.is_none_or(|source| source == address.source)
            && self.tag.is_none_or(|tag| tag == address.tag)
    }

    fn key(&self) -> Key {
        let kind = usize::from(self.source.is_none()) | usize::from(self.tag.is_none()) << 1;
        Key::new(
            kind,
            Address {
                context: self.context,
                source: self.source.unwrap_or(0),
                tag: self.tag.unwrap_or(0),
            },
        )
    }
}

/// Receives that wait for a message.
#[derive(Debug)]
pub(crate) struct Posted<T> {
    lists: Lists<T>,
    /// Receives posted with each kind of pattern: kinds that nobody uses are not looked up.
    counts: [usize; KINDS],
}

/// A place in a queue, to withdraw the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

impl Place {
    /// In no queue.
    pub(crate) const NONE: Self = Self(NONE);
}

/// Where a message stands in the order of arrival.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn(i64);

impl<T> Posted<T> {
    pub(crate) fn new() -> Self {
        Self {
            lists: Lists::new(),
            counts: [0; KINDS],
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.nodes.is_empty()
    }

    pub(crate) fn insert(&mut self, pattern: &Pattern, receive: T) -> Place {
        let key = pattern.key();
        let index = self.lists.add(receive);
        self.counts[key.kind()] += 1;
        self.lists.push_back(key, index);
        Place(index)
    }

    /// Takes the receive that is first in line for a message.
    pub(crate) fn take(&mut self, address: Address) -> Option<T> {
        let mut first: Option<(i64, Key, usize)> = None;
        for kind in (0..KINDS).filter(|&kind| self.counts[kind] != 0) {
            let key = Key::new(kind, address);
            if let Some(index) = self.lists.front(key) {
                let stamp = self.lists.nodes[index].stamp;
                if first.is_none_or(|(earlier, ..)| stamp < earlier) {
                    first = Some((stamp, key, index));
                }
            }
        }
        first.map(|(_, key, index)| self.remove(key, index))
    }

    /// Takes a receive out, wherever in line it stands.
    pub(crate) fn withdraw(&mut self, place: Place) -> Option<T> {
        let node = self.lists.nodes.get(place.0)?;
        let key = node.keys.iter().flatten().next().copied()?;
        Some(self.remove(key, place.0))
    }

    fn remove(&mut self, key: Key, index: usize) -> T {
        self.lists.unlink(key, index);
        self.counts[key.kind()] -= 1;
        self.lists.nodes.remove(index).value
    }
}

/// Messages that wait for a receive.
#[derive(Debug)]
pub(crate) struct Unexpected<T> {
    lists: Lists<(Address, T)>,
    /// Kinds of patterns that have been asked for; the others are not kept up.
    indexed: [bool; KINDS],
}

impl<T> Unexpected<T> {
    pub(crate) fn new() -> Self {
        let mut indexed = [false; KINDS];
        indexed[EXACT] = true;
        Self {
            lists: Lists::new(),
            indexed,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.nodes.is_empty()
    }

    pub(crate) fn insert(&mut self, address: Address, message: T) {
        let index = self.lists.add((address, message));
        for kind in (0..KINDS).filter(|&kind| self.indexed[kind]) {
            self.lists.push_back(Key::new(kind, address), index);
        }
    }

    /// Puts a message back to where it stood. Looks at those ahead of it: for rare events only.
    pub(crate) fn restore(&mut self, address: Address, message: T, Turn(stamp): Turn) {
        let index = self.lists.insert((address, message), stamp);
        for kind in (0..KINDS).filter(|&kind| self.indexed[kind]) {
            self.lists.link_by_stamp(Key::new(kind, address), index);
        }
    }

    /// The message that is first in line for a receive, left where it is.
    pub(crate) fn peek(&mut self, pattern: &Pattern) -> Option<(Address, &T)> {
        let index = self.find(pattern)?;
        let (address, message) = &self.lists.nodes[index].value;
        Some((*address, message))
    }

    /// Takes the message that is first in line for a receive.
    pub(crate) fn take(&mut self, pattern: &Pattern) -> Option<(Address, T)> {
        let index = self.find(pattern)?;
        Some(self.remove(index))
    }

    /// As [`Self::take`], with what [`Self::restore`] needs to know.
    pub(crate) fn extract(&mut self, pattern: &Pattern) -> Option<(Address, T, Turn)> {
        let index = self.find(pattern)?;
        let turn = Turn(self.lists.nodes[index].stamp);
        let (address, message) = self.remove(index);
        Some((address, message, turn))
    }

    /// Takes the first message for which `wanted` holds. Looks at all of them: for rare events only.
    pub(crate) fn take_where(
        &mut self,
        wanted: impl Fn(Address, &T) -> bool,
    ) -> Option<(Address, T)> {
        let index = self
            .lists
            .nodes
            .iter()
            .find(|(_, node)| wanted(node.value.0, &node.value.1))
            .map(|(index, _)| index)?;
        Some(self.remove(index))
    }

    fn find(&mut self, pattern: &Pattern) -> Option<usize> {
        let key = pattern.key();
        if !self.indexed[key.kind()] {
            self.index(key.kind());
        }
        self.lists.front(key)
    }

    /// Begins to keep the lists of one kind of pattern.
    #[cold]
    fn index(&mut self, kind: usize) {
        self.indexed[kind] = true;
        let mut all: Vec<(i64, usize)> = self
            .lists
            .nodes
            .iter()
            .map(|(index, node)| (node.stamp, index))
            .collect();
        all.sort_unstable();
        for (_, index) in all {
            let address = self.lists.nodes[index].value.0;
            self.lists.push_back(Key::new(kind, address), index);
        }
    }

    fn remove(&mut self, index: usize) -> (Address, T) {
        let keys = self.lists.nodes[index].keys;
        for key in keys.into_iter().flatten() {
            self.lists.unlink(key, index);
        }
        self.lists.nodes.remove(index).value
    }
}

/// Doubly linked lists by key, threaded through one slab. A node is in at most one list of each kind.
#[derive(Debug)]
struct Lists<T> {
    nodes: Slab<Node<T>>,
    ends: FxHashMap<Key, Ends>,
    /// Stamps given out so far.
    stamps: i64,
    /// How many links were looked at, to be counted by tests.
    #[cfg(test)]
    steps: std::cell::Cell<usize>,
}

#[derive(Debug)]
struct Node<T> {
    value: T,
    /// Grows in the order in which nodes are to be served.
    stamp: i64,
    keys: [Option<Key>; KINDS],
    links: [Link; KINDS],
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: usize,
    last: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: usize,
    next: usize,
}

impl<T> Lists<T> {
    fn new() -> Self {
        Self {
            nodes: Slab::new(),
            ends: FxHashMap::default(),
            stamps: 0,
            #[cfg(test)]
            steps: std::cell::Cell::default(),
        }
    }

    fn add(&mut self, value: T) -> usize {
        self.stamps += 1;
        self.insert(value, self.stamps)
    }

    fn insert(&mut self, value: T, stamp: i64) -> usize {
        let links = [Link {
            previous: NONE,
            next: NONE,
        }; KINDS];
        self.nodes.insert(Node {
            value,
            stamp,
            keys: [None; KINDS],
            links,
        })
    }

    fn front(&self, key: Key) -> Option<usize> {
        self.step();
        self.ends.get(&key).map(|ends| ends.first)
    }

    fn push_back(&mut self, key: Key, index: usize) {
        self.step();
        let kind = key.kind();
        let ends = self.ends.entry(key).or_insert(Ends {
            first: index,
            last: index,
        });
        let previous = if ends.last == index { NONE } else { ends.last };
        ends.last = index;
        if previous != NONE {
            self.nodes[previous].links[kind].next = index;
        }
        let node = &mut self.nodes[index];
        node.keys[kind] = Some(key);
        node.links[kind] = Link {
            previous,
            next: NONE,
        };
    }

    /// Links a node where its stamp belongs.
    fn link_by_stamp(&mut self, key: Key, index: usize) {
        let kind = key.kind();
        let stamp = self.nodes[index].stamp;
        let mut next = self.front(key).unwrap_or(NONE);
        while next != NONE && self.nodes[next].stamp < stamp {
            self.step();
            next = self.nodes[next].links[kind].next;
        }
        if next == NONE {
            self.push_back(key, index);
            return;
        }
        let previous = std::mem::replace(&mut self.nodes[next].links[kind].previous, index);
        if previous == NONE {
            self.ends
                .get_mut(&key)
                .expect("a linked node has a list")
                .first = index;
        } else {
            self.nodes[previous].links[kind].next = index;
        }
        let node = &mut self.nodes[index];
        node.keys[kind] = Some(key);
        node.links[kind] = Link { previous, next };
    }

    fn unlink(&mut self, key: Key, index: usize) {
        self.step();
        let kind = key.kind();
        let Link { previous, next } = self.nodes[index].links[kind];
        match (previous, next) {
            (NONE, NONE) => {
                // An empty list is forgotten, so that memory grows with what waits and not with what ever waited.
                self.ends.remove(&key);
            }
            (NONE, next) => {
                self.nodes[next].links[kind].previous = NONE;
                self.ends
                    .get_mut(&key)
                    .expect("a linked node has a list")
                    .first = next;
            }
            (previous, NONE) => {
                self.nodes[previous].links[kind].next = NONE;
                self.ends
                    .get_mut(&key)
                    .expect("a linked node has a list")
                    .last = previous;
            }
            (previous, next) => {
                self.nodes[previous].links[kind].next = next;
                self.nodes[next].links[kind].previous = previous;
            }
        }
    }

    #[inline]
    fn step(&self) {
        #[cfg(test)]
        self.steps.set(self.steps.get() + 1);
    }
}

/// Hash key of a list: the parts that its kind of pattern leaves open are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    place: u64,
    label: u64,
}

impl Key {
    fn new(kind: usize, address: Address) -> Self {
        let source = if kind & ANY_SOURCE == 0 {
            address.source
        } else {
            0
        };
        let tag = if kind & ANY_TAG == 0 {
            address.tag.cast_unsigned()
        } else {
            0
        };
        Self {
            place: u64::from(address.context) << 32 | u64::from(source),
            label: (kind as u64) << 32 | u64::from(tag),
        }
    }

    fn kind(self) -> usize {
        (self.label >> 32) as usize
    }
}

const NONE: usize = usize::MAX;
const EXACT: usize = 0;
const ANY_SOURCE: usize = 1;
const ANY_TAG: usize = 2;
const KINDS: usize = 4;

#[cfg(test)]
mod tests;
