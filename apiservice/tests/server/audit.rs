//! The audit log of a server: what is recorded, in Kubernetes' words.

use std::net::Ipv6Addr;
use std::sync::Arc;

use apiservice::audit::{Audit, AuditLog, Policy, Rotation, Target};
use apiservice::authority::Authority;
use serde_json::{Value, json};
use testkit::rows::each_row;
use testkit::wait::{in_time, until};

use crate::served::{C1, Options, Server};

const POLICY: &str = r"
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  nonResourceURLs: [/healthz]
  omitStages: []
- level: Metadata
  verbs: [list]
  omitStages: [RequestReceived]
- level: RequestResponse
";

fn recording() -> Server {
    recording_on(Options::default())
}

fn recording_on(options: Options) -> Server {
    let audit = |dir: &std::path::Path| {
        let rotation = Rotation { bytes: 100 << 20, backups: 0, max_age: None };
        let log = AuditLog::open(Target::File { path: dir.join("audit.log"), rotation }).expect("a file");
        Some(Arc::new(Audit::new(Policy::parse(POLICY).expect("a policy"), log)))
    };
    Server::with(Options { audit, ..options })
}

fn recorded(server: &Server) -> Vec<Value> {
    let text = std::fs::read_to_string(server.dir.path().join("audit.log")).expect("a file");
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

/// Waits for a number of events; checks and takes out of the last what differs from run to run.
async fn events(server: &Server, count: usize) -> Vec<Value> {
    until("the number of events that is expected", || recorded(server).len() >= count).await;
    let mut events = recorded(server);
    assert_eq!(events.len(), count, "{events:#?}");
    for event in &mut events {
        let fields = event.as_object_mut().expect("an object");
        each_row(["requestReceivedTimestamp", "stageTimestamp"], |name| {
            let time = fields.remove(name).expect("a time");
            let time = time.as_str().expect("a text");
            assert!(time.len() == "2026-11-24T22:15:30.123456Z".len() && time.ends_with('Z'), "{time}");
        });
    }
    events
}

#[tokio::test]
async fn an_ipv4_client_of_both_families_is_recorded_by_its_ipv4_address() {
    let listen = (Ipv6Addr::UNSPECIFIED, 0).into();
    let server = recording_on(Options { listen, ..Options::default() });
    let request = server.admin().get(format!("{}{C1}/namespaces/d/pods/x/depth", server.url));
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    for event in events(&server, 2).await {
        assert_eq!(event["sourceIPs"], json!(["127.0.0.1"]));
    }
}

#[tokio::test]
async fn a_request_is_recorded_twice() {
    let server = recording();
    let admin = server.admin();
    let uri = format!("{C1}/namespaces/d/pods/x/depth?labelSelector=a");
    let request = admin.get(format!("{}{uri}", server.url)).header("user-agent", "kubectl/v1.33");
    let request = request.header("audit-id", "b1946ac9").header("x-forwarded-for", "192.0.2.7, nonsense");
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    let mut expected = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "b1946ac9",
        "stage": "RequestReceived",
        "requestURI": uri,
        "verb": "get",
        "user": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "sourceIPs": ["192.0.2.7", "127.0.0.1"],
        "userAgent": "kubectl/v1.33",
        "objectRef": {
            "resource": "pods",
            "namespace": "d",
            "name": "x",
            "apiGroup": "custom.metrics.k8s.io",
            "apiVersion": "v1beta1",
            "subresource": "depth",
        },
    });
    let events = events(&server, 2).await;
    assert_eq!(events[0], expected);
    expected["stage"] = json!("ResponseComplete");
    expected["responseStatus"] = json!({"metadata": {}, "code": 200});
    expected["annotations"] =
        json!({"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""});
    assert_eq!(events[1], expected);
}

#[tokio::test]
async fn what_a_caller_makes_long_is_cut_and_marked() {
    let server = recording();
    let long = "n".repeat(9900);
    let agent = "a".repeat(9900);
    let get = server.client(None).get(format!("{}{C1}/namespaces/d/pods/{long}/depth", server.url));
    let answer = get.header("user-agent", agent).send().await.expect("an answer");
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.expect("a body").contains(&long), "the caller is told all of it");
    let events = events(&server, 2).await;
    for event in &events {
        assert!(event.to_string().len() < 16 << 10, "{} bytes", event.to_string().len());
        assert_eq!(event["annotations"]["audit.k8s.io/truncated"], "true");
        let uri = event["requestURI"].as_str().expect("text");
        assert!(uri.starts_with(&format!("{C1}/namespaces/d/pods/nnn")) && uri.ends_with(" bytes)"), "{uri}");
        let name = event["objectRef"]["name"].as_str().expect("text");
        assert_eq!(name, format!("{}... (9900 bytes)", "n".repeat(1024)));
    }
    assert!(events[1]["responseStatus"]["message"].as_str().is_some_and(|text| text.ends_with(" bytes)")));
    assert_eq!(events[1]["annotations"]["authorization.k8s.io/decision"], "forbid");
}

#[tokio::test]
async fn refusals_and_failures_are_recorded_and_what_the_policy_leaves_out_is_not() {
    let server = recording();
    let get = async |client: reqwest::Client, path: &str| {
        client.get(format!("{}{path}", server.url)).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(get(server.client(None), "/healthz").await, 200);
    // No caller may do this.
    assert_eq!(get(server.client(None), &format!("{C1}/namespaces/d/m")).await, 403);
    let forbidden = &events(&server, 1).await[0];
    assert_eq!(forbidden["stage"], "ResponseComplete", "the rule for list leaves out the other stage");
    assert_eq!(
        forbidden["user"],
        json!({"username": "system:anonymous", "groups": ["system:unauthenticated"]})
    );
    assert_eq!(forbidden["annotations"]["authorization.k8s.io/decision"], "forbid");
    let status = &forbidden["responseStatus"];
    assert_eq!(
        (&status["status"], &status["reason"], &status["code"]),
        (&json!("Failure"), &json!("Forbidden"), &json!(403))
    );
    assert!(status["message"].as_str().is_some_and(|text| text.contains("cannot list resource")), "{status}");
    assert_eq!(status["details"]["group"], "custom.metrics.k8s.io");
    // Somebody whose certificate is not good.
    let stranger = Authority::new("another-ca").expect("a key");
    assert_eq!(get(server.client(Some(&stranger)), C1).await, 401);
    let refused = &events(&server, 2).await[1];
    assert_eq!((&refused["stage"], &refused["user"]), (&json!("ResponseStarted"), &json!({})));
    assert_eq!(refused["responseStatus"]["code"], 401);
    assert!(refused.get("objectRef").is_none() && refused.get("annotations").is_none(), "{refused}");
    // A fault of the server's.
    assert_eq!(get(server.admin(), &format!("{C1}/namespaces/d/pods/x/panic")).await, 500);
    let events = events(&server, 4).await;
    assert_eq!((&events[2]["stage"], &events[3]["stage"]), (&json!("RequestReceived"), &json!("Panic")));
    assert_eq!(events[3]["responseStatus"]["reason"], "InternalError");
}

#[tokio::test]
async fn a_request_that_its_client_gives_up_is_recorded() {
    let server = recording();
    let url = format!("{}{C1}/namespaces/d/pods/slow/a", server.url);
    let waiting = tokio::spawn(server.admin().get(url).send());
    in_time("a request under way", server.entered.acquire()).await.expect("never closed").forget();
    waiting.abort();
    let events = events(&server, 2).await;
    assert_eq!(events[1]["stage"], "ResponseComplete");
    assert!(events[1].get("responseStatus").is_none(), "nothing was answered");
}
