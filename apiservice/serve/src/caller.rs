//! The client at the other end of a connection.

use std::net::SocketAddr;

use crate::connection_limit::Ticket;
use crate::trust::Trust;

/// The other end of a connection.
pub struct Caller<P> {
    /// Its address, which may be a proxy's.
    pub address: SocketAddr,
    /// What the handshake told.
    pub peer: P,
    pub(crate) ticket: Ticket,
}

impl<P> Caller<P> {
    /// Somebody is known to use this connection. Those of strangers are ended first when there are too many, and get
    /// their last answer where it says so.
    pub fn verified(&self, trust: Trust) {
        self.ticket.verified(trust);
    }
}
