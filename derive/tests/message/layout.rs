//! The layout hash tells apart what would be misread, and nothing else.

use std::collections::HashSet;

use phalanx::Message;

use crate::types::{Country, Forest, Grid, Pair, Shape, Tagged, Town, Tree};

/// One module per version of the same two types.
macro_rules! version {
    ($module:ident: $($item:item)*) => {
        mod $module {
            use phalanx::Message;
            $(#[derive(Message)] $item)*
        }
    };
}

version! { original:
    pub(super) struct Cell { x: f32, y: u32 }
    pub(super) struct Step { id: u64, cells: Vec<Cell> }
}
version! { elsewhere:
    pub(super) struct Cell { x: f32, y: u32 }
    pub(super) struct Step { id: u64, cells: Vec<Cell> }
}
version! { field_renamed:
    pub(super) struct Cell { x: f32, y: u32 }
    pub(super) struct Step { at: u64, cells: Vec<Cell> }
}
version! { fields_swapped:
    pub(super) struct Cell { x: f32, y: u32 }
    pub(super) struct Step { cells: Vec<Cell>, id: u64 }
}
version! { field_retyped:
    pub(super) struct Cell { x: f32, y: u32 }
    pub(super) struct Step { id: i64, cells: Vec<Cell> }
}
version! { field_added:
    pub(super) struct Cell { x: f32, y: u32 }
    pub(super) struct Step { id: u64, cells: Vec<Cell>, z: () }
}
version! { inner_renamed:
    pub(super) struct Cell { x: f32, z: u32 }
    pub(super) struct Step { id: u64, cells: Vec<Cell> }
}
version! { inner_retyped:
    pub(super) struct Cell { x: f32, y: i32 }
    pub(super) struct Step { id: u64, cells: Vec<Cell> }
}
version! { inner_swapped:
    pub(super) struct Cell { y: u32, x: f32 }
    pub(super) struct Step { id: u64, cells: Vec<Cell> }
}
version! { enums:
    pub(super) enum Cell { A, B(u8) }
    pub(super) enum Step { On(Cell), Off { at: u64 } }
}
version! { variants_swapped:
    pub(super) enum Cell { B(u8), A }
    pub(super) enum Step { On(Cell), Off { at: u64 } }
}
version! { variant_renamed:
    pub(super) enum Cell { A, C(u8) }
    pub(super) enum Step { On(Cell), Off { at: u64 } }
}
version! { variant_retyped:
    pub(super) enum Cell { A, B(i8) }
    pub(super) enum Step { On(Cell), Off { at: u64 } }
}

#[test]
fn the_module_does_not_matter() {
    assert_eq!(original::Step::layout(), elsewhere::Step::layout());
    assert_eq!(original::Cell::layout(), elsewhere::Cell::layout());
}

#[test]
fn names_order_and_types_matter_at_every_depth() {
    let layouts = [
        original::Step::layout(),
        field_renamed::Step::layout(),
        fields_swapped::Step::layout(),
        field_retyped::Step::layout(),
        field_added::Step::layout(),
        inner_renamed::Step::layout(),
        inner_retyped::Step::layout(),
        inner_swapped::Step::layout(),
        enums::Step::layout(),
        variants_swapped::Step::layout(),
        variant_renamed::Step::layout(),
        variant_retyped::Step::layout(),
        original::Cell::layout(),
    ];
    assert_eq!(HashSet::from(layouts).len(), layouts.len());
}

#[test]
fn parameters_matter() {
    assert_ne!(Pair::<u8, u8>::layout(), Pair::<u8, i8>::layout());
    assert_eq!(Pair::<u8>::layout(), Pair::<u8, u8>::layout());
    assert_ne!(Grid::<2, 3>::layout(), Grid::<3, 2>::layout());
    assert_ne!(Forest::<u8>::layout(), Forest::<i8>::layout());
}

#[test]
fn types_that_contain_themselves_have_a_layout() {
    let layouts = [
        Tree::layout(),
        Town::layout(),
        Country::layout(),
        Shape::layout(),
        Forest::<Tree>::layout(),
    ];
    assert_eq!(HashSet::from(layouts).len(), layouts.len());
    assert_eq!(Town::layout(), Town::layout());
}

#[test]
fn names_are_readable() {
    assert_eq!(original::Step::type_name(), "Step");
    assert_eq!(Pair::<u32, String>::type_name(), "Pair<u32, String>");
    assert_eq!(Vec::<Option<Town>>::type_name(), "Vec<Option<Town>>");
    assert_eq!(Tagged::<u16, 4>::type_name(), "Tagged<u16, 4>");
}
