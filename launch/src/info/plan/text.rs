//! The plan as text for a terminal.

use std::fmt::Write;

use phalanx::describe::Carrier;

use super::super::text::{line, section, size, table};
use super::{Class, Host, Plan, Reason, Threshold};

/// The whole plan.
pub(in super::super) fn render(plan: &Plan) -> String {
    let mut text = String::new();
    let (ranks, hosts) = (plan.ranks, plan.hosts.len());
    line(
        &mut text,
        format_args!(
            "plan of {ranks} {} on {hosts} {}",
            noun("rank", ranks),
            noun("host", hosts)
        ),
    );
    for Host { host, ranks } in plan.hosts.iter().take(MOST_HOSTS) {
        let numbers = spans(ranks);
        line(
            &mut text,
            format_args!("  {host}: {} {numbers}", noun("rank", ranks.len())),
        );
    }
    if hosts > MOST_HOSTS {
        line(
            &mut text,
            format_args!("  and {} more; --json has all", hosts - MOST_HOSTS),
        );
    }
    if let Some(reason) = &plan.refused {
        line(&mut text, format_args!("  refused: {reason}"));
    }
    matrix(&mut text, plan);
    for one in &plan.classes {
        class(&mut text, one);
    }
    text
}

/// The link of each pair: rows send, columns receive.
fn matrix(text: &mut String, plan: &Plan) {
    let width = plan.pairs.iter().map(|pair| pair.link.len()).max();
    let Some(width) = width.filter(|_| plan.ranks > 1) else {
        return;
    };
    section(text, "Links, from the rank of a line to that of a column");
    let mut head = format!("  {:>4}", "");
    for to in 0..plan.ranks {
        let _ = write!(head, "  {to:>width$}");
    }
    line(text, format_args!("{head}"));
    for row in plan.pairs.chunks(plan.ranks) {
        let mut cells = format!("  {:>4}", row[0].from);
        for pair in row {
            let _ = write!(cells, "  {:>width$}", pair.link);
        }
        line(text, format_args!("{cells}"));
    }
}

fn class(text: &mut String, class: &Class) {
    let (pairs, link) = (class.pairs, class.link);
    if class.carrier == Carrier::Itself {
        section(text, &format!("A rank to itself ({pairs} of them)"));
        line(
            text,
            format_args!("  no link: copied once, whatever the size"),
        );
        return;
    }
    let whom = match class.class {
        "same-host" => "Ranks of one host",
        _ => "Ranks of different hosts",
    };
    let noun = noun("ordered pair", pairs);
    section(text, &format!("{whom} over {link} ({pairs} {noun})"));
    if let Some(Reason {
        setting,
        value,
        origin,
    }) = &class.because
    {
        let takes = if value == link {
            String::new()
        } else {
            format!(", which takes {link}")
        };
        line(
            text,
            format_args!("  because {setting} is {value} (from {origin}){takes}"),
        );
    }
    table(text, "send", &class.send);
    table(text, "synchronous send", &class.synchronous_send);
    class
        .thresholds
        .iter()
        .for_each(|one| threshold(text, link, one));
    let offers = match class.carrier {
        Carrier::Shm => {
            "shm lends its blocks to be handed over, and lets peers pull what lies in them"
        }
        Carrier::Inproc => "inproc hands loans over; no memory can be pulled from",
        _ => "over quic nothing is lent or exposed: loans and shared vectors go as slices do",
    };
    line(text, format_args!("  {offers}"));
}

fn threshold(text: &mut String, link: &str, threshold: &Threshold) {
    let bytes = match (threshold.from_bytes, threshold.up_to_bytes) {
        (Some(from), _) => format!("from {}", size(from)),
        (None, Some(to)) => format!("up to {}", size(to)),
        (None, None) => return,
    };
    let why = match &threshold.because {
        Some(Reason {
            setting, origin, ..
        }) => format!("{setting} (from {origin})"),
        None => format!("what fits beside the header over {link}"),
    };
    line(text, format_args!("  {} {bytes}: {why}", threshold.way));
}

/// `0-3, 7`: ascending numbers, runs of them as one.
fn spans(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|one, next| one + 1 == *next);
    let spans = runs.map(|run| match *run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    spans.collect::<Vec<_>>().join(", ")
}

fn noun(singular: &str, count: usize) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{singular}{end}")
}

/// More would push what follows off the screen.
const MOST_HOSTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_numbers_become_one_span() {
        assert_eq!(spans(&[0, 1, 2, 3, 7, 9, 10]), "0-3, 7, 9-10");
        assert_eq!(spans(&[5]), "5");
        assert_eq!(spans(&[]), "");
    }
}
