//! The chart and the overlays on a real kube-apiserver: installed, upgraded in place, refused, removed, and
//! certificates that are replaced while requests flow. No kubelet runs pods; the adapter runs here, as in its
//! Deployment.
//!
//! One control plane for all: the scenarios follow one another, since an API group has one server. Each leaves nothing
//! behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use apiservice::authority::Authority;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::cluster::{Cluster, Installed};
use e2e::component::{component, left_out};
use e2e::helm::{Helm, chart, files_of_values, tutorials_arguments};
use e2e::prometheus::Prometheus;
use e2e::tutorial::{V1, V2};
use e2e::{Failure, free_port, stack, until};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const MINUTE: Duration = Duration::from_mins(1);
/// The first minor version of Kubernetes whose pods have a field for volumes from images.
const IMAGE_VOLUMES: u32 = 31;
const EXTERNAL: &str = "v1beta1.external.metrics.k8s.io";
/// A rule of each kind.
const CUSTOM_RULE: &str =
    r#"rules.custom=[{"seriesQuery": "up{namespace!=\"\"}", "resources": {"template": "<<.Resource>>"}}]"#;
const EXTERNAL_RULE: &str =
    r#"rules.external=[{"seriesQuery": "up{namespace!=\"\"}", "resources": {"template": "<<.Resource>>"}}]"#;

struct Site {
    cluster: Cluster,
    helm: Helm,
    prometheus: Prometheus,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shipped_installs_on_a_real_kube_apiserver() -> Result<(), Failure> {
    let (Some(prometheus), Some(cluster)) = (component("prometheus"), Cluster::start_own().await?) else {
        return left_out("kube-apiserver");
    };
    let Some(helm) = Helm::of(&cluster) else { return left_out("helm") };
    let prometheus = Prometheus::start(&prometheus, &[], cluster.dir()).await?;
    for file in ["servicemonitor-crd.yaml", "cert-manager-crds.yaml"] {
        let file = stack::repository().join("tests/manifests").join(file).display().to_string();
        cluster.kubectl(&["apply", "--server-side", "-f", &file])?;
        cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "-f", &file])?;
    }
    for namespace in ["monitoring", "elsewhere"] {
        cluster.kubectl(&["create", "namespace", namespace])?;
    }
    let site = Site { cluster, helm, prometheus };
    scenario("kube-apiserver takes every overlay", async { site.overlays_are_taken() }).await?;
    scenario("kube-apiserver takes every rendering of the chart", async { site.renderings_are_taken() })
        .await?;
    scenario("the tutorial's command installs, and uninstalls all", site.tutorials_command_installs())
        .await?;
    scenario("an API of another owner is not taken", async { site.other_owners_are_named() }).await?;
    scenario("a release of the community chart is upgraded in place", site.community_release_is_upgraded())
        .await?;
    scenario("an authority of the adapter's own is replaced", site.own_authority_is_replaced()).await?;
    scenario("an existing Secret is replaced", site.existing_secret_is_replaced()).await?;
    scenario("inline values are replaced", site.inline_values_are_replaced()).await?;
    scenario("cert-manager's Secret is replaced", site.cert_managers_secret_is_replaced()).await?;
    site.cluster.stop();
    Ok(())
}

async fn scenario(name: &str, run: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let started = Instant::now();
    run.await.map_err(|error| format!("{name}: {error}"))?;
    println!("{name}: {:?}", started.elapsed());
    Ok(())
}

impl Site {
    fn overlays_are_taken(&self) -> Result<(), Failure> {
        let deploy = stack::repository().join("deploy");
        // A kustomization reads folders beside it only.
        let folder = tempfile::Builder::new().prefix(".rendered.").tempdir_in(&deploy)?;
        let overlays = folders(&deploy.join("overlays"))?;
        let mut components = folders(&deploy.join("components"))?;
        components.extend(folders(&deploy.join("components/model"))?);
        let tutorial = deploy.join("overlays/tutorial");
        let alone = overlays.iter().map(|overlay| (overlay, None));
        let minor = self.cluster.minor()?;
        if minor < IMAGE_VOLUMES {
            println!("left out: components/model/image-volume, which Kubernetes 1.{minor} has no field for");
        }
        let with = components.iter().filter(|component| {
            !component.ends_with("images") && (minor >= IMAGE_VOLUMES || !component.ends_with("image-volume"))
        });
        let mut rendered = Vec::new();
        for (overlay, component) in alone.chain(with.map(|component| (&tutorial, Some(component)))) {
            let relative = |path: &Path| Some(format!("../{}", path.strip_prefix(&deploy).ok()?.display()));
            let kustomization = json!({
                "namespace": "elsewhere",
                "resources": [relative(overlay)],
                "components": component.map(|component| relative(component)).into_iter().collect::<Vec<_>>(),
            });
            std::fs::write(folder.path().join("kustomization.yaml"), kustomization.to_string())?;
            rendered.push(self.cluster.kubectl(&["kustomize", &folder.path().display().to_string()])?);
        }
        self.dry_run("overlays.yaml", &rendered)
    }

