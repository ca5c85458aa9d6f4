//! Whom a rank believes: the certificates on the cards of its job, and nobody else.
//!
//! TLS does what it always does, signatures included; only "is this certificate trusted" is answered by a list in place of an
//! authority. A dialling rank says in the server name whom it wants, who it is, and which job it means. The one that answers checks
//! wish and job before it shows its certificate. That of the dialling rank it may not know yet: TLS then proves only that its key is
//! at the other end, and whether it is that of the rank that was claimed is decided after the handshake, by the card, before anything
//! is read. Sessions are never resumed, so there are no tickets and no data before the handshake's end.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{ClientConfig, ServerConfig};
use rustc_hash::FxHashMap;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, CipherSuite, DigitallySignedStruct, DistinguishedName, OtherError,
    SignatureScheme,
};

use super::error::QuicError;
use super::identity::{Card, Fingerprint, Identity, JobId};

/// The protocol that both sides must name; changes with anything that travels in a stream.
const PROTOCOL: &[u8] = b"phalanx/1";

/// The number in the name of the protocol.
pub const PROTOCOL_VERSION: u16 = 1;

/// Ring, with TLS 1.3 only, AES-128 first: ChaCha20 costs 40 % of the bandwidth where AES is in the processor, and one key
/// exchange whose messages fit into the first packet.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    provider
        .cipher_suites
        .retain(|suite| suite.tls13().is_some());
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider.kx_groups = vec![rustls::crypto::ring::kx_group::X25519];
    provider
}

/// Which certificate belongs to which rank, and why the last handshake was refused.
#[derive(Debug)]
pub(super) struct Pins {
    rank: usize,
    job: JobId,
    known: Mutex<Known>,
    algorithms: WebPkiSupportedAlgorithms,
    key: Arc<CertifiedKey>,
    /// TLS tells its peer no more than a number, and its caller little more. The endpoint is driven by one thread at a time, which
    /// takes this out after each packet.
    refused: Mutex<Option<String>>,
}

/// The cards that have come so far.
#[derive(Debug, Default)]
struct Known {
    ranks: FxHashMap<Fingerprint, usize>,
    cards: FxHashMap<usize, Fingerprint>,
}

/// Both sides' configuration.
pub(super) struct Credentials {
    pub(super) pins: Arc<Pins>,
    pub(super) client: ClientConfig,
    pub(super) server: ServerConfig,
}

impl Credentials {
    pub(super) fn new(identity: &Identity) -> Result<Self, QuicError> {
        let provider = Arc::new(provider());
        let pins = Arc::new(Pins {
            rank: identity.rank,
            job: identity.job,
            known: Mutex::default(),
            algorithms: provider.signature_verification_algorithms,
            key: Arc::clone(&identity.key),
            refused: Mutex::default(),
        });
        pins.pin(identity.rank, identity.fingerprint);
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(QuicError::identity)?
            .with_client_cert_verifier(Arc::new(Guard(Arc::clone(&pins))))
            .with_cert_resolver(Arc::new(Guard(Arc::clone(&pins))));
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});

        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(QuicError::identity)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Guard(Arc::clone(&pins))))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&pins.key))));
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        client.resumption = Resumption::disabled();

        let server = QuicServerConfig::try_from(server).map_err(QuicError::identity)?;
        let client = QuicClientConfig::try_from(client).map_err(QuicError::identity)?;
        Ok(Self {
            pins,
            client: ClientConfig::new(Arc::new(client)),
            server: ServerConfig::with_crypto(Arc::new(server)),
        })
    }
}

impl Pins {
    /// Believes a card from now on, of a job of so many `ranks`; or says why not. A card that is known already changes nothing.
    pub(super) fn learn(&self, card: &Card, ranks: usize) -> Result<(), String> {
        let Card { rank, job, .. } = *card;
        let cure = "the cards of this job are mixed up";
        if job != self.job {
            return Err(format!(
                "the card of rank {rank} is of job {job}, this is job {}: {cure}",
                self.job
            ));
        }
        if rank >= ranks {
            return Err(format!(
                "there is a card of rank {rank} in a job of {ranks} ranks: {cure}"
            ));
        }
        let twin = self.rank_of(&card.fingerprint).filter(|&twin| twin != rank);
        if let Some(twin) = twin {
            return Err(format!(
                "the cards of rank {rank} and rank {twin} have the same certificate: {cure}"
            ));
        }
        match self.card_of(rank) {
            Some(known) if known != card.fingerprint => Err(format!(
                "a second card of rank {rank} has another certificate, {}, than the first, {known}: {cure}",
                card.fingerprint
            )),
            _ => {
                self.pin(rank, card.fingerprint);
                Ok(())
            }
        }
    }

    fn pin(&self, rank: usize, fingerprint: Fingerprint) {
        let mut known = self.known.lock();
        known.ranks.insert(fingerprint, rank);
        known.cards.insert(rank, fingerprint);
    }

    /// The rank whose certificate this is, if that is known.
    pub(super) fn rank_of(&self, shown: &Fingerprint) -> Option<usize> {
        self.known.lock().ranks.get(shown).copied()
    }

    /// What the certificate of `rank` has to be, if that is known.
    pub(super) fn card_of(&self, rank: usize) -> Option<Fingerprint> {
        self.known.lock().cards.get(&rank).copied()
    }

