//! The card: what a rank tells all others about itself.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// How a rank is reached, how it proves to be itself, and whether it can be talked to at all.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::{Build, Card, Fingerprint, Host};
///
/// let card = Card {
///     addresses: vec!["192.0.2.7:4433".parse()?],
///     fingerprint: Fingerprint([7; 32]),
///     host: Host::read()?,
///     build: Build::of_this_program(1),
/// };
/// assert!(card.check().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Where the rank listens, the best address first. Empty where it is reached through shared memory only.
    pub addresses: Vec<SocketAddr>,
    /// The SHA-256 hash of its certificate; zeros where it has none.
    pub fingerprint: Fingerprint,
    /// The host that it runs on.
    pub host: Host,
    /// The program that it is.
    pub build: Build,
}

impl Card {
    /// Whether the card is within the limits of the wire-up.
    ///
    /// # Errors
    /// [`CardError`] that names the part which is too long, and its limit.
    pub fn check(&self) -> Result<(), CardError> {
        let parts = [
            ("addresses", self.addresses.len(), MAX_ADDRESSES),
            ("bytes in the host's name", self.host.name.len(), MAX_NAME),
            (
                "bytes in the version",
                self.build.version.len(),
                MAX_VERSION,
            ),
        ];
        let over = parts.into_iter().find(|(_, length, most)| length > most);
        over.map_or(Ok(()), |(part, length, most)| {
            Err(CardError { part, length, most })
        })
    }
}

/// A card with too much in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the card has {length} {part} and may have {most}: shorten it")]
pub struct CardError {
    part: &'static str,
    length: usize,
    most: usize,
}

/// The hash by which peers know a rank's certificate.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::Fingerprint;
///
/// assert_eq!(format!("{:?}", Fingerprint([0xab; 32])).len(), 64);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What tells hosts apart. The name is for people: containers and network namespaces may share it, or differ in it on one
/// machine, so it decides nothing.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::Host;
///
/// let host = Host::read()?;
/// assert!(host.may_share_memory_with(&host));
/// assert!(!host.may_share_memory_with(&Host::default()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The kernel's identity since it was started.
    pub boot: [u8; 16],
    /// Which of the kernel's memory file systems is this process's `/dev/shm`.
    pub shared_memory: u64,
}

impl Host {
    /// Reads the identity of this host.
    ///
    /// # Errors
    /// When `/proc` or `/dev/shm` cannot be read.
    pub fn read() -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        let text = std::fs::read_to_string(BOOT_ID)?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let boot = u128::from_str_radix(&digits, 16).map_err(|_| {
            std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!(
                    "{BOOT_ID} has {text:?}, no identity of a kernel: mount the kernel's own /proc"
                ),
            )
        })?;
        let name = std::fs::read_to_string(HOST_NAME)?;
        Ok(Self {
            name: name.trim().chars().take(MAX_NAME / 4).collect(),
            boot: boot.to_be_bytes(),
            shared_memory: std::fs::metadata(SHARED_MEMORY)?.dev(),
        })
    }

    /// Whether named shared memory made on one of the two can be seen on the other. Whether it *is* shared is known only
    /// when it has been mapped.
    #[must_use]
    pub fn may_share_memory_with(&self, other: &Self) -> bool {
        (self.boot, self.shared_memory) == (other.boot, other.shared_memory)
    }
}

/// What two programs must have in common to talk.
///
/// # Examples
/// ```
/// use phalanx_wireup::exchange::Build;
///
/// assert!(Build::of_this_program(1).can_talk_to(&Build::of_this_program(1)));
/// assert!(!Build::of_this_program(1).can_talk_to(&Build::of_this_program(2)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The version of the protocol between ranks.
    pub protocol: u16,
    /// The version of Phalanx, for people.
    pub version: String,
    /// Bits of a machine word.
    pub word_bits: u8,
    /// The order of bytes in memory.
    pub byte_order: ByteOrder,
}

impl Build {
    /// This program, which speaks version `protocol` between ranks.
    #[must_use]
    pub fn of_this_program(protocol: u16) -> Self {
        Self {
            protocol,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // No processor has words of 256 bits.
            word_bits: u8::try_from(usize::BITS).unwrap_or(u8::MAX),
            byte_order: if cfg!(target_endian = "big") {
                ByteOrder::Big
            } else {
                ByteOrder::Little
            },
        }
    }

    /// Whether messages of one can be read by the other.
    #[must_use]
    pub fn can_talk_to(&self, other: &Self) -> bool {
        let key = |build: &Self| (build.protocol, build.word_bits, build.byte_order);
        key(self) == key(other)
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.byte_order {
            ByteOrder::Little => "little",
            ByteOrder::Big => "big",
        };
        write!(
            f,
            "Phalanx {} (protocol {}, {} bits, {order}-endian)",
            self.version, self.protocol, self.word_bits
        )
    }
}

/// The order of bytes in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "there are no others")]
pub enum ByteOrder {
    /// The least byte first.
    #[default]
    Little,
    /// The greatest byte first.
    Big,
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
const SHARED_MEMORY: &str = "/dev/shm";

/// A host with more than this has interfaces that nobody should try.
const MAX_ADDRESSES: usize = 32;

/// The longest name in the domain name system.
const MAX_NAME: usize = 255;

const MAX_VERSION: usize = 64;
