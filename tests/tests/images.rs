//! The images: what they say of themselves, and that their programs run with nothing but what is in them.
//!
//! They need root, for containers, and what `scripts/images --prebuilt` makes.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiservice::authority::Authority;
use e2e::api::{self, Api};
use e2e::component::{component, left_out};
use e2e::image::{Container, Image, Settings};
use e2e::process::Process;
use e2e::prometheus::{Prometheus, SERVICE, ScrapeTarget};
use e2e::signals::Signals;
use e2e::{Failure, free_port, stack, until};
use testkit::rows::each_row;

#[test]
fn images_name_their_entry_point_user_and_origin() -> Result<(), Failure> {
    for (name, title) in [("adapter", "adapter"), ("model-server-cpu", "model-server")] {
        let Some(image) = image(name)? else { return Ok(()) };
        let config = &image.config;
        assert_eq!(config["Entrypoint"], serde_json::json!([format!("/{title}")]), "{name}");
        assert!(
            config["Cmd"].as_array().is_none_or(Vec::is_empty),
            "{name}: arguments come from the manifests alone"
        );
        assert_eq!(config["User"], "65532:65532", "{name}");
        let label = |label: &str| config["Labels"][format!("org.opencontainers.image.{label}")].as_str();
        assert_eq!(label("title"), Some(title));
        assert_eq!(label("version"), Some(env!("CARGO_PKG_VERSION")), "{name}");
        assert_eq!(label("licenses"), Some("Apache-2.0"), "{name}");
        each_row(["description", "revision", "created", "source"], |given| {
            assert!(label(given).is_some_and(|text| !text.is_empty()), "{name}: {given} in {config}");
        });
    }
    Ok(())
}

#[test]
fn the_adapters_image_has_at_most_20_megabytes() -> Result<(), Failure> {
    let Some(image) = image("adapter")? else { return Ok(()) };
    assert!(image.bytes <= 20_000_000, "{} bytes", image.bytes);
    Ok(())
}

#[tokio::test]
async fn programs_in_images_print_their_version_and_commit() -> Result<(), Failure> {
    for name in ["adapter", "model-server-cpu"] {
        let Some(image) = image(name)? else { return Ok(()) };
        let settings = Settings { arguments: vec!["--version".to_owned()], ..Settings::default() };
        let mut container = image.start("version", &settings)?;
        assert_eq!(container.status(START).await?, Some(0), "{}", container.process.log());
        let revision =
            image.config["Labels"]["org.opencontainers.image.revision"].as_str().unwrap_or_default();
        let expected = format!("{} (commit {revision})", env!("CARGO_PKG_VERSION"));
        assert!(container.process.log().trim().ends_with(&expected), "{}", container.process.log());
    }
    Ok(())
}

#[tokio::test]
async fn the_adapters_image_trusts_the_authorities_that_it_ships_and_no_others() -> Result<(), Failure> {
    let (Some(image), Some(world)) = (image("adapter")?, World::start().await?) else { return Ok(()) };
    let adapter = world.start_adapter(&image, Vec::new()).await?;
    until("the adapter says why it has no samples", START, || async {
        let (code, text) = adapter.api.text(DEPTH).await?;
        assert_ne!(code, 200, "{text}");
        Ok(code == 503 && text.contains("is signed by an unknown authority"))
    })
    .await
    .map_err(|error| format!("{error}\n{}", adapter.container.process.tail()).into())
}

#[tokio::test]
async fn the_adapters_image_answers_from_a_prometheus_that_it_finds_by_name() -> Result<(), Failure> {
    let (Some(image), Some(world)) = (image("adapter")?, World::start().await?) else { return Ok(()) };
    // The file that it reads its authorities from, with one more.
    let bundle = world.dir.path().join("authorities.crt");
    let shipped = std::fs::read_to_string(image.root().join(AUTHORITIES))?;
    assert!(shipped.matches("BEGIN CERTIFICATE").count() > 100, "the authorities of the web");
    std::fs::write(&bundle, shipped + world.authority.certificate())?;
    let adapter = world.start_adapter(&image, vec![(bundle, "/etc/ssl/certs/ca-certificates.crt")]).await?;
    until("the adapter answers", START, || async { Ok(adapter.api.get(DEPTH).await?.0 == 200) })
        .await
        .map_err(|error| format!("{error}\n{}", adapter.container.process.tail()))?;
    assert_eq!(api::values(&adapter.api.get(DEPTH).await?.1)?, [("model-0".to_owned(), 7.0)]);
    Ok(())
}