    fn renderings_are_taken(&self) -> Result<(), Failure> {
        let chart = chart().display().to_string();
        let mut rendered = Vec::new();
        for values in files_of_values()? {
            let values = values.display().to_string();
            // A Pod is refused while its account is not there.
            let arguments =
                ["template", "release", &chart, "-n", "monitoring", "--skip-tests", "-f", &values];
            rendered.push(self.helm.run(&arguments)?);
        }
        self.dry_run("chart.yaml", &rendered)
    }

    fn dry_run(&self, name: &str, rendered: &[String]) -> Result<(), Failure> {
        let file = self.file(name, &rendered.join("\n---\n"))?;
        self.cluster.kubectl(&["apply", "--server-side", "--dry-run=server", "-f", &file]).map(drop)
    }

    async fn tutorials_command_installs(&self) -> Result<(), Failure> {
        let notes = self.install_owned("prometheus-adapter", "monitoring", &tutorials_arguments())?;
        assert!(notes.contains(&format!("kubectl get apiservice {V1} {V2}")), "{notes}");
        let installed = self.start("monitoring", "prometheus-adapter").await?;
        self.cluster.wait_available(V1).await?;
        self.cluster.wait_available(V2).await?;
        let (code, listed) = self.cluster.json("/apis/custom.metrics.k8s.io/v1beta1").await?;
        assert_eq!((code, &listed["kind"]), (200, &json!("APIResourceList")), "{listed}");

        // Upgraded with other rules: no new pods, as the adapter reads them again.
        let generation = || {
            self.cluster.kubectl(&[
                "get",
                "deploy",
                "-n",
                "monitoring",
                "prometheus-adapter",
                "-o",
                "jsonpath={.metadata.generation}",
            ])
        };
        let before = generation()?;
        let upgrade = ["--reuse-values", "--set-json", CUSTOM_RULE];
        self.upgrade("prometheus-adapter", "monitoring", &upgrade)?;
        assert_eq!(generation()?, before);
        drop(installed);

        self.uninstall("prometheus-adapter", "monitoring")?;
        let kinds = "apiservices,clusterroles,clusterrolebindings,rolebindings,roles,secrets,configmaps,deployments,services,serviceaccounts,poddisruptionbudgets";
        let left = self.cluster.kubectl(&[
            "get",
            kinds,
            "-A",
            "-l",
            "app.kubernetes.io/instance=prometheus-adapter",
            "-o",
            "name",
        ])?;
        assert_eq!(left, "", "left behind");
        Ok(())
    }

    fn other_owners_are_named(&self) -> Result<(), Failure> {
        let api_service = |labels: Value| {
            json!({
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": EXTERNAL, "labels": labels},
                "spec": {
                    "group": "external.metrics.k8s.io",
                    "version": "v1beta1",
                    "insecureSkipTLSVerify": true,
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "service": {"name": "keda-operator-metrics-apiserver", "namespace": "keda", "port": 443},
                },
            })
        };
        self.cluster
            .apply(&api_service(json!({"app.kubernetes.io/part-of": "keda-operator"})).to_string())?;
        let chart = chart().display().to_string();
        let port = format!("service.port={}", free_port()?);
        let install =
            ["install", "ours", &chart, "-n", "monitoring", "--set", &port, "--set-json", EXTERNAL_RULE];
        let said = self.helm.refusal(&install)?;
        let owner =
            format!("the APIService {EXTERNAL} belongs to the Service keda/keda-operator-metrics-apiserver.");
        assert!(said.contains(&owner) && said.contains("--take-ownership"), "{said}");
        // Helm itself asks for its flag.
        let adopt = [&install[..], &["--set", "apiServices.external.adopt=true"]].concat();
        let said = self.helm.refusal(&adopt)?;
        assert!(said.contains("invalid ownership metadata"), "{said}");
        let notes = self.helm.run(&[&adopt[..], &["--take-ownership", "--force-conflicts"]].concat())?;
        assert!(
            notes.contains(
                "belonged to the Service keda/keda-operator-metrics-apiserver, and is served by this"
            ),
            "{notes}"
        );
        let taken = self.get("apiservice", EXTERNAL)?;
        assert_eq!(taken["spec"]["service"]["name"], "ours-adapter", "{taken}");

        // Another release of ours is another owner, too.
        let second = ["install", "second", &chart, "-n", "elsewhere", "--set-json", EXTERNAL_RULE];
        let said = self.helm.refusal(&second)?;
        assert!(said.contains("of the Helm release ours in the namespace monitoring"), "{said}");
        self.uninstall("ours", "monitoring")
    }

