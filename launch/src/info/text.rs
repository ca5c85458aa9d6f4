//! The report as text for a terminal.

use std::fmt::Write;

use phalanx::config::show_size;

use super::machine::{Limits, Machine};
use super::report::{Memory, Protocols, Report, Row, Setting};

/// The whole report.
pub(super) fn render(report: &Report) -> String {
    let mut text = format!("phalanx {}\n", report.version);
    if !report.problems.is_empty() {
        section(
            &mut text,
            "Mistakes in the configuration; what follows are the defaults",
        );
        for problem in &report.problems {
            line(&mut text, format_args!("  {problem}"));
        }
    }
    machine(&mut text, &report.machine);
    limits(&mut text, &report.limits);
    protocols(&mut text, &report.protocols);
    memory(&mut text, &report.memory);
    settings(&mut text, &report.settings);
    text
}

fn machine(text: &mut String, machine: &Machine) {
    let unknown = || "unknown".to_owned();
    section(text, "Machine");
    row(text, "host", machine.host.clone().unwrap_or_else(unknown));
    row(
        text,
        "kernel",
        machine.kernel.clone().unwrap_or_else(unknown),
    );
    row(
        text,
        "processor",
        machine.processor.clone().unwrap_or_else(unknown),
    );
    let cores: Vec<_> = machine
        .allowed_cores
        .iter()
        .map(ToString::to_string)
        .collect();
    let online = machine
        .cores
        .map_or_else(unknown, |cores| cores.to_string());
    let mut value = format!("{} of {online} allowed ({})", cores.len(), cores.join(" "));
    if let Some(usable) = machine.usable_cores.filter(|&usable| usable < cores.len()) {
        let _ = write!(value, ", a quota for {usable}");
    }
    row(text, "cores", value);
    for cache in &machine.caches {
        let name = format!("level {} cache", cache.level);
        let is_shared = cache.cores.contains(['-', ',']);
        let noun = if is_shared { "cores" } else { "core" };
        let value = format!(
            "{} {}, of {} {}",
            size(cache.bytes),
            cache.kind,
            noun,
            cache.cores
        );
        row(text, &name, value);
    }
}

fn limits(text: &mut String, limits: &Limits) {
    let bytes = |limit: Option<u64>| limit.map_or_else(|| "no limit".to_owned(), size);
    let count =
        |limit: Option<u64>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    let found = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), size);
    section(text, "Limits");
    let (total, free) = (found(limits.memory_total), found(limits.memory_available));
    row(text, "memory", format!("{total}, {free} available"));
    row(
        text,
        "memory of the container",
        bytes(limits.cgroup_memory_max),
    );
    let shm = match (limits.dev_shm_size, limits.dev_shm_free) {
        (Some(whole), Some(free)) => format!(
            "{}, {} free; used by named segments only",
            size(whole),
            size(free)
        ),
        _ => "not mounted; needed for named segments only".to_owned(),
    };
    row(text, "/dev/shm", shm);
    row(
        text,
        "address space (ulimit -v)",
        bytes(limits.address_space),
    );
    row(text, "file size (ulimit -f)", bytes(limits.file_size));
    row(
        text,
        "locked memory (ulimit -l)",
        bytes(limits.locked_memory),
    );
    let (now, most) = (count(limits.open_files), count(limits.open_files_at_most));
    row(
        text,
        "open files (ulimit -n)",
        format!("{now}, raised up to {most} for more than 300 ranks"),
    );
    row(text, "processes (ulimit -u)", count(limits.processes));
    let huge = limits
        .shared_huge_pages
        .clone()
        .unwrap_or_else(|| "unknown".to_owned());
    row(text, "huge pages of shared memory", huge);
    let membarrier = if limits.membarrier {
        "available: a sender pays nothing for peers that sleep"
    } else {
        "forbidden here: each message pays for a fence"
    };
    row(text, "membarrier", membarrier.to_owned());
}

