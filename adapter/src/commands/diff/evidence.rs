//! What this adapter says of an answer that differs: its explanation.

use super::ask::Pair;
use super::question::Question;
use crate::explanation::{Explanation, Reason};

/// What an explanation says of a difference.
pub(super) enum Evidence {
    /// The number by which any difference of the answers is explained.
    Number(&'static str),
    /// Why ours has its value, or none.
    Cause(String),
    /// There is no explanation.
    None,
}

pub(super) async fn of(pair: &Pair, question: &Question) -> Evidence {
    let is_metric = ["/apis/custom.metrics.k8s.io/", "/apis/external.metrics.k8s.io/"]
        .iter()
        .any(|start| question.path.starts_with(start));
    // Discovery has no explanation, nor has the use of CPU and memory.
    if !is_metric || question.path.split('/').count() <= 4 {
        return Evidence::None;
    }
    let join = if question.path.contains('?') { '&' } else { '?' };
    let Ok(answer) = pair.here.ask(&format!("{}{join}explain=json", question.path)).await else {
        return Evidence::None;
    };
    match serde_json::from_slice::<Explanation>(&answer.body) {
        Ok(explanation) if answer.code == 200 && !explanation.cause.message.is_empty() => read(&explanation),
        _ => Evidence::None,
    }
}

fn read(explanation: &Explanation) -> Evidence {
    // prometheus-adapter takes one of such rules by chance.
    if explanation.other_rules.iter().any(|other| other.makes_it) {
        return Evidence::Number("D33");
    }
    // It refuses files with rules that say so. What NaN stands for shows in its own answer, too.
    let by_on_empty = |policy: &String| policy.starts_with("onEmpty");
    if explanation.values.iter().any(|value| value.policy.as_ref().is_some_and(by_on_empty)) {
        return Evidence::Number("D90");
    }
    if explanation.cause.reason == Reason::PartialAnswer {
        return Evidence::Number("D91");
    }
    Evidence::Cause(explanation.cause.message.clone())
}
