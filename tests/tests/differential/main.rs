//! The same requests to the real prometheus-adapter and to ours, side by side: the same cluster, the same Prometheus,
//! the same moment, the same rules. Answers are equal but for what `docs/contract.md` lists by number. Ours runs twice,
//! without and with shared queries (D85): both give the same answers.
//!
//! Asked are every form of request over rules of our own, and some of everything that public rule files make. Those
//! files are other people's, so they are not in this repository; where they are not at hand the test says so in one
//! line. `DIFFERENTIAL_FILES` says how many of them are enough.

mod diff_command;
mod requests;
mod strata;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::api::Api;
use e2e::cluster::{Cluster, ClusterAdapter, WITHOUT_THROTTLE};
use e2e::comparison::{Exchange, READ, Report, Request, Seen, View};
use e2e::component::{component, left_out};
use e2e::proxy::QueryProxy;
use e2e::world::{self, Metrics, Shape};
use e2e::{Failure, free_port, until};
use serde_json::{Value, json};
use testkit::corpus;

use diff_command::DiffCommand;
use requests::{ADMIN, ANONYMOUS, Asking, C1, C2, EXTERNAL, STRANGER, USAGE};
use strata::Strata;

/// From the last listing to what prometheus-adapter makes of it.
const SETTLED: Duration = Duration::from_secs(5);
/// The query of the rule for `depth` and others.
const DEPTH: &str = "avg(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)";
const MINUTE: Duration = Duration::from_mins(1);
/// The last flag of a name counts.
const SHARING: &str = "--query-sharing=5s";