#[tokio::test]
async fn the_model_servers_image_answers_predictions() -> Result<(), Failure> {
    let Some(image) = image("model-server-cpu")? else { return Ok(()) };
    let arguments = vec!["--listen=127.0.0.1:0".to_owned()];
    predicts(&image, "model-server", &Settings { arguments, ..Settings::default() }).await
}

#[tokio::test]
async fn an_image_without_a_library_ends_with_its_name() -> Result<(), Failure> {
    let Some(image) = image("model-server-cpu")? else { return Ok(()) };
    let library = find(&image.root(), "libgcc_s.so.1")?.ok_or("the image has no libgcc_s.so.1")?;
    std::fs::remove_file(library)?;
    let mut container = image.start("incomplete", &Settings::default())?;
    assert_ne!(container.status(START).await?, Some(0));
    assert!(
        container.process.log().contains("libgcc_s.so.1: cannot open shared object file"),
        "{}",
        container.process.log()
    );
    Ok(())
}

/// Made by hand, as it takes 5 GB: a machine without it has nothing to test.
#[tokio::test]
async fn the_cuda_image_without_a_gpu_ends_with_the_reason() -> Result<(), Failure> {
    let Some(image) = Image::open("model-server-cuda")? else { return Ok(()) };
    for (model, reason) in [
        (&["--model=/linear.pt"][..], "libtorch finds no GPU"),
        (&[], "expected ONNX Runtime with its CUDA execution provider"),
    ] {
        let arguments = ["--device=cuda"].iter().chain(model).map(|argument| (*argument).to_owned());
        let settings = Settings { arguments: arguments.collect(), ..torchscript() };
        let mut container = image.start("cuda", &settings)?;
        assert_eq!(container.status(START).await?, Some(2), "{}", container.process.log());
        assert!(container.process.log().contains(reason), "{}", container.process.log());
    }
    Ok(())
}

#[tokio::test]
async fn the_cuda_image_serves_the_tutorials_model_without_a_gpu() -> Result<(), Failure> {
    let Some(image) = Image::open("model-server-cuda")? else { return Ok(()) };
    let arguments = vec!["--model=/linear.pt".to_owned(), "--listen=127.0.0.1:0".to_owned()];
    predicts(&image, "torchscript", &Settings { arguments, ..torchscript() }).await
}

/// A model server that listens on a free port becomes ready and answers.
async fn predicts(image: &Image, name: &str, settings: &Settings) -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut container = image.start(name, settings)?;
    let address = container.process.wait_for_log("listening address=", START).await?;
    container.process.wait_for_log("model ready inputs=", START).await?;
    let request = reqwest::Client::new().post(format!("http://{address}/predict"));
    let answer = request.body(r#"{"features": [0.1, 0.2]}"#).send().await?;
    assert_eq!(answer.status(), 200);
    Ok(())
}

/// The tutorial's model, which it has in a ConfigMap.
fn torchscript() -> Settings {
    let model = stack::repository().join("deploy/overlays/tutorial/linear.pt");
    Settings { mounts: vec![(model, "/linear.pt")], ..Settings::default() }
}

/// An image, where it is made and containers can be started; it must be in CI.
fn image(name: &str) -> Result<Option<Image>, Failure> {
    let root = std::fs::metadata("/proc/self")?.uid() == 0;
    let image = if root { Image::open(name)? } else { None };
    if image.is_none() {
        let message = if root { "scripts/images --prebuilt did not make it" } else { "containers need root" };
        let message = format!("the image {name}: {message}");
        if std::env::var_os("CI").is_some() {
            return Err(message.into());
        }
        eprintln!("not run: {message}");
    }
    Ok(image)
}

/// A Prometheus behind TLS with one pod's metric, and a DNS server that knows its name as a cluster's does.
struct World {
    dir: tempfile::TempDir,
    authority: Authority,
    prometheus: Prometheus,
    // Ended with it.
    _signals: Signals,
    _dns: Process,
}

