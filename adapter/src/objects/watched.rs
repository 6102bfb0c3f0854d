//! Objects of a cluster: names and labels, watched. Only metadata is asked for, and of it only these are kept (D36).
//!
//! Pods are watched from the start; other kinds from the moment that somebody asks about them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, pin_mut};
use kube::Api;
use kube::api::{ApiResource, ObjectMeta, PartialObjectMeta};
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use rules::resource::{GroupResource, Kind, ResourceMapper};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::mapping::RestMapping;
use super::{Labels, Object, Objects, ObjectsError, Wanted};

/// The objects of a cluster.
pub struct WatchedObjects {
    client: kube::Client,
    mapping: Arc<RestMapping>,
    watches: Mutex<HashMap<(GroupResource, bool), Arc<Watch>>>,
}

impl WatchedObjects {
    /// Watches with a client whatever is asked for.
    pub fn new(client: kube::Client, mapping: Arc<RestMapping>) -> WatchedObjects {
        WatchedObjects { client, mapping, watches: Mutex::default() }
    }

    /// The watch of a kind; started if there is none yet.
    fn watch(&self, kind: &Kind, running: bool) -> Arc<Watch> {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = watches
            .entry((kind.group_resource(), running))
            .or_insert_with(|| Arc::new(Watch::start(self.client.clone(), kind, running)));
        Arc::clone(watch)
    }

    /// Waits until all objects of a kind are known; starts watching them.
    pub async fn known(&self, kind: &Kind, running: bool) {
        let mut state = self.watch(kind, running).state.clone();
        // The sender lives in the watching task, which never ends by itself.
        let _ = state.wait_for(|state| *state == State::Known).await;
    }
}

impl Objects for WatchedObjects {
    fn mapper(&self) -> &dyn ResourceMapper {
        &*self.mapping
    }

    fn list<'a>(
        &'a self,
        wanted: Wanted<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Object>, ObjectsError>> {
        let watch = self.watch(wanted.kind, wanted.running);
        async move {
            let mut state = watch.state.clone();
            let settled = state.wait_for(|state| *state != State::Listing);
            let state = match tokio::time::timeout_at(deadline.into(), settled).await {
                Ok(Ok(state)) => state.clone(),
                Ok(Err(_)) => State::Failed("they are no longer watched".into()),
                Err(_) => State::Failed("the Kubernetes API has not listed them yet".into()),
            };
            match state {
                State::Failed(reason) => Err(ObjectsError::Cluster(reason.to_string())),
                State::Listing | State::Known => {
                    Ok(watch.objects.read().unwrap_or_else(PoisonError::into_inner).find(wanted))
                }
            }
        }
        .boxed()
    }
}

/// The watch of one kind. Ends with its last user.
struct Watch {
    objects: Arc<RwLock<Known>>,
    state: watch::Receiver<State>,
    task: AbortHandle,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Under way for the first time.
    Listing,
    /// All objects are known. A watch that breaks later leaves them so, and is taken up again.
    Known,
    /// The first listing failed, and is tried again.
    Failed(Arc<str>),
}

impl Watch {
    fn start(client: kube::Client, kind: &Kind, running: bool) -> Watch {
        let objects = Arc::new(RwLock::new(Known::default()));
        let (sender, state) = watch::channel(State::Listing);
        let resource = ApiResource {
            group: kind.group.clone(),
            version: kind.version.clone(),
            api_version: kind.api_version(),
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
        };
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &resource);
        let mut config = watcher::Config::default();
        if running {
            config = config.fields("status.phase=Running");
        }
        let task = tokio::spawn(follow(api, config, kind.group_resource(), Arc::clone(&objects), sender));
        Watch { objects, state, task: task.abort_handle() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    api: Api<PartialObjectMeta<DynamicObject>>,
    config: watcher::Config,
    resource: GroupResource,
    objects: Arc<RwLock<Known>>,
    state: watch::Sender<State>,
) {
    let change = |change: &mut dyn FnMut(&mut Known)| {
        change(&mut objects.write().unwrap_or_else(PoisonError::into_inner));
    };
    let events = watcher(api, config).default_backoff();
    pin_mut!(events);
    let mut listing = Known::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listing = Known::default(),
            Ok(Event::InitApply(object)) => listing.insert(&object.metadata),
            Ok(Event::InitDone) => {
                // What is known is replaced as a whole, so nobody sees half a list.
                change(&mut |known| *known = std::mem::take(&mut listing));
                state.send_replace(State::Known);
            }
            Ok(Event::Apply(object)) => change(&mut |known| known.insert(&object.metadata)),
            Ok(Event::Delete(object)) => change(&mut |known| known.remove(&object.metadata)),
            Err(error) => {
                tracing::warn!(%resource, error = &error as &dyn std::error::Error, "objects cannot be watched");
                state.send_if_modified(|state| {
                    let failed = State::Failed(describe(&error).into());
                    let waiting = *state != State::Known && *state != failed;
                    if waiting {
                        *state = failed;
                    }
                    waiting
                });
            }
        }
    }
}

