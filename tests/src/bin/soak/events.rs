//! What changes in a cluster, one after another; each is waited for until it is seen.

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::api::Api;
use e2e::world::{self, World};
use e2e::{Failure, until};
use reqwest::tls::TlsInfo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::traffic::Traffic;

/// A change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Another rule file.
    Rules,
    /// Another serving certificate.
    Certificate,
    /// Many pods come and go.
    Pods,
    /// Prometheus is away for a while.
    Prometheus,
    /// kube-apiserver is away for a while, which also ends every watch.
    ApiServer,
}

impl Step {
    pub(crate) const ALL: [Step; 5] =
        [Step::Rules, Step::Certificate, Step::Pods, Step::Prometheus, Step::ApiServer];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Rules => "another rule file",
            Step::Certificate => "another serving certificate",
            Step::Pods => "pods come and go",
            Step::Prometheus => "Prometheus away",
            Step::ApiServer => "kube-apiserver away",
        }
    }
}

/// Makes changes happen.
pub(crate) struct Events {
    rules: PathBuf,
    count: usize,
    direct: Api,
    aggregated: Api,
}

impl Events {
    pub(crate) fn new(world: &World) -> Result<Events, Failure> {
        let rules = world.cluster.dir().join("soak-rules.yaml");
        std::fs::copy(world::rules(), &rules)?;
        let direct = world.cluster.api(world.port, Some(("watcher", &["system:masters"])))?;
        Ok(Events { rules, count: 0, direct, aggregated: Api::from_kubeconfig(world.cluster.kubeconfig())? })
    }

    /// The rule file, which changes.
    pub(crate) fn rules(&self) -> &Path {
        &self.rules
    }

    /// Makes a change and waits until it is seen.
    pub(crate) async fn happen(
        &mut self,
        step: Step,
        world: &mut World,
        traffic: &Traffic,
    ) -> Result<(), Failure> {
        self.count += 1;
        match step {
            Step::Rules => self.rotate_rules().await,
            Step::Certificate => rotate_certificate(world).await,
            Step::Pods => self.churn(world).await,
            Step::Prometheus => {
                traffic.away(Some("Prometheus"));
                world.metrics.prometheus.stop();
                until("an error that says so", SOON, || async {
                    Ok(self.direct.text(DEPTH).await?.0 == 503)
                })
                .await?;
                tokio::time::sleep(AWAY).await;
                world.metrics.prometheus.resume().await?;
                // Rates are known again once there are two scrapes.
                until("values of every kind", SOON, || async {
                    Ok(self.direct.text(RATE).await?.0 == 200 && self.direct.text(USE).await?.0 == 200)
                })
                .await?;
                tokio::time::sleep(SETTLING).await;
                traffic.away(None);
                Ok(())
            }
            Step::ApiServer => {
                traffic.away(Some("kube-apiserver"));
                world.cluster.stop_api_server()?;
                tokio::time::sleep(AWAY).await;
                if self.direct.text(DEPTH).await?.0 != 200 {
                    return Err("who needs no asking was not answered while kube-apiserver was away".into());
                }
                world.cluster.resume_api_server().await?;
                for path in [DEPTH, QUEUE, USE] {
                    until("values through kube-apiserver", SOON, || async {
                        Ok(self.aggregated.text(path).await.is_ok_and(|(code, _)| code == 200))
                    })
                    .await?;
                }
                tokio::time::sleep(SETTLING).await;
                traffic.away(None);
                Ok(())
            }
        }
    }

    /// A metric of a name that there was not before.
    async fn rotate_rules(&self) -> Result<(), Failure> {
        let metric = format!("rotated_{}", self.count);
        let rule = format!(
            "rules:\n- seriesQuery: 'depth{{namespace!=\"\",pod!=\"\"}}'\n  resources: {{overrides: {{namespace: {{resource: namespace}}, \
             pod: {{resource: pod}}}}}}\n  name: {{as: {metric}}}\n  metricsQuery: 'avg(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'\n"
        );
        let text = std::fs::read_to_string(world::rules())?.replacen("rules:\n", &rule, 1);
        let new = self.rules.with_extension("new");
        std::fs::write(&new, text)?;
        std::fs::rename(new, &self.rules)?;
        let path = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/{metric}");
        until("the new rule's metric", SOON, || async { Ok(self.direct.text(&path).await?.0 == 200) }).await
    }

    /// Objects without samples are a list without items; no objects are an error.
    async fn churn(&self, world: &World) -> Result<(), Failure> {
        let path = format!("{DEPTH}?labelSelector=app%3Dchurn");
        let pods: Vec<String> = (0..CHURNED)
            .map(|number| {
                format!(
                    "apiVersion: v1\nkind: Pod\nmetadata: {{name: churn-{}-{number}, namespace: default, labels: {{app: churn}}}}\n\
                     spec: {{nodeName: node0, containers: [{{name: app, image: x}}]}}\n",
                    self.count
                )
            })
            .collect();
        world.cluster.apply(&pods.join("---\n"))?;
        until("the new pods", SOON, || async { Ok(self.direct.text(&path).await?.0 == 200) }).await?;
        world.cluster.kubectl(&["delete", "pods", "-l", "app=churn", "--grace-period=0", "--force"])?;
        until("the end of the pods", SOON, || async { Ok(self.direct.text(&path).await?.0 == 404) }).await
    }
}

/// A new connection is shown the new certificate.
async fn rotate_certificate(world: &World) -> Result<(), Failure> {
    world.cluster.serving_certificate()?;
    let issued = CertificateDer::from_pem_file(world.cluster.dir().join("serving.crt"))
        .map_err(|error| format!("the certificate written cannot be read: {error}"))?;
    until("the new certificate", SOON, || async {
        let client =
            reqwest::Client::builder().tls_danger_accept_invalid_certs(true).tls_info(true).build()?;
        let answer = client.get(format!("https://localhost:{}/readyz", world.port)).send().await?;
        let shown = answer.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
        Ok(shown == Some(issued.as_ref()))
    })
    .await
}

const DEPTH: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/depth";
const RATE: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/model-a/latency_seconds_avg";
const QUEUE: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue_length";
const USE: &str = "/apis/metrics.k8s.io/v1beta1/nodes/node0";
const CHURNED: usize = 50;
/// How long something is away.
const AWAY: Duration = Duration::from_secs(15);
/// Until what was asked while something was away is answered.
const SETTLING: Duration = Duration::from_secs(5);
/// No event takes longer to be seen.
const SOON: Duration = Duration::from_mins(2);
