//! Answers of the real prometheus-adapter, recorded: each object is rebuilt through our types and must come out as it
//! was recorded, byte for byte. Not run where the recordings are not beside the repository.

use std::collections::HashMap;
use std::path::Path;

use apiservice::discovery::{GroupDescription, ResourceEntry};
use apiservice::encode::yaml;
use apiservice::server::Answer;
use apiservice::status::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use testkit::protobuf;
use testkit::rows::each_row;

use super::{Api, C1, C2, E, JSON, M, PROTOBUF, Response, YAML, decode, groups};

#[derive(Deserialize)]
struct Exchange {
    request: Request,
    response: Recorded,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    path: String,
    headers: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    status: u16,
    headers: HashMap<String, String>,
    body: Option<Box<RawValue>>,
    body_base64: Option<String>,
}

impl Recorded {
    /// The bytes as they were sent. Blanks and the final newline of compact JSON were not kept; both are known.
    fn body(&self) -> Vec<u8> {
        if let Some(body) = &self.body_base64 {
            return STANDARD.decode(body).expect("base64");
        }
        let raw = self.body.as_ref().expect("a body").get();
        if raw.starts_with('"') {
            return serde_json::from_str::<String>(raw).expect("text").into_bytes();
        }
        format!("{}\n", without_blanks(raw)).into_bytes()
    }

    fn content_type(&self) -> &str {
        self.headers.get("content-type").map(String::as_str).unwrap_or_default()
    }

    fn tree(&self) -> Value {
        match self.content_type() {
            YAML => serde_saphyr::from_slice(&self.body()).expect("YAML"),
            PROTOBUF => protobuf::tree_of(&self.body()),
            _ => serde_json::from_slice(&self.body()).expect("JSON"),
        }
    }
}

fn without_blanks(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    json.chars()
        .filter(|character| {
            let kept = in_text || !character.is_ascii_whitespace();
            in_text = in_text != (*character == '"' && !escaped);
            escaped = in_text && *character == '\\' && !escaped;
            kept
        })
        .collect()
}

fn recordings() -> Option<Vec<Exchange>> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/recordings/prometheus-adapter-0.12.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!(
            "not run: the recordings of prometheus-adapter (../shared/recordings) are not on this machine"
        );
        return None;
    };
    Some(serde_json::from_str(&text).expect("recordings"))
}

async fn ask(api: &Api, request: &Request) -> Response {
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    api.get(&request.path, &headers).await
}

fn assert_same(request: &Request, ours: &Response, recorded: &Recorded, expected: &[u8]) {
    let what = format!("{} {:?}", request.path, request.headers);
    assert_eq!(ours.code, recorded.status, "{what}");
    each_row(["content-type", "content-encoding", "cache-control"], |header| {
        assert_eq!(
            ours.header(header),
            recorded.headers.get(header).map(String::as_str),
            "{header} of {what}"
        );
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&ours.body), text(expected), "{what}");
    assert!(*ours.body == *expected, "{what}");
}

#[tokio::test]
async fn objects_equal_the_recorded_ones() {
    let Some(exchanges) = recordings() else { return };
    let mut checked: HashMap<&str, usize> = HashMap::new();
    let mut plain: HashMap<&str, Answer> = HashMap::new();
    for Exchange { request, response } in &exchanges {
        let below = |version: &str| request.path.strip_prefix(version).is_some_and(|rest| rest.len() > 1);
        let is_object = [C1, C2, E, M].into_iter().any(below);
        // A watch was not kept whole.
        if !is_object || request.method != "GET" || request.path.contains("watch=true") {
            continue;
        }
        let answer = match response.status {
            200 => {
                let tree = response.tree();
                match tree["kind"].as_str() {
                    Some("Table") => decode::table(&tree),
                    Some("PartialObjectMetadataList") => decode::partial(&tree),
                    _ => match decode::answer(&tree) {
                        Ok(answer) => answer,
                        Err(error) => {
                            // D25, D26: numbers that we never send.
                            let known = ["weird_value", "tiny_value", "weird_external"];
                            assert!(known.iter().any(|name| request.path.contains(name)), "{error}");
                            continue;
                        }
                    },
                }
            }
            406 => plain[request.path.as_str()].clone(),
            _ => continue,
        };
        let answer = match (answer, &plain.get(request.path.as_str())) {
            (Answer::Pods(mut pods), Some(Answer::Pod(_))) => Answer::Pod(pods.remove(0)),
            (answer, _) => answer,
        };
        if request.headers.is_empty() {
            plain.entry(&request.path).or_insert_with(|| answer.clone());
        }
        let ours = ask(&Api::answering(Ok(answer)), request).await;
        assert_same(request, &ours, response, &response.body());
        *checked.entry(response.content_type()).or_default() += 1;
    }
    println!("the same: {checked:?}");
    assert!(checked[JSON] > 100 && checked[YAML] >= 8 && checked[PROTOBUF] >= 10, "{checked:?}");
}

