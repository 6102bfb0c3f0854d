//! Attacks on the adapter in a cluster, by clients without a credential or with a bad one.

use std::time::Duration;

use apiservice::authority::Issued;
use e2e::cluster::Cluster;
use e2e::component::left_out;
use e2e::tutorial::Tutorial;
use e2e::{Failure, stack, until};
use futures_util::FutureExt as _;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use reqwest::Client;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use testkit::wire::target::Target;
use testkit::wire::tls::{Identity, Trust};
use testkit::wire::{frame, request};

use super::watch::{Row, Watch, during};
use super::{ATTACKERS, Answers, Attacks, MIB, MINUTE, kubelet, many, prepare, trusting};

const DEPTH: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_queue_depth";

#[tokio::test(flavor = "multi_thread")]
async fn the_adapter_withstands_strangers() -> Result<(), Failure> {
    let _alone = prepare().await?;
    let Some(deployed) = Tutorial::start(Vec::new()).await? else { return left_out("kube-apiserver") };
    if !deployed.cluster.is_own() {
        println!("not run: this needs the keys of a control plane of our own");
        deployed.cluster.stop();
        return Ok(());
    }
    let Tutorial { cluster, prometheus, kubelet: _kubelet, adapter } = deployed;
    let port = adapter.port;
    drop(adapter);
    let server = Server { port, cluster: &cluster, prometheus: prometheus.url() };
    let target = Target::tls(port, Trust::Anyone).reached_from(ATTACKERS);
    let mut attacks = Attacks::new(LIMIT);

    for (what, intermediates) in
        [("64 clients with 100 look-alike authorities", 100), ("64 clients with 7 look-alike authorities", 7)]
    {
        let bush = bush(intermediates)?;
        let client = async |_| {
            let mut raw = target.open("http/1.1", Some(&bush)).await?;
            for _ in 0..50 {
                if !raw.write(request("/x", "")).await {
                    break;
                }
            }
            Ok(raw.code().await)
        };
        server.attacked(&mut attacks, what, 64, client).await?;
    }
    let large = self_signed_with_names(1000)?;
    let client = async |_| {
        let mut raw = target.open("http/1.1", Some(&large)).await?;
        raw.write(request("/livez", "")).await;
        let code = raw.code().await;
        // All of them are there at the same time.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(code)
    };
    server.attacked(&mut attacks, "500 clients with a certificate of 60 KB", 500, client).await?;

    let client = async |client| {
        let mut raw = target.open("h2", None).await?;
        let mut frames = frame::preface();
        for stream in 0..100_u32 {
            let token = format!("Bearer bad-{client}-{stream}");
            let head = [
                frame::get("/"),
                frame::authorization(&token),
                frame::FIELD.to_vec(),
                vec![frame::AGAIN; 16_000],
            ];
            frames.extend(frame::request(2 * stream + 1, &head.concat()));
        }
        raw.write(&frames).await;
        raw.is_closed_within(Duration::from_secs(5), true).await;
        Ok(String::new())
    };
    server.attacked(&mut attacks, "8 clients with 100 packed heads and bad tokens", 8, client).await?;

    let client = async |_| {
        for _ in 0..2 {
            let stream = target.tcp().await?;
            // For most of the time that a handshake has.
            tokio::time::sleep(Duration::from_millis(6500)).await;
            drop(stream);
        }
        Ok(String::new())
    };
    server.attacked(&mut attacks, "1,500 connections without a handshake", 1500, client).await?;
    let client = async |_| {
        let mut raw = target.open("http/1.1", None).await?;
        raw.write(request("/livez", "")).await;
        raw.is_closed_within(Duration::from_secs(10), false).await;
        Ok(String::new())
    };
    server.attacked(&mut attacks, "1,500 strangers that keep their connection", 1500, client).await?;

    let (http, path) = (trusting().http1_only().build()?, "\"".repeat(9800));
    let client = async |number| {
        for turn in 0..125 {
            let _ = http.get(server.url(&format!("/{number}-{turn}-{path}"))).send().await?;
        }
        Ok(String::new())
    };
    server.attacked(&mut attacks, "4,000 paths of 9.9 KB by strangers", 32, client).await?;
    let http = trusting().build()?;
    let client = async |number| {
        let mut last = String::new();
        for turn in 0..100 {
            let token = format!("bad-{number}-{turn}");
            last = http.get(server.url(DEPTH)).bearer_auth(token).send().await?.status().to_string();
        }
        Ok(last)
    };
    let answers = server.attacked(&mut attacks, "6,400 bad tokens", 64, client).await?;
    println!("    {answers:?}");

    cluster.stop();
    attacks.judge("attacks-cluster")
}

