//! What is measured: how a server's cost grows with what a cluster and its Prometheus hold.

use std::fmt::Write as _;
use std::time::Duration;

use e2e::{Failure, hpa, until};

use crate::exporter::Exporter;
use crate::kubernetes::Kubernetes;
use crate::pods::{Pods, REPLICAS};
use crate::probe::Probe;
use crate::prometheus::{Listed, Prometheus, Series, metric_name};
use crate::reads::{closed_loop, open_loop, period, pods_of_deployment};
use crate::report::{Row, quantile};
use crate::server::{Program, Server, Site};

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// Pods of the cluster.
    Pods,
    /// Metric names below one rule for all of them.
    Names,
    /// Rules.
    Rules,
    /// Autoscalers, each of which reads two metrics of its Deployment's pods every 15 s.
    Hpas,
    /// Series that one rule lists.
    Relist,
    /// Targets of the embedded engine, which have 100,000 series together, below a thousand autoscalers.
    Engine,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement {
    pub(crate) case: Case,
    pub(crate) n: usize,
    pub(crate) namespaces: usize,
    pub(crate) sharing: bool,
    /// Whether the kube-apiserver serves streaming lists.
    pub(crate) streaming_lists: bool,
    /// In bytes, of the server.
    pub(crate) memory_limit: Option<u64>,
}

impl Case {
    pub(crate) const ALL: [Case; 6] =
        [Case::Pods, Case::Names, Case::Rules, Case::Hpas, Case::Relist, Case::Engine];

    fn name(self) -> &'static str {
        match self {
            Case::Pods => "pods",
            Case::Names => "names",
            Case::Rules => "rules",
            Case::Hpas => "hpas",
            Case::Relist => "relist",
            Case::Engine => "engine",
        }
    }

    /// The sizes to measure; those of a quick run are few and small.
    pub(crate) fn sizes(self, is_quick: bool) -> &'static [usize] {
        match (self, is_quick) {
            (Case::Pods, false) => &[1_000, 10_000, 100_000, 300_000],
            (Case::Pods, true) => &[1_000, 10_000],
            (Case::Names, false) => &[1_000, 10_000, 100_000],
            (Case::Names, true) => &[1_000],
            (Case::Rules, false) => &[100, 1_000, 10_000],
            (Case::Rules, true) => &[100, 1_000],
            (Case::Hpas, false) => &[200, 1_000, 5_000],
            (Case::Hpas, true) => &[200],
            (Case::Relist, false) => &[100_000, 1_000_000, 10_000_000],
            (Case::Relist, true) => &[100_000],
            (Case::Engine, false) => &[100, 5_000],
            (Case::Engine, true) => &[100],
        }
    }
}

impl Measurement {
    /// prometheus-adapter shares no queries and scrapes no targets, and takes part up to a million series.
    pub(crate) fn is_for(self, program: &Program) -> bool {
        let is_upstreams = match self.case {
            Case::Hpas => !self.sharing,
            Case::Relist => self.n <= 1_000_000,
            Case::Engine => false,
            Case::Pods | Case::Names | Case::Rules => true,
        };
        !program.is_upstream || is_upstreams
    }

    pub(crate) async fn run(self, program: &Program) -> Result<Row, Failure> {
        let site = Site::new(self.memory_limit)?;
        let row = match self.case {
            Case::Pods => self.pods(&site, program).await,
            Case::Names => {
                let listed = Listed::Names(self.n);
                self.listed(&site, program, listed, CATCH_ALL, &metric_name(0)).await
            }
            Case::Rules => self.listed(&site, program, Listed::Asked, &rules(self.n), "rule_00000").await,
            Case::Hpas => self.autoscalers(&site, program).await,
            Case::Relist => {
                let listed = Listed::Series(self.n);
                self.listed(&site, program, listed, CATCH_ALL, "application_0_total").await
            }
            Case::Engine => self.engine(&site, program).await,
        };
        if site.is_out_of_memory() {
            return Err("it needs more memory than --memory-limit allows".into());
        }
        row
    }

