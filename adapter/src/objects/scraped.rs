//! Objects of standalone mode: what the labels of the scrape targets name.
//!
//! Every scrape target has an `up` series with the target's labels, in Prometheus and in the embedded engine alike.
//! A label called like a kind's singular (`pod`, `service`, `node`, `namespace`) names an object of that kind; the
//! other labels of the target are the object's labels. So `labelSelector=app=model-server` finds the pods whose
//! targets carry `app="model-server"`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rules::resource::{Kind, ResourceMapper, StaticMapper};
use rules::selector::Selector;

use super::{Objects, ObjectsError};
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

    fn names<'a>(
        &'a self,
        kind: &'a Kind,
        namespace: Option<&'a str>,
        selector: &'a Selector,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<String>, ObjectsError>> {
        async move {
            let result = self.source.query(TARGETS, SystemTime::now(), deadline).await?;
            let Samples::Vector(targets) = result.value else {
                return Ok(Vec::new());
            };
            Ok(matching(&targets, kind, namespace, selector))
        }
        .boxed()
    }
}

fn matching(targets: &[Sample], kind: &Kind, namespace: Option<&str>, selector: &Selector) -> Vec<String> {
    let names: BTreeSet<&str> = targets
        .iter()
        .filter(|target| namespace.is_none() || target.label(NAMESPACE) == namespace)
        .filter(|target| selector.matches(|label| target.label(label)))
        .filter_map(|target| target.label(&kind.singular))
        .filter(|name| !name.is_empty())
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

/// One series for each scrape target.
const TARGETS: &str = "up";
const NAMESPACE: &str = "namespace";