    /// What to call `peer` when it is dialled.
    pub(super) fn name_of(&self, peer: usize) -> String {
        Claim {
            to: peer,
            from: self.rank,
            job: self.job.to_string(),
        }
        .to_string()
    }

    /// Why the handshake that failed just now was refused here, if it was.
    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refused.lock().take()
    }

    fn refuse(&self, reason: String) -> rustls::Error {
        let error = Refused(reason.clone());
        *self.refused.lock() = Some(reason);
        CertificateError::Other(OtherError(Arc::new(error))).into()
    }
}

/// What a dialling rank claims: `to-1.from-0.<job>.phalanx`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) to: usize,
    pub(super) from: usize,
    pub(super) job: String,
}

impl Claim {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut labels = name.split('.');
        let to = labels.next()?.strip_prefix("to-")?.parse().ok()?;
        let from = labels.next()?.strip_prefix("from-")?.parse().ok()?;
        let job = labels.next()?.to_owned();
        (labels.next() == Some("phalanx") && labels.next().is_none()).then_some(Self {
            to,
            from,
            job,
        })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, from, job } = self;
        write!(f, "to-{to}.from-{from}.{job}.phalanx")
    }
}

/// Why a certificate was refused, as TLS carries it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// What both verifiers have in common, which rustls gives two traits of the same methods.
macro_rules! signatures_are_verified_as_ever {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            by: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Verified {
            verify_tls12_signature(message, by, signature, &self.0.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            by: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Verified {
            verify_tls13_signature(message, by, signature, &self.0.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.algorithms.supported_schemes()
        }
    };
}

type Verified = Result<HandshakeSignatureValid, rustls::Error>;

/// The questions that TLS asks, answered by the pins.
#[derive(Debug)]
struct Guard(Arc<Pins>);

impl ResolvesServerCert for Guard {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pins = &*self.0;
        let speaks = hello
            .alpn()
            .is_some_and(|mut names| names.any(|name| name == PROTOCOL));
        let reason = match hello.server_name().and_then(Claim::parse) {
            // Refused by TLS itself, with the alert that is made for it.
            _ if !speaks => {
                let reason =
                    "a stranger, which does not speak this version of Phalanx, was turned away";
                *pins.refused.lock() = Some(reason.to_owned());
                return Some(Arc::clone(&pins.key));
            }
            None => "a stranger, which names no rank, was turned away".to_owned(),
            Some(claim) if claim.job != pins.job.to_string() => {
                format!(
                    "rank {} of another job, {}, was turned away: this is job {}",
                    claim.from, claim.job, pins.job
                )
            }
            Some(claim) if claim.to != pins.rank => format!(
                "rank {} was turned away: it wants rank {}, this is rank {}",
                claim.from, claim.to, pins.rank
            ),
            Some(_) => return Some(Arc::clone(&pins.key)),
        };
        *pins.refused.lock() = Some(reason);
        None
    }
}

impl ClientCertVerifier for Guard {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // Whose it is turns out later: its card may not be here yet, and asking for it takes longer than this call may.
        Ok(ClientCertVerified::assertion())
    }

    signatures_are_verified_as_ever!();
}

impl ServerCertVerifier for Guard {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let wanted = Claim::parse(&name.to_str()).map(|claim| claim.to);
        let shown = Fingerprint::of(certificate);
        match wanted {
            Some(rank) if self.0.card_of(rank) == Some(shown) => {
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(self.0.refuse(format!(
                "who answers there is not rank {}: its certificate, {shown}, is not the one on that rank's card",
                wanted.map_or_else(|| "?".to_owned(), |rank| rank.to_string())
            ))),
        }
    }

    signatures_are_verified_as_ever!();
}

#[cfg(test)]
impl Pins {
    /// What somebody dials with who belongs to no job: another protocol, or the right one without a certificate.
    pub(super) fn stranger(self: &Arc<Self>, protocol: Option<&[u8]>) -> ClientConfig {
        let mut client = rustls::ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Guard(Arc::clone(self))))
            .with_no_client_auth();
        client.alpn_protocols = vec![protocol.unwrap_or(PROTOCOL).to_vec()];
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_protocol_has_its_number() {
        assert_eq!(PROTOCOL, format!("phalanx/{PROTOCOL_VERSION}").as_bytes());
    }

    #[test]
    fn a_claim_is_read_as_it_was_written_and_nothing_else_is_one() {
        let claim = Claim {
            to: 12,
            from: 3,
            job: "00ff".to_owned(),
        };
        assert_eq!(Claim::parse(&claim.to_string()), Some(claim));
        for other in [
            "",
            "to-1",
            "to-1.from-2.j",
            "to-1.from-2.j.phalanx.org",
            "to-x.from-2.j.phalanx",
            "example.org",
        ] {
            assert_eq!(Claim::parse(other), None, "{other}");
        }
    }

    #[test]
    fn aes_128_is_offered_first_and_nothing_older_than_tls_13() {
        let provider = provider();
        let suites: Vec<_> = provider
            .cipher_suites
            .iter()
            .map(|suite| suite.suite())
            .collect();
        assert_eq!(suites[0], CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert!(
            provider
                .cipher_suites
                .iter()
                .all(|suite| suite.tls13().is_some())
        );
    }
}
