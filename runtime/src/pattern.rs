//! Tags and sources, and the wildcards for them. Wildcards are types of their own, so that none can be sent.

use crate::error::{Error, Result};

/// The label of a message: 0 to 2147483647.
///
/// # Examples
/// ```
/// use phalanx_runtime::Tag;
///
/// const STEP: Tag = Tag::new(7);
/// assert_eq!(STEP.value(), 7);
/// assert_eq!(Tag::from(7), STEP);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(i32);

impl Tag {
    /// The tag `value`. A negative one is refused when it is used.
    #[must_use]
    #[inline]
    pub const fn new(value: i32) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    #[inline]
    pub const fn value(self) -> i32 {
        self.0
    }

    #[inline]
    pub(crate) fn checked(self) -> Result<i32> {
        if self.0 >= 0 {
            Ok(self.0)
        } else {
            Err(Error::InvalidTag(self.0))
        }
    }
}

impl From<i32> for Tag {
    #[inline]
    fn from(value: i32) -> Self {
        Self(value)
    }
}

/// Matches a message of any source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnySource;

/// Matches a message of any tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnyTag;

/// Matches a message of any source.
pub const ANY_SOURCE: AnySource = AnySource;

/// Matches a message of any tag.
pub const ANY_TAG: AnyTag = AnyTag;

/// From whom a receive takes a message: a rank, or [`ANY_SOURCE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(pub(crate) Option<usize>);

impl From<usize> for Source {
    #[inline]
    fn from(rank: usize) -> Self {
        Self(Some(rank))
    }
}

impl From<AnySource> for Source {
    #[inline]
    fn from(_: AnySource) -> Self {
        Self(None)
    }
}

/// Which tags a receive takes: one, or [`ANY_TAG`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagPattern(pub(crate) Option<Tag>);

impl From<Tag> for TagPattern {
    #[inline]
    fn from(tag: Tag) -> Self {
        Self(Some(tag))
    }
}

impl From<i32> for TagPattern {
    #[inline]
    fn from(tag: i32) -> Self {
        Self(Some(Tag(tag)))
    }
}

impl From<AnyTag> for TagPattern {
    #[inline]
    fn from(_: AnyTag) -> Self {
        Self(None)
    }
}
