//! Lists and watches the objects of one kind as client-go's reflectors do: all objects as events of a watch where the
//! server streams them so (`sendInitialEvents`), else a list out of its watch cache (`resourceVersion=0`). Then their
//! changes.
//!
//! kube's `watcher` does one or the other as it is told, and holds a whole answer in memory, as text and as objects, so
//! that lists must come in pages, which before Kubernetes 1.34 no watch cache serves. Its requests, its reading of a
//! watch, its errors and its backoff are used here.
//!
//! Source: `kubernetes/client-go: tools/cache/reflector.go`, `tools/pager/pager.go`.

use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use kube::Resource as _;
use kube::api::{ApiResource, ListParams, WatchEvent, WatchParams};
use kube::core::{DynamicObject, Request, Status};
use kube::runtime::watcher::Error;
use rules::resource::Kind;
use tokio::time::{Instant, timeout};

use super::keeper::Keeper;
use super::list::read_list;
use super::metadata::{ListMetadata, Named};
use super::pace::Pace;

/// Follows one kind.
pub(super) struct Reflector {
    client: kube::Client,
    request: Request,
    fields: Option<String>,
    version: Version,
    /// Whether all objects were listed, so that a watch from `version` tells of every change since.
    is_listed: bool,
    /// Whether the server is asked for a streaming list.
    asks_for_stream: bool,
}

/// How new a listing has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    /// As the watch cache is: nothing is known yet.
    Any,
    /// At least so new: what was seen last.
    AtLeast(String),
    /// The newest, from the storage: the server does not have what was seen last.
    Newest { in_pages: bool },
}

type Events = BoxStream<'static, kube::Result<WatchEvent<Named>>>;

impl Reflector {
    pub(super) fn new(client: kube::Client, kind: &Kind, fields: Option<&str>) -> Reflector {
        let resource = ApiResource {
            group: kind.group.clone(),
            version: kind.version.clone(),
            api_version: kind.api_version(),
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
        };
        Reflector {
            client,
            request: Request::new(DynamicObject::url_path(&resource, None)),
            fields: fields.map(str::to_owned),
            version: Version::Any,
            is_listed: false,
            asks_for_stream: true,
        }
    }

    /// Lists unless that was done, and watches, until something fails. Called again it goes on where that is possible.
    pub(super) async fn run(&mut self, keeper: &mut Keeper) -> Error {
        loop {
            let events = if self.is_listed {
                None
            } else {
                match self.list(keeper).await {
                    Ok(events) => events,
                    Err(error) => return error,
                }
            };
            self.is_listed = true;
            if let Err(error) = self.watch(events, keeper).await {
                return error;
            }
        }
    }

    /// Has [`Reflector::run`] begin with a listing.
    pub(super) fn list_again(&mut self) {
        self.is_listed = false;
    }

    /// Gives the keeper all objects; a stream of them goes on with their changes.
    async fn list(&mut self, keeper: &mut Keeper) -> Result<Option<Events>, Error> {
        if self.asks_for_stream
            && let Some(events) = self.stream(keeper).await?
        {
            return Ok(Some(events));
        }
        loop {
            keeper.begin();
            match self.pages(keeper).await {
                Ok(metadata) if metadata.resource_version.is_empty() => return Err(Error::NoResourceVersion),
                Ok(metadata) => {
                    self.version = Version::AtLeast(metadata.resource_version);
                    keeper.complete();
                    return Ok(None);
                }
                Err(error) if self.can_ask_otherwise(&error) => {}
                Err(error) => return Err(Error::InitialListFailed(error)),
            }
        }
    }

    /// All objects as events; `None` where the server does not send them so.
    async fn stream(&mut self, keeper: &mut Keeper) -> Result<Option<Events>, Error> {
        loop {
            keeper.begin();
            let version = match &self.version {
                Version::AtLeast(version) => version.as_str(),
                // As client-go asks at first: the watch cache sends its objects once it is as new as the storage.
                Version::Any | Version::Newest { .. } => "",
            };
            let mut events = match self.events(version, true).await {
                Ok(events) => events,
                Err(error) if self.can_ask_otherwise(&error) => continue,
                Err(kube::Error::Api(status)) if !matches!(status.code, 401 | 429) => {
                    // Such an answer of a server that is busy does not mean that it cannot do it.
                    self.asks_for_stream = status.code >= 500;
                    return Ok(None);
                }
                Err(error) => return Err(Error::WatchStartFailed(error)),
            };
            let mut pace = Pace::default();
            // A server that does not know `sendInitialEvents` may send objects, and never says that these are all.
            while let Ok(Some(event)) = timeout(LONGEST_BETWEEN_OBJECTS, events.next()).await {
                match event.map_err(Error::WatchFailed)? {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => keeper.list(&object.metadata),
                    WatchEvent::Bookmark(bookmark) => {
                        if bookmark.metadata.annotations.contains_key(ALL_SENT) {
                            self.version = Version::AtLeast(bookmark.metadata.resource_version);
                            keeper.complete();
                            return Ok(Some(events));
                        }
                    }
                    WatchEvent::Error(status) => return Err(self.told_of_error(status)),
                    // There is none before all objects were sent.
                    WatchEvent::Deleted(_) => {}
                }
                pace.step().await;
            }
            self.asks_for_stream = false;
            return Ok(None);
        }
    }

