//! What a receiver reads in place, and the check that makes it safe.

use std::num::NonZeroUsize;
use std::panic::catch_unwind;

use bytemuck::Pod;
use rkyv::Portable;
use rkyv::api::access_with_context;
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Strategy;
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::validation::shared::SharedValidator;

use super::Fault;
use super::unchecked::Access;

/// A form that received bytes can be read in: `[T]` of plain numbers, or an rkyv archive. Closed: the check and the access
/// without one must agree.
///
/// # Examples
///
/// ```
/// use phalanx_runtime::message::{Message, Received, View};
///
/// fn view_of<'a, V: View + ?Sized, T: Message<View = V>>(message: &'a Received<T>) -> &'a V {
///     message
/// }
/// ```
pub trait View: Access {
    /// Checks `bytes`, from the first to the last.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the bytes.
    #[doc(hidden)]
    fn check(bytes: &[u8]) -> Result<&Self, String>;
}

impl<T: Pod> View for [T] {
    #[inline]
    fn check(bytes: &[u8]) -> Result<&Self, String> {
        const { assert_plain::<T>() };
        if bytes.is_empty() {
            // The address of nothing need not be aligned.
            return Ok(&[]);
        }
        bytemuck::try_cast_slice(bytes).map_err(|_| plain_fault::<T>(bytes))
    }
}

impl<A> View for A
where
    A: Portable + for<'a> CheckBytes<Checker<'a>>,
{
    fn check(bytes: &[u8]) -> Result<&Self, String> {
        if bytes.len() < size_of::<A>() {
            return Err(format!("its archive has at least {} bytes", size_of::<A>()));
        }
        if !cfg!(debug_assertions) {
            return check_archive(bytes);
        }
        // With overflow checks, rkyv 0.8.18 panics on a hash table whose capacity is damaged to nearly 2^64, instead of refusing it
        // as it does without them.
        catch_unwind(|| check_archive(bytes))
            .unwrap_or_else(|_| Err("a size in its archive overflows".to_owned()))
    }
}

#[inline]
fn check_archive<A>(bytes: &[u8]) -> Result<&A, String>
where
    A: Portable + for<'a> CheckBytes<Checker<'a>>,
{
    let archive = ArchiveValidator::with_max_depth(bytes, NonZeroUsize::new(MAX_DEPTH));
    let mut validator = Validator::new(archive, SharedValidator::new());
    access_with_context::<A, _, Fault>(bytes, &mut validator).map_err(|error| error.to_string())
}

type Checker<'a> = Strategy<Validator<ArchiveValidator<'a>, SharedValidator>, Fault>;

/// Refuses element types at compile time that bytes on the wire cannot carry.
pub(super) const fn assert_plain<T>() {
    assert!(
        size_of::<T>() != 0,
        "a slice of zero-sized values has no bytes to send: send its length as a number"
    );
    assert!(
        align_of::<T>() <= phalanx_transport::payload::ALIGNMENT,
        "received bytes are aligned to 16: send values of a larger alignment inside a type with #[derive(Message)]"
    );
}

#[cold]
fn plain_fault<T>(bytes: &[u8]) -> String {
    let size = size_of::<T>();
    if bytes.len().is_multiple_of(size) {
        format!("they do not begin at a multiple of {}", align_of::<T>())
    } else {
        format!("the size is not a multiple of the {size} bytes of one element")
    }
}

/// Nested boxes, vectors, strings and maps in one message. The check recurses: without a bound a long chain, damaged or not,
/// would overflow the stack instead of giving an error.
const MAX_DEPTH: usize = 1024;
