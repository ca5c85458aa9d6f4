//! Lists of hosts on the command line, and hostfiles of Open MPI and MPICH.

use std::net::Ipv6Addr;

use super::cursor::Piece;
use super::nodes::expand;
use super::{HostListError, HostListProblem, HostSlots, MOST_HOSTS, add};

/// Reads a list as `--host` takes it: `a:4,b:4`, `a,b`, `node[01-04]:8`, `user@a`, `[fe80::1]:2`.
///
/// A host without a number takes one rank; one that is named again takes so many more. A number without a host is `localhost`.
///
/// # Errors
/// When an item is not of this form; the error says where and what to write.
///
/// # Examples
/// ```
/// use phalanx_wireup::hostlist::{HostSlots, parse_list};
///
/// let hosts = parse_list("a:4, b[1-2], a, :3")?;
/// let expected = [("a", 5), ("b1", 1), ("b2", 1), ("localhost", 3)];
/// assert_eq!(hosts, expected.map(|(host, slots)| HostSlots::new(host, slots)));
/// # Ok::<(), phalanx_wireup::hostlist::HostListError>(())
/// ```
pub fn parse_list(text: &str) -> Result<Vec<HostSlots>, HostListError> {
    let mut hosts = Vec::new();
    for item in Piece::line(text, 1).items() {
        let (names, slots) = specification(item)?;
        for host in names {
            add(&mut hosts, HostSlots::new(host, slots.unwrap_or(1)));
            within_limit(&hosts, item)?;
        }
    }
    Ok(hosts)
}

/// Reads a hostfile of Open MPI (`host slots=4 max_slots=8`) or of MPICH (`host:4 binding=user:0,1`).
///
/// Both kinds of line may stand in one file; text after `#` is a comment. A host without a number takes one rank, as with
/// MPICH; one that is named again takes so many more. `binding` and `ifname` are read over: they are settings of MPICH.
///
/// # Errors
/// When a line is not of this form, or no line names a host; the error says where and what to write.
///
/// # Examples
/// ```
/// use phalanx_wireup::hostlist::parse_file;
///
/// let hosts = parse_file(
///     "# the fast ones\n\
///      node01 slots=4 max_slots=8\n\
///      node[02-03]:2 binding=user:0,1   # as MPICH writes it\n",
/// )?;
/// let slots: Vec<_> = hosts.iter().map(|host| (host.host.as_str(), host.slots)).collect();
/// assert_eq!(slots, [("node01", 4), ("node02", 2), ("node03", 2)]);
/// assert_eq!(hosts[0].max_slots, Some(8));
/// # Ok::<(), phalanx_wireup::hostlist::HostListError>(())
/// ```
pub fn parse_file(text: &str) -> Result<Vec<HostSlots>, HostListError> {
    let mut hosts = Vec::new();
    let mut last = Piece::line("", 1);
    for (index, line) in text.lines().enumerate() {
        let (line, _) = Piece::line(line, index + 1).until(|character| character == '#');
        let line = line.trimmed();
        if line.is_empty() {
            continue;
        }
        last = line;
        for entry in entries(line)? {
            add(&mut hosts, entry);
            within_limit(&hosts, line)?;
        }
    }
    if hosts.is_empty() {
        return Err(last.error(HostListProblem::NoHost));
    }
    Ok(hosts)
}

/// The hosts of one line that is not empty.
fn entries(line: Piece<'_>) -> Result<Vec<HostSlots>, HostListError> {
    let (host, mut rest) = line.until(char::is_whitespace);
    let (names, mut slots) = specification(host)?;
    let mut maximum = None;
    while !rest.trimmed().is_empty() {
        let (key, value, after) = next_pair(rest)?;
        let target = match key.text {
            "slots" => &mut slots,
            "max_slots" | "max-slots" => &mut maximum,
            "binding" | "ifname" => {
                rest = after;
                continue;
            }
            _ => return Err(key.error(HostListProblem::UnknownKey)),
        };
        if target.replace(value.slots()?).is_some() {
            return Err(key.error(HostListProblem::Twice));
        }
        if maximum.is_some_and(|maximum| maximum < slots.unwrap_or(1)) {
            return Err(value.error(HostListProblem::MaximumBelowSlots));
        }
        rest = after;
    }
    let entry = |host| HostSlots {
        max_slots: maximum,
        ..HostSlots::new(host, slots.unwrap_or(1))
    };
    Ok(names.into_iter().map(entry).collect())
}

/// Takes `key=value` from the start of `text`. Open MPI lets spaces stand around the sign.
fn next_pair(text: Piece<'_>) -> Result<(Piece<'_>, Piece<'_>, Piece<'_>), HostListError> {
    let text = text.trimmed();
    let (key, rest) = text.until(|character| character == '=' || character.is_whitespace());
    let rest = rest.trimmed();
    if !rest.text.starts_with('=') {
        return Err(key.error(HostListProblem::NoValue));
    }
    let (value, after) = rest.split_at(1).1.trimmed().until(char::is_whitespace);
    if value.is_empty() {
        return Err(key.error(HostListProblem::NoValue));
    }
    Ok((key, value, after))
}

/// The names of `host`, `host:4`, `node[1-2]:4`, `[::1]:4` or `::1`, and the number if there is one.
fn specification(item: Piece<'_>) -> Result<(Vec<String>, Option<u32>), HostListError> {
    if item.is_empty() {
        return Err(item.error(HostListProblem::NoHost));
    }
    if let Some(inside) = item.text.strip_prefix('[') {
        let Some(length) = inside.find(']') else {
            return Err(item.error(HostListProblem::Bracket));
        };
        let (address, after) = item.split_at(1).1.split_at(length);
        let (_, after) = after.split_at(1);
        let slots = match after.split_once(':') {
            Some((between, slots)) if between.is_empty() => Some(slots.slots()?),
            None if after.is_empty() => None,
            _ => return Err(after.error(HostListProblem::BadName)),
        };
        return match address.text.parse::<Ipv6Addr>() {
            Ok(parsed) => Ok((vec![parsed.to_string()], slots)),
            Err(_) => Err(address.error(HostListProblem::BadName)),
        };
    }
    if let Ok(address) = item.text.parse::<Ipv6Addr>() {
        return Ok((vec![address.to_string()], None));
    }
    let (name, slots) = match item.rsplit_once(':') {
        Some((name, slots)) if name.is_empty() => {
            return Ok((vec![THIS_HOST.to_owned()], Some(slots.slots()?)));
        }
        Some((name, slots)) => (name, Some(slots.slots()?)),
        None => (item, None),
    };
    let mut names = Vec::new();
    expand(name, &mut names)?;
    Ok((names, slots))
}

/// What `:4` means, as it does in other places where a host may be left out.
const THIS_HOST: &str = "localhost";

fn within_limit(hosts: &[HostSlots], at: Piece<'_>) -> Result<(), HostListError> {
    if hosts.len() > MOST_HOSTS {
        return Err(at.error(HostListProblem::TooManyHosts));
    }
    Ok(())
}
