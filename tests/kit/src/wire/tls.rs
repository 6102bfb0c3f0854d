//! TLS as clients and servers of tests speak it: without the machine's authorities, by the crypto provider of the
//! product.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Failure;

/// A certificate chain and its key.
#[derive(Debug)]
pub struct Identity(pub Vec<CertificateDer<'static>>, pub PrivateKeyDer<'static>);

/// Whose certificates a client takes.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that these authorities signed.
    Roots(RootCertStore),
    /// Every certificate: the client is not to be protected.
    Anyone,
}

impl Identity {
    /// Reads both from PEM; the certificate may be a chain.
    ///
    /// # Errors
    /// What is not PEM.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Identity, Failure> {
        let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>()?;
        Ok(Identity(chain, PrivateKeyDer::from_pem_slice(key)?))
    }
}

impl Clone for Identity {
    fn clone(&self) -> Identity {
        Identity(self.0.clone(), self.1.clone_key())
    }
}

/// Authorities in PEM.
///
/// # Errors
/// What is not PEM, or not of an authority.
pub fn roots(pem: &[u8]) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

/// What a client offers: protocols by ALPN, and a certificate, if there is one.
///
/// # Errors
/// A key that does not go with its certificate.
pub fn client(
    trust: Trust,
    identity: Option<&Identity>,
    protocols: &[&str],
) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Roots(roots) => {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?
        }
        Trust::Anyone => Arc::new(AnyServer(provider)),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity(chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}

/// Shakes hands with a server by its name or address.
///
/// # Errors
/// The handshake fails.
pub async fn connect(
    stream: TcpStream,
    name: &str,
    config: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A server that shows a certificate, and asks for one of these clients, if there are any.
///
/// # Errors
/// A key that does not go with its certificate.
pub fn server(identity: Identity, clients: Option<RootCertStore>) -> Result<ServerConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    Ok(builder.with_single_cert(identity.0, identity.1)?)
}

#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
