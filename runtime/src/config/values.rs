//! The values of all settings, by section, with their defaults.
//!
//! Sizes are in bytes. `None` stands for the word `auto` or `none` that the setting takes instead of a
//! number; which one, and the range of the numbers, is in the list of settings.

use std::time::Duration;

use phalanx_transport::quic::Congestion;
use phalanx_wireup::interfaces::Selection;

use super::command::CommandLine;

/// Everything that can be set. It is read once, when a world or a job is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) transport: TransportSettings,
    pub(super) network: NetworkSettings,
    pub(super) protocol: ProtocolSettings,
    pub(super) memory: MemorySettings,
    pub(super) wait: WaitSettings,
    pub(super) launch: LaunchSettings,
    pub(super) checks: CheckSettings,
}

/// `transport.*`: which transport joins which ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportSettings {
    /// How ranks of one host talk.
    pub same_host: SameHost,
    /// How ranks of different hosts talk.
    pub other_hosts: OtherHosts,
}

/// How ranks of one host talk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameHost {
    /// The fastest way there is, which is shared memory.
    #[default]
    Auto,
    /// A shared memory segment.
    Shm,
    /// QUIC, as if each rank were on a host of its own.
    Quic,
    /// Queues inside one process, whose threads are the ranks.
    Inproc,
}

/// How ranks of different hosts talk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherHosts {
    /// The fastest way there is, which is QUIC.
    #[default]
    Auto,
    /// QUIC.
    Quic,
}

/// `network.*`: how ranks talk over QUIC.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkSettings {
    /// Which interfaces ranks of other hosts may reach this one by; `None` leaves it to the machine.
    pub interfaces: Option<Selection>,
    /// What decides how much may be under way.
    pub congestion: Congestion,
    /// How long a peer may be silent before it counts as unreachable. Signs of life have to come at least four times as often.
    pub idle_timeout: Duration,
    /// How long a peer that was never reached is tried before it counts as unreachable.
    pub dial_deadline: Duration,
    /// The largest packet that is tried, in bytes of UDP payload; `None` is the largest that the interface takes.
    pub largest_packet: Option<u16>,
    /// Socket buffer to ask the system for, in bytes; it may grant fewer.
    pub socket_buffer: u64,
    /// How long the program may stay outside the library before a thread stands in for it.
    pub tick: Duration,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            interfaces: None,
            congestion: Congestion::Lan,
            idle_timeout: Duration::from_secs(10),
            dial_deadline: Duration::from_secs(3),
            largest_packet: None,
            socket_buffer: 4 * MIB,
            tick: Duration::from_millis(1),
        }
    }
}

/// `protocol.*`: the thresholds between the ways to move a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProtocolSettings {
    /// Larger messages are sent by rendezvous, in bytes.
    pub eager_limit: u64,
    /// Messages from buffers in the segment that are at least this large are copied once, by the
    /// receiver, in bytes.
    pub pull_limit: u64,
    /// The piece in which large messages are copied, in bytes; a power of two.
    pub chunk_size: u64,
    /// Bytes of a rank's chunks that are under way, to all its peers together.
    ///
    /// Measured with windows from 256 KiB to 8 MiB: where the second-level cache has 1 MiB, a smaller window than that is three times
    /// slower, because the peer's cache still holds the lines dirty; where it has 2 MiB, a larger one than 1 MiB costs up to a quarter
    /// at 4 MiB, because it pushes the program's own data out.
    pub chunk_window: u64,
    /// Eager bytes a receiver holds for one sender before that sender falls back to rendezvous.
    pub unexpected_limit: u64,
}

impl Default for ProtocolSettings {
    fn default() -> Self {
        Self {
            eager_limit: 16 * KIB,
            pull_limit: KIB,
            chunk_size: 32 * KIB,
            chunk_window: MIB,
            unexpected_limit: 16 * MIB,
        }
    }
}

/// `memory.*`: how much memory a rank may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemorySettings {
    /// Address space of a rank's arena, in bytes; `None` leaves it to the machine and the number of ranks.
    pub arena: Option<u64>,
    /// Real memory a rank's pool may take, in bytes; `None` sets no limit.
    pub pool_limit: Option<u64>,
}

/// `wait.*`: what a rank does until a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitSettings {
    /// Whether a waiting rank may keep its core to itself.
    pub policy: WaitPolicy,
    /// How long to poll before the core is offered to others; `None` follows the policy.
    pub spin: Option<Duration>,
    /// How often to yield the core before sleeping; `None` follows the policy.
    pub yields: Option<u32>,
    /// The longest sleep between two looks.
    pub sleep: Duration,
}

impl Default for WaitSettings {
    fn default() -> Self {
        Self {
            policy: WaitPolicy::Auto,
            spin: None,
            yields: None,
            sleep: Duration::from_millis(10),
        }
    }
}

/// Whether a waiting rank may keep its core to itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitPolicy {
    /// `Dedicated` where every rank of the host has a core, `Shared` where ranks outnumber cores.
    #[default]
    Auto,
    /// A rank has a core of its own, and spins on it for long.
    Dedicated,
    /// Ranks share cores, so a waiting one gives way soon.
    Shared,
}

/// `launch.*`: how `phalanx run` starts the ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaunchSettings {
    /// What a rank is bound to.
    pub bind: Binding,
    /// Whether each line of output starts with the rank that wrote it.
    pub tag_output: bool,
    /// The longest time a job may take; `None` lets it run for ever.
    pub timeout: Option<Duration>,
    /// What starts agents on other hosts; `None` is `ssh`.
    pub agent: Option<CommandLine>,
    /// The command `phalanx` of other hosts; `None` looks where it is on this one, and then in their `PATH`.
    pub remote_phalanx: Option<String>,
    /// How many agents the launcher, and each agent, starts itself.
    pub fan_out: u32,
}

impl Default for LaunchSettings {
    fn default() -> Self {
        Self {
            bind: Binding::None,
            tag_output: false,
            timeout: None,
            agent: None,
            remote_phalanx: None,
            fan_out: 16,
        }
    }
}

/// What a rank is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binding {
    /// Nothing: the operating system moves ranks as it likes.
    #[default]
    None,
    /// One core for each rank.
    Core,
}

/// `checks.*`: what is verified about received messages.
///
/// There is no setting that skips the check of an archive: only an unsafe call reads one unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckSettings {
    /// Whether the layout hashes of sent and received type are compared.
    pub types: bool,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self { types: true }
    }
}

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