    async fn community_release_is_upgraded(&self) -> Result<(), Failure> {
        let community = std::env::var_os("PROMETHEUS_ADAPTER_CHART").map(PathBuf::from);
        let community =
            community.unwrap_or_else(|| stack::repository().join("tests/charts/prometheus-adapter"));
        let community = community.display().to_string();
        self.helm.run(&["install", "metrics", &community, "-n", "monitoring"])?;
        let name = "metrics-prometheus-adapter";
        let identities = || -> Result<Vec<Value>, Failure> {
            let deployment = self.get_in("monitoring", "deployment", name)?;
            Ok(vec![
                deployment["metadata"]["uid"].clone(),
                self.get("apiservice", V1)?["metadata"]["uid"].clone(),
            ])
        };
        let before = identities()?;
        let port = format!("service.port={}", free_port()?);
        let chart = chart().display().to_string();
        let upgrade = [
            "upgrade",
            "metrics",
            &chart,
            "-n",
            "monitoring",
            "--set",
            "nameOverride=prometheus-adapter",
            "--set",
            &port,
            "--set-json",
            CUSTOM_RULE,
        ];
        let said = self.helm.refusal(&upgrade)?;
        for choice in
            ["rules.default=true", "rules.default=false", "the release metrics has the default rules"]
        {
            assert!(said.contains(choice), "{said}");
        }
        self.helm.run(&[&upgrade[..], &["--set", "rules.default=false"]].concat())?;
        assert_eq!(identities()?, before, "changed in place");
        let installed = self.start("monitoring", name).await?;
        self.cluster.wait_available(V1).await?;
        let service = self.get("apiservice", V1)?;
        assert!(
            service["spec"]["caBundle"].is_string() && service["spec"]["insecureSkipTLSVerify"] != true,
            "{service}"
        );
        drop(installed);
        self.uninstall("metrics", "monitoring")
    }

    async fn own_authority_is_replaced(&self) -> Result<(), Failure> {
        self.install("own", "monitoring", &["--set-json", CUSTOM_RULE])?;
        let installed = self.start("monitoring", "own-adapter").await?;
        self.cluster.wait_available(V2).await?;
        let requests = Requests::start(&self.cluster);
        let bundle = || Ok::<_, Failure>(self.get("apiservice", V2)?["spec"]["caBundle"].clone());
        let before = bundle()?;
        // Without its key the adapter makes another authority, as it does when this one grows old.
        let other = json!({"data": {"ca.key": STANDARD.encode("lost")}}).to_string();
        self.cluster.kubectl(&[
            "patch",
            "secret",
            "-n",
            "monitoring",
            "own-adapter-ca",
            "--type=merge",
            "-p",
            &other,
        ])?;
        until("another authority is published", 2 * MINUTE, || async { Ok(bundle()? != before) }).await?;
        self.serves_another_certificate(&installed, "serving with a certificate of the shared CA", 2).await?;
        requests.all_succeeded().await?;
        drop(installed);
        self.uninstall("own", "monitoring")
    }

