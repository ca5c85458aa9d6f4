//! The hash by which a receiver knows that the sender means the same type.
//!
//! It is not cryptographic: it tells mistakes apart, not enemies. Everything here is a `const fn` or folds to a constant.

use std::fmt;
use std::num::NonZeroU32;

/// 32-bit hash of a message type: names and order of fields, types, archived layout; never of the path. Never zero, so that zero
/// can stand for untyped bytes.
///
/// # Examples
///
/// ```
/// use phalanx_runtime::message::Message;
///
/// assert_eq!(u64::layout(), u64::layout());
/// assert_ne!(u64::layout().hash(), i64::layout().hash());
/// ```
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Layout(NonZeroU32);

impl Layout {
    /// The hash as it travels in a header; never zero.
    #[must_use]
    #[inline]
    pub const fn hash(self) -> u32 {
        self.0.get()
    }

    /// Folds a 64-bit digest.
    #[inline]
    pub(super) const fn from_digest(digest: u64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the upper half is mixed in"
        )]
        let folded = (digest ^ (digest >> 32)) as u32;
        match NonZeroU32::new(folded) {
            Some(hash) => Self(hash),
            None => Self(NonZeroU32::MIN),
        }
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layout({:#010x})", self.0)
    }
}

/// Digest of a text: FNV-1a, finished by one more round of mixing.
#[must_use]
pub const fn text(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut digest = FNV_OFFSET;
    let mut at = 0;
    while at < bytes.len() {
        digest = (digest ^ bytes[at] as u64).wrapping_mul(FNV_PRIME);
        at += 1;
    }
    mix(digest, bytes.len() as u64)
}

/// Digest of `parts` in this order, below `head`.
#[must_use]
pub const fn join(head: u64, parts: &[u64]) -> u64 {
    let mut digest = mix(head, parts.len() as u64);
    let mut at = 0;
    while at < parts.len() {
        digest = mix(digest, parts[at]);
        at += 1;
    }
    digest
}

/// Layout of a slice of plain numbers: size, alignment and the end of the element's name.
///
/// `type_name` is not a `const fn`, so that this runs on every send unless the optimiser folds it. It folds straight-line code over
/// constant bytes, not a search through a whole name. Hence only the last bytes count, back to the module path: all of a primitive's
/// name, and enough of a program's own to tell types of equal size and alignment apart.
#[inline]
pub(super) fn of_plain<T>() -> Layout {
    let size = mix(PLAIN, size_of::<T>() as u64);
    let align = mix(size, align_of::<T>() as u64);
    let name = end_of_name(std::any::type_name::<T>().as_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    let (low, high) = (name as u64, (name >> 64) as u64);
    Layout::from_digest(mix(mix(align, low), high))
}

/// The last bytes of `name` after the last colon, the last one on top, zeros below.
#[inline]
fn end_of_name(name: &[u8]) -> u128 {
    const LEN: usize = size_of::<u128>();
    const LOW_BITS: u128 = u128::from_le_bytes([0x7f; LEN]);
    const COLONS: u128 = u128::from_le_bytes([b':'; LEN]);

    let taken = name.len().min(LEN);
    let mut end = [b':'; LEN];
    end[LEN - taken..].copy_from_slice(&name[name.len() - taken..]);
    let end = u128::from_le_bytes(end);
    // The top bit of each byte that is a colon, and nothing else: no carry leaves a byte.
    let difference = end ^ COLONS;
    let colons = !(((difference & LOW_BITS) + LOW_BITS) | difference | LOW_BITS);
    let path = u128::MAX.checked_shr(colons.leading_zeros()).unwrap_or(0);
    end & !path
}

/// One multiply-xor round; the order of calls matters to the result.
#[inline]
const fn mix(digest: u64, value: u64) -> u64 {
    let product = (digest.rotate_left(23) ^ value).wrapping_mul(GOLDEN);
    product ^ (product >> 29)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// 2^64 divided by the golden ratio: odd, with no structure in its bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const PLAIN: u64 = text("slice of plain numbers");

#[cfg(test)]
mod tests {
    use super::end_of_name;

    #[test]
    fn the_path_is_no_part_of_the_end_of_a_name() {
        assert_eq!(end_of_name(b"Cell"), end_of_name(b"a::Cell"));
        assert_eq!(
            end_of_name(b"a::Cell"),
            end_of_name(b"a_rather_long_name::b::Cell")
        );
        assert_ne!(end_of_name(b"a::Cell"), end_of_name(b"a::Call"));
        assert_ne!(end_of_name(b"[u8; 3]"), end_of_name(b"[u8; 4]"));
        assert_eq!(
            end_of_name(b"LongerThanSixteenBytes"),
            end_of_name(b"x::LongerThanSixteenBytes")
        );
        assert_eq!(end_of_name(b"x::"), 0);
        assert_eq!(end_of_name(b""), 0);
    }
}