#[tokio::test(flavor = "multi_thread")]
async fn answers_equal_prometheus_adapters() -> Result<(), Failure> {
    let (Some(program), Some(prometheus)) = (component("prometheus-adapter"), component("prometheus")) else {
        return left_out("prometheus-adapter");
    };
    let Some(cluster) = Cluster::start_own().await? else { return left_out("kube-apiserver") };
    let files = public_files();
    if files.is_empty() {
        eprintln!("not run: the corpus of public rule files (../shared/corpus) is not on this machine");
    }
    let shapes = files.iter().flat_map(|(_, shapes)| shapes.iter().cloned()).collect();
    let bench = Bench::start(cluster, program, &prometheus, shapes).await?;
    let mut compared = Compared {
        report: Report::new("differential"),
        sharing: Report::new("differential-sharing"),
        strata: Strata::default(),
    };

    let of_every_form = |_: &Value, _: &Value, _| requests::of_every_form();
    bench.compare(&world::rules(), of_every_form, &mut compared).await?;
    for (position, (file, _)) in files.iter().enumerate() {
        println!("{} of {}: {}", position + 1, files.len(), file.display());
        bench.compare(file, requests::of_listed, &mut compared).await?;
    }
    let Compared { report, sharing, strata } = compared;
    report.write(&strata.report())?;
    sharing.write(&json!({}))?;
    report.judge()?;
    sharing.judge()?;
    strata.judge(report.requests(), !files.is_empty())?;
    bench.cluster.stop();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn adapter_diff_explains_every_difference_but_a_seeded_one() -> Result<(), Failure> {
    let (Some(program), Some(prometheus)) = (component("prometheus-adapter"), component("prometheus")) else {
        return left_out("prometheus-adapter");
    };
    let Some(cluster) = Cluster::start_own().await? else { return left_out("kube-apiserver") };
    let bench = Bench::start(cluster, program, &prometheus, BTreeSet::new()).await?;
    let command = DiffCommand::new(&bench.cluster)?;
    let [upstream, ours, _] = bench.servers(&world::rules()).await??;
    bench.wait_until_listed(&upstream, &ours).await?;
    let (status, report, text) = command.run(ours.adapter.port, upstream.adapter.port)?;
    println!("{text}");
    assert_eq!((status, &report["unexplained"]), (Some(0), &Value::from(0)), "{text}");
    for number in ["D8", "D9", "D16", "D25"] {
        assert!(report["deviations"][number]["answers"].as_u64() > Some(0), "{number} is not in {text}");
    }
    let questions = report["questions"].as_u64();

    // The depth of a pod is twice as much by our rules as by theirs.
    let rules = std::fs::read_to_string(world::rules())?;
    let seeded = rules.replace(DEPTH, &format!("2 * {DEPTH}"));
    assert_ne!(rules, seeded);
    let file = bench.cluster.dir().join("seeded.yaml");
    std::fs::write(&file, seeded)?;
    let [certificate, key] = &bench.certificate;
    ours.adapter.process.terminate()?;
    let url = bench.proxy.url("adapter");
    let other = bench.cluster.start_adapter(free_port()?, &file, &url, &[certificate, key]).await?;
    let other = bench.server("adapter", other)?;
    until("the server is ready", MINUTE, || async { Ok(other.admin().text("/readyz").await?.0 == 200) })
        .await?;
    let (status, report, text) = command.run(other.adapter.port, upstream.adapter.port)?;
    println!("{text}");
    assert_eq!((status, report["questions"].as_u64()), (Some(1), questions), "{text}");
    let differences = report["differences"].as_array().ok_or("no differences")?;
    let asked = |difference: &Value| difference["question"].as_str().unwrap_or_default().to_owned();
    assert!(
        differences.iter().any(|one| asked(one) == format!("{C1}/namespaces/default/pods/*/depth")),
        "{text}"
    );
    let metrics = ["/depth", "/fraction", "/infinite", "/huge"];
    let of_rule = |path: &str| metrics.iter().any(|metric| path.ends_with(metric));
    assert!(differences.iter().all(|one| of_rule(&asked(one))), "{text}");
    bench.cluster.stop();
    Ok(())
}

/// No file that upstream reads can have our answers differ by these fields (D89, D90, D91).
#[test]
fn prometheus_adapter_refuses_a_file_with_fields_of_our_own() -> Result<(), Failure> {
    let Some(program) = component("prometheus-adapter") else { return left_out("prometheus-adapter") };
    let file = tempfile::NamedTempFile::new()?;
    let refusal = |field: &str| -> Result<Option<String>, Failure> {
        let rule = "{seriesQuery: depth, resources: {template: '<<.Resource>>'}, metricsQuery: '<<.Series>>'";
        std::fs::write(&file, format!("rules: [{rule}{field}}}]\n"))?;
        // It reads the rules before it looks for a cluster, of which there is none.
        let flags = ["--prometheus-url=http://127.0.0.1:1", "--lister-kubeconfig=/nonexistent"];
        let output =
            Command::new(&program).arg(format!("--config={}", file.path().display())).args(flags).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(said.contains("unable to load metrics discovery config").then_some(said))
    };
    assert_eq!(refusal("")?, None);
    for field in ["onNaN: zero", "onEmpty: zero", "onPartial: serve"] {
        let said = refusal(&format!(", {field}"))?.ok_or_else(|| format!("it takes {field}"))?;
        let name = field.split(':').next().unwrap_or_default();
        assert!(said.contains(&format!("field {name} not found")), "{said}");
    }
    Ok(())
}

struct Compared {
    report: Report,
    /// Of answers with shared queries.
    sharing: Report,
    strata: Strata,
}

/// Public files that upstream loads, those with most series first, and the series that their rules are about.
fn public_files() -> Vec<(PathBuf, BTreeSet<Shape>)> {
    let Some(dir) = corpus::find() else { return Vec::new() };
    let mut files: Vec<_> = corpus::expected(&dir)
        .into_iter()
        .filter(|file| file.loads)
        .map(|file| {
            let cases = file
                .rules
                .iter()
                .chain(&file.external_rules)
                .flat_map(|rule| &rule.cases)
                .filter(|case| !case.filtered_out);
            let shapes = cases.map(|case| (case.series.clone(), case.labels.keys().cloned().collect()));
            (dir.join(&file.file), shapes.collect::<BTreeSet<_>>())
        })
        .collect();
    files.sort_by_key(|(_, shapes)| std::cmp::Reverse(shapes.len()));
    if let Some(most) = std::env::var("DIFFERENTIAL_FILES").ok().and_then(|text| text.parse().ok()) {
        files.truncate(most);
    }
    files
}

/// Everything that does not depend on the rules.
struct Bench {
    cluster: Cluster,
    program: PathBuf,
    proxy: QueryProxy,
    certificate: [String; 2],
    _metrics: Metrics,
}

/// One server, as each caller asks it.
struct Server {
    name: &'static str,
    adapter: ClusterAdapter,
    callers: [(&'static str, Api); 3],
}

impl Bench {
    async fn start(
        cluster: Cluster,
        program: PathBuf,
        prometheus: &Path,
        shapes: BTreeSet<Shape>,
    ) -> Result<Bench, Failure> {
        cluster.deploy("base", free_port()?)?;
        // Upstream reads whole objects, which ours needs no leave for.
        cluster.kubectl(&[
            "create",
            "clusterrolebinding",
            "compared",
            "--clusterrole=view",
            "--serviceaccount=monitoring:adapter",
        ])?;
        let metrics = Metrics::start(&cluster, prometheus, shapes).await?;
        let proxy = QueryProxy::start(&metrics.prometheus.url()).await?;
        proxy.pin(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64());
        let certificate = cluster.serving_certificate()?;
        Ok(Bench { cluster, program, proxy, certificate, _metrics: metrics })
    }

    /// Upstream, ours, and ours with shared queries, with a rule file; an inner error where upstream does not start
    /// with it.
    async fn servers(&self, rules: &Path) -> Result<Result<[Server; 3], Failure>, Failure> {
        let [certificate, key] = &self.certificate;
        let [qps, burst] = WITHOUT_THROTTLE;
        let unthrottled = [qps, burst, certificate, key];
        let url = self.proxy.url("prometheus-adapter");
        let upstream = self.cluster.start_prometheus_adapter(&self.program, rules, &url, &unthrottled).await;
        let upstream = match upstream {
            Ok(adapter) => self.server("prometheus-adapter", adapter)?,
            Err(error) => return Ok(Err(error)),
        };
        let start = async |name, flags: &[&str]| {
            let url = self.proxy.url(name);
            self.server(name, self.cluster.start_adapter(free_port()?, rules, &url, flags).await?)
        };
        let ours = start("adapter", &[certificate, key]).await?;
        let sharing = start("adapter-sharing", &[certificate, key, SHARING]).await?;
        for server in [&upstream, &ours, &sharing] {
            until("the server is ready", MINUTE, || async {
                Ok(server.admin().text("/readyz").await?.0 == 200)
            })
            .await?;
        }
        Ok(Ok([upstream, ours, sharing]))
    }

    /// Upstream is ready before it has listed anything (D17); ours says when it has.
    async fn wait_until_listed(&self, upstream: &Server, ours: &Server) -> Result<(), Failure> {
        for path in [C1, EXTERNAL] {
            let expected = ours.admin().get(path).await?.1["resources"].as_array().map(Vec::len);
            until("prometheus-adapter has listed as much, or is done", MINUTE, || async {
                let listed = upstream.admin().get(path).await?.1["resources"].as_array().map(Vec::len);
                let done = self.proxy.since_listing(upstream.name).is_some_and(|since| since > SETTLED);
                // If it does not come to the same, the comparison says what differs.
                Ok(listed == expected || done)
            })
            .await?;
        }
        Ok(())
    }

    fn server(&self, name: &'static str, adapter: ClusterAdapter) -> Result<Server, Failure> {
        let callers = [
            (ADMIN, self.cluster.api(adapter.port, Some((ADMIN, &["system:masters"])))?),
            (STRANGER, self.cluster.api(adapter.port, Some((STRANGER, &[])))?),
            (ANONYMOUS, self.cluster.api(adapter.port, None)?),
        ];
        Ok(Server { name, adapter, callers })
    }

    async fn compare(
        &self,
        rules: &Path,
        requests: impl Fn(&Value, &Value, bool) -> Vec<Asking>,
        compared: &mut Compared,
    ) -> Result<(), Failure> {
        let file = rules.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let [upstream, ours, sharing] = match self.servers(rules).await? {
            Ok(servers) => servers,
            Err(error) => {
                compared.strata.not_started(&file, &error.to_string());
                return Ok(());
            }
        };
        self.wait_until_listed(&upstream, &ours).await?;
        let custom = ours.admin().get(C1).await?.1;
        let external = ours.admin().get(EXTERNAL).await?.1;
        let usage = ours.admin().text(USAGE).await?.0 == 200;
        let chances = Chances::of(rules, &ours)?;
        let mut all = requests::of_discovery();
        all.extend(requests(&custom, &external, usage));
        for server in [&upstream, &ours] {
            self.proxy.take(server.name);
        }
        for asking in all {
            let request = &asking.request;
            let (upstream_answer, our_answer) =
                tokio::try_join!(self.seen(&upstream, request), self.seen(&ours, request))?;
            let upstream_twin = match asking.twin() {
                Some(twin) if upstream_answer.answer.code == 500 => Some(self.seen(&upstream, &twin).await?),
                _ => None,
            };
            let exchange = Exchange {
                origin: file.clone(),
                request: request.clone(),
                upstream: upstream_answer,
                ours: our_answer,
                upstream_twin,
                chance: chances.of_request(request),
                growing: Vec::new(),
                view: View::Wire,
                read: READ,
            };
            compared.strata.add(&asking, &exchange);
            compared.report.add(&exchange);
            if [C1, C2].iter().any(|version| request.path.starts_with(version)) {
                // Its queries are for more objects, and for several requests: only the answers are alike.
                let answer = self.seen(&sharing, request).await?.answer;
                let ours = Seen { answer, ..exchange.ours };
                compared.sharing.add(&Exchange { ours, ..exchange });
            }
        }
        for server in [&upstream, &ours, &sharing] {
            server.adapter.process.terminate()?;
        }
        Ok(())
    }

    async fn seen(&self, server: &Server, request: &Request) -> Result<Seen, Failure> {
        let (_, api) = server
            .callers
            .iter()
            .find(|(name, _)| *name == request.caller)
            .ok_or_else(|| format!("no caller {}", request.caller))?;
        let answer = api.send(&request.method, &request.path, &request.headers).await?;
        let (queries, samples) = self.proxy.take(server.name);
        Ok(Seen { answer, queries, samples })
    }
}

impl Server {
    fn admin(&self) -> &Api {
        &self.callers[0].1
    }
}

/// What of a rule file means one thing or another to upstream, by chance.
struct Chances {
    /// Metrics that two rules make, or one of two series, as `RESOURCE/METRIC` or, of external ones, `METRIC`.
    made_twice: BTreeSet<String>,
    /// Labels are made of group and resource.
    grouped_labels: bool,
}

impl Chances {
    fn of(rules: &Path, ours: &Server) -> Result<Chances, Failure> {
        let log = ours.adapter.process.log();
        let made_twice = log.lines().filter_map(|line| {
            let (before, _) = line.split_once(" is made ")?;
            before.rsplit([' ', '"']).next().map(str::to_owned)
        });
        let grouped_labels = std::fs::read_to_string(rules)?.contains("<<.Group>>");
        Ok(Chances { made_twice: made_twice.collect(), grouped_labels })
    }

    fn of_request(&self, request: &Request) -> Option<&'static str> {
        let path = request.path.split_once('?').map_or(request.path.as_str(), |(path, _)| path);
        let made_twice = self.made_twice.iter().any(|made| {
            let Some((resource, metric)) = made.split_once('/') else {
                return path.starts_with(EXTERNAL) && path.ends_with(&format!("/{made}"));
            };
            let resource = if resource == "namespaces" { "metrics" } else { resource };
            path.ends_with(&format!("/{metric}")) && path.contains(&format!("/{resource}/"))
        });
        let custom = path.starts_with(C1) || path.starts_with(C2);
        match (made_twice, self.grouped_labels && custom) {
            (true, _) => Some("D33"),
            (_, true) => Some("D44"),
            _ => None,
        }
    }
}
