//! The structure of a type as constants, from which its layout hash is made.
//!
//! A type may contain itself, directly or through others, so a hash of "all parts, all the way down" has no end. It is bounded by
//! depth, and each depth is a constant of its own: `D3` of a struct is made of `D2` of its fields. The compiler computes every
//! constant once, so that neither a cycle nor a wide tree of types costs anything, and there is nothing to detect.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::marker::PhantomData;
use std::time::Duration;

use super::{join, text};

/// The structure of a type that can be archived. `#[derive(Message)]` implements it.
///
/// `D0` describes the type by itself: its name without path, the names and order of its fields or variants, size and alignment of
/// its archive. `D1` adds the types of the fields, `D2` those of the fields' fields, and so on; what lies deeper than `D7` no
/// longer counts. Containers of the standard library are transparent: they take no depth.
///
/// # Examples
///
/// ```
/// use phalanx_runtime::message::Schema;
///
/// const { assert!(<Vec<u8> as Schema>::D7 != <Vec<i8> as Schema>::D7) };
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a message",
    label = "not a message",
    note = "add `#[derive(Message)]` to the type"
)]
pub trait Schema {
    /// The type by itself.
    const D0: u64;
    /// With its parts.
    const D1: u64 = Self::D0;
    /// With two levels of parts.
    const D2: u64 = Self::D0;
    /// With three levels of parts.
    const D3: u64 = Self::D0;
    /// With four levels of parts.
    const D4: u64 = Self::D0;
    /// With five levels of parts.
    const D5: u64 = Self::D0;
    /// With six levels of parts.
    const D6: u64 = Self::D0;
    /// With all levels of parts that count.
    const D7: u64 = Self::D0;
}

/// Types without parts, known by their name.
macro_rules! atoms {
    ($($type:ident)*) => {
        $(impl Schema for $type {
            const D0: u64 = text(stringify!($type));
        })*
    };
}

/// Types made of others, by the digest of their kind and their parts.
macro_rules! containers {
    ($($type:ty [$($generics:tt)*] = $kind:expr; $($part:ty),*;)*) => {
        $(impl<$($generics)*> Schema for $type {
            const D0: u64 = join($kind, &[$(<$part>::D0),*]);
            const D1: u64 = join($kind, &[$(<$part>::D1),*]);
            const D2: u64 = join($kind, &[$(<$part>::D2),*]);
            const D3: u64 = join($kind, &[$(<$part>::D3),*]);
            const D4: u64 = join($kind, &[$(<$part>::D4),*]);
            const D5: u64 = join($kind, &[$(<$part>::D5),*]);
            const D6: u64 = join($kind, &[$(<$part>::D6),*]);
            const D7: u64 = join($kind, &[$(<$part>::D7),*]);
        })*
    };
}

atoms! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char str String Duration }

containers! {
    Box<T> [T: Schema + ?Sized] = text("Box"); T;
    Option<T> [T: Schema] = text("Option"); T;
    Result<T, E> [T: Schema, E: Schema] = text("Result"); T, E;
    [T] [T: Schema] = text("slice"); T;
    [T; N] [T: Schema, const N: usize] = join(text("array"), &[N as u64]); T;
    Vec<T> [T: Schema] = text("Vec"); T;
    VecDeque<T> [T: Schema] = text("VecDeque"); T;
    BTreeSet<T> [T: Schema] = text("BTreeSet"); T;
    BTreeMap<K, V> [K: Schema, V: Schema] = text("BTreeMap"); K, V;
    HashSet<T, S> [T: Schema, S] = hash_table::<T>("HashSet"); T;
    HashMap<K, V, S> [K: Schema, V: Schema, S] = hash_table::<(K, V)>("HashMap"); K, V;
    PhantomData<T> [T: ?Sized] = text("PhantomData"); ;
    () [] = TUPLE; ;
    (A,) [A: Schema] = TUPLE; A;
    (A, B) [A: Schema, B: Schema] = TUPLE; A, B;
    (A, B, C) [A: Schema, B: Schema, C: Schema] = TUPLE; A, B, C;
    (A, B, C, D) [A: Schema, B: Schema, C: Schema, D: Schema] = TUPLE; A, B, C, D;
    (A, B, C, D, E) [A: Schema, B: Schema, C: Schema, D: Schema, E: Schema] = TUPLE; A, B, C, D, E;
    (A, B, C, D, E, F) [A: Schema, B: Schema, C: Schema, D: Schema, E: Schema, F: Schema] = TUPLE; A, B, C, D, E, F;
    (A, B, C, D, E, F, G) [A: Schema, B: Schema, C: Schema, D: Schema, E: Schema, F: Schema, G: Schema] =
        TUPLE; A, B, C, D, E, F, G;
    (A, B, C, D, E, F, G, H)
        [A: Schema, B: Schema, C: Schema, D: Schema, E: Schema, F: Schema, G: Schema, H: Schema] =
        TUPLE; A, B, C, D, E, F, G, H;
}

/// Digest of a hash table of `T`. Entries without bytes are refused: nothing in the archive bounds the number of them that a damaged
/// table may claim.
const fn hash_table<T>(kind: &str) -> u64 {
    assert!(
        size_of::<T>() != 0,
        "a hash table of zero-sized values cannot be sent: send a `bool` or a number"
    );
    text(kind)
}

const TUPLE: u64 = text("tuple");
