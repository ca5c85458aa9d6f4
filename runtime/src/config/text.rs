//! How sizes and durations are written, in files, variables, flags and listings alike.
//!
//! A number and a unit: `16KiB`, `25us`. The unit may be left out, for bytes and for seconds. What is
//! shown is the largest unit that divides the value, so showing loses nothing: parsing gives it back.

use std::time::Duration;

use thiserror::Error;

/// Reads a size in bytes: `16384`, `16K`, `16KiB`, `1MiB`, `2GiB`; units are powers of 1024.
///
/// # Errors
/// The text is not a number with a unit of size, or is beyond 64 bits.
///
/// # Examples
/// ```
/// use phalanx_runtime::config::parse_size;
/// assert_eq!(parse_size("16KiB")?, 16 * 1024);
/// assert!(parse_size("16 parsecs").is_err());
/// # Ok::<(), phalanx_runtime::config::TextError>(())
/// ```
pub fn parse_size(text: &str) -> Result<u64, TextError> {
    parse(text, SIZES, "")
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(|| TextError::Size(text.to_owned()))
}

/// Writes a size of `bytes` as [`parse_size`] reads it, in the largest unit that divides it.
///
/// # Examples
/// ```
/// use phalanx_runtime::config::show_size;
/// assert_eq!(show_size(3 << 20), "3MiB");
/// assert_eq!(show_size(1025), "1025B");
/// ```
#[must_use]
pub fn show_size(bytes: u64) -> String {
    show(u128::from(bytes), SIZES)
}

/// Reads a duration: `250ns`, `25us`, `1ms`, `3s`, `5min`, `2h`; a bare number counts seconds.
///
/// # Errors
/// The text is not a number with a unit of time, or is beyond what a [`Duration`] holds.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use phalanx_runtime::config::parse_duration;
/// assert_eq!(parse_duration("25us")?, Duration::from_micros(25));
/// assert_eq!(parse_duration("60")?, Duration::from_secs(60));
/// # Ok::<(), phalanx_runtime::config::TextError>(())
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, TextError> {
    let duration = || {
        let nanoseconds = parse(text, TIMES, "s")?;
        let seconds = u64::try_from(nanoseconds / SECOND).ok()?;
        let rest = u32::try_from(nanoseconds % SECOND).ok()?;
        Some(Duration::new(seconds, rest))
    };
    duration().ok_or_else(|| TextError::Duration(text.to_owned()))
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that divides it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use phalanx_runtime::config::show_duration;
/// assert_eq!(show_duration(Duration::from_millis(1500)), "1500ms");
/// ```
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    show(duration.as_nanos(), TIMES)
}

/// A text that is no size or no duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TextError {
    /// Not a number of bytes.
    #[error("`{0}` is not a size; write it as 16384, 16KiB, 1MiB or 2GiB")]
    Size(String),
    /// Not a span of time.
    #[error("`{0}` is not a duration; write it as 250ns, 25us, 1ms or 3s")]
    Duration(String),
}

/// Number times unit. Digits only: a sign or a fraction is not a number here. Letters of either case,
/// and blanks before the unit, are taken.
fn parse(text: &str, units: &[Unit], bare: &str) -> Option<u128> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start() {
        "" => bare,
        unit => unit,
    };
    let factor = units
        .iter()
        .find(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(unit)))?
        .1;
    number.parse::<u128>().ok()?.checked_mul(factor)
}

/// The inverse of [`parse`]; zero is shown in the smallest unit.
fn show(value: u128, units: &[Unit]) -> String {
    let (names, factor) = units
        .iter()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
        .or_else(|| units.last())
        .expect("every list of units has entries");
    format!("{}{}", value / factor, names[0])
}

/// The names of a unit, the shown one first, and what it multiplies by.
type Unit = (&'static [&'static str], u128);

/// Largest first. `KB` and the like are left out, since nobody knows whether they mean 1000 or 1024.
const SIZES: &[Unit] = &[
    (&["TiB", "T"], 1 << 40),
    (&["GiB", "G"], 1 << 30),
    (&["MiB", "M"], 1 << 20),
    (&["KiB", "K"], 1 << 10),
    (&["B", ""], 1),
];

const SECOND: u128 = 1_000_000_000;

/// Largest first, in nanoseconds.
const TIMES: &[Unit] = &[
    (&["h"], 3600 * SECOND),
    (&["min"], 60 * SECOND),
    (&["s"], SECOND),
    (&["ms"], 1_000_000),
    (&["us", "µs"], 1_000),
    (&["ns"], 1),
];
