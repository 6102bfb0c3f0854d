//! The answers of two servers to one request, compared to the byte.
//!
//! Only what no two answers can share is made alike first: times, generated names, and orders that upstream leaves to
//! chance. Whatever else differs must be what a number of `docs/contract.md` says, each undone at its own place
//! only (see `deviations`).

mod deviations;
mod exchange;
mod json;
mod normal;
mod report;

pub use exchange::{Exchange, Request, Sample, Seen};
pub use json::Json;
use normal::Normal;
pub use report::Report;

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing differs.
    Equal,
    /// What differs is what these numbers of `docs/contract.md` say.
    Deviates(Vec<&'static str>),
    /// Upstream's answer as it should have been, by the numbers that apply, and ours.
    Unexplained {
        /// Upstream's, corrected.
        expected: String,
        /// Ours.
        found: String,
    },
}

impl Exchange {
    /// Compares.
    pub fn verdict(&self) -> Verdict {
        let ours = Normal::of(&self.ours).without(&self.growing);
        let mut expected = Normal::of(&self.upstream).without(&self.growing);
        let numbers = deviations::correct(&mut expected, self, &ours);
        expected.sort_keys();
        match (expected == ours, self.chance) {
            (true, _) if numbers.is_empty() => Verdict::Equal,
            (true, _) => Verdict::Deviates(numbers),
            (false, Some(number)) => Verdict::Deviates(vec![number]),
            (false, None) => Verdict::Unexplained { expected: expected.to_string(), found: ours.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use testkit::rows::each_row;

    use super::*;
    use crate::api::Answer;

    fn seen(code: u16, body: &str, query: &str) -> Seen {
        let headers = [("content-type", "application/json")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        Seen {
            answer: Answer { code, headers, body: body.as_bytes().to_vec() },
            queries: vec![query.to_owned()],
            samples: vec![Sample { labels: BTreeMap::new(), value: 99.9996 }],
        }
    }

    fn exchange(upstream: Seen, ours: Seen) -> Exchange {
        Exchange {
            origin: "a test".to_owned(),
            request: Request {
                method: "GET".to_owned(),
                path: "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/depth".to_owned(),
                headers: Vec::new(),
                caller: "admin".to_owned(),
            },
            upstream,
            ours,
            upstream_twin: None,
            chance: None,
            growing: Vec::new(),
        }
    }

    fn list(version: &str, value: &str, time: &str) -> String {
        format!(
            "{{\"kind\":\"MetricValueList\",\"items\":[{{\"describedObject\":{{\"kind\":\"Pod\",\"name\":\"a\",\
             \"apiVersion\":\"{version}\"}},\"timestamp\":\"{time}\",\"value\":\"{value}\"}}]}}\n"
        )
    }

    #[test]
    fn equal_but_for_times_and_orders() {
        let one = seen(200, &list("apps/v1", "1", "2026-01-01T00:00:00Z"), r#"x{pod=~"a|b"}"#);
        let other = seen(200, &list("apps/v1", "1", "2026-01-01T00:00:09Z"), r#"x{pod=~"b|a"}"#);
        assert_eq!(exchange(one, other).verdict(), Verdict::Equal);
    }

    #[test]
    fn deviations_are_named() {
        let one = seen(200, &list("/v1", "99999m", ""), "x");
        let other = seen(200, &list("v1", "100", ""), "x");
        assert_eq!(exchange(one, other).verdict(), Verdict::Deviates(vec!["D8", "D16"]));
    }

    #[test]
    fn anything_else_is_a_difference() {
        let upstream = || seen(200, &list("v1", "1", ""), "x");
        let rows = [
            seen(200, &list("v1", "2", ""), "x"),
            seen(200, &list("v1", "999m", ""), "x"),
            seen(200, &list("/v1", "1", ""), "x"),
            seen(404, &list("v1", "1", ""), "x"),
            seen(200, list("v1", "1", "").trim_end(), "x"),
            seen(
                200,
                &list("v1", "1", "")
                    .replace("\"kind\":\"Pod\",\"name\":\"a\"", "\"name\":\"a\",\"kind\":\"Pod\""),
                "x",
            ),
            seen(200, &list("v1", "1", ""), "y"),
        ];
        each_row(rows, |ours| {
            let exchange = exchange(upstream(), ours);
            assert!(matches!(exchange.verdict(), Verdict::Unexplained { .. }), "{exchange}");
        });
    }
}