#[tokio::test]
async fn discovery_equals_the_recorded_one() {
    let Some(exchanges) = recordings() else { return };
    let find = |path: &str| {
        let mut found = exchanges.iter().filter(|exchange| exchange.request.path == path);
        found.find(|exchange| exchange.request.headers.is_empty()).expect(path)
    };
    // The groups as they were listed.
    let groups: Vec<GroupDescription> = groups(&["v1beta1", "v1beta2"])
        .into_iter()
        .map(|GroupDescription { name, versions, .. }| {
            let listed = find(&format!("/apis/{name}/v1beta1")).response.tree();
            let entries = listed["resources"].as_array().expect("a list").iter().map(entry).collect();
            let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
            GroupDescription::of(&name, &versions, entries)
        })
        .collect();
    let mut listed_once = groups.clone();
    listed_once[0].versions = vec!["v1beta1".to_owned()];
    let none = || Err(ApiError::no_route());
    // D2: upstream lists only one version of custom metrics.
    let (both, once) = (Api::serving(groups, none()), Api::serving(listed_once, none()));
    let mut checked: HashMap<String, usize> = HashMap::new();
    for Exchange { request, response } in &exchanges {
        let segments: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        if segments[0] != "apis" || segments.len() > 3 || request.method != "GET" {
            continue;
        }
        if !matches!(response.status, 200 | 406) || response.content_type().contains("g=apidiscovery.k8s.io")
        {
            // D1: upstream's aggregated list leaves groups out.
            continue;
        }
        let ours = ask(if segments.len() == 3 { &both } else { &once }, request).await;
        let is_list = segments.len() == 3;
        let mut expected = response.body();
        // D4: the order of resources.
        match response.content_type() {
            PROTOBUF if is_list => expected = protobuf::resources_by_name(&expected),
            YAML if is_list => {
                expected = yaml::encode(&by_name(response.tree()).to_string()).expect("JSON").into_bytes();
            }
            JSON if is_list => {
                let tree: Value = serde_json::from_slice(&ours.body).expect("JSON");
                assert_eq!(tree, by_name(response.tree()), "{}", request.path);
                expected = ours.body.to_vec();
            }
            _ => {}
        }
        assert_same(request, &ours, response, &expected);
        *checked.entry(response.content_type().to_owned()).or_default() += 1;
    }
    println!("the same: {checked:?}");
    assert!(checked[JSON] >= 12 && checked[YAML] == 4 && checked[PROTOBUF] == 5, "{checked:?}");
}

/// Each route names what it makes, for version 2 as upstream does.
#[tokio::test]
async fn openapi_equals_the_recorded_one() {
    let Some(exchanges) = recordings() else { return };
    let recorded =
        exchanges.iter().find(|exchange| exchange.request.path == "/openapi/v2").expect("a document");
    let api = Api::answering(Err(ApiError::no_route()));
    let ours: Value = serde_json::from_slice(&api.get("/openapi/v2", &[]).await.body).expect("JSON");
    let paths = ours["paths"].as_object().expect("paths");
    assert_eq!(paths.len(), 12);
    for (path, item) in paths {
        let theirs = &recorded.response.tree()["paths"][path]["get"]["produces"];
        assert_eq!(&item["get"]["produces"], theirs, "{path}");
    }
}

fn entry(listed: &Value) -> ResourceEntry {
    let (kind, verbs): (_, &[&str]) = match listed["kind"].as_str() {
        Some("MetricValueList") => ("MetricValueList", &["get"]),
        Some("ExternalMetricValueList") => ("ExternalMetricValueList", &["get"]),
        Some("NodeMetrics") => ("NodeMetrics", &["get", "list"]),
        _ => ("PodMetrics", &["get", "list"]),
    };
    let name = listed["name"].as_str().expect("a name").to_owned();
    ResourceEntry { name, namespaced: listed["namespaced"] == true, kind, verbs }
}

fn by_name(mut list: Value) -> Value {
    let resources = list["resources"].as_array_mut().expect("a list");
    resources.sort_by_key(|entry| entry["name"].as_str().expect("a name").to_owned());
    list
}
