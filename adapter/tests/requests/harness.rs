//! What requests meet: metrics that were listed once, and a server over them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adapter::answer::Answerer;
use adapter::discovery_documents;
use adapter::history::History;
use adapter::objects::Objects;
use adapter::relist::{CatalogHandle, Changes, RelistSettings, Relister, Snapshot};
use adapter::source::guarded::{GuardSettings, Guarded};
use adapter::source::{Listing, MetricSource};
use adapter::status_page::StatusPage;
use adapter::telemetry::Telemetry;
use apiservice::authn::Union;
use apiservice::authz::Chain;
use apiservice::discovery::DiscoveryHandle;
use apiservice::health::{Health, Scope};
use apiservice::server::{ApiServer, Page, RequestLimits, Unobserved};
use rules::RuleSet;
use rules::catalog::Series;
use tokio::sync::{mpsc, watch};

/// Metrics of a source, listed once.
pub(crate) struct Listed {
    rules: Arc<RuleSet>,
    source: Arc<Guarded>,
    /// With the check of the source alone.
    pub(crate) health: Health,
    objects: Arc<dyn Objects>,
    catalog: CatalogHandle,
    pub(crate) telemetry: Arc<Telemetry>,
}

impl Listed {
    /// Waits for the first listing. `look` sees each.
    pub(crate) async fn start(
        rules: RuleSet,
        source: Arc<dyn MetricSource>,
        objects: Arc<dyn Objects>,
        mut look: impl FnMut(&Snapshot) + Send + 'static,
    ) -> Listed {
        let rules = Arc::new(rules);
        let telemetry = Arc::new(Telemetry::new(&rules));
        let catalog = CatalogHandle::waiting(&rules, &*objects);
        let hour = Duration::from_hours(1);
        let health = Health::default();
        let check = health.check("source", Scope::Ready);
        let guard = GuardSettings::remote(20, Duration::from_secs(10));
        let source = Arc::new(Guarded::new(source, guard, Arc::clone(&telemetry), check));
        let relister = Relister::new(
            RelistSettings { interval: hour, max_age: hour, timeout: Duration::from_secs(5) },
            Arc::clone(&source) as _,
            Arc::clone(&objects),
            Changes {
                rules: watch::channel(Arc::clone(&rules)).1,
                kinds: watch::channel(()).1,
                recoveries: source.recoveries(),
            },
            catalog.clone(),
            Arc::clone(&telemetry),
        );
        let (listed, mut was_listed) = mpsc::unbounded_channel();
        tokio::spawn(relister.run(move |snapshot| {
            look(snapshot);
            // The test may be over.
            let _ = listed.send(());
        }));
        was_listed.recv().await.expect("the relister runs");
        Listed { rules, source, health, objects, catalog, telemetry }
    }

    pub(crate) fn answerer(&self, authorization: Chain) -> Answerer {
        Answerer::new(
            self.catalog.clone(),
            Arc::clone(&self.objects),
            Arc::clone(&self.source),
            None,
            Arc::clone(&self.telemetry),
            Arc::default(),
            authorization,
        )
    }

    /// The status page over what an answerer met.
    pub(crate) fn page(&self, history: Arc<History>) -> Page {
        StatusPage {
            catalog: self.catalog.clone(),
            source: Arc::clone(&self.source),
            targets: Arc::new(Vec::new),
            history,
            started: Instant::now(),
        }
        .into_page()
    }

    pub(crate) fn server(&self, authentication: Union, authorization: Chain) -> ApiServer {
        let telemetry = Arc::clone(&self.telemetry);
        let discovery = discovery_documents::discovery(&self.rules, &self.catalog.load().catalog, 6443);
        ApiServer {
            handler: Arc::new(self.answerer(authorization.clone())),
            discovery: DiscoveryHandle::new(discovery),
            health: Health::default(),
            authentication,
            authorization,
            limits: RequestLimits::default(),
            metrics: Arc::new(move || telemetry.text()),
            pages: Vec::new(),
            observer: Arc::new(Unobserved),
            audit: None,
        }
    }
}

/// One series of a name, with these labels.
pub(crate) fn listing(name: &str, labels: &[&str]) -> Listing {
    let label_names = labels.iter().map(|label| (*label).into()).collect();
    Listing { series: vec![Series { name: name.into(), label_names }], warnings: Vec::new() }
}
