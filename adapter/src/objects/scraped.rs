//! Objects of standalone mode: what the labels of the scrape targets name.
//!
//! Every scrape target has an `up` series with the target's labels, in Prometheus and in the embedded engine alike.
//! A label called like a kind's singular (`pod`, `service`, `node`, `namespace`) names an object of that kind; the
//! other labels of the target are the object's labels. So `labelSelector=app=model-server` finds the pods whose
//! targets carry `app="model-server"`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::resource::{ResourceMapper, StaticMapper};

use super::{Object, Objects, ObjectsError, Wanted};
use crate::source::{MetricSource, Sample, Samples};

/// Objects read from the `up` series of a metric source.
pub struct ScrapedObjects {
    source: Arc<dyn MetricSource>,
    mapper: StaticMapper,
}

impl ScrapedObjects {
    /// Objects named by the scrape targets that `source` knows; kinds are Kubernetes' built-in ones.
    pub fn new(source: Arc<dyn MetricSource>) -> ScrapedObjects {
        ScrapedObjects { source, mapper: StaticMapper::built_in() }
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
        async move {
            let result = self.source.query(TARGETS, SystemTime::now(), deadline).await?;
            let Samples::Vector(targets) = result.value else {
                return Ok(Vec::new());
            };
            Ok(matching(&targets, wanted))
        }
        .boxed()
    }
}

/// A target that is scraped runs, so `wanted.running` needs no look.
pub(crate) fn matching(targets: &[Sample], wanted: Wanted<'_>) -> Vec<Object> {
    let Wanted { kind, namespace, name: only, selector, .. } = wanted;
    let objects: BTreeMap<(Option<&str>, &str), &Sample> = targets
        .iter()
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

/// One series for each scrape target.
const TARGETS: &str = "up";
const NAMESPACE: &str = "namespace";