    /// Autoscalers read while all pods are listed a second time: then old and new ones are there together.
    async fn pods(self, site: &Site, program: &Program) -> Result<Row, Failure> {
        let pods = Pods { count: self.n, namespaces: self.namespaces };
        let series = Series { listed: Listed::Asked, pods, latency: Duration::ZERO };
        let kubernetes = Kubernetes::start(pods, self.streaming_lists, &site.authority).await?;
        let prometheus = Prometheus::start(series).await?;
        let flags = self.flags(program, "10m");
        let server = site.start(program, &kubernetes, &prometheus, ONE_METRIC, &flags).await?;
        let probe = Probe::start(server.probing.clone(), &server.url)?;
        server.answers(&pods_of_deployment(pods, 0)).await?;
        let sent = kubernetes.sent_whole();
        let watches = sent > 0;
        let relisted = async {
            if watches {
                kubernetes.expire();
                until("all pods were sent again", LONGEST, || async { Ok(kubernetes.sent_whole() > sent) })
                    .await?;
            }
            tokio::time::sleep(SETTLE).await;
            Ok(())
        };
        let waits = closed_loop(&server.client, &server.url, pods, pods_of_deployment, relisted).await?;
        Ok(self.row(program, &server, &probe, &waits))
    }

    /// Series are listed again and again, and one metric is read meanwhile.
    async fn listed(
        self,
        site: &Site,
        program: &Program,
        listed: Listed,
        rules: &str,
        metric: &str,
    ) -> Result<Row, Failure> {
        let pods = Pods { count: 10, namespaces: 1 };
        let series = Series { listed, pods, latency: Duration::ZERO };
        let kubernetes = Kubernetes::start(pods, self.streaming_lists, &site.authority).await?;
        let prometheus = Prometheus::start(series).await?;
        let flags = self.flags(program, "5s");
        let server = site.start(program, &kubernetes, &prometheus, rules, &flags).await?;
        let probe = Probe::start(server.probing.clone(), &server.url)?;
        let path = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/team-0000/pods/*/{metric}");
        server.answers(&path).await?;
        let more = match listed {
            Listed::Asked => ROUNDS * self.n,
            Listed::Names(_) => ROUNDS,
            // Gigabytes of them.
            Listed::Series(_) => 1,
        };
        let enough = prometheus.listings() + more;
        until("the series were listed again", LONGEST, || async {
            server.client.get(format!("{}{path}", server.url)).send().await?.error_for_status()?;
            Ok(prometheus.listings() >= enough)
        })
        .await?;
        tokio::time::sleep(SETTLE).await;
        Ok(self.row(program, &server, &probe, &[]))
    }

    /// Autoscalers read for one period, after others in which everything was read.
    async fn autoscalers(self, site: &Site, program: &Program) -> Result<Row, Failure> {
        let pods = Pods { count: self.n * REPLICAS, namespaces: self.namespaces };
        let series = Series { listed: Listed::Asked, pods, latency: LATENCY };
        let kubernetes = Kubernetes::start(pods, self.streaming_lists, &site.authority).await?;
        let prometheus = Prometheus::start(series).await?;
        let flags = self.flags(program, "10m");
        let server = site.start(program, &kubernetes, &prometheus, hpa::RULES, &flags).await?;
        server.answers(&pods_of_deployment(pods, 0)).await?;
        let paths = period(self.n, self.namespaces, &hpa::METRICS);
        let asked = || [prometheus.queries(), kubernetes.access_reviews()];
        self.periods(program, &server, &paths, &asked).await
    }

    /// As [`Measurement::autoscalers`], of the embedded engine with a number of targets.
    async fn engine(self, site: &Site, program: &Program) -> Result<Row, Failure> {
        let pods = Pods { count: self.n, namespaces: self.namespaces };
        let exporter = Exporter::start(ENGINE_SERIES / self.n).await?;
        let server = site.start_standalone(program, &exporter, pods, ONE_METRIC).await?;
        server.answers(&pods_of_deployment(pods, 0)).await?;
        let paths: Vec<String> = (0..ENGINE_READS).map(|number| pods_of_deployment(pods, number)).collect();
        self.periods(program, &server, &paths, &|| [0, 0]).await
    }

    async fn periods(
        self,
        program: &Program,
        server: &Server,
        paths: &[String],
        asked: &dyn Fn() -> [usize; 2],
    ) -> Result<Row, Failure> {
        let client = server.client.clone();
        for _ in 0..self.periods_before() {
            open_loop(&client, &server.url, paths, PERIOD).await?;
        }
        let probe = Probe::start(server.probing.clone(), &server.url)?;
        let (cpu, [queries, reviews]) = (server.cpu_time(), asked());
        let waits = open_loop(&client, &server.url, paths, PERIOD).await?;
        let mut row = self.row(program, server, &probe, &waits);
        row.cpu_seconds = server.cpu_time().saturating_sub(cpu).as_secs_f64();
        if self.case == Case::Hpas {
            let [queries_after, reviews_after] = asked();
            row.queries_per_15s = Some((queries_after - queries) as f64);
            row.access_reviews_per_15s = Some((reviews_after - reviews) as f64);
        }
        Ok(row)
    }

    /// Periods that do not count. A query is shared by the namespaces that were asked for before.
    fn periods_before(self) -> usize {
        if self.case == Case::Hpas && self.sharing { 2 } else { 1 }
    }

    fn flags(self, program: &Program, relist_interval: &str) -> Vec<String> {
        let mut flags = program.flags.clone();
        flags.push(format!("--metrics-relist-interval={relist_interval}"));
        if program.shares && !self.sharing {
            flags.push("--query-sharing=0s".to_owned());
        }
        flags
    }

    fn row(self, program: &Program, server: &Server, probe: &Probe, waits: &[Duration]) -> Row {
        Row {
            server: program.name,
            case: self.case.name(),
            n: self.n,
            namespaces: self.namespaces,
            sharing: self.sharing && program.shares,
            memory_limit_bytes: self.memory_limit,
            rss_bytes: server.process.resident_bytes().unwrap_or_default(),
            peak_rss_bytes: server.process.peak_resident_bytes().unwrap_or_default(),
            cpu_seconds: server.cpu_when_ready.as_secs_f64(),
            ready_ms: server.ready.as_secs_f64() * 1e3,
            livez_p99_ms: quantile(&probe.waits(), 0.99),
            queries_per_15s: None,
            access_reviews_per_15s: None,
            p50_ms: quantile(waits, 0.5),
            p99_ms: quantile(waits, 0.99),
        }
    }
}

fn rules(count: usize) -> String {
    let mut text = String::from("rules:\n");
    for number in 0..count {
        // A String takes everything.
        let _ = write!(
            text,
            "- seriesQuery: 'rule_{number:05}{{namespace!=\"\",pod!=\"\"}}'\n  resources: {{overrides: {{namespace: {{resource: namespace}}, pod: {{resource: pod}}}}}}\n  metricsQuery: 'sum(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'\n"
        );
    }
    text
}

const ONE_METRIC: &str = r#"rules:
- seriesQuery: 'queue_depth{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'
"#;
const CATCH_ALL: &str = r#"rules:
- seriesQuery: '{__name__=~"^application_.*",namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
"#;
/// Listings of all series after the first one.
const ROUNDS: usize = 3;
/// How often kube-controller-manager looks at an autoscaler.
const PERIOD: Duration = Duration::from_secs(15);
/// Of a Prometheus that is near and not busy.
const LATENCY: Duration = Duration::from_millis(5);
const ENGINE_SERIES: usize = 100_000;
/// A thousand autoscalers with two metrics each.
const ENGINE_READS: usize = 2_000;
/// What frees memory in the background has done so.
const SETTLE: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(3);
