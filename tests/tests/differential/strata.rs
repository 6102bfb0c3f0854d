//! What kinds of requests were compared: a thousand equal answers to one kind prove little.

use std::collections::{BTreeMap, BTreeSet};

use e2e::Failure;
use e2e::comparison::Exchange;
use serde_json::{Value, json};

use crate::requests::Asking;

/// Counts by each property of a request, and of all of them together.
#[derive(Default)]
pub(crate) struct Strata {
    files: BTreeSet<String>,
    queries: BTreeSet<String>,
    not_started: Vec<String>,
    forms: BTreeMap<&'static str, usize>,
    operators: BTreeMap<&'static str, usize>,
    versions: BTreeMap<String, usize>,
    codes: BTreeMap<u16, usize>,
    accepts: BTreeMap<String, usize>,
    together: BTreeSet<(&'static str, &'static str, String, u16)>,
}

impl Strata {
    pub(crate) fn add(&mut self, asking: &Asking, exchange: &Exchange) {
        let Asking { request, form, operator } = asking;
        let version = request.path.split('/').take(4).skip(2).collect::<Vec<_>>().join("/");
        let code = exchange.ours.answer.code;
        *self.forms.entry(form).or_default() += 1;
        *self.operators.entry(operator).or_default() += 1;
        *self.versions.entry(version.clone()).or_default() += 1;
        *self.codes.entry(code).or_default() += 1;
        *self.accepts.entry(request.accept().unwrap_or("(none)").to_owned()).or_default() += 1;
        self.together.insert((form, operator, version, code / 100 * 100));
        for seen in [&exchange.upstream, &exchange.ours] {
            self.queries.extend(seen.queries.iter().cloned());
        }
        self.files.insert(exchange.origin.clone());
    }

    /// A file that upstream does not start with.
    pub(crate) fn not_started(&mut self, file: &str, error: &str) {
        let cause = error.lines().find(|line| line.contains("unable to")).unwrap_or(error);
        self.not_started.push(format!("{file}: {}", cause.trim()));
    }

    /// The counts, printed too.
    pub(crate) fn report(&self) -> Value {
        let (files, queries, strata) = (self.files.len(), self.queries.len(), self.together.len());
        println!("rule files {files}, PromQL texts {queries}, strata {strata}");
        println!("forms {:?}", self.forms);
        println!("operators {:?}", self.operators);
        println!("versions {:?}", self.versions);
        println!("codes {:?}", self.codes);
        println!("accept {:?}", self.accepts);
        for file in &self.not_started {
            println!("prometheus-adapter does not start with {file}");
        }
        json!({
            "rule_files": files,
            "promql_texts": queries,
            "not_started": self.not_started,
            "strata": {
                "count": strata,
                "form": self.forms,
                "operator": self.operators,
                "version": self.versions,
                "code": self.codes,
                "accept": self.accepts,
            },
        })
    }

    /// Fails where too little was asked.
    pub(crate) fn judge(&self, requests: usize, with_public_files: bool) -> Result<(), Failure> {
        let least = if with_public_files { (2000, 30, 300) } else { (900, 1, 100) };
        for (what, count, least) in [
            ("requests", requests, least.0),
            ("rule files", self.files.len(), least.1),
            ("PromQL texts", self.queries.len(), least.2),
        ] {
            if count < least {
                return Err(format!("only {count} {what} were compared, expected at least {least}").into());
            }
        }
        Ok(())
    }
}