    async fn existing_secret_is_replaced(&self) -> Result<(), Failure> {
        let (old, new) = (Authority::new("old-ca")?, Authority::new("new-ca")?);
        self.put_certificate("mine", &old, "given-adapter")?;
        // Its authority is read from the Secret.
        let values =
            ["--set", "tls.method=existingSecret,tls.existingSecret=mine", "--set-json", CUSTOM_RULE];
        self.install("given", "monitoring", &values)?;
        assert_eq!(self.get("apiservice", V2)?["spec"]["caBundle"], STANDARD.encode(old.certificate()));
        let installed = self.start("monitoring", "given-adapter").await?;
        self.cluster.wait_available(V2).await?;
        let requests = Requests::start(&self.cluster);
        // Both authorities are trusted before the new one is used.
        let both = self.file("both.pem", &format!("{}{}", old.certificate(), new.certificate()))?;
        self.upgrade("given", "monitoring", &["--reuse-values", "--set-file", &format!("tls.ca={both}")])?;
        self.put_certificate("mine", &new, "given-adapter")?;
        installed.volumes.fill(&self.cluster.client).await?;
        self.serves_another_certificate(&installed, RELOADED, 1).await?;
        let new = self.file("new.pem", new.certificate())?;
        self.upgrade("given", "monitoring", &["--reuse-values", "--set-file", &format!("tls.ca={new}")])?;
        self.cluster.wait_available(V2).await?;
        requests.all_succeeded().await?;
        drop(installed);
        self.cluster.kubectl(&["delete", "secret", "-n", "monitoring", "mine"])?;
        self.uninstall("given", "monitoring")
    }

    async fn inline_values_are_replaced(&self) -> Result<(), Failure> {
        let (old, new) = (Authority::new("old-ca")?, Authority::new("new-ca")?);
        let values = |authority: &Authority, bundle: &str| -> Result<[String; 6], Failure> {
            let issued = authority.issue_server(
                "inline-adapter",
                &["inline-adapter.monitoring.svc".to_owned()],
                &[],
            )?;
            let set = |value: &str, text: &str| {
                Ok::<_, Failure>(format!("tls.{value}={}", self.file(value, text)?))
            };
            let [ca, certificate, key] =
                [set("ca", bundle)?, set("certificate", &issued.certificate)?, set("key", &issued.key)?];
            Ok([
                "--set-file".to_owned(),
                ca,
                "--set-file".to_owned(),
                certificate,
                "--set-file".to_owned(),
                key,
            ])
        };
        let with = |more: &[String]| -> Vec<String> {
            let method = ["--set", "tls.method=values", "--set-json", CUSTOM_RULE].map(str::to_owned);
            [&method[..], more].concat()
        };
        self.install_owned("inline", "monitoring", &with(&values(&old, old.certificate())?))?;
        let installed = self.start("monitoring", "inline-adapter").await?;
        self.cluster.wait_available(V2).await?;
        let requests = Requests::start(&self.cluster);
        let both = format!("{}{}", old.certificate(), new.certificate());
        self.upgrade_owned(
            "inline",
            "monitoring",
            &[&["--reuse-values".to_owned()], &values(&new, &both)?[..]].concat(),
        )?;
        installed.volumes.fill(&self.cluster.client).await?;
        self.serves_another_certificate(&installed, RELOADED, 1).await?;
        self.cluster.wait_available(V2).await?;
        requests.all_succeeded().await?;
        drop(installed);
        self.uninstall("inline", "monitoring")
    }

