//! `make cluster`: a control plane on loopback with the tutorial's stack in it, until it is interrupted.

use std::process::ExitCode;

use e2e::Failure;
use e2e::tutorial::Tutorial;

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
    println!(
        "starting etcd, kube-apiserver, kube-controller-manager, Prometheus, two model servers and the adapter"
    );
    let tutorial = tokio::select! {
        started = Tutorial::start() => {
            started?.ok_or("a component is missing: scripts/components says which, and why it cannot be built")?
        }
        interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
    };
    let kubeconfig = tutorial.cluster.kubeconfig();
    let kubectl = format!("kubectl --kubeconfig {}", kubeconfig.display());
    println!("\nit is up; from another terminal:\n");
    println!("  {kubectl} get --raw /apis/custom.metrics.k8s.io/v1beta1 | jq -r '.resources[].name'");
    println!(
        "  {kubectl} get --raw '/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/request_queue_depth'"
    );
    println!("  {kubectl} describe hpa model-server-hpa\n");
    println!("the model servers, for load of your own: {}", tutorial.kubelet.addresses().join(" "));
    println!("Prometheus: {}", tutorial.prometheus.url());
    println!("\nControl-C ends it");
    tokio::signal::ctrl_c().await?;
    tutorial.cluster.stop();
    Ok(())
}