fn protocols(text: &mut String, protocols: &Protocols) {
    section(
        text,
        &format!(
            "Protocols between ranks of this host ({})",
            protocols.transport
        ),
    );
    table(text, "send", &protocols.send);
    line(text, format_args!(""));
    table(text, "synchronous send", &protocols.synchronous_send);
    let unexpected = size(protocols.unexpected_bytes);
    line(text, format_args!("\n{}", ways(protocols)));
    line(
        text,
        format_args!(
            "  A sender of which a receiver holds {unexpected} in eager messages sends as synchronously."
        ),
    );
}

/// What the words of the tables mean over this transport.
fn ways(protocols: &Protocols) -> String {
    match protocols.transport {
        "quic" => "  inline    at once, or with other small messages in one packet
  eager     as inline, and in as many packets as it needs
  chunked   announced, then in a stream of its own, which small messages overtake"
            .to_owned(),
        "inproc" => "  inline    by value
  eager     copied
  handover  the buffer itself changes hands, uncopied
  chunked   announced, then copied in parts"
            .to_owned(),
        _ => {
            let (chunk, window) = (size(protocols.chunk_bytes), size(protocols.window_bytes));
            format!(
                "  inline    in the slot of the ring, beside the header
  eager     copied into a block of the sender, and read there
  handover  the block itself changes hands, uncopied
  pulled    copied once, by the receiver
  chunked   copied in chunks of {chunk}, at most {window} of them under way"
            )
        }
    }
}

pub(super) fn table(text: &mut String, title: &str, rows: &[Row]) {
    let columns = ["slice", "shared vector", "loan, archive"];
    line(
        text,
        format_args!(
            "  {title:<24}{:<12}{:<16}{}",
            columns[0], columns[1], columns[2]
        ),
    );
    for row in rows {
        let bytes = match row.to_bytes {
            Some(to) => format!("{} to {}", size(row.from_bytes), size(to)),
            None => format!("from {}", size(row.from_bytes)),
        };
        let Row {
            slice,
            shared_vector,
            loan_or_archive,
            ..
        } = row;
        line(
            text,
            format_args!("  {bytes:<24}{slice:<12}{shared_vector:<16}{loan_or_archive}"),
        );
    }
}

fn memory(text: &mut String, memory: &Memory) {
    section(text, "Shared memory of a job");
    for idle in &memory.idle {
        row(
            text,
            &format!("{} idle ranks", idle.ranks),
            format!("{}: a header and a page each", size(idle.bytes)),
        );
    }
    let pair = size(memory.per_pair_in_use);
    row(
        text,
        "each pair that talks",
        format!("{pair} more: a ring and a page of returned blocks in each direction"),
    );
    let blocks = size(memory.per_rank_that_sends_blocks);
    row(
        text,
        "each rank that sends",
        format!("{blocks} more with the first message that is not inline, then as much as it uses"),
    );
}

fn settings(text: &mut String, settings: &[Setting]) {
    section(text, "Settings");
    let width = |of: fn(&Setting) -> &str| {
        settings
            .iter()
            .map(|setting| of(setting).len())
            .max()
            .unwrap_or(0)
    };
    let keys = width(|setting| setting.key);
    let variables = width(|setting| setting.variable);
    let values = width(|setting| &setting.value);
    for Setting {
        key,
        variable,
        value,
        origin,
        meaning,
    } in settings
    {
        line(
            text,
            format_args!(
                "  {key:keys$}  {value:values$}  {variable:variables$}  from {origin}: {meaning}"
            ),
        );
    }
}

pub(super) fn section(text: &mut String, title: &str) {
    line(text, format_args!("\n{title}"));
}

fn row(text: &mut String, name: &str, value: String) {
    line(text, format_args!("  {name:<29}{value}"));
}

pub(super) fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}

/// Exact where a unit divides it, rounded to a tenth of one where it is large.
pub(super) fn size(bytes: u64) -> String {
    let exact = show_size(bytes);
    if exact.len() <= "1023KiB".len() {
        return exact;
    }
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.ilog2() / 10) as usize;
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    format!("{}.{}{}", tenths / 10, tenths % 10, units[unit])
}
