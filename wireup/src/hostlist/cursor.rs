//! A piece of a list of hosts that remembers where it stands, so that every error can say it.

use super::{HostListError, HostListProblem, MOST_SLOTS};

/// A piece of one line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    line: usize,
    column: usize,
}

impl<'a> Piece<'a> {
    /// The whole of a line, which counts from 1.
    pub(super) const fn line(text: &'a str, line: usize) -> Self {
        Self {
            text,
            line,
            column: 1,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The parts before and from byte `at`, which must lie between two characters.
    pub(super) fn split_at(self, at: usize) -> (Self, Self) {
        let (before, after) = self.text.split_at(at);
        let column = self.column + before.chars().count();
        (
            Self {
                text: before,
                ..self
            },
            Self {
                text: after,
                column,
                ..self
            },
        )
    }

    /// The parts before and after the first `separator`.
    pub(super) fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, after) = self.split_at(self.text.find(separator)?);
        Some((before, after.split_at(separator.len_utf8()).1))
    }

    /// The parts before and after the last `separator`.
    pub(super) fn rsplit_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, after) = self.split_at(self.text.rfind(separator)?);
        Some((before, after.split_at(separator.len_utf8()).1))
    }

    /// The part up to where `ends` holds for the first time, and the rest.
    pub(super) fn until(self, ends: impl Fn(char) -> bool) -> (Self, Self) {
        self.split_at(self.text.find(ends).unwrap_or(self.text.len()))
    }

    /// Without the white space around it.
    pub(super) fn trimmed(self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        let piece = self.split_at(start).1;
        piece.split_at(piece.text.trim_end().len()).0
    }

    /// The parts between commas that stand outside brackets, trimmed. An empty piece has one empty part.
    pub(super) fn items(self) -> Vec<Self> {
        let mut items = Vec::new();
        let (mut rest, mut depth) = (self, 0_usize);
        loop {
            let end = rest.text.char_indices().find_map(|(at, character)| {
                match character {
                    '[' => depth += 1,
                    ']' => depth = depth.saturating_sub(1),
                    ',' if depth == 0 => return Some(at),
                    _ => {}
                }
                None
            });
            let Some(end) = end else {
                items.push(rest.trimmed());
                return items;
            };
            let (item, after) = rest.split_at(end);
            items.push(item.trimmed());
            rest = after.split_at(1).1;
        }
    }

    /// The number of slots that this piece is.
    pub(super) fn slots(self) -> Result<u32, HostListError> {
        let number = self.text.parse().ok();
        number
            .filter(|slots| (1..=MOST_SLOTS).contains(slots))
            .ok_or_else(|| self.error(HostListProblem::BadSlots))
    }

    /// An error that shows this piece, or the beginning of a long one.
    pub(super) fn error(self, problem: HostListProblem) -> HostListError {
        HostListError {
            line: self.line,
            column: self.column,
            found: self.text.chars().take(MOST_SHOWN).collect(),
            problem,
        }
    }
}

/// An error is one line on a terminal.
const MOST_SHOWN: usize = 60;
