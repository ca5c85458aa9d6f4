//! A rank's place on the network before it has joined its job.

use std::fmt;
use std::net::SocketAddr;

use super::error::QuicError;
use super::identity::{Card, Identity};
use super::io::Io;
use super::settings::QuicSettings;

/// A rank's place on the network before it knows its peers.
pub struct QuicSocket {
    pub(super) identity: Identity,
    pub(super) settings: QuicSettings,
    pub(super) io: Io,
}

impl QuicSocket {
    /// Takes a place at `address`; port 0 is one that is free.
    ///
    /// # Errors
    /// When there is no such address, or a setting cannot be.
    pub fn bind(
        identity: Identity,
        address: SocketAddr,
        settings: QuicSettings,
    ) -> Result<Self, QuicError> {
        settings.check()?;
        let io = Io::bind(address, settings.socket_buffer)
            .map_err(|source| QuicError::Bind { address, source })?;
        Ok(Self {
            identity,
            settings,
            io,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.io.local()
    }

    /// The card of this rank, with the address that it is bound to. One that is bound to all addresses of its host has to say by
    /// [`Identity::card`] which of them its peers are to use.
    #[must_use]
    pub fn card(&self) -> Card {
        self.identity.card(vec![self.address()])
    }
}

impl fmt::Debug for QuicSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicSocket")
            .field("identity", &self.identity)
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
