//! The client certificates of a connection and the verdicts on them.
//!
//! A chain is verified once for each generation of authorities, however many requests its connection sends: building a
//! path through a hostile chain costs 20 ms of CPU. It happens off the threads that serve connections, goes on when the
//! request that asked for it is given up, and runs at a bounded rate.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::authorities::{Authorities, Verified};
use super::error::AuthnError;

/// The certificates that the client showed in the TLS handshake, its own first. Empty when it showed none. Clones
/// belong to the same connection and share its verdicts.
#[derive(Clone, Default)]
pub struct PeerCertificates(Option<Arc<Peer>>);

struct Peer(Mutex<State>);

struct State {
    /// `None` once no authority can verify it any more: strangers' certificates need not be kept.
    chain: Option<Arc<Vec<CertificateDer<'static>>>>,
    /// By generation of authorities, the oldest first.
    verdicts: Vec<(u64, Judging)>,
    refused: usize,
    accepted: usize,
}

type Verdict = Result<Arc<Verified>, AuthnError>;
type Judging = Shared<BoxFuture<'static, Verdict>>;

impl PeerCertificates {
    /// A chain as the client showed it.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> PeerCertificates {
        let state = State { chain: Some(Arc::new(chain)), verdicts: Vec::new(), refused: 0, accepted: 0 };
        let has_any = state.chain.as_ref().is_some_and(|chain| !chain.is_empty());
        PeerCertificates(has_any.then(|| Arc::new(Peer(Mutex::new(state)))))
    }

    /// Whether none were shown.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The user that the certificates name according to these authorities; `None` without certificates.
    ///
    /// # Errors
    /// The chain does not lead to one of the authorities, or a certificate of it has expired since.
    pub(super) async fn verified(
        &self,
        authorities: &Authorities,
    ) -> Result<Option<Arc<Verified>>, AuthnError> {
        let Some(peer) = &self.0 else { return Ok(None) };
        let verified = peer.judging(authorities)?.await?;
        if verified.until < SystemTime::now() {
            return Err(AuthnError::certificate("expired since the connection began"));
        }
        Ok(Some(verified))
    }
}

impl fmt::Debug for PeerCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.as_ref().and_then(|peer| peer.lock().chain.as_ref().map(|chain| chain.len()));
        f.debug_tuple("PeerCertificates").field(&length.unwrap_or(0)).finish()
    }
}

impl Peer {
    fn judging(self: &Arc<Peer>, authorities: &Authorities) -> Result<Judging, AuthnError> {
        let mut state = self.lock();
        let generation = authorities.generation();
        if let Some((_, judging)) = state.verdicts.iter().find(|(of, _)| *of == generation) {
            return Ok(judging.clone());
        }
        let chain = state.chain.clone().ok_or_else(|| {
            AuthnError::certificate("refused before the authorities changed; connect again")
        })?;
        let place = Lane::of(&chain).enter()?;
        let (peer, authorities) = (Arc::clone(self), authorities.clone());
        // A task of its own: a client that resets its request must not cause a second verification.
        let judging = tokio::spawn(async move {
            let verdict = place.verify(chain, authorities).await;
            peer.settled(verdict.is_ok());
            verdict
        })
        .map(|joined| joined.unwrap_or_else(|error| Err(failed(&error))))
        .boxed()
        .shared();
        if state.verdicts.len() == MOST_VERDICTS {
            drop(state.verdicts.remove(0));
        }
        state.verdicts.push((generation, judging.clone()));
        Ok(judging)
    }

