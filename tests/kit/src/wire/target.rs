//! A server as clients without manners see it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::tls::{self, Identity, Trust};
use super::{Raw, connect};
use crate::Failure;

/// Where a server is, and how it is reached.
#[derive(Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    from: Ipv4Addr,
    trust: Option<Trust>,
    /// Connections that are being made: more would overflow the kernel's queue of a small machine.
    connecting: Semaphore,
}

/// What requests are written to.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Target {
    /// A server without TLS.
    pub fn plain(address: SocketAddr) -> Target {
        Target { address, from: Ipv4Addr::LOCALHOST, trust: None, connecting: Semaphore::new(AT_ONCE) }
    }

    /// A server of loopback with TLS.
    pub fn tls(port: u16, trust: Trust) -> Target {
        Target { trust: Some(trust), ..Target::plain((Ipv4Addr::LOCALHOST, port).into()) }
    }

    /// The same, reached from another address of loopback: Linux has all of 127.0.0.0/8.
    #[must_use]
    pub fn reached_from(self, from: Ipv4Addr) -> Target {
        Target { from, ..self }
    }

    /// A TCP connection that takes in little.
    ///
    /// # Errors
    /// The server does not accept it.
    pub async fn tcp(&self) -> Result<TcpStream, Failure> {
        let _place = self.connecting.acquire().await?;
        Ok(tokio::time::timeout(LONGEST, connect(self.from, self.address)).await??)
    }

    /// A connection that speaks `protocol`; over TLS with a client certificate, if there is one.
    ///
    /// # Errors
    /// The server does not accept it.
    pub async fn open(
        &self,
        protocol: &str,
        identity: Option<&Identity>,
    ) -> Result<Raw<Box<dyn Stream>>, Failure> {
        let stream = self.tcp().await?;
        let Some(trust) = self.trust.clone() else { return Ok(Raw(Box::new(stream))) };
        let config = tls::client(trust, identity, &[protocol])?;
        let connecting = tls::connect(stream, "localhost", config);
        Ok(Raw(Box::new(tokio::time::timeout(LONGEST, connecting).await??)))
    }
}

const AT_ONCE: usize = 16;
/// How long a client waits that may be kept waiting.
const LONGEST: Duration = Duration::from_mins(1);
