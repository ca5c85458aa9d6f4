//! Which ranks run on this host, and which agent starts which others.
//!
//! ```text
//!   fan-out 2:            launcher            its own ranks, if this host has any
//!                        /        \
//!                   agent 0      agent 1      the ranks of a host each
//!                   /     \      /     \
//!                  2       3    4       5
//! ```
//!
//! Pure: names of hosts and places of ranks go in, a tree comes out.

use phalanx_wireup::exchange::{RankSet, Shape};
use serde::{Deserialize, Serialize};

use crate::exchange::number;

/// An agent's place: its host, its ranks, and the agents that it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Post {
    /// Of the host and of its agent.
    pub(crate) number: u32,
    /// The name by which the host is reached.
    pub(crate) host: String,
    pub(crate) ranks: RankSet,
    pub(crate) below: Vec<Self>,
}

impl Post {
    /// This post or the one below it of this number.
    pub(crate) fn find(&self, number: u32) -> Option<&Self> {
        if self.number == number {
            return Some(self);
        }
        self.below.iter().find_map(|post| post.find(number))
    }

    /// The ranks of its host and of all below.
    pub(crate) fn all_ranks(&self) -> RankSet {
        let below = self.below.iter();
        below.fold(self.ranks.clone(), |ranks, post| {
            ranks.union(&post.all_ranks())
        })
    }

    /// Its host and all below, with their names.
    pub(crate) fn all_hosts(&self) -> Vec<(u32, String)> {
        let mut hosts = vec![(self.number, self.host.clone())];
        hosts.extend(self.below.iter().flat_map(Self::all_hosts));
        hosts
    }
}

/// A job spread over hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The ranks that the launcher starts itself, ascending.
    pub(crate) local: Vec<usize>,
    /// The agents that it starts.
    pub(crate) posts: Vec<Post>,
}

impl Layout {
    /// The layout of a job whose rank k runs on the `places[k]`-th of `hosts`. Those that `is_here` are this host.
    pub(crate) fn new(
        hosts: &[String],
        places: &[usize],
        is_here: impl Fn(&str) -> bool,
        fan_out: usize,
    ) -> Self {
        let mut ranks_of: Vec<Vec<usize>> = vec![Vec::new(); hosts.len()];
        for (rank, &place) in places.iter().enumerate() {
            ranks_of[place].push(rank);
        }
        let used = hosts.iter().zip(ranks_of);
        let used = used.filter(|(_, ranks)| !ranks.is_empty());
        let (here, elsewhere): (Vec<_>, Vec<_>) = used.partition(|(host, _)| is_here(host));
        let mut local: Vec<_> = here.into_iter().flat_map(|(_, ranks)| ranks).collect();
        local.sort_unstable();
        let posts = (0_u32..)
            .zip(elsewhere)
            .map(|(number, (host, ranks))| Post {
                number,
                host: host.clone(),
                ranks: ranks.into_iter().map(self::number).collect(),
                below: Vec::new(),
            });
        Self {
            local,
            posts: nested(posts.collect(), fan_out.max(1)),
        }
    }

    /// All hosts that agents run on, by number.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<_> = self.posts.iter().flat_map(Post::all_hosts).collect();
        hosts.sort_unstable();
        hosts.into_iter().map(|(_, host)| host).collect()
    }

    /// A host whose ranks lie in more pieces than a set of ranks may have that is sent.
    pub(crate) fn scattered(&self) -> Option<String> {
        let is_scattered = |post: &Post| {
            let ranges = Vec::from(post.ranks.clone());
            RankSet::try_from(ranges).is_err()
        };
        let hosts = self.posts.iter().flat_map(Post::all_hosts);
        let posts = hosts.filter_map(|(number, _)| {
            let mut posts = self.posts.iter();
            posts.find_map(|post| post.find(number))
        });
        let mut posts = posts.filter(|post| is_scattered(post));
        posts.next().map(|post| post.host.clone())
    }

    /// What is below the launcher in the wire-up.
    pub(crate) fn shape(&self, size: usize) -> Shape {
        let local: RankSet = self.local.iter().map(|&rank| number(rank)).collect();
        below(Shape::new(number(size)).with_ranks(local), &self.posts)
    }
}

