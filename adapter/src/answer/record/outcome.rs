//! What a request is answered with, for its explanation.

use std::time::SystemTime;

use apiservice::status::ApiError;
use apiservice::types::{ExternalMetricValueList, MetricValueList};

use super::Notes;
use crate::answer::bounded::{LONGEST_WHY, bounded};
use crate::answer::unix_ms;
use crate::explanation::{MOST_LISTED, Outcome, Reason, ValueShown};

/// Values of an answer: how many, and the first of them.
pub(in crate::answer) struct Shown {
    count: usize,
    values: Vec<ValueShown>,
}

pub(in crate::answer) fn shown_custom(list: &MetricValueList) -> Shown {
    let now = unix_ms(SystemTime::now());
    let values = list.items.iter().take(MOST_LISTED).map(|item| ValueShown {
        object: Some(item.described_object.name.to_string()),
        value: item.value.to_string(),
        age_seconds: age(now, item.timestamp.unix_seconds()),
        policy: None,
    });
    Shown { count: list.items.len(), values: values.collect() }
}

/// Without labels: they are among the samples, where they may be shown.
pub(in crate::answer) fn shown_external(list: &ExternalMetricValueList) -> Shown {
    let now = unix_ms(SystemTime::now());
    let values = list.items.iter().take(MOST_LISTED).map(|item| ValueShown {
        object: None,
        value: item.value.to_string(),
        age_seconds: age(now, item.timestamp.unix_seconds()),
        policy: None,
    });
    Shown { count: list.items.len(), values: values.collect() }
}

/// A time of the API has whole seconds.
fn age(now_ms: i64, unix_seconds: i64) -> f64 {
    (now_ms.div_euclid(1000) - unix_seconds) as f64
}

impl Notes {
    /// The answer, and a cause if no step had one.
    pub(in crate::answer) fn finish(&mut self, shown: Result<Shown, ApiError>) {
        match shown {
            Ok(Shown { count, mut values }) => {
                for (value, policy) in values.iter_mut().zip(self.policies.drain(..)) {
                    value.policy = policy;
                }
                let by = values.first().and_then(|first| first.policy.as_ref());
                let by = by.map(|policy| format!(" by {policy}")).unwrap_or_default();
                self.explanation.answer = Outcome { code: 200, message: None, values: count };
                let of = values.first().and_then(|first| Some((first.object.clone()?, first.value.clone())));
                let first = values.first().map(|first| first.value.clone());
                self.cause(Reason::Answered, || match (count, of, first) {
                    (1, Some((object, value)), _) => format!("{object} has the value {value}{by}"),
                    (1, None, Some(value)) => format!("the value is {value}{by}"),
                    (0, ..) => "the answer is an empty list".to_owned(),
                    (count, Some((object, value)), _) => {
                        format!("{count} objects have a value; that of {object} is {value}{by}")
                    }
                    (count, ..) => format!("there are {count} values"),
                });
                self.explanation.values = values;
            }
            Err(error) => {
                let message = self.message.take();
                let message = message.unwrap_or_else(|| bounded(error.message(), LONGEST_WHY).into_owned());
                self.cause(Reason::Refused, || message.clone());
                self.explanation.answer =
                    Outcome { code: error.code().as_u16(), message: Some(message), values: 0 };
            }
        }
    }
}
