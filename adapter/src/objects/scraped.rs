//! Objects of standalone mode: what the labels of the scrape targets name.
//!
//! Every scrape target has an `up` series with the target's labels, in Prometheus and in the embedded engine alike.
//! A label called like a kind's singular (`pod`, `service`, `node`, `namespace`) names an object of that kind; the
//! other labels of the target are the object's labels. So `labelSelector=app=model-server` finds the pods whose
//! targets carry `app="model-server"`.
//!
//! The targets are asked for once for all requests of a second: they are the same for all, and there can be thousands.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::resource::{ResourceMapper, StaticMapper};
use tokio::sync::Mutex;

use super::{Object, Objects, ObjectsError, Wanted};
use crate::source::{MetricSource, Sample, Samples};

/// Objects read from the `up` series of a metric source.
pub struct ScrapedObjects {
    source: Arc<dyn MetricSource>,
    mapper: StaticMapper,
    /// The targets, and when they were asked for.
    known: Mutex<Option<(Instant, Arc<Targets>)>>,
}

/// Scrape targets, together with those of their namespace.
struct Targets {
    all: Vec<Sample>,
    by_namespace: HashMap<String, Vec<usize>>,
}

impl ScrapedObjects {
    /// Objects named by the scrape targets that `source` knows; kinds are Kubernetes' built-in ones.
    pub fn new(source: Arc<dyn MetricSource>) -> ScrapedObjects {
        ScrapedObjects { source, mapper: StaticMapper::built_in(), known: Mutex::default() }
    }

    async fn targets(&self, deadline: Instant) -> Result<Arc<Targets>, ObjectsError> {
        // Requests that wait for the same targets.
        let known = tokio::time::timeout_at(deadline.into(), self.known.lock()).await;
        let mut known = known.map_err(|_| ObjectsError::NotListedYet)?;
        if let Some((_, targets)) = known.as_ref().filter(|(asked, _)| asked.elapsed() < KEPT) {
            return Ok(Arc::clone(targets));
        }
        let asked = Instant::now();
        let result = self.source.query(TARGETS, SystemTime::now(), deadline).await?;
        let targets = Arc::new(Targets::of(match result.value {
            Samples::Vector(targets) => targets,
            Samples::Scalar { .. } => Vec::new(),
        }));
        *known = Some((asked, Arc::clone(&targets)));
        Ok(targets)
    }
}

impl Targets {
    fn of(all: Vec<Sample>) -> Targets {
        let mut by_namespace: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, target) in all.iter().enumerate() {
            if let Some(namespace) = target.label(NAMESPACE) {
                by_namespace.entry(namespace.to_owned()).or_default().push(place);
            }
        }
        Targets { all, by_namespace }
    }

    fn matching(&self, wanted: Wanted<'_>) -> Vec<Object> {
        match wanted.namespace {
            None => matching(&self.all, wanted),
            Some(namespace) => {
                let places = self.by_namespace.get(namespace).into_iter().flatten();
                matching(places.map(|place| &self.all[*place]), wanted)
            }
        }
    }
}

impl Objects for ScrapedObjects {
    fn mapper(&self) -> &dyn ResourceMapper {
        &self.mapper
    }

    fn list<'a>(
        &'a self,
        wanted: Wanted<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Object>, ObjectsError>> {
        async move { Ok(self.targets(deadline).await?.matching(wanted)) }.boxed()
    }
}

/// A target that is scraped runs, so `wanted.running` needs no look.
pub(crate) fn matching<'a>(targets: impl IntoIterator<Item = &'a Sample>, wanted: Wanted<'a>) -> Vec<Object> {
    let Wanted { kind, namespace, name: only, selector, .. } = wanted;
    let objects: BTreeMap<(Option<&str>, &str), &Sample> = targets
        .into_iter()
        .filter(|target| namespace.is_none() || target.label(NAMESPACE) == namespace)
        .filter(|target| selector.matches(|label| target.label(label)))
        .filter_map(|target| {
            let name = target.label(&kind.singular).filter(|name| !name.is_empty())?;
            if only.is_some_and(|only| only != name) {
                return None;
            }
            let namespace = if kind.namespaced { Some(target.label(NAMESPACE)?) } else { None };
            Some(((namespace, name), target))
        })
        .collect();
    objects
        .into_iter()
        .map(|((namespace, name), target)| Object {
            namespace: namespace.map(Arc::from),
            name: Arc::from(name),
            labels: target.labels.as_slice().into(),
        })
        .collect()
}

/// How long targets are used that were asked for before.
const KEPT: Duration = Duration::from_secs(1);
/// One series for each scrape target.
const TARGETS: &str = "up";
const NAMESPACE: &str = "namespace";
