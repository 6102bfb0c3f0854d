//! An event as Kubernetes writes it: its fields, their order, what is left out when empty.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use http::header::HeaderName;
use serde::Serialize;

use super::{Level, Outcome, Stage, Trail};
use crate::attributes::ResourceAttributes;
use crate::authn::User;
use crate::authz::Decision;
use crate::server::Received;
use crate::status::Details;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: &'static str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: Stage,
    #[serde(rename = "requestURI")]
    request_uri: &'a str,
    verb: &'a str,
    user: UserInfo<'a>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    source_ips: Vec<IpAddr>,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<ObjectReference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<ResponseStatus<'a>>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct UserInfo<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<&'a BTreeMap<String, Vec<String>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectReference<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

#[derive(Serialize)]
struct ResponseStatus<'a> {
    metadata: Empty,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    code: u16,
}

#[derive(Serialize)]
struct Empty {}

impl<'a> Event<'a> {
    pub(super) fn new(
        trail: &'a Trail<'_>,
        level: Level,
        stage: Stage,
        outcome: Option<Outcome<'a>>,
        now: SystemTime,
    ) -> Event<'a> {
        let received = trail.received;
        Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            // What is recorded, which is never more than this.
            level: if level == Level::None { "None" } else { "Metadata" },
            audit_id: &received.audit_id,
            stage,
            request_uri: received.uri(),
            verb: &received.attributes.verb,
            user: trail.user.as_ref().map_or_else(UserInfo::unknown, UserInfo::of),
            source_ips: source_ips(received),
            user_agent: received.user_agent(),
            object_ref: received.attributes.resource.as_ref().map(ObjectReference::of),
            response_status: outcome.map(ResponseStatus::of),
            request_received_timestamp: microseconds(received.at),
            stage_timestamp: microseconds(now),
            annotations: trail.decision.as_ref().map(annotations).unwrap_or_default(),
        }
    }
}

impl<'a> UserInfo<'a> {
    fn of(user: &'a User) -> UserInfo<'a> {
        UserInfo {
            username: &user.name,
            uid: &user.uid,
            groups: &user.groups,
            extra: Some(&user.extra).filter(|extra| !extra.is_empty()),
        }
    }

    fn unknown() -> UserInfo<'a> {
        UserInfo { username: "", uid: "", groups: &[], extra: None }
    }
}

impl<'a> ObjectReference<'a> {
    fn of(asked: &'a ResourceAttributes) -> ObjectReference<'a> {
        let ResourceAttributes { group, version, namespace, resource, subresource, name } = asked;
        ObjectReference { resource, namespace, name, api_group: group, api_version: version, subresource }
    }
}

impl<'a> ResponseStatus<'a> {
    fn of(outcome: Outcome<'a>) -> ResponseStatus<'a> {
        let Outcome { code, error } = outcome;
        let Some(error) = error else {
            return ResponseStatus {
                metadata: Empty {},
                status: "",
                message: "",
                reason: "",
                details: None,
                code,
            };
        };
        ResponseStatus {
            metadata: Empty {},
            status: "Failure",
            message: error.message(),
            reason: error.class().code_and_reason().1,
            details: error.details(),
            code,
        }
    }
}

fn annotations(decision: &Decision) -> BTreeMap<&'static str, &str> {
    let (decision, reason) = match decision {
        Decision::Allow => ("allow", ""),
        Decision::Deny { reason } | Decision::NoOpinion { reason } => ("forbid", reason.as_str()),
    };
    BTreeMap::from([("authorization.k8s.io/decision", decision), ("authorization.k8s.io/reason", reason)])
}

/// Whom a request passed through, as far as it is said: proxies add those before them.
fn source_ips(received: &Received) -> Vec<IpAddr> {
    let header =
        |name| crate::server::header(&received.parts, &HeaderName::from_static(name)).unwrap_or_default();
    let mut addresses: Vec<IpAddr> =
        header("x-forwarded-for").split(',').filter_map(|text| text.trim().parse().ok()).collect();
    let real = header("x-real-ip").trim().parse().ok();
    for address in real.into_iter().chain(received.peer().map(|peer| peer.ip())) {
        if addresses.last() != Some(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn microseconds(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
