//! Slurm's compact lists: `node[01-04,07],gpu1` for nodes, `4(x2),3` for the tasks on each.

use super::cursor::Piece;
use super::{HostListError, HostListProblem, HostSlots, MOST_HOSTS, MOST_SLOTS, add};

/// The names in a compact list of nodes, in its order. Numbers keep their leading zeros.
///
/// # Errors
/// When the list is empty, a bracket is not closed, a range is none, or there are more than 65,536 names.
///
/// # Examples
/// ```
/// use phalanx_wireup::hostlist::expand_nodes;
///
/// let nodes = expand_nodes("node[08-10,12],gpu1,rack[1-2]n[1-2]")?;
/// assert_eq!(
///     nodes,
///     ["node08", "node09", "node10", "node12", "gpu1", "rack1n1", "rack1n2", "rack2n1", "rack2n2"]
/// );
/// # Ok::<(), phalanx_wireup::hostlist::HostListError>(())
/// ```
pub fn expand_nodes(list: &str) -> Result<Vec<String>, HostListError> {
    let mut names = Vec::new();
    for item in Piece::line(list, 1).items() {
        expand(item, &mut names)?;
    }
    Ok(names)
}

/// The hosts of a Slurm allocation or step: its nodes (`SLURM_JOB_NODELIST`, `SLURM_STEP_NODELIST`) and the tasks on each
/// (`SLURM_TASKS_PER_NODE`, `SLURM_STEP_TASKS_PER_NODE`), such as `4(x2),3`.
///
/// # Errors
/// When one of the two cannot be understood, or they do not speak of the same number of nodes. Columns of errors in the
/// tasks are those of the tasks.
///
/// # Examples
/// ```
/// use phalanx_wireup::hostlist::{HostSlots, from_slurm};
///
/// let hosts = from_slurm("node[1-3]", "4(x2),3")?;
/// assert_eq!(hosts[1..], [HostSlots::new("node2", 4), HostSlots::new("node3", 3)]);
/// # Ok::<(), phalanx_wireup::hostlist::HostListError>(())
/// ```
pub fn from_slurm(nodes: &str, tasks: &str) -> Result<Vec<HostSlots>, HostListError> {
    let names = expand_nodes(nodes)?;
    let whole = Piece::line(tasks, 1);
    let mut slots = Vec::new();
    for item in whole.items() {
        let (count, times) = match item.split_once('(') {
            Some((count, times)) => (count, repetitions(item, times)?),
            None => (item, 1),
        };
        let count = count.slots()?;
        let left = names.len().saturating_sub(slots.len());
        if times > left {
            return Err(item.error(HostListProblem::TasksDoNotFit));
        }
        slots.extend(std::iter::repeat_n(count, times));
    }
    if slots.len() < names.len() {
        return Err(whole.error(HostListProblem::TasksDoNotFit));
    }
    let mut hosts = Vec::new();
    for (name, slots) in names.into_iter().zip(slots) {
        add(&mut hosts, HostSlots::new(name, slots));
    }
    Ok(hosts)
}

/// Adds the names that `item` stands for: literal text and bracketed ranges in any order.
pub(super) fn expand(item: Piece<'_>, names: &mut Vec<String>) -> Result<(), HostListError> {
    if item.is_empty() {
        return Err(item.error(HostListProblem::NoHost));
    }
    if item.text.starts_with('-') {
        return Err(item.error(HostListProblem::BadName));
    }
    let room = MOST_HOSTS.saturating_sub(names.len());
    let mut made = vec![String::new()];
    let mut rest = item;
    while !rest.is_empty() {
        let (literal, after) = rest.until(|character| matches!(character, '[' | ']'));
        check_name(literal)?;
        for name in &mut made {
            name.push_str(literal.text);
        }
        if after.is_empty() {
            break;
        }
        let closing = after.text.find(']').filter(|_| after.text.starts_with('['));
        let Some(closing) = closing else {
            return Err(item.error(HostListProblem::Bracket));
        };
        let inside = after.split_at(1).1.split_at(closing - 1).0;
        let numbers = numbers(inside, item, room / made.len())?;
        made = made
            .iter()
            .flat_map(|name| numbers.iter().map(move |number| format!("{name}{number}")))
            .collect();
        rest = after.split_at(closing + 1).1;
    }
    if made.len() > room {
        return Err(item.error(HostListProblem::TooManyHosts));
    }
    names.append(&mut made);
    Ok(())
}

/// The numbers of `01-04,07`, at most `room` of them.
fn numbers(inside: Piece<'_>, item: Piece<'_>, room: usize) -> Result<Vec<String>, HostListError> {
    let mut numbers = Vec::new();
    for range in inside.items() {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bad = || range.error(HostListProblem::BadRange);
        let (from, to) = (
            number(first).ok_or_else(bad)?,
            number(last).ok_or_else(bad)?,
        );
        if from > to || last.text.len() < first.text.len() {
            return Err(bad());
        }
        let count = usize::try_from(to - from).unwrap_or(usize::MAX);
        if count >= room.saturating_sub(numbers.len()) {
            return Err(item.error(HostListProblem::TooManyHosts));
        }
        let width = first.text.len();
        numbers.extend((from..=to).map(|number| format!("{number:0width$}")));
    }
    Ok(numbers)
}

fn number(piece: Piece<'_>) -> Option<u64> {
    let is_number = piece.text.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than any cluster has nodes would only overflow.
    let is_short = (1..=MOST_DIGITS).contains(&piece.text.len());
    (is_number && is_short).then(|| piece.text.parse().ok())?
}

/// How often a number of tasks stands for a node: the `x2)` of `4(x2)`.
fn repetitions(item: Piece<'_>, times: Piece<'_>) -> Result<usize, HostListError> {
    let digits = times
        .text
        .strip_prefix('x')
        .and_then(|text| text.strip_suffix(')'));
    let number = digits.and_then(|digits| digits.parse::<u32>().ok());
    number
        .filter(|times| (1..=MOST_SLOTS + 1).contains(times))
        .and_then(|times| usize::try_from(times).ok())
        .ok_or_else(|| item.error(HostListProblem::BadSlots))
}

fn check_name(literal: Piece<'_>) -> Result<(), HostListError> {
    let is_fit = |character: char| {
        character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '@')
    };
    if literal.text.chars().all(is_fit) {
        Ok(())
    } else {
        Err(literal.error(HostListProblem::BadName))
    }
}

/// Enough for every cluster's numbers.
const MOST_DIGITS: usize = 15;
