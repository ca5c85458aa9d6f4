//! Where a setting's value is kept and what it may be: a word, a number, a text with a grammar of its own.
//!
//! The list of settings holds rows of different types, so a row sees its field through one small trait. It
//! runs a few times when a program starts, never on the path of a message.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use super::{
    text::{parse_duration, parse_size, show_duration, show_size},
    values::Values,
};

/// What a row knows about its value, whatever the value's type.
pub(super) trait Field: Sync {
    /// Takes the value that `text` stands for; `None`, and no change, if it stands for none that is allowed.
    fn assign(&self, values: &mut Values, text: &str) -> Option<()>;

    /// The value as text, in the form that `assign` reads. By value, so that one accessor serves both.
    fn show(&self, values: Values) -> String;

    /// What is allowed, as it follows the word "expected".
    fn expected(&self) -> String;

    /// The words that are allowed, to suggest one for a mistyped one.
    fn words(&self) -> Vec<&'static str>;
}

/// One of a few words.
pub(super) struct OneOf<T: 'static> {
    pub(super) at: fn(&mut Values) -> &mut T,
    pub(super) words: &'static [(&'static str, T)],
}

impl<T: Copy + PartialEq + Sync> Field for OneOf<T> {
    fn assign(&self, values: &mut Values, text: &str) -> Option<()> {
        let (_, value) = self.words.iter().find(|(word, _)| *word == text)?;
        *(self.at)(values) = *value;
        Some(())
    }

    fn show(&self, mut values: Values) -> String {
        let value = *(self.at)(&mut values);
        let known = self.words.iter().find(|(_, known)| *known == value);
        known.expect("every value has its word").0.to_owned()
    }

    fn expected(&self) -> String {
        alternatives(&self.words())
    }

    fn words(&self) -> Vec<&'static str> {
        self.words.iter().map(|(word, _)| *word).collect()
    }
}

/// A number within bounds.
pub(super) struct Number<T> {
    pub(super) at: fn(&mut Values) -> &mut T,
    pub(super) bounds: Bounds<T>,
}

impl<T: Scalar> Field for Number<T> {
    fn assign(&self, values: &mut Values, text: &str) -> Option<()> {
        *(self.at)(values) = self.bounds.parse(text)?;
        Some(())
    }

    fn show(&self, mut values: Values) -> String {
        (self.at)(&mut values).show()
    }

    fn expected(&self) -> String {
        self.bounds.expected()
    }

    fn words(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// A number within bounds, or a word that stands for no number.
pub(super) struct NumberOr<T> {
    pub(super) word: &'static str,
    pub(super) at: fn(&mut Values) -> &mut Option<T>,
    pub(super) bounds: Bounds<T>,
}

impl<T: Scalar> Field for NumberOr<T> {
    fn assign(&self, values: &mut Values, text: &str) -> Option<()> {
        *(self.at)(values) = if text == self.word {
            None
        } else {
            Some(self.bounds.parse(text)?)
        };
        Some(())
    }

    fn show(&self, mut values: Values) -> String {
        (self.at)(&mut values).map_or_else(|| self.word.to_owned(), Scalar::show)
    }

    fn expected(&self) -> String {
        format!("{} or {}", self.word, self.bounds.expected())
    }

    fn words(&self) -> Vec<&'static str> {
        vec![self.word]
    }
}

/// A text that its type can read and write, or a word that stands for none.
pub(super) struct TextOr<T> {
    pub(super) word: &'static str,
    pub(super) at: fn(&mut Values) -> &mut Option<T>,
    /// What the type reads, as it follows the word "expected".
    pub(super) grammar: &'static str,
}

impl<T: FromStr + Display> Field for TextOr<T> {
    fn assign(&self, values: &mut Values, text: &str) -> Option<()> {
        *(self.at)(values) = if text == self.word {
            None
        } else {
            Some(text.parse().ok()?)
        };
        Some(())
    }

    fn show(&self, mut values: Values) -> String {
        let value = (self.at)(&mut values).as_ref();
        value.map_or_else(|| self.word.to_owned(), ToString::to_string)
    }

    fn expected(&self) -> String {
        format!("{} or {}", self.word, self.grammar)
    }

    fn words(&self) -> Vec<&'static str> {
        vec![self.word]
    }
}

/// The numbers that a setting takes: those of a range that also have a property.
pub(super) struct Bounds<T> {
    range: RangeInclusive<T>,
    property: (&'static str, fn(T) -> bool),
}

impl<T> Bounds<T> {
    pub(super) const fn within(range: RangeInclusive<T>) -> Self {
        Self {
            range,
            property: ("", |_| true),
        }
    }
}

impl Bounds<u64> {
    pub(super) const fn powers_of_two(mut self) -> Self {
        self.property = (" that is a power of two", u64::is_power_of_two);
        self
    }
}

impl<T: Scalar> Bounds<T> {
    fn parse(&self, text: &str) -> Option<T> {
        T::parse(text).filter(|value| self.range.contains(value) && (self.property.1)(*value))
    }

    fn expected(&self) -> String {
        let (least, most) = (self.range.start().show(), self.range.end().show());
        format!("a {} from {least} to {most}{}", T::NOUN, self.property.0)
    }
}

/// A number with a way to write it.
pub(super) trait Scalar: Copy + PartialOrd + Sync + 'static {
    const NOUN: &'static str;
    fn parse(text: &str) -> Option<Self>;
    fn show(self) -> String;
}

/// Every 64-bit setting is a size in bytes.
impl Scalar for u64 {
    const NOUN: &'static str = "size";

    fn parse(text: &str) -> Option<Self> {
        parse_size(text).ok()
    }

    fn show(self) -> String {
        show_size(self)
    }
}

/// Every 16-bit setting is the size of a packet in bytes.
impl Scalar for u16 {
    const NOUN: &'static str = "size";

    fn parse(text: &str) -> Option<Self> {
        parse_size(text).ok()?.try_into().ok()
    }

    fn show(self) -> String {
        show_size(self.into())
    }
}

/// Every 32-bit setting is a plain count.
impl Scalar for u32 {
    const NOUN: &'static str = "count";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(self) -> String {
        self.to_string()
    }
}

impl Scalar for Duration {
    const NOUN: &'static str = "duration";

    fn parse(text: &str) -> Option<Self> {
        parse_duration(text).ok()
    }

    fn show(self) -> String {
        show_duration(self)
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn alternatives(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}
