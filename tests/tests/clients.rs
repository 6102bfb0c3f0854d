//! Clients that others wrote, against the adapter behind a real kube-apiserver and without it: kubectl and those of Go.

use std::process::Command;
use std::time::Duration;

use e2e::component::left_out;
use e2e::proxy::{Fault, QueryProxy};
use e2e::world::{self, World};
use e2e::{Failure, stack, until};
use tokio::task::JoinSet;

/// Everything that `tests/components/clients` asks.
#[tokio::test(flavor = "multi_thread")]
async fn the_clients_of_client_go_are_answered() -> Result<(), Failure> {
    if Command::new("go").arg("version").output().is_err() {
        return left_out("go");
    }
    let Some(world) = World::start().await? else { return left_out("kube-apiserver") };
    let World { cluster, metrics, port, .. } = &world;
    let proxy = QueryProxy::start(&metrics.prometheus.url()).await?;
    let limit = format!("--max-requests-inflight={IN_FLIGHT}");
    // A request that waits for Prometheus keeps its place for longer than the test takes.
    let patient = ["--request-timeout=1h", "--prometheus-timeout=1h"];
    // They are of one namespace, which gets three quarters.
    let queries = format!("--prometheus-max-queries={}", IN_FLIGHT * 2);
    let arguments = [&limit, patient[0], patient[1], &queries];
    let mut adapter = world.start_adapter(&world::rules(), &proxy.url("adapter"), &arguments).await?;
    run_go(&world, "-skip")?;

    // Every place is taken by a request that waits for Prometheus.
    let api = cluster.api(*port, Some(("system:serviceaccount:default:reader", &[])))?;
    let depth = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/depth";
    proxy.set_fault(Some(Fault::Hang)).await?;
    let mut waiting = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let api = api.clone();
        waiting.spawn(async move {
            loop {
                // Answered only where something else held the place: a probe of kube-apiserver, for a moment.
                let _ = api.text(depth).await;
                // A client that is refused waits before it asks again.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    // Counted where they wait: a request that asked whether there is room would take it.
    until("every place is taken", MINUTE, || async { Ok(proxy.hanging() == IN_FLIGHT) }).await?;
    run_go(&world, "-run")?;
    waiting.shutdown().await;
    adapter.process.terminate()?;
    adapter.process.wait(MINUTE).await?;
    world.cluster.stop();
    Ok(())
}

/// Runs the tests of `tests/components/clients`: only the one that is for a full server, or all but that.
fn run_go(world: &World, choice: &str) -> Result<(), Failure> {
    let World { cluster, port, .. } = world;
    let status = Command::new("go")
        // As components are built, so that packages in common are built once.
        .args(["test", "-trimpath", "-count=1", choice, "TestTooManyRequests", "./..."])
        .current_dir(stack::repository().join("tests/components/clients"))
        .env("CGO_ENABLED", "0")
        .env("ADAPTER_URL", format!("https://localhost:{port}"))
        .env("ADMIN_KUBECONFIG", cluster.kubeconfig())
        .env("READER_KUBECONFIG", cluster.account_kubeconfig("default", "reader")?)
        .env("UNOWNED_KUBECONFIG", cluster.account_kubeconfig("default", "nobody")?)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("go test {choice} TestTooManyRequests: {status}").into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_is_answered() -> Result<(), Failure> {
    let Some(world) = World::start().await? else { return left_out("kube-apiserver") };
    let _adapter = world.start_adapter(&world::rules(), &world.metrics.prometheus.url(), &[]).await?;
    let cluster = &world.cluster;
    // What is printed, cell by cell; CPU changes all the time and is only looked at where it stands.
    let table = |command: &str| -> Result<Vec<Vec<String>>, Failure> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let lines = cluster.kubectl(&words)?;
        Ok(lines
            .lines()
            .map(|line| line.split_whitespace().map(|cell| masked(cell).to_owned()).collect())
            .collect())
    };
    for (command, expected) in TABLES {
        let expected: Vec<Vec<String>> =
            expected.iter().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        assert_eq!(table(command)?, expected, "kubectl {command}");
    }
    for (command, expected) in ERRORS {
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = cluster.try_kubectl(&words)?;
        assert!(!output.status.success(), "kubectl {command}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim(), *expected, "kubectl {command}");
    }
    for (command, pieces) in TEXTS {
        let words: Vec<&str> = command.split_whitespace().collect();
        let text = cluster.kubectl(&words)?;
        for piece in *pieces {
            assert!(text.contains(piece), "kubectl {command}: no {piece:?} in\n{text}");
        }
    }
    world.cluster.stop();
    Ok(())
}

/// A cell, without the number where it is an amount of CPU.
fn masked(cell: &str) -> &str {
    match cell.strip_suffix('m') {
        Some(number) if number.parse::<u32>().is_ok_and(|milli| milli > 0) => "CPU",
        _ => cell,
    }
}

const TABLES: &[(&str, &[&str])] = &[
    (
        "top pods",
        &["NAME CPU(cores) MEMORY(bytes)", "model-a CPU 6Mi", "model-b CPU 10Mi", "model-c CPU 14Mi"],
    ),
    ("top pods -l tier=back --no-headers", &["model-b CPU 10Mi", "model-c CPU 14Mi"]),
    (
        "top pods -A --sort-by=memory --no-headers",
        &["default model-c CPU 14Mi", "default model-b CPU 10Mi", "default model-a CPU 6Mi"],
    ),
    (
        "top pod model-a --containers",
        &["POD NAME CPU(cores) MEMORY(bytes)", "model-a app CPU 3Mi", "model-a sidecar CPU 3Mi"],
    ),
    // A node that says nothing of its size has no share.
    (
        "top nodes",
        &["NAME CPU(cores) CPU(%) MEMORY(bytes) MEMORY(%)", "node0 CPU 4768Mi", "node1 CPU 4768Mi"],
    ),
    ("top node node1 --no-headers", &["node1 CPU 4768Mi"]),
    ("get podmetrics -l tier=front -o wide", &["NAME CPU MEMORY WINDOW", "model-a CPU 6750000 2m0s"]),
    (
        "get podmetrics -A",
        &[
            "NAMESPACE NAME CPU MEMORY WINDOW",
            "default model-a CPU 6750000 2m0s",
            "default model-b CPU 10750000 2m0s",
            "default model-c CPU 14750000 2m0s",
        ],
    ),
    ("get nodemetrics node1", &["NAME CPU MEMORY WINDOW", "node1 CPU 5000000001 2m0s"]),
    (
        "get podmetrics -o name",
        &[
            "podmetrics.metrics.k8s.io/model-a",
            "podmetrics.metrics.k8s.io/model-b",
            "podmetrics.metrics.k8s.io/model-c",
        ],
    ),
    (
        "api-resources --api-group=metrics.k8s.io",
        &[
            "NAME SHORTNAMES APIVERSION NAMESPACED KIND",
            "nodes metrics.k8s.io/v1beta1 false NodeMetrics",
            "pods metrics.k8s.io/v1beta1 true PodMetrics",
        ],
    ),
    (
        "api-resources --api-group=external.metrics.k8s.io --no-headers",
        &[
            "infinite_external external.metrics.k8s.io/v1beta1 true ExternalMetricValueList",
            "jobs_scalar external.metrics.k8s.io/v1beta1 true ExternalMetricValueList",
            "jobs_waiting external.metrics.k8s.io/v1beta1 true ExternalMetricValueList",
            "queue_length external.metrics.k8s.io/v1beta1 true ExternalMetricValueList",
        ],
    ),
];

const ERRORS: &[(&str, &str)] = &[
    ("top pod ghost", r#"Error from server (NotFound): pods "ghost" not found"#),
    (
        "top pod silent",
        r#"Error from server (NotFound): podmetrics.metrics.k8s.io "default/silent" not found"#,
    ),
    ("top node ghost", r#"Error from server (NotFound): node "ghost" not found"#),
    (
        "get podmetrics -w",
        r#"Error from server (MethodNotAllowed): watch is not supported on resources of kind "pods.metrics.k8s.io""#,
    ),
    (
        "delete podmetrics model-a",
        "Error from server (MethodNotAllowed): the server does not allow this method on the requested resource",
    ),
    (
        "get --raw /apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/nosuch",
        "Error from server (NotFound): the server could not find the metric nosuch for pods",
    ),
];

const TEXTS: &[(&str, &[&str])] = &[
    (
        "get podmetrics model-a -o yaml",
        &[
            "apiVersion: metrics.k8s.io/v1beta1\n",
            "\nkind: PodMetrics\n",
            "\n    memory: \"3500000\"\n",
            "\n  name: model-a\n",
            "\nwindow: 2m0s\n",
        ],
    ),
    ("describe nodemetrics node0", &["API Version:  metrics.k8s.io/v1beta1", "Memory:  5000000000"]),
    (
        "explain podmetrics --recursive",
        &[
            "KIND:       PodMetrics\n",
            "\n  metadata\t<ObjectMeta>\n",
            "\n    usage\t<map[string]string> -required-\n",
        ],
    ),
    ("explain nodemetrics.usage", &["cpu in cores, memory in bytes"]),
    (
        "explain podmetrics --output=plaintext-openapiv2",
        &[
            "\n   metadata\t<Object>\n     Name, namespace and labels",
            "\n   timestamp\t<string> -required-\n",
        ],
    ),
    ("get --raw /apis/metrics.k8s.io/v1beta1/nodes/node0", &[r#""memory":"5000000000""#]),
    ("auth can-i get pods.custom.metrics.k8s.io/depth", &["yes"]),
];

const IN_FLIGHT: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);