    /// A list, of which each object is kept when it arrives.
    async fn pages(&mut self, keeper: &mut Keeper) -> kube::Result<ListMetadata> {
        let (version, limit) = match &self.version {
            // Out of the watch cache, which knows no pages.
            Version::Any => (Some("0"), None),
            Version::AtLeast(version) => (Some(version.as_str()), None),
            Version::Newest { in_pages } => (None, in_pages.then_some(PAGE)),
        };
        let mut parameters = ListParams {
            field_selector: self.fields.clone(),
            resource_version: version.map(str::to_owned),
            limit,
            ..ListParams::default()
        };
        loop {
            let request = self.request.list_metadata(&parameters).map_err(kube::Error::BuildRequest)?;
            let answer = timeout(LONGEST_UNANSWERED, self.client.request_stream(request)).await;
            let body = answer.map_err(|elapsed| kube::Error::Service(elapsed.into()))??;
            let metadata = read_list(pin!(body), |object| keeper.list(&object.metadata))
                .await
                .map_err(|error| kube::Error::Service(error.into()))?;
            if metadata.next.is_empty() {
                return Ok(metadata);
            }
            parameters.continue_token = Some(metadata.next);
        }
    }

    /// Tells the keeper of changes: of those of a stream that is open, or of all since the version that was seen last.
    async fn watch(&mut self, open: Option<Events>, keeper: &mut Keeper) -> Result<(), Error> {
        let Version::AtLeast(version) = &self.version else {
            self.is_listed = false;
            return Ok(());
        };
        let mut events = match open {
            Some(events) => events,
            None => match self.events(version, false).await {
                Ok(events) => events,
                Err(error) => {
                    self.is_listed = !is_expired(&error);
                    return Err(Error::WatchStartFailed(error));
                }
            },
        };
        let (began, mut pace, mut is_silent) = (Instant::now(), Pace::default(), true);
        loop {
            let Ok(event) = timeout(LONGEST_WATCH, events.next()).await else {
                // The server ends a watch before that: the connection is dead.
                return Ok(());
            };
            let version = match event {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    keeper.apply(&object.metadata);
                    object.metadata.resource_version
                }
                Some(Ok(WatchEvent::Deleted(object))) => {
                    keeper.delete(&object.metadata);
                    object.metadata.resource_version
                }
                Some(Ok(WatchEvent::Bookmark(bookmark))) => bookmark.metadata.resource_version,
                Some(Ok(WatchEvent::Error(status))) => return Err(self.told_of_error(status)),
                Some(Err(error)) => return Err(Error::WatchFailed(error)),
                None if is_silent && began.elapsed() < SHORTEST_WATCH => {
                    let ended = io::Error::new(io::ErrorKind::UnexpectedEof, "the watch ended immediately");
                    return Err(Error::WatchFailed(kube::Error::ReadEvents(ended)));
                }
                None => return Ok(()),
            };
            if version.is_empty() {
                self.is_listed = false;
                return Err(Error::NoResourceVersion);
            }
            self.version = Version::AtLeast(version);
            is_silent = false;
            pace.step().await;
        }
    }

    async fn events(&self, version: &str, all: bool) -> kube::Result<Events> {
        let parameters = WatchParams {
            field_selector: self.fields.clone(),
            send_initial_events: all,
            ..WatchParams::default()
        };
        let request = self.request.watch_metadata(&parameters, version).map_err(kube::Error::BuildRequest)?;
        let answer = timeout(LONGEST_UNANSWERED, self.client.request_events(request)).await;
        Ok(answer.map_err(|elapsed| kube::Error::Service(elapsed.into()))??.boxed())
    }

    /// An error amid events. When the version is too old, all objects are listed again, at least as new as those seen.
    fn told_of_error(&mut self, status: Box<Status>) -> Error {
        if status.code == 410 {
            self.is_listed = false;
        }
        Error::WatchError(status)
    }

    /// Whether another version may be listed where this one is not there: too old, or newer than a server that lags.
    fn can_ask_otherwise(&mut self, error: &kube::Error) -> bool {
        let other = match &self.version {
            _ if !is_expired(error) => None,
            Version::AtLeast(_) => Some(Version::Newest { in_pages: true }),
            // It took longer to read the pages than the storage keeps what they are of.
            Version::Newest { in_pages: true } => Some(Version::Newest { in_pages: false }),
            Version::Any | Version::Newest { in_pages: false } => None,
        };
        other.map(|other| self.version = other).is_some()
    }
}

fn is_expired(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 410 || causes.into_iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
}

/// The annotation of the event after the last object of a streaming list.
const ALL_SENT: &str = "k8s.io/initial-events-end";
/// As client-go's pages.
const PAGE: u32 = 500;
const LONGEST_UNANSWERED: Duration = Duration::from_mins(1);
const LONGEST_BETWEEN_OBJECTS: Duration = Duration::from_secs(10);
/// kube asks servers to end a watch after 290 s.
const LONGEST_WATCH: Duration = Duration::from_mins(5);
/// As client-go: a watch that ends sooner, and told nothing, is a failure.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);