    fn settled(&self, is_good: bool) {
        let mut state = self.lock();
        if is_good {
            state.accepted += 1;
        } else {
            state.refused += 1;
        }
        if state.accepted == 0 && state.refused >= MOST_VERDICTS {
            state.chain = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Chains that are verified at the same time, and those that wait for it.
struct Lane {
    running: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
}

/// A place among those that wait in a lane; given back when dropped.
struct Place(&'static Lane);

impl Lane {
    const fn new(running: usize, most_waiting: usize) -> Lane {
        Lane { running: Semaphore::const_new(running), waiting: AtomicUsize::new(0), most_waiting }
    }

    /// The lane of a chain. Where two certificates have the same subject, there are many paths to try.
    fn of(chain: &[CertificateDer<'_>]) -> &'static Lane {
        let mut subjects = HashSet::new();
        let is_one_path = chain.iter().all(|certificate| {
            X509Certificate::from_der(certificate)
                .is_ok_and(|(_, parsed)| subjects.insert(parsed.subject().as_raw().to_owned()))
        });
        if is_one_path { &ONE_PATH } else { &MANY_PATHS }
    }

    fn enter(&'static self) -> Result<Place, AuthnError> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(self);
        if before >= self.most_waiting {
            return Err(AuthnError::ManyChains { waiting: before });
        }
        Ok(place)
    }
}

impl Place {
    async fn verify(self, chain: Arc<Vec<CertificateDer<'static>>>, authorities: Authorities) -> Verdict {
        // Never closed.
        let _running = self.0.running.acquire().await;
        let judged = tokio::task::spawn_blocking(move || authorities.verify(&chain).map(Arc::new)).await;
        judged.unwrap_or_else(|error| Err(failed(&error)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn failed(error: &tokio::task::JoinError) -> AuthnError {
    AuthnError::Interrupted(error.to_string())
}

/// One for each authenticator that looks at certificates: front proxies and clients.
const MOST_VERDICTS: usize = 2;
/// At most one certificate for each subject: as many signatures as certificates, a millisecond.
static ONE_PATH: Lane = Lane::new(4, 1024);
/// Up to the hundred signatures at which webpki stops. One at a time: strangers get one thread for it and no more.
static MANY_PATHS: Lane = Lane::new(1, 64);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::pem::PemObject as _;

    use super::*;
    use crate::authority::Authority;

    fn shown(authority: &Authority) -> (PeerCertificates, Authorities) {
        let issued = authority.issue_client("somebody", &[]).expect("a key");
        let own = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("a certificate");
        let authorities = Authorities::from_pem(authority.certificate().as_bytes()).expect("a certificate");
        (PeerCertificates::new(vec![own]), authorities)
    }

    #[tokio::test]
    async fn a_certificate_that_expires_is_refused_on_an_open_connection() {
        let (peer, authorities) = shown(&Authority::new("test-ca").expect("a key"));
        let verified = peer.verified(&authorities).await.expect("valid").expect("shown");
        assert!(verified.until > SystemTime::now() + Duration::from_hours(24));
        // Time goes on: the same verdict, which ends now.
        let subject = crate::authn::authorities::Subject { name: "x".to_owned(), organizations: Vec::new() };
        let ended = Arc::new(Verified { subject, until: SystemTime::now() - Duration::from_secs(1) });
        let judging: Judging = std::future::ready(Ok(ended)).boxed().shared();
        peer.0.as_ref().expect("shown").lock().verdicts = vec![(authorities.generation(), judging)];
        let error = peer.verified(&authorities).await.expect_err("expired");
        assert_eq!(error.to_string(), "invalid client certificate: expired since the connection began");
        assert_eq!(authorities.verifications(), 1, "what has expired is not verified again");
    }

    #[tokio::test]
    async fn certificates_that_everybody_refused_are_not_kept() {
        let (peer, own) = shown(&Authority::new("test-ca").expect("a key"));
        let others = || shown(&Authority::new("other-ca").expect("a key")).1;
        for _ in 0..MOST_VERDICTS {
            assert!(peer.verified(&others()).await.is_err());
        }
        assert!(peer.0.as_ref().expect("shown").lock().chain.is_none());
        assert!(peer.verified(&own).await.is_err(), "such a client connects again");
        // One that was believed is kept, and asked about again.
        let (peer, own) = shown(&Authority::new("test-ca").expect("a key"));
        assert!(peer.verified(&own).await.is_ok());
        for _ in 0..MOST_VERDICTS {
            assert!(peer.verified(&others()).await.is_err());
        }
        assert!(peer.verified(&own).await.is_ok());
    }
}
