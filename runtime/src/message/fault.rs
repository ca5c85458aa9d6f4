//! What rkyv found wrong, and where.

use std::fmt::{self, Debug, Display};

use rkyv::rancor::{Source, Trace};

/// An error of rkyv with the places that it passed on its way out, innermost first. One pointer, so that a check that succeeds
/// returns in registers; rkyv's own error type prints the cause without the places.
pub struct Fault(Box<Detail>);

struct Detail {
    text: String,
    places: usize,
}

impl Trace for Fault {
    #[cold]
    fn trace<R: Debug + Display + Send + Sync + 'static>(mut self, place: R) -> Self {
        self.0.places += 1;
        if self.0.places <= MAX_PLACES {
            self.0.text += &format!(", {place}");
        }
        self
    }
}

impl Source for Fault {
    #[cold]
    fn new<T: std::error::Error + Send + Sync + 'static>(source: T) -> Self {
        Self(Box::new(Detail {
            text: source.to_string(),
            places: 0,
        }))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl std::error::Error for Fault {}

/// The inner places tell where the fault is; in a deeply nested message the outer ones would only fill the line.
const MAX_PLACES: usize = 3;
