//! The list of settings: the one place where a setting is declared.
//!
//! A row says what a setting is called, what it takes and what it is for. Parsing, errors, the table in
//! `docs/configuration.md` and the listing of `phalanx info` all read the rows. A new setting is a field with
//! its default in `values.rs`, a row here, and the line of the document that the failing test prints.

use std::time::Duration;

use phalanx_transport::quic::Congestion;

use super::{
    field::{Bounds, Field, Number, NumberOr, OneOf, TextOr},
    values::{Binding, KIB, MIB, OtherHosts, SameHost, WaitPolicy},
};

/// One row of the list.
pub(super) struct Setting {
    /// The section and the name in it, as in a file: `wait.policy`.
    pub(super) key: &'static str,
    /// The environment variable.
    pub(super) variable: &'static str,
    /// What it is for, in one line.
    pub(super) meaning: &'static str,
    /// Where the value is kept and what it may be.
    pub(super) field: &'static dyn Field,
}

/// Every setting there is, by section.
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        key: "transport.same_host",
        variable: "PHALANX_TRANSPORT",
        meaning: "how ranks of one host talk; auto takes shm",
        field: &OneOf {
            at: |values| &mut values.transport.same_host,
            words: &[
                ("auto", SameHost::Auto),
                ("shm", SameHost::Shm),
                ("quic", SameHost::Quic),
                ("inproc", SameHost::Inproc),
            ],
        },
    },
    Setting {
        key: "transport.other_hosts",
        variable: "PHALANX_OTHER_HOSTS",
        meaning: "how ranks of different hosts talk; auto takes quic",
        field: &OneOf {
            at: |values| &mut values.transport.other_hosts,
            words: &[("auto", OtherHosts::Auto), ("quic", OtherHosts::Quic)],
        },
    },
    Setting {
        key: "network.interfaces",
        variable: "PHALANX_INTERFACES",
        meaning: "by which interfaces ranks of other hosts may reach this one, the best first; auto leaves out what leads nowhere",
        field: &TextOr {
            word: "auto",
            at: |values| &mut values.network.interfaces,
            grammar: "names, beginnings of names, addresses and networks such as eth0,ib*,10.1.0.0/16",
        },
    },
    Setting {
        key: "network.congestion",
        variable: "PHALANX_CONGESTION",
        meaning: "what decides how much may be under way to a rank: lan on networks of your own, cubic or bbr on those shared with the world",
        field: &OneOf {
            at: |values| &mut values.network.congestion,
            words: &[
                ("lan", Congestion::Lan),
                ("cubic", Congestion::Cubic),
                ("bbr", Congestion::Bbr),
                ("newreno", Congestion::NewReno),
            ],
        },
    },
    Setting {
        key: "network.idle_timeout",
        variable: "PHALANX_IDLE_TIMEOUT",
        meaning: "how long a rank may be silent before it counts as unreachable",
        field: &Number {
            at: |values| &mut values.network.idle_timeout,
            bounds: Bounds::within(Duration::from_secs(1)..=Duration::from_secs(DAY)),
        },
    },
    Setting {
        key: "network.dial_deadline",
        variable: "PHALANX_DIAL_DEADLINE",
        meaning: "how long a rank that was never reached is tried before it counts as unreachable",
        field: &Number {
            at: |values| &mut values.network.dial_deadline,
            bounds: Bounds::within(Duration::from_millis(100)..=Duration::from_secs(3600)),
        },
    },
    Setting {
        key: "network.largest_packet",
        variable: "PHALANX_LARGEST_PACKET",
        meaning: "largest packet that is tried, without the headers of IP and UDP; auto is the largest that the interface takes",
        field: &NumberOr {
            word: "auto",
            at: |values| &mut values.network.largest_packet,
            bounds: Bounds::within(1200..=65_507),
        },
    },
    Setting {
        key: "network.socket_buffer",
        variable: "PHALANX_SOCKET_BUFFER",
        meaning: "socket buffer to ask the system for; it may grant less",
        field: &Number {
            at: |values| &mut values.network.socket_buffer,
            bounds: Bounds::within(64 * KIB..=GIB),
        },
    },
    Setting {
        key: "network.tick",
        variable: "PHALANX_TICK",
        meaning: "how long a program may compute before a thread answers its peers for it",
        field: &Number {
            at: |values| &mut values.network.tick,
            bounds: Bounds::within(Duration::from_micros(100)..=Duration::from_secs(1)),
        },
    },
    Setting {
        key: "protocol.eager_limit",
        variable: "PHALANX_EAGER_LIMIT",
        meaning: "larger messages are sent by rendezvous",
        field: &Number {
            at: |values| &mut values.protocol.eager_limit,
            bounds: Bounds::within(48..=MIB),
        },
    },
    Setting {
        key: "protocol.pull_limit",
        variable: "PHALANX_PULL_LIMIT",
        meaning: "messages at least this large from buffers in the segment are copied once, by the receiver",
        field: &Number {
            at: |values| &mut values.protocol.pull_limit,
            bounds: Bounds::within(48..=1024 * MIB),
        },
    },
    Setting {
        key: "protocol.chunk_size",
        variable: "PHALANX_CHUNK_SIZE",
        meaning: "piece in which large messages are copied",
        field: &Number {
            at: |values| &mut values.protocol.chunk_size,
            bounds: Bounds::within(4 * KIB..=MIB).powers_of_two(),
        },
    },
    Setting {
        key: "protocol.chunk_window",
        variable: "PHALANX_CHUNK_WINDOW",
        meaning: "chunks of a rank that are under way",
        field: &Number {
            at: |values| &mut values.protocol.chunk_window,
            bounds: Bounds::within(64 * KIB..=64 * MIB),
        },
    },
    Setting {
        key: "protocol.unexpected_limit",
        variable: "PHALANX_UNEXPECTED_LIMIT",
        meaning: "eager bytes a receiver holds for one sender before that sender falls back to rendezvous",
        field: &Number {
            at: |values| &mut values.protocol.unexpected_limit,
            bounds: Bounds::within(64 * KIB..=64 * GIB),
        },
    },
    Setting {
        key: "memory.arena",
        variable: "PHALANX_ARENA",
        meaning: "address space of a rank's arena",
        field: &NumberOr {
            word: "auto",
            at: |values| &mut values.memory.arena,
            bounds: Bounds::within(4 * MIB..=1024 * GIB),
        },
    },
    Setting {
        key: "memory.pool_limit",
        variable: "PHALANX_POOL_LIMIT",
        meaning: "real memory a rank's pool may take",
        field: &NumberOr {
            word: "none",
            at: |values| &mut values.memory.pool_limit,
            bounds: Bounds::within(MIB..=1024 * GIB),
        },
    },
    Setting {
        key: "wait.policy",
        variable: "PHALANX_WAIT",
        meaning: "whether a waiting rank keeps its core; auto shares it where ranks outnumber cores",
        field: &OneOf {
            at: |values| &mut values.wait.policy,
            words: &[
                ("auto", WaitPolicy::Auto),
                ("dedicated", WaitPolicy::Dedicated),
                ("shared", WaitPolicy::Shared),
            ],
        },
    },
    Setting {
        key: "wait.spin",
        variable: "PHALANX_SPIN",
        meaning: "how long to poll before yielding; auto follows the policy",
        field: &NumberOr {
            word: "auto",
            at: |values| &mut values.wait.spin,
            bounds: Bounds::within(Duration::ZERO..=Duration::from_millis(100)),
        },
    },
    Setting {
        key: "wait.yields",
        variable: "PHALANX_YIELDS",
        meaning: "how often to yield before sleeping; auto follows the policy",
        field: &NumberOr {
            word: "auto",
            at: |values| &mut values.wait.yields,
            bounds: Bounds::within(0..=1_000_000),
        },
    },
    Setting {
        key: "wait.sleep",
        variable: "PHALANX_SLEEP",
        meaning: "longest sleep between two looks; while nothing happens it doubles, up to 32 times as long",
        field: &Number {
            at: |values| &mut values.wait.sleep,
            bounds: Bounds::within(Duration::from_micros(100)..=Duration::from_secs(10)),
        },
    },
    Setting {
        key: "launch.bind",
        variable: "PHALANX_BIND",
        meaning: "what each rank is bound to",
        field: &OneOf {
            at: |values| &mut values.launch.bind,
            words: &[("none", Binding::None), ("core", Binding::Core)],
        },
    },
    Setting {
        key: "launch.tag_output",
        variable: "PHALANX_TAG_OUTPUT",
        meaning: "start each line of output with the rank that wrote it",
        field: &OneOf {
            at: |values| &mut values.launch.tag_output,
            words: SWITCH,
        },
    },
    Setting {
        key: "launch.timeout",
        variable: "PHALANX_TIMEOUT",
        meaning: "longest time a job may take",
        field: &NumberOr {
            word: "none",
            at: |values| &mut values.launch.timeout,
            bounds: Bounds::within(Duration::from_millis(1)..=Duration::from_secs(YEAR)),
        },
    },
    Setting {
        key: "launch.agent",
        variable: "PHALANX_LAUNCH_AGENT",
        meaning: "what reaches other hosts: a command line, to which a host and a command for its shell are appended",
        field: &TextOr {
            word: "ssh",
            at: |values| &mut values.launch.agent,
            grammar: "a command line such as ssh -F 'my config'",
        },
    },
    Setting {
        key: "launch.remote_phalanx",
        variable: "PHALANX_REMOTE_PHALANX",
        meaning: "the command phalanx of other hosts; auto looks where it is on this one, and then in their PATH",
        field: &TextOr {
            word: "auto",
            at: |values| &mut values.launch.remote_phalanx,
            grammar: "a path",
        },
    },
    Setting {
        key: "launch.fan_out",
        variable: "PHALANX_FAN_OUT",
        meaning: "how many other hosts the launcher, and each of those, reaches itself",
        field: &Number {
            at: |values| &mut values.launch.fan_out,
            bounds: Bounds::within(1..=1024),
        },
    },
    Setting {
        key: "checks.types",
        variable: "PHALANX_CHECK_TYPES",
        meaning: "compare the layout hashes of the sent and the received type",
        field: &OneOf {
            at: |values| &mut values.checks.types,
            words: SWITCH,
        },
    },
];

/// The place of `key` in the list, which is also the place of its origin in a configuration.
pub(super) fn position(key: &str) -> Option<usize> {
    SETTINGS.iter().position(|row| row.key == key)
}

/// The values of a setting that is on or off.
const SWITCH: &[(&str, bool)] = &[("true", true), ("false", false)];

const GIB: u64 = 1 << 30;

/// In seconds.
const DAY: u64 = 24 * 3600;

/// In seconds: longer than any job, and far from the ends of clocks.
const YEAR: u64 = 365 * DAY;
