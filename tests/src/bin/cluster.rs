//! `make cluster`: a control plane on loopback with the tutorial's stack in it, until it is interrupted; with `--empty`
//! the control plane alone; with `--node`, inside `scripts/sandbox`, a whole node on which the stack runs.

use std::process::ExitCode;

use clap::Parser;
use e2e::cluster::Cluster;
use e2e::load::BODY;
use e2e::node::{Node, Stack};
use e2e::service::Service;
use e2e::tutorial::Tutorial;
use e2e::{Failure, stack};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the cluster failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    match Settings::parse() {
        Settings { node: true, .. } => node().await,
        Settings { empty: true, .. } => empty().await,
        Settings { .. } => tutorial().await,
    }
}

/// Leaves a control plane on loopback with the tutorial's stack running, until it is interrupted.
#[derive(Debug, Parser)]
#[command(name = "cluster")]
struct Settings {
    /// The control plane alone.
    #[arg(long, conflicts_with = "node")]
    empty: bool,
    /// On a real node, whose namespaces scripts/sandbox makes.
    #[arg(long)]
    node: bool,
}

async fn empty() -> Result<(), Failure> {
    println!("starting etcd, kube-apiserver and kube-controller-manager");
    let cluster = Cluster::start_own().await?.ok_or(MISSING)?;
    println!("\nit is up: kubectl --kubeconfig {}\n\nControl-C ends it", cluster.kubeconfig().display());
    told_to_end().await?;
    cluster.stop();
    Ok(())
}

async fn node() -> Result<(), Failure> {
    println!("starting a control plane, a node, the Prometheus Operator and deploy/overlays/tutorial-cpu");
    let mut node = Node::start().await?;
    node.install(Stack::TutorialCpu).await?;
    println!("\nit is up; a shell of root in its network, from another terminal:\n");
    println!(
        "  KUBECONFIG={} nsenter --net --target $(pgrep --newest --exact cluster) $SHELL\n",
        node.cluster.kubeconfig().display()
    );
    println!("and in that shell:\n");
    println!(
        "  kubectl get --raw '/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_queue_depth'"
    );
    println!("  kubectl get hpa --watch");
    println!(
        "  kubectl create job load --image=e2e/hey:1 -- /bin/hey -z 3m -c 50 -disable-keepalive -m POST -T application/json -d '{BODY}' \
         http://model-server.default.svc/predict\n"
    );
    println!("Control-C ends it");
    told_to_end().await
}

async fn tutorial() -> Result<(), Failure> {
    println!(
        "starting etcd, kube-apiserver, kube-controller-manager, Prometheus, two model servers and the adapter"
    );
    let tutorial = tokio::select! {
        started = Tutorial::start(stack::slow_model()?) => {
            started?.ok_or(MISSING)?
        }
        told = told_to_end() => return told,
    };
    let service = Service::start(tutorial.kubelet.follow_addresses()).await?;
    let kubectl = format!("kubectl --kubeconfig {}", tutorial.cluster.kubeconfig().display());
    println!("\nit is up; from another terminal:\n");
    println!("  {kubectl} get --raw /apis/custom.metrics.k8s.io/v1beta1 | jq -r '.resources[].name'");
    println!(
        "  {kubectl} get --raw '/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_queue_depth'"
    );
    println!("  {kubectl} describe hpa model-server-hpa\n");
    println!("load that makes the autoscaler add pods, and reaches them as they come:\n");
    println!(
        "  $(scripts/components hey) -z 3m -c 50 -disable-keepalive -m POST -T application/json -d '{BODY}' http://{}/predict\n",
        service.address()
    );
    println!("Prometheus: {}", tutorial.prometheus.url());
    println!(
        "\nThere is no node and no kubelet: the programs of the model servers and of the adapter run as processes of this \
         machine. The model servers' pods are marked as running; the adapter's stay Pending."
    );
    println!("\nControl-C ends it");
    told_to_end().await?;
    tutorial.cluster.stop();
    Ok(())
}

/// Control-C, or SIGTERM: the processes are ended before this program is.
async fn told_to_end() -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminate.recv() => Ok(()),
    }
}

const MISSING: &str = "a component is missing: scripts/components says which, and why it cannot be built";
