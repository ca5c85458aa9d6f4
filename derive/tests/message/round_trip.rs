//! What is sent arrives: in place under the names of the fields, and as an owned value.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::marker::PhantomData;

use phalanx::{Message, SendBuffer};
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;

use crate::types::inner::{ArchivedMixed, Mixed, own};
use crate::types::{
    ArchivedMeters, ArchivedShape, ArchivedStep, Country, Empty, Forest, Grid, Index, Level, Link,
    Meters, Names, Pair, Shape, Step, Tagged, Town, Tree, Unit, above,
};
use crate::{encode, receive};

fn assert_round_trip<T>(value: &T)
where
    T: Message<Owned = T, View: Debug> + PartialEq + Debug,
{
    let received = receive(value);
    assert!(format!("{received:?}").starts_with("Received {"));
    assert_eq!(received.to_owned(), *value);
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = ".{0,20}".prop_map(|label| Tree {
        label,
        children: Vec::new(),
        first: None,
    });
    leaf.prop_recursive(5, 60, 4, |inner| {
        (
            ".{0,20}",
            vec(inner.clone(), 0..4),
            proptest::option::of(inner.prop_map(Box::new)),
        )
            .prop_map(|(label, children, first)| Tree {
                label,
                children,
                first,
            })
    })
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let coordinates = || (-9.0f32..9.0, -9.0f32..9.0);
    let leaf = prop_oneof![
        (0.0..9.0).prop_map(Shape::Circle),
        (coordinates(), coordinates()).prop_map(|(from, to)| Shape::Line { from, to }),
        Just(Shape::Nothing),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Shape::Group),
            hash_map(".{0,12}", inner, 0..4).prop_map(Shape::Named),
        ]
    })
}

proptest! {
    #[test]
    fn steps(id: u64, cells in vec(-1.0f32..1.0, 0..50), note in ".{0,30}") {
        assert_round_trip(&Step { id, cells, note });
    }

    #[test]
    fn trees(value in tree()) {
        assert_round_trip(&value);
    }

    #[test]
    fn shapes(value in shape()) {
        assert_round_trip(&value);
    }

    #[test]
    fn generic_pairs(left in proptest::option::of(".{0,9}"), right in vec(any::<(u8, i64)>(), 0..9)) {
        assert_round_trip(&Pair { left, right });
    }
}

#[test]
fn every_kind_of_item() {
    assert_round_trip(&Unit);
    assert_round_trip(&Empty {});
    assert_round_trip(&Meters(1.5, Some(Unit)));
    assert_round_trip(&Names {
        r#type: 1,
        resolver: 2,
        serializer: 3,
        f: "f".into(),
        out: (),
    });
    assert_round_trip(&[Level::Low, Level::High]);
    assert_round_trip(&Grid::<2, 3> {
        cells: [[1.0, 2.0]; 3],
    });
    assert_round_trip(&vec![
        Tagged::<u16, 2>::One(1),
        Tagged::Many { values: [2, 3] },
        Tagged::None(PhantomData),
    ]);
    assert_round_trip(&Index {
        keys: vec!['a', 'b'],
        names: HashSet::from(["n".to_owned()]),
    });
    assert_round_trip(&HashMap::from([(
        1u8,
        Pair {
            left: Unit,
            right: vec![2u8],
        },
    )]));
}

#[test]
fn types_that_contain_themselves() {
    let leaf = Forest {
        value: 3u16,
        below: vec![],
        named: BTreeMap::new(),
    };
    let named = BTreeMap::from([("leaf".to_owned(), leaf.clone())]);
    assert_round_trip(&Forest {
        value: 4u16,
        below: vec![leaf.clone(), leaf],
        named,
    });

    let town = Town {
        name: "Arles".into(),
        twins: vec![],
    };
    let country = Country {
        capital: Some(Box::new(town.clone())),
        towns: BTreeMap::from([(7, town)]),
    };
    assert_round_trip(&Town {
        name: "Thebes".into(),
        twins: vec![country.clone(), country],
    });
}

#[test]
fn fields_are_read_in_place_by_their_names() {
    let step = receive(&Step {
        id: 7,
        cells: vec![0.5; 8],
        note: "first".into(),
    });
    assert_eq!(step.id, 7);
    assert_eq!(step.cells.as_slice(), [0.5; 8]);
    assert_eq!(step.note.as_str(), "first");
    let ArchivedStep { id, cells, note: _ } = &*step;
    assert_eq!((id.to_native(), cells.len()), (7, 8));

    let meters = receive(&Meters(2.5, None));
    let ArchivedMeters { 0: length, 1: unit } = &*meters;
    assert!(*length == 2.5 && unit.is_none());

    let shape = receive(&Shape::Group(vec![Shape::Line {
        from: (0.0, 1.0),
        to: (2.0, 3.0),
    }]));
    let ArchivedShape::Group(shapes) = &*shape else {
        panic!("{shape:?}")
    };
    assert!(matches!(&shapes[0], ArchivedShape::Line { to, .. } if to.1 == 3.0));
}

#[test]
fn the_archive_prints_like_the_value() {
    let step = Step {
        id: 7,
        cells: vec![0.5],
        note: "first".into(),
    };
    let shape = Shape::Group(vec![Shape::Nothing]);
    assert_eq!(
        format!("{:?}", &*receive(&step)),
        format!("Archived{step:?}")
    );
    assert_eq!(format!("{:?}", &*receive(&shape)), format!("{shape:?}"));
    assert_eq!(
        format!("{:?}", &*receive(&Meters(0.5, Some(Unit)))),
        "ArchivedMeters(0.5, Some(ArchivedUnit))"
    );
}

#[test]
fn the_archive_has_the_visibility_of_the_type() {
    let mixed = receive(&Mixed::new(4));
    let view: &ArchivedMixed = &mixed;
    assert_eq!(
        (view.open, view.within.to_native(), above(view), own(view)),
        (1, 2, 3, 4)
    );
}

#[test]
fn a_type_inside_a_function_is_a_message() {
    #[derive(Debug, Message, PartialEq)]
    struct Local {
        step: Step,
    }
    assert_round_trip(&Local {
        step: Step {
            id: 1,
            cells: vec![],
            note: String::new(),
        },
    });
}

#[test]
fn a_value_is_its_own_send_buffer() {
    fn assert_sends_itself<T: SendBuffer<Message = T>>(value: &T) {
        assert!(std::ptr::eq(value.message(), value));
    }
    assert_sends_itself(&Step {
        id: 1,
        cells: vec![],
        note: String::new(),
    });
    assert_sends_itself(&Pair {
        left: 1u8,
        right: vec![2u8],
    });
}

#[test]
fn a_chain_that_is_too_long_is_refused_instead_of_overflowing_the_stack() {
    let chain = |links: usize| {
        (1..links).fold(Link { next: None }, |next, _| Link {
            next: Some(Box::new(next)),
        })
    };
    assert_round_trip(&chain(1023));
    let refused = Link::view(&encode(&chain(1024))).unwrap_err().to_string();
    assert!(refused.contains("maximum subtree depth"), "{refused}");
}
