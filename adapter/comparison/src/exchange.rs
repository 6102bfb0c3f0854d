//! One request, and what both servers did with it.

use std::collections::BTreeMap;
use std::fmt;

use apiservice::query::QueryParameters;
use percent_encoding::percent_decode_str;

use crate::json::Json;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers besides the credentials.
    pub headers: Vec<(String, String)>,
    /// Who asks, by a name of the test's own.
    pub caller: String,
}

impl Request {
    /// What the header `Accept` says.
    pub fn accept(&self) -> Option<&str> {
        let accept = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("accept"));
        accept.map(|(_, value)| value.as_str())
    }

    /// The value of a query parameter, its first.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.path.split_once('?')?;
        QueryParameters::parse(query).first(name).map(str::to_owned)
    }

    /// The segments of the path.
    pub(crate) fn segments(&self) -> Vec<String> {
        let path = self.path.split_once('?').map_or(self.path.as_str(), |(path, _)| path);
        let decoded = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        path.trim_matches('/').split('/').map(decoded).collect()
    }
}

/// An answer of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The headers that are compared, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as a text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What one server did with a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its answer.
    pub answer: Answer,
    /// The PromQL that it sent for it; empty by [`View::Meaning`].
    pub queries: Vec<String>,
    /// The samples that it was given; empty by [`View::Meaning`].
    pub samples: Vec<Sample>,
}

/// A sample of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its number.
    pub value: f64,
}

/// One request and what both servers did with it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Where the request comes from: a rule file, a recording.
    pub origin: String,
    /// The request.
    pub request: Request,
    /// What prometheus-adapter did.
    pub upstream: Seen,
    /// What ours did.
    pub ours: Seen,
    /// What prometheus-adapter did with another request of the same meaning, where it cannot answer this one.
    pub upstream_twin: Option<Seen>,
    /// The number of `docs/contract.md` by which upstream's answer to this request is left to chance, so that any
    /// difference is explained.
    pub chance: Option<&'static str>,
    /// Fields of numbers that grow with time and are not compared.
    pub growing: Vec<&'static str>,
    /// What is compared.
    pub view: View,
    /// Reads bodies that are not JSON.
    pub read: Reader,
}

/// What of two answers is compared, and what is known of how they came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Bytes, headers and the queries sent, by the samples that both servers were given.
    Wire,
    /// Status, fields and values alone: neither queries nor samples are known. Items are compared by their objects or
    /// labels, in any order.
    Meaning,
}

/// How a tree of values is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// JSON, whose keys have an order.
    Json {
        /// On several lines.
        indented: bool,
        /// With a newline at its end.
        newline: bool,
    },
    /// YAML: its keys are sorted.
    Yaml,
    /// Protobuf: its fields have numbers, and no order that a tree would show.
    Protobuf,
    /// Any: keys and items have no order.
    Any,
}

/// What a body of a media type holds and how it is written: `None` for a type that it does not read, and no tree for a
/// body that is not of its type.
pub type Reader = fn(&str, &[u8]) -> Option<(Option<Json>, Layout)>;

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { method, path, headers, caller } = &self.request;
        writeln!(f, "{}: {method} {path} {headers:?} by {caller}", self.origin)?;
        for (name, seen) in [("upstream", &self.upstream), ("ours", &self.ours)] {
            let Answer { code, headers, .. } = &seen.answer;
            writeln!(f, "  {name}: {code} {headers:?} {}", seen.answer.text().replace('\n', "\\n"))?;
            for query in &seen.queries {
                writeln!(f, "    asked {query}")?;
            }
        }
        Ok(())
    }
}