struct Adapter {
    container: Container,
    api: Api,
}

impl World {
    async fn start() -> Result<Option<World>, Failure> {
        let Some(prometheus) = component("prometheus") else { return left_out("prometheus").map(|()| None) };
        let Some(coredns) = component("coredns") else { return left_out("coredns").map(|()| None) };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir()?;
        let authority = Authority::new("monitoring")?;
        let signals = Signals::start().await;
        signals.set("depth 7\n");
        let labels = [("namespace", "default"), ("pod", "model-0")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let targets = [ScrapeTarget { labels, ..signals.target() }];
        let prometheus = Prometheus::start_behind_tls(&prometheus, &targets, dir.path(), &authority).await?;
        until("Prometheus has scraped", START, || async { Ok(prometheus.query("depth").await?.len() == 1) })
            .await?;
        let dns = start_dns(&coredns, dir.path())?;
        std::fs::write(dir.path().join("config.yaml"), RULES)?;
        Ok(Some(World { dir, authority, prometheus, _signals: signals, _dns: dns }))
    }

    /// Starts the adapter of an image with what kube-prometheus lets it have, a quarter of a core.
    async fn start_adapter(
        &self,
        image: &Image,
        mut mounts: Vec<(PathBuf, &'static str)>,
    ) -> Result<Adapter, Failure> {
        let work = self.dir.path().join("work");
        std::fs::create_dir(&work)?;
        chown(&work, Some(USER), Some(USER))?;
        mounts.push((work.clone(), "/tmp"));
        mounts.push((self.dir.path().join("config.yaml"), "/etc/adapter/config.yaml"));
        mounts.push((self.dir.path().join("resolv.conf"), "/etc/resolv.conf"));
        let arguments = vec![
            "--standalone".to_owned(),
            "--standalone-dir=/tmp/standalone".to_owned(),
            "--config=/etc/adapter/config.yaml".to_owned(),
            format!("--secure-port={}", free_port()?),
            format!("--prometheus-url={}", self.prometheus.service_url()),
        ];
        let mut container = image.start("adapter", &Settings { arguments, mounts, millicores: Some(250) })?;
        container.process.wait_for_log("serving address=", START).await?;
        let api = Api::from_kubeconfig(&work.join("standalone/kubeconfig"))?;
        Ok(Adapter { container, api })
    }
}

/// Starts a DNS server and writes the `resolv.conf` of a pod, by which a Service is found with the last of the domains
/// to search.
fn start_dns(program: &Path, dir: &Path) -> Result<Process, Failure> {
    let address = free_address()?;
    let zone = format!("hosts {{\n    127.0.0.1 {SERVICE}.cluster.local\n  }}");
    std::fs::write(dir.join("Corefile"), format!("cluster.local:53 {{\n  bind {address}\n  {zone}\n}}\n"))?;
    let domains = "monitoring.svc.cluster.local svc.cluster.local cluster.local";
    let resolver = format!("search {domains}\nnameserver {address}\noptions ndots:5\n");
    std::fs::write(dir.join("resolv.conf"), resolver)?;
    let arguments = ["-conf".to_owned(), dir.join("Corefile").display().to_string()];
    Process::start("coredns", program, &arguments, dir)
}

/// An address of loopback whose port for DNS is free: a resolver knows no other port.
fn free_address() -> Result<Ipv4Addr, Failure> {
    let own = u16::try_from(std::process::id() % 0x10000)?.to_be_bytes();
    (1..=u8::MAX)
        .map(|last| Ipv4Addr::new(127, own[0], own[1], last))
        .find(|address| UdpSocket::bind((*address, 53)).is_ok())
        .ok_or_else(|| "no free port 53 on loopback".into())
}

/// A file of this name below a folder.
fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>, Failure> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            if let Some(found) = find(&path, name)? {
                return Ok(Some(found));
            }
        } else if path.ends_with(name) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

const DEPTH: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/depth";
const RULES: &str = "rules:\n- seriesQuery: depth\n  resources: {template: <<.Resource>>}\n  \
                     metricsQuery: max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
const USER: u32 = 65532;
const START: Duration = Duration::from_mins(1);