/// What the answer to a request says; the log has the rest.
fn describe(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            format!("the Kubernetes API answered {}: {}", status.code, status.message)
        }
        _ => "the Kubernetes API did not answer".to_owned(),
    }
}

/// Objects by namespace and name, with their labels. Cluster-scoped objects have an empty namespace.
#[derive(Default)]
struct Known {
    by_namespace: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Labels>>,
    texts: Texts,
}

impl Known {
    fn insert(&mut self, meta: &ObjectMeta) {
        let Some(name) = &meta.name else { return };
        let labels = meta.labels.iter().flatten();
        let labels: Labels =
            labels.map(|(name, value)| (self.texts.share(name), self.texts.share(value))).collect();
        let namespace = self.texts.share(meta.namespace.as_deref().unwrap_or_default());
        self.by_namespace.entry(namespace).or_default().insert(name.as_str().into(), labels);
        self.texts.sweep();
    }

    fn remove(&mut self, meta: &ObjectMeta) {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let Some(objects) = self.by_namespace.get_mut(namespace) else { return };
        objects.remove(meta.name.as_deref().unwrap_or_default());
        if objects.is_empty() {
            self.by_namespace.remove(namespace);
        }
    }

    fn find(&self, wanted: Wanted<'_>) -> Vec<Object> {
        let Wanted { kind, namespace, name, selector, .. } = wanted;
        let of = |namespace: &Arc<str>, objects: &BTreeMap<Arc<str>, Labels>, found: &mut Vec<Object>| {
            let objects: &mut dyn Iterator<Item = (&Arc<str>, &Labels)> = match name {
                Some(name) => &mut objects.get_key_value(name).into_iter(),
                None => &mut objects.iter(),
            };
            let matching = objects.filter(|(_, labels)| {
                selector.matches(|label| {
                    labels.iter().find(|(name, _)| &**name == label).map(|(_, value)| &**value)
                })
            });
            found.extend(matching.map(|(name, labels)| Object {
                namespace: kind.namespaced.then(|| Arc::clone(namespace)),
                name: Arc::clone(name),
                labels: Arc::clone(labels),
            }));
        };
        let mut found = Vec::new();
        match namespace {
            Some(namespace) => {
                if let Some((namespace, objects)) = self.by_namespace.get_key_value(namespace) {
                    of(namespace, objects, &mut found);
                }
            }
            None => {
                for (namespace, objects) in &self.by_namespace {
                    of(namespace, objects, &mut found);
                }
            }
        }
        found
    }
}

/// Label names and values, each kept once: a thousand pods of a Deployment share them.
#[derive(Default)]
struct Texts {
    held: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Texts {
    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(held) = self.held.get(text) {
            return Arc::clone(held);
        }
        let shared: Arc<str> = text.into();
        self.held.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets what no object has any more, once it may be half of what is held.
    fn sweep(&mut self) {
        if self.held.len() > self.sweep_at.max(1024) {
            self.held.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = 2 * self.held.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use rules::resource::StaticMapper;
    use rules::selector::Selector;

    use super::*;

    fn meta(namespace: &str, name: &str, app: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            labels: Some([("app".to_owned(), app.to_owned())].into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn finds_by_namespace_name_and_labels() {
        let mut known = Known::default();
        for (namespace, name, app) in [("b", "x", "m"), ("a", "y", "m"), ("a", "x", "m"), ("a", "z", "other")]
        {
            known.insert(&meta(namespace, name, app));
        }
        known.insert(&meta("a", "gone", "m"));
        known.remove(&meta("a", "gone", "m"));
        known.remove(&meta("nosuch", "gone", "m"));
        let pods = StaticMapper::built_in().kind_for("pods", "").expect("pods");
        let find = |namespace, name, selector: &str| {
            let selector = Selector::parse(selector).expect("a selector");
            let wanted = Wanted { kind: &pods, namespace, name, selector: &selector, running: false };
            let found = known.find(wanted);
            found
                .iter()
                .map(|object| format!("{}/{}", object.namespace.as_deref().unwrap_or_default(), object.name))
                .collect::<Vec<_>>()
        };
        assert_eq!(find(None, None, ""), ["a/x", "a/y", "a/z", "b/x"]);
        assert_eq!(find(Some("a"), None, "app=m"), ["a/x", "a/y"]);
        assert_eq!(find(None, Some("x"), ""), ["a/x", "b/x"]);
        assert_eq!(find(Some("nosuch"), None, ""), [""; 0]);
    }

    #[test]
    fn texts_that_nobody_has_are_forgotten() {
        let mut known = Known::default();
        for round in 0..5000 {
            known.insert(&meta("a", "x", &format!("value-{round}")));
        }
        assert!(known.texts.held.len() < 2000, "{}", known.texts.held.len());
    }
}