/// `shape` with the agents at `posts` below.
pub(crate) fn below(shape: Shape, posts: &[Post]) -> Shape {
    posts.iter().fold(shape, |shape, post| {
        shape.with_agent(post.number, post.all_ranks())
    })
}

/// Puts all but the first posts below others, `fan_out` below each, and keeps the tree as low as it can be.
fn nested(mut posts: Vec<Post>, fan_out: usize) -> Vec<Post> {
    // From the last to the first, so that each has its own below it when it is moved.
    for index in (fan_out..posts.len()).rev() {
        let post = posts.pop().expect("the range ends where the posts do");
        let parent = (index - fan_out) / fan_out;
        posts[parent].below.insert(0, post);
    }
    posts
}

#[cfg(test)]
mod tests {
    use super::*;
    use phalanx_wireup::exchange::{Agent, Who};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("h{index}")).collect()
    }

    #[test]
    fn six_hosts_make_the_tree_of_the_drawing() {
        let layout = Layout::new(&names(6), &[0, 1, 2, 3, 4, 5], |_| false, 2);
        let below =
            |post: &Post| -> Vec<u32> { post.below.iter().map(|post| post.number).collect() };
        assert_eq!(layout.posts.len(), 2);
        assert_eq!(below(&layout.posts[0]), [2, 3]);
        assert_eq!(below(&layout.posts[1]), [4, 5]);
    }

    #[test]
    fn ranks_of_this_host_need_no_agent_whatever_its_name() {
        let hosts = ["here", "b", "localhost", "unused"].map(str::to_owned);
        let is_here = |name: &str| matches!(name, "here" | "localhost");
        let layout = Layout::new(&hosts, &[2, 1, 0, 1], is_here, 16);
        assert_eq!(layout.local, [0, 2]);
        assert_eq!(layout.hosts(), ["b"]);
        assert_eq!(layout.posts[0].ranks, [1, 3].into_iter().collect());
    }

    #[test]
    fn ranks_in_too_many_pieces_are_noticed() {
        let hosts = names(2);
        let in_turn = |ranks: usize| (0..ranks).map(|rank| rank % 2).collect::<Vec<_>>();
        let layout = |ranks| Layout::new(&hosts, &in_turn(ranks), |_| false, 1);
        assert_eq!(layout(8192).scattered(), None);
        assert_eq!(layout(8193).scattered(), Some("h0".to_owned()));
        let many = vec![0; 60_000];
        let layout = Layout::new(&hosts, &many, |_| false, 1);
        assert_eq!(layout.scattered(), None);
    }

    fn check(post: &Post, parent: Who, size: u32, fan_out: usize) {
        assert!(post.below.len() <= fan_out);
        let shape = below(Shape::new(size).with_ranks(post.ranks.clone()), &post.below);
        Agent::below(post.number, parent, shape).unwrap();
        for next in &post.below {
            check(next, Who::Agent(post.number), size, fan_out);
        }
    }

    proptest! {
        #[test]
        fn every_rank_has_one_place(places in vec(0_usize..40, 1..200), fan_out in 1_usize..6, here in 0_usize..40) {
            let hosts = names(40);
            let layout = Layout::new(&hosts, &places, |name| name == hosts[here], fan_out);
            let size = number(places.len());
            Agent::root(layout.shape(places.len())).unwrap();
            for post in &layout.posts {
                check(post, Who::Root, size, fan_out);
            }
            let mut used: Vec<_> = places.clone();
            used.sort_unstable();
            used.dedup();
            let here = usize::from(used.contains(&here));
            prop_assert_eq!(layout.hosts().len(), used.len() - here);
            prop_assert!(layout.posts.len() <= fan_out);
        }
    }
}
