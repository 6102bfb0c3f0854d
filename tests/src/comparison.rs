//! Bodies of every media type for the comparison of answers ([`::comparison`]), and its report.

mod report;

use comparison::Layout;
use testkit::protobuf;

pub use comparison::{Exchange, Json, Reader, Request, Sample, Seen, View};
pub use report::Report;

/// Reads YAML and protobuf.
pub const READ: Reader = |media_type, body| match media_type {
    "application/yaml" => Some((of_yaml(&String::from_utf8_lossy(body)), Layout::Yaml)),
    "application/vnd.kubernetes.protobuf" => Some((of_protobuf(body), Layout::Protobuf)),
    _ => None,
};

/// YAML as a tree; `None` where it is not written as our own writer writes the same tree.
fn of_yaml(text: &str) -> Option<Json> {
    let tree: serde_json::Value = serde_saphyr::from_str(text).ok()?;
    let same = apiservice::encode::yaml::encode(&tree.to_string()).is_ok_and(|ours| ours == text);
    serde_json::from_str(&tree.to_string()).ok().filter(|_| same)
}

fn of_protobuf(body: &[u8]) -> Option<Json> {
    let mut json: Json = serde_json::from_str(&protobuf::tree_of(body).to_string()).ok()?;
    json.sort_keys();
    Some(json)
}