/// Where an adapter with the arguments of its Deployment is attacked.
struct Server<'a> {
    port: u16,
    cluster: &'a Cluster,
    prometheus: String,
}

impl Server<'_> {
    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// Has many clients attack concurrently; how often each answer came.
    async fn attacked(
        &self,
        attacks: &mut Attacks,
        what: &'static str,
        clients: usize,
        client: impl AsyncFn(usize) -> Result<String, Failure>,
    ) -> Result<Answers, Failure> {
        let mut answers = Answers::new();
        let attack = async {
            answers = many(clients, client).await;
            Ok(())
        };
        attacks.add(self.watched(what, attack).await?);
        Ok(answers)
    }

    /// Attacks an adapter of its own, so that what one attack leaves behind is not counted for the next.
    async fn watched(
        &self,
        what: &'static str,
        attack: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Row, Failure> {
        let rules = stack::repository().join("deploy/overlays/tutorial/adapter-values.yaml");
        let adapter = self.cluster.start_adapter(self.port, &rules, &self.prometheus, &[]).await?;
        let kubelet = kubelet()?;
        let Issued { certificate, key, .. } = self.cluster.front_proxy_certificate()?;
        let identity = format!("{certificate}{key}");
        // As kube-apiserver asks for the autoscaler.
        let aggregator: Client =
            trusting().identity(reqwest::Identity::from_pem(identity.as_bytes())?).build()?;
        let (livez, readyz, depth) = (self.url("/livez"), self.url("/readyz"), self.url(DEPTH));
        until("the adapter is ready", MINUTE, || async {
            Ok(kubelet.get(&readyz).send().await.is_ok_and(|answer| answer.status().is_success()))
        })
        .await?;
        let watch = Watch {
            health: Box::new(move || {
                let request = kubelet.get(&livez).send();
                async move { request.await.is_ok_and(|answer| answer.status().is_success()) }.boxed()
            }),
            caller: Box::new(move || {
                let user = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
                let request = aggregator.get(&depth).header("x-remote-user", user).send();
                async move { request.await.is_ok_and(|answer| answer.status().is_success()) }.boxed()
            }),
        };
        let row = during(what, &adapter.process, watch, attack).await?;
        until("what clients left open is closed", MINUTE * 2, || async {
            Ok(adapter.process.open_files().is_some_and(|files| files < 96))
        })
        .await?;
        Ok(row)
    }
}

/// A leaf below authorities that are called as the cluster's, of which each is signed by another of them: a search
/// for a way from the leaf to a trusted authority tries them all.
fn bush(count: usize) -> Result<Identity, Failure> {
    let names: Vec<&str> = AUTHORITIES.into_iter().cycle().take(count).collect();
    let keys = (0..count).map(|_| KeyPair::generate()).collect::<Result<Vec<_>, _>>()?;
    let params = |name: &str, is_authority: bool| -> Result<CertificateParams, Failure> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        Ok(params)
    };
    let leaf_key = KeyPair::generate()?;
    let signer = Issuer::new(params(names[0], true)?, &keys[0]);
    let mut chain = vec![params("leaf", false)?.signed_by(&leaf_key, &signer)?.der().clone()];
    for number in 0..count {
        let other = (number + 1) % count;
        let signer = Issuer::new(params(names[other], true)?, &keys[other]);
        chain.push(params(names[number], true)?.signed_by(&keys[number], &signer)?.der().clone());
    }
    Ok(Identity(chain, key_of(&leaf_key)))
}

fn self_signed_with_names(count: usize) -> Result<Identity, Failure> {
    let names: Vec<String> =
        (0..count).map(|number| format!("{number:08}.{}.example.org", "x".repeat(40))).collect();
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.self_signed(&key)?;
    Ok(Identity(vec![certificate.der().clone()], key_of(&key)))
}

fn key_of(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

/// What the test's cluster calls the authorities of clients and of front proxies.
const AUTHORITIES: [&str; 2] = ["kubernetes-ca", "front-proxy-ca"];
/// The Deployment's memory limit.
const LIMIT: u64 = 128 * MIB;
