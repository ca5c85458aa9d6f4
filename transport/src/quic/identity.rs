//! Who a rank is on the network, and what its peers have to know of it.
//!
//! Each rank makes its own key and certificate when it starts. The key never leaves the process: only the [`Card`] travels, over the
//! channel by which the ranks of a job learn of each other, which is the root of all trust.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

use super::error::QuicError;
use super::verify;

/// The private side of a rank: its key, in this process's memory and nowhere else.
#[derive(Clone)]
pub struct Identity {
    pub(super) rank: usize,
    pub(super) job: JobId,
    pub(super) key: Arc<CertifiedKey>,
    pub(super) fingerprint: Fingerprint,
}

/// What peers need to reach a rank and to know it when they do. Holds no secret, but whoever can change it on its way can pretend to
/// be that rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Card {
    /// The rank.
    pub rank: usize,
    /// Where it listens; tried in this order.
    pub addresses: Vec<SocketAddr>,
    /// What its certificate has to be.
    pub fingerprint: Fingerprint,
    /// Its job.
    pub job: JobId,
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

/// Which job a rank belongs to: random, made once by whoever starts the job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobId([u8; 16]);

impl Identity {
    /// Makes a key and a certificate for `rank` of `job`.
    ///
    /// ```
    /// use phalanx_transport::quic::{Identity, JobId};
    ///
    /// let job = JobId::random()?;
    /// let identity = Identity::generate(3, job)?;
    /// let card = identity.card(vec!["10.0.0.7:4433".parse()?]);
    /// assert_eq!((card.rank, card.job), (3, job));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate(rank: usize, job: JobId) -> Result<Self, QuicError> {
        let pair = rcgen::KeyPair::generate().map_err(QuicError::identity)?;
        // Nobody looks at the name: a certificate is compared as a whole.
        let certificate = rcgen::CertificateParams::new(vec!["phalanx".to_owned()])
            .and_then(|parameters| parameters.self_signed(&pair))
            .map_err(QuicError::identity)?;
        let certificate = CertificateDer::from(certificate);
        let fingerprint = Fingerprint::of(&certificate);
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let key = CertifiedKey::from_der(vec![certificate], secret, &verify::provider())
            .map_err(QuicError::identity)?;
        Ok(Self {
            rank,
            job,
            key: Arc::new(key),
            fingerprint,
        })
    }

    /// The public side, of a rank that listens at `addresses`.
    #[must_use]
    pub fn card(&self, addresses: Vec<SocketAddr>) -> Card {
        Card {
            rank: self.rank,
            addresses,
            fingerprint: self.fingerprint,
            job: self.job,
        }
    }
}

impl fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("rank", &self.rank)
            .field("job", &self.job)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Card {
    /// The card of `rank` of `job`, as it came from there.
    #[must_use]
    pub const fn new(
        rank: usize,
        job: JobId,
        addresses: Vec<SocketAddr>,
        fingerprint: Fingerprint,
    ) -> Self {
        Self {
            rank,
            addresses,
            fingerprint,
            job,
        }
    }
}

impl Fingerprint {
    /// The fingerprint of these bytes, for whoever carries it in a form of its own.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = digest::digest(&digest::SHA256, certificate);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl JobId {
    /// A job that nobody else has.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn random() -> Result<Self, QuicError> {
        let mut bytes = [0; 16];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| QuicError::identity("the system gives no random numbers"))?;
        Ok(Self(bytes))
    }

    /// The job of these bytes, for whoever has a number of its own for it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Fingerprint {
    /// The first bytes: enough to tell ranks apart in a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..8])
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_survives_its_journey() {
        let identity = Identity::generate(5, JobId::random().unwrap()).unwrap();
        let card = identity.card(vec![
            "[::1]:77".parse().unwrap(),
            "10.1.2.3:4".parse().unwrap(),
        ]);
        let text = serde_json::to_string(&card).unwrap();
        assert_eq!(serde_json::from_str::<Card>(&text).unwrap(), card);
    }

    #[test]
    fn no_two_identities_and_no_two_jobs_are_alike() {
        let job = JobId::random().unwrap();
        let [one, other] = [0, 0].map(|rank| Identity::generate(rank, job).unwrap());
        assert_ne!(one.fingerprint, other.fingerprint);
        assert_ne!(job, JobId::random().unwrap());
    }

    #[test]
    fn an_identity_does_not_show_its_key() {
        let identity = Identity::generate(0, JobId::from_bytes([7; 16])).unwrap();
        let shown = format!("{identity:?}");
        assert!(shown.contains("07070707"), "{shown}");
        assert!(!shown.to_lowercase().contains("key"), "{shown}");
    }
}