    /// cert-manager's part, which the test does: it issues the certificate, and puts the authority into the APIServices
    /// that name the Certificate.
    async fn cert_managers_secret_is_replaced(&self) -> Result<(), Failure> {
        let authority = Authority::new("cert-manager-ca")?;
        let values = ["--set", "certManager.enabled=true", "--set-json", CUSTOM_RULE];
        self.install("managed", "monitoring", &values)?;
        let certificate = self.get_in("monitoring", "certificates.cert-manager.io", "managed-adapter")?;
        assert_eq!(certificate["spec"]["dnsNames"][0], "managed-adapter.monitoring.svc", "{certificate}");
        let secret = certificate["spec"]["secretName"].as_str().ok_or("no secretName")?.to_owned();
        self.put_certificate(&secret, &authority, "managed-adapter")?;
        for name in [V1, V2] {
            let annotation =
                &self.get("apiservice", name)?["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
            assert_eq!(annotation, "monitoring/managed-adapter");
            let bundle = json!({"spec": {"caBundle": STANDARD.encode(authority.certificate())}}).to_string();
            self.cluster.kubectl(&["patch", "apiservice", name, "--type=merge", "-p", &bundle])?;
        }
        let installed = self.start("monitoring", "managed-adapter").await?;
        self.cluster.wait_available(V2).await?;
        let requests = Requests::start(&self.cluster);
        self.put_certificate(&secret, &authority, "managed-adapter")?;
        installed.volumes.fill(&self.cluster.client).await?;
        self.serves_another_certificate(&installed, RELOADED, 1).await?;
        // An upgrade leaves what cert-manager has written.
        self.upgrade("managed", "monitoring", &["--reuse-values", "--set", "replicas=3"])?;
        self.cluster.wait_available(V2).await?;
        requests.all_succeeded().await?;
        drop(installed);
        self.cluster.kubectl(&["delete", "secret", "-n", "monitoring", &secret])?;
        self.uninstall("managed", "monitoring")
    }

    /// Installs the chart with a port that the adapter can listen on here; the notes.
    fn install(&self, release: &str, namespace: &str, values: &[&str]) -> Result<String, Failure> {
        let port = format!("service.port={}", free_port()?);
        let chart = chart().display().to_string();
        self.helm
            .run(&[&["install", release, &chart, "--namespace", namespace, "--set", &port], values].concat())
    }

    fn install_owned(&self, release: &str, namespace: &str, values: &[String]) -> Result<String, Failure> {
        self.install(release, namespace, &values.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn upgrade(&self, release: &str, namespace: &str, values: &[&str]) -> Result<String, Failure> {
        let chart = chart().display().to_string();
        self.helm.run(&[&["upgrade", release, &chart, "--namespace", namespace], values].concat())
    }

    fn upgrade_owned(&self, release: &str, namespace: &str, values: &[String]) -> Result<String, Failure> {
        self.upgrade(release, namespace, &values.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Uninstalls a release; no APIService of it is left.
    fn uninstall(&self, release: &str, namespace: &str) -> Result<(), Failure> {
        self.helm.run(&["uninstall", release, "--namespace", namespace])?;
        let left = self.cluster.kubectl(&["get", "apiservices", "-o", "name"])?;
        assert!(!left.contains("metrics.k8s.io"), "{release} left {left}");
        Ok(())
    }

    async fn start(&self, namespace: &str, name: &str) -> Result<Installed, Failure> {
        self.cluster.start_installed(namespace, name, &self.prometheus.url()).await
    }

    fn get(&self, kind: &str, name: &str) -> Result<Value, Failure> {
        Ok(serde_json::from_str(&self.cluster.kubectl(&["get", kind, name, "-o", "json"])?)?)
    }

    fn get_in(&self, namespace: &str, kind: &str, name: &str) -> Result<Value, Failure> {
        Ok(serde_json::from_str(&self.cluster.kubectl(&["get", "-n", namespace, kind, name, "-o", "json"])?)?)
    }

    fn file(&self, name: &str, text: &str) -> Result<String, Failure> {
        let path = self.cluster.dir().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Makes or replaces a Secret with a new certificate for a Service.
    fn put_certificate(&self, secret: &str, authority: &Authority, service: &str) -> Result<(), Failure> {
        let issued = authority.issue_server(service, &[format!("{service}.monitoring.svc")], &[])?;
        let object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret, "namespace": "monitoring"},
            "type": "kubernetes.io/tls",
            "stringData": {
                "ca.crt": authority.certificate(),
                "tls.crt": issued.certificate,
                "tls.key": issued.key,
            },
        });
        self.cluster.apply(&object.to_string())
    }

    /// Waits until the adapter has logged this number of times that it took a certificate.
    async fn serves_another_certificate(
        &self,
        installed: &Installed,
        line: &str,
        times: usize,
    ) -> Result<(), Failure> {
        until("the adapter takes the certificate", 2 * MINUTE, || async {
            Ok(installed.adapter.process.log().matches(line).count() >= times)
        })
        .await?;
        self.cluster.wait_available(V2).await
    }
}

const RELOADED: &str = "serving certificate reloaded";

/// Requests that go through kube-apiserver one after the other.
struct Requests {
    ended: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Requests {
    fn start(cluster: &Cluster) -> Requests {
        let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let client = cluster.client.clone();
        let (until, count) = (Arc::clone(&ended), Arc::clone(&answered));
        let task = tokio::spawn(async move {
            while !until.load(Ordering::Relaxed) {
                let request = http::Request::get("/apis/custom.metrics.k8s.io/v1beta2").body(Vec::new())?;
                client.request_text(request).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Requests { ended, answered, task }
    }

    /// Ends them.
    async fn all_succeeded(self) -> Result<(), Failure> {
        self.ended.store(true, Ordering::Relaxed);
        self.task.await??;
        let answered = self.answered.load(Ordering::Relaxed);
        println!("  {answered} requests meanwhile, none failed");
        if answered == 0 { Err("no request was made meanwhile".into()) } else { Ok(()) }
    }
}

/// The folders of kustomizations in a folder.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Failure>>()?;
    let mut found: Vec<PathBuf> =
        entries.into_iter().filter(|path| path.join("kustomization.yaml").is_file()).collect();
    found.sort();
    Ok(found)
}
