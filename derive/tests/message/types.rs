//! The types under test: every kind of item and field.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use phalanx::Message;

#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Step {
    pub(crate) id: u64,
    pub(crate) cells: Vec<f32>,
    pub(crate) note: String,
}

#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Unit;

#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Meters(pub(crate) f64, pub(crate) Option<Unit>);

#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Empty {}

/// Names that need care: keywords, and those that generated code uses.
#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Names {
    pub(crate) r#type: u8,
    pub(crate) resolver: u16,
    pub(crate) serializer: u32,
    pub(crate) f: String,
    pub(crate) out: (),
}

#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) enum Shape {
    Circle(f64),
    Line { from: (f32, f32), to: (f32, f32) },
    Group(Vec<Shape>),
    Named(HashMap<String, Self>),
    Nothing,
}

#[derive(Clone, Copy, Debug, Message, PartialEq)]
pub(crate) enum Level {
    Low = 10,
    High = 20,
}

#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Pair<L, R = u8> {
    pub(crate) left: L,
    pub(crate) right: Vec<R>,
}

#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Grid<const W: usize, const H: usize> {
    pub(crate) cells: [[f64; W]; H],
}

#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) enum Tagged<T, const N: usize>
where
    T: Copy,
{
    One(T),
    Many { values: [T; N] },
    None(PhantomData<T>),
}

/// Contains itself, by name and as `Self`.
#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Tree {
    pub(crate) label: String,
    pub(crate) children: Vec<Tree>,
    pub(crate) first: Option<Box<Self>>,
}

/// Contains itself and depends on a parameter.
#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Forest<T> {
    pub(crate) value: T,
    pub(crate) below: Vec<Forest<T>>,
    pub(crate) named: BTreeMap<String, Self>,
}

/// Contains itself by way of [`Country`].
#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Town {
    pub(crate) name: String,
    pub(crate) twins: Vec<Country>,
}

#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Country {
    pub(crate) capital: Option<Box<Town>>,
    pub(crate) towns: BTreeMap<u32, Town>,
}

/// A chain as long as the test wants.
#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Link {
    pub(crate) next: Option<Box<Link>>,
}

pub(crate) mod inner {
    use phalanx::Message;

    /// Every visibility of a field.
    #[derive(Clone, Debug, Message, PartialEq)]
    pub(crate) struct Mixed {
        pub open: u8,
        pub(crate) within: u16,
        pub(super) above: u32,
        own: u64,
    }

    impl Mixed {
        pub(crate) fn new(own: u64) -> Self {
            Self {
                open: 1,
                within: 2,
                above: 3,
                own,
            }
        }
    }

    pub(crate) fn own(mixed: &ArchivedMixed) -> u64 {
        mixed.own.to_native()
    }
}

pub(crate) fn above(mixed: &inner::ArchivedMixed) -> u32 {
    mixed.above.to_native()
}

/// Bounds of the program's own on the parameters.
#[derive(Clone, Debug, Message, PartialEq)]
pub(crate) struct Index<K: Debug>
where
    K: Eq + Hash,
{
    pub(crate) keys: Vec<K>,
    pub(crate) names: HashSet<String>,
}
