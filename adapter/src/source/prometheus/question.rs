//! Asking Prometheus: by which verb, what happens with redirects and refused credentials, and what to say when the
//! answer is an error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::ACCEPT_ENCODING;
use reqwest::{Response, StatusCode, Url};

use super::client::Client;
use super::redirect::{self, LONGEST_URL, MOST_REDIRECTS, RedirectError};
use super::settings::{PrometheusSettings, Verb};
use super::unreached::{Peer, within};
use crate::source::{SourceError, SourceErrorClass};

/// Asks one Prometheus.
pub(super) struct Asker {
    settings: PrometheusSettings,
    client: Client,
    /// When POST was refused last: long queries go by GET for a while where they can.
    post_refused: Mutex<Option<Instant>>,
    redirect_told: AtomicBool,
}

/// How a question was asked that had an answer.
pub(super) struct Asked {
    url: Url,
    status: StatusCode,
    verb: Verb,
    /// Scheme, host, port and the proxy before them.
    place: String,
    credential: Option<String>,
    /// Why it was not asked by another verb.
    verbs: Option<String>,
}

type Parameters<'a> = [(&'a str, &'a str)];

impl Asker {
    /// # Errors
    /// Files that cannot be read or hold something else.
    pub(super) fn new(settings: PrometheusSettings) -> Result<Asker, SourceError> {
        let client = Client::new(&settings)?;
        Ok(Asker { settings, client, post_refused: Mutex::default(), redirect_told: AtomicBool::new(false) })
    }

    /// The client, which follows its files.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Asks an endpoint, for an answer in a content coding. With GET as the verb a long question goes by POST, and by
    /// GET after all where POST is refused: a proxy that checks permissions takes POST for `create`.
    pub(super) async fn ask(
        &self,
        endpoint: &Url,
        parameters: &Parameters<'_>,
        coding: Option<HeaderValue>,
        deadline: Instant,
    ) -> Result<(Response, Asked), SourceError> {
        let send = |verb, url| self.send(verb, url, parameters, coding.as_ref(), deadline);
        if self.settings.verb == Verb::Post {
            return send(Verb::Post, endpoint.clone()).await;
        }
        let mut long = endpoint.clone();
        long.query_pairs_mut().extend_pairs(parameters);
        let length = long.as_str().len();
        if length <= LONGEST_BY_CHOICE || (length <= LONGEST_URL && self.was_post_refused()) {
            let (response, asked) = send(Verb::Get, long).await?;
            if !matches!(asked.status.as_u16(), 414 | 431) {
                return Ok((response, asked));
            }
            let (response, mut by_post) = send(Verb::Post, endpoint.clone()).await?;
            by_post.verbs = Some(format!("after GET was refused with {}", asked.status));
            return Ok((response, by_post));
        }
        let (response, mut asked) = send(Verb::Post, endpoint.clone()).await?;
        if !matches!(asked.status, StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED) {
            return Ok((response, asked));
        }
        if length > LONGEST_URL {
            asked.verbs = Some(format!("as {length} bytes are too long for the URL of a GET"));
            return Ok((response, asked));
        }
        *self.post_refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let (response, mut by_get) = send(Verb::Get, long).await?;
        by_get.verbs = Some(format!("after POST was refused with {}", asked.status));
        Ok((response, by_get))
    }

    /// Asks an endpoint that takes GET alone, with the parameters of its URL.
    pub(super) async fn get(
        &self,
        endpoint: &Url,
        deadline: Instant,
    ) -> Result<(Response, Asked), SourceError> {
        self.send(Verb::Get, endpoint.clone(), &[], None, deadline).await
    }

    fn was_post_refused(&self) -> bool {
        let refused = *self.post_refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.is_some_and(|at| at.elapsed() < REMEMBER_REFUSAL)
    }

    /// Sends a request, follows redirects, and tries again with credentials that have changed.
    async fn send(
        &self,
        verb: Verb,
        mut url: Url,
        parameters: &Parameters<'_>,
        coding: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<(Response, Asked), SourceError> {
        let mut current = self.client.current();
        let (mut redirects, mut renewed) = (0, false);
        loop {
            let mut request = current.request(verb, &url);
            if verb == Verb::Post {
                request = request.form(parameters);
            }
            if let Some(coding) = coding {
                request = request.header(ACCEPT_ENCODING, coding);
            }
            let proxy = current.proxy_for(&self.settings, &url);
            let peer = Peer { url: &url, proxy, access: current.client_access() };
            let sent = within(deadline, request.send()).await;
            let response = match sent {
                Ok(sent) => sent.map_err(|error| peer.failed(&error))?,
                Err(late) => {
                    return Err(SourceError { message: format!("{late} ({})", peer.place()), ..late });
                }
            };
            if response.status() == StatusCode::UNAUTHORIZED
                && !std::mem::replace(&mut renewed, true)
                && let Some(other) = self.client.renewed(&current).await
            {
                current = other;
                continue;
            }
            let Some(target) = redirect::target(&response) else {
                let asked = Asked {
                    status: response.status(),
                    verb,
                    place: peer.place(),
                    credential: current.credential().map(str::to_owned),
                    verbs: None,
                    url,
                };
                return Ok((response, asked));
            };
            redirects += 1;
            let followed = if redirects > MOST_REDIRECTS {
                Err(RedirectError::TooMany)
            } else {
                redirect::follow(&url, target, current.has_credentials())
            };
            url = followed.map_err(|why| {
                let message = format!("Prometheus at {} redirects {why}", peer.place());
                SourceError::new(SourceErrorClass::Unavailable, message)
            })?;
            if !self.redirect_told.swap(true, Ordering::Relaxed) {
                let target = redirect::without_parameters(&url);
                tracing::warn!(%target, "Prometheus redirects every request; set --prometheus-url to the target");
            }
        }
    }
}

impl Asked {
    /// An error of the answer, with how it was asked for where that tells the operator something.
    pub(super) fn explain(&self, error: SourceError) -> SourceError {
        let plain_to_tls = error.message.contains(PLAIN_TO_TLS);
        let of_answer = matches!(
            error.class,
            SourceErrorClass::BadQuery | SourceErrorClass::WrongType | SourceErrorClass::Busy
        );
        if of_answer && !plain_to_tls {
            return error;
        }
        // No rule is at fault.
        let class = if plain_to_tls { SourceErrorClass::Unavailable } else { error.class };
        let by = match self.verb {
            Verb::Get => "GET",
            Verb::Post => "POST",
        };
        let by = self.verbs.as_deref().map_or_else(|| by.to_owned(), |why| format!("{by} {why}"));
        let place = &self.place;
        let with = self.credential.as_deref().map_or_else(|| "no credentials".to_owned(), str::to_owned);
        let how = match self.status.as_u16() {
            404 => redirect::without_parameters(&self.url),
            401 => format!("{place}, asked with {with}"),
            403 | 405 if self.verb == Verb::Post => {
                format!("{place}, asked by {by}, which may be taken for the verb create, with {with}")
            }
            403 | 405 => format!("{place}, asked by {by} with {with}"),
            413 | 414 | 431 => format!("{place}, asked by {by}"),
            _ => place.clone(),
        };
        SourceError { class, message: format!("{} ({how})", error.message) }
    }
}

/// URLs up to this length pass through every proxy that is not narrowed on purpose.
const LONGEST_BY_CHOICE: usize = 8 << 10;
/// Go's client follows as many.
const REMEMBER_REFUSAL: Duration = Duration::from_mins(10);
/// What Go's servers answer to plain HTTP on a port that speaks TLS.
const PLAIN_TO_TLS: &str = "HTTP request to an HTTPS server";
