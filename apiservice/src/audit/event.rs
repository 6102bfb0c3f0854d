//! An event as Kubernetes writes it: its fields, their order, what is left out when empty.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use http::header::HeaderName;
use serde::Serialize;

use super::policy::{Level, Stage};
use crate::attributes::ResourceAttributes;
use crate::authn::User;
use crate::authz::Decision;
use crate::server::IncomingRequest;
use crate::status::{ApiError, Cause, Details};

/// How a request ended.
#[derive(Clone, Copy)]
pub(crate) struct Outcome<'a> {
    pub(crate) code: u16,
    pub(crate) error: Option<&'a ApiError>,
}

/// The facts about a request when its event is written.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) received: &'a IncomingRequest,
    pub(super) user: Option<&'a User>,
    pub(super) decision: Option<&'a Decision>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: &'static str,
    #[serde(rename = "auditID")]
    audit_id: Cow<'a, str>,
    stage: Stage,
    #[serde(rename = "requestURI")]
    request_uri: Cow<'a, str>,
    verb: Cow<'a, str>,
    user: UserInfo<'a>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    source_ips: Vec<IpAddr>,
    #[serde(skip_serializing_if = "is_empty")]
    user_agent: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<ObjectReference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<ResponseStatus<'a>>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, Cow<'a, str>>,
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
    #[serde(skip_serializing_if = "is_empty")]
    resource: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_empty")]
    namespace: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_empty")]
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_empty")]
    api_group: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_empty")]
    api_version: Cow<'a, str>,
    #[serde(skip_serializing_if = "is_empty")]
    subresource: Cow<'a, str>,
}

#[derive(Serialize)]
struct ResponseStatus<'a> {
    metadata: Empty,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: &'static str,
    #[serde(skip_serializing_if = "is_empty")]
    message: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    code: u16,
}

#[derive(Serialize)]
struct Empty {}

impl<'a> Event<'a> {
    pub(super) fn new(
        known: Known<'a>,
        level: Level,
        stage: Stage,
        outcome: Option<Outcome<'a>>,
        now: SystemTime,
    ) -> Event<'a> {
        let Known { received, user, decision } = known;
        let mut cut = Cut::default();
        let mut event = Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            // The recorded level, which is never higher than this.
            level: if level == Level::None { "None" } else { "Metadata" },
            audit_id: cut.short(&received.audit_id),
            stage,
            request_uri: cut.long(received.uri()),
            verb: cut.short(&received.attributes.verb),
            user: user.map_or_else(UserInfo::unknown, UserInfo::of),
            source_ips: source_ips(received),
            user_agent: cut.short(received.user_agent()),
            object_ref: received.attributes.resource.as_ref().map(|of| ObjectReference::of(of, &mut cut)),
            response_status: outcome.map(|outcome| ResponseStatus::of(outcome, &mut cut)),
            request_received_timestamp: microseconds(received.at),
            stage_timestamp: microseconds(now),
            annotations: decision.map(|of| annotations(of, &mut cut)).unwrap_or_default(),
        };
        if cut.is_cut {
            // As upstream marks the events that it has cut (`k8s.io/apiserver/plugin/pkg/audit/truncate`).
            event.annotations.insert("audit.k8s.io/truncated", "true".into());
        }
        event
    }
}

/// Cuts texts that callers choose, and remembers whether it did: what somebody without a credential writes must not
/// fill the disk many times over (D82).
#[derive(Default)]
struct Cut {
    is_cut: bool,
}

impl Cut {
    fn short<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        self.to(SHORT, text)
    }

    fn long<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        self.to(LONG, text)
    }

    fn to<'a>(&mut self, most: usize, text: &'a str) -> Cow<'a, str> {
        if text.len() <= most {
            return Cow::Borrowed(text);
        }
        self.is_cut = true;
        Cow::Owned(format!("{}... ({} bytes)", &text[..text.floor_char_boundary(most)], text.len()))
    }
}

fn is_empty(text: &str) -> bool {
    text.is_empty()
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
    fn of(asked: &'a ResourceAttributes, cut: &mut Cut) -> ObjectReference<'a> {
        let ResourceAttributes { group, version, namespace, resource, subresource, name } = asked;
        ObjectReference {
            resource: cut.short(resource),
            namespace: cut.short(namespace),
            name: cut.short(name),
            api_group: cut.short(group),
            api_version: cut.short(version),
            subresource: cut.short(subresource),
        }
    }
}

impl<'a> ResponseStatus<'a> {
    fn of(outcome: Outcome<'a>, cut: &mut Cut) -> ResponseStatus<'a> {
        let Outcome { code, error } = outcome;
        let Some(error) = error else {
            return ResponseStatus {
                metadata: Empty {},
                status: "",
                message: "".into(),
                reason: "",
                details: None,
                code,
            };
        };
        ResponseStatus {
            metadata: Empty {},
            status: "Failure",
            message: cut.long(error.message()),
            reason: error.class().code_and_reason().1,
            details: error.details().map(|details| cut_details(details, cut)),
            code,
        }
    }
}

fn cut_details(details: &Details, cut: &mut Cut) -> Details {
    let Details { name, group, kind, causes, retry_after_seconds } = details;
    let causes: Vec<Cause> = causes
        .iter()
        .map(|cause| Cause { message: cut.short(&cause.message).into_owned(), ..cause.clone() })
        .collect();
    Details {
        name: cut.short(name).into_owned(),
        group: cut.short(group).into_owned(),
        kind: cut.short(kind).into_owned(),
        causes,
        retry_after_seconds: *retry_after_seconds,
    }
}

fn annotations<'a>(decision: &'a Decision, cut: &mut Cut) -> BTreeMap<&'static str, Cow<'a, str>> {
    let (decision, reason) = match decision {
        Decision::Allow => ("allow", ""),
        Decision::Deny { reason } | Decision::NoOpinion { reason } => ("forbid", reason.as_str()),
    };
    BTreeMap::from([
        ("authorization.k8s.io/decision", decision.into()),
        ("authorization.k8s.io/reason", cut.long(reason)),
    ])
}

/// The addresses that a request passed through, as far as its headers name them: proxies add those before them.
fn source_ips(received: &IncomingRequest) -> Vec<IpAddr> {
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

/// In bytes: of the URI, the message and the reason. The URI of a question for metrics has some hundred.
const LONG: usize = 4 << 10;
/// In bytes: of names and of what a client calls itself.
const SHORT: usize = 1 << 10;
