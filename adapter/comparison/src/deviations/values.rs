//! Items and their numbers.

use std::collections::HashMap;

use super::errors::internal;
use crate::context::{Context, USAGE, by_identity};
use crate::exchange::Sample;
use crate::json::Json;
use crate::normal::{Normal, identity, name_of};

/// Containers are sorted by name.
pub(super) fn sorted_containers(expected: &mut Normal, context: &Context<'_>) {
    if context.group() != USAGE {
        return;
    }
    let sort = |object: &mut Json| {
        if let Some(containers) = object.get_mut("containers").and_then(Json::entries_mut) {
            containers.sort_by_key(name_of);
        }
    };
    if let Some(json) = expected.json_mut() {
        sort(json);
    }
    for item in expected.items().into_iter().flatten() {
        sort(item);
    }
}

/// The version of the core group is `v1`.
pub(super) fn core_version(expected: &mut Normal, _: &Context<'_>) {
    for item in expected.items().into_iter().flatten() {
        if let Some(version) = item.get_mut("describedObject").and_then(|object| object.get_mut("apiVersion"))
            && version.as_text() == Some("/v1")
        {
            *version = Json::text("v1");
        }
    }
}

/// The window is the widest range of the query.
pub(super) fn window(expected: &mut Normal, context: &Context<'_>) {
    if context.by_meaning() {
        return our_window(expected, context);
    }
    let seconds = context.exchange.ours.queries.iter().filter_map(|query| range_seconds(query)).max();
    let Some(seconds) = seconds.filter(|_| context.group() != USAGE) else { return };
    let second_version = context.segments.get(2).is_some_and(|version| version == "v1beta2");
    let name = if second_version { "windowSeconds" } else { "window" };
    for item in expected.items().into_iter().flatten() {
        item.insert_before("value", name, Json::Number(seconds.into()));
    }
}

/// Where the query is not known, the window is what we say: the other answer has none.
pub(super) fn our_window(expected: &mut Normal, context: &Context<'_>) {
    let ours = context.our_items();
    for item in expected.items().into_iter().flatten() {
        let Some(ours) = identity(item).and_then(|name| ours.get(&name).copied()) else { continue };
        for name in ["window", "windowSeconds"] {
            if let (None, Some(window)) = (item.get(name), ours.get(name)) {
                item.insert_before("value", name, window.clone());
            }
        }
    }
}

/// The widest `[2m]` of a query, a subquery's included.
pub(super) fn range_seconds(promql: &str) -> Option<u64> {
    let ranges = promql.split('[').skip(1).filter_map(|behind| {
        let range = behind.split_once([']', ':'])?.0;
        let split = range.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, unit) = range.split_at(split);
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            _ => return None,
        };
        Some(number.parse::<u64>().ok()? * unit)
    });
    ranges.max()
}

/// A sample that no quantity can hold is missing, and an error where nothing else is left; NaN is zero.
pub(super) fn unholdable(expected: &mut Normal, context: &Context<'_>) {
    let named = context.custom().is_some() && !context.segments.iter().any(|segment| segment == "*");
    let our_items = context.our_items();
    let Some(items) = expected.items() else { return };
    let before = items.len();
    items.retain_mut(|item| {
        if context.by_meaning() {
            return is_held(item, &our_items);
        }
        let sample = match item.get("describedObject") {
            Some(object) => {
                object.get("name").and_then(Json::as_text).and_then(|name| context.sample_of(name))
            }
            None => item.get("metricLabels").and_then(|labels| context.sample_with(labels)),
        };
        let Some(sample) = sample else { return true };
        if sample.value.is_nan() {
            set_value(item, "0");
            return true;
        }
        sample.value.abs() < UNHOLDABLE
    });
    let (left, ours) = (items.len(), context.our_message().to_owned());
    if left == before || left > 0 {
        return;
    }
    let says_why =
        ours.contains("which no quantity can hold") || ours.contains("beyond what a quantity can hold");
    if says_why && (named || context.ours.code == 500) {
        *expected = internal(expected, &ours);
    }
}

/// Whether a quantity can hold the sample of an item, where the sample is not known: of one that none can hold, and of
/// NaN, upstream makes the number that is the farthest from zero. NaN becomes zero where ours is zero.
fn is_held(item: &mut Json, ours: &HashMap<String, &Json>) -> bool {
    let number = item.get("value").and_then(Json::as_text).and_then(milli);
    if number.is_none_or(|number| number.abs() < UNHOLDABLE * 1000.0) {
        return true;
    }
    let ours = identity(item).and_then(|name| ours.get(&name).copied());
    if ours.and_then(|ours| ours.get("value")).and_then(Json::as_text) == Some("0") {
        set_value(item, "0");
    }
    ours.is_some()
}

/// Thousandths are rounded, not cut off.
pub(super) fn rounded(expected: &mut Normal, context: &Context<'_>) {
    let ours = context.ours.json().cloned();
    if let (Some(expected), Some(ours)) = (expected.json_mut(), &ours) {
        round(expected, ours, context);
    }
}

pub(super) fn round(expected: &mut Json, ours: &Json, context: &Context<'_>) {
    match (expected, ours) {
        (Json::Object(expected), Json::Object(ours)) => {
            for ((name, value), (_, ours)) in expected.iter_mut().zip(ours) {
                match (name.as_str(), value, ours) {
                    ("value" | "cpu" | "memory", value, ours) => round_number(value, ours, context),
                    ("cells", Json::List(cells), Json::List(ours)) => {
                        for (cell, ours) in cells.iter_mut().zip(ours) {
                            round_number(cell, ours, context);
                        }
                    }
                    (_, value, ours) => round(value, ours, context),
                }
            }
        }
        (Json::List(expected), Json::List(ours)) if context.by_meaning() => {
            let ours = by_identity(ours);
            for value in expected {
                if let Some(ours) = identity(value).and_then(|name| ours.get(&name).copied()) {
                    round(value, ours, context);
                }
            }
        }
        (Json::List(expected), Json::List(ours)) => {
            for (value, ours) in expected.iter_mut().zip(ours) {
                round(value, ours, context);
            }
        }
        _ => {}
    }
}

/// Takes our number where both are made of the same samples: one, or those of one pod's two containers, which a table
/// adds.
pub(super) fn round_number(value: &mut Json, ours: &Json, context: &Context<'_>) {
    let (Some(theirs), Some(our_text)) = (value.as_text(), ours.as_text()) else { return };
    let (Some(theirs), Some(ours_milli)) = (milli(theirs), milli(our_text)) else { return };
    if context.by_meaning() {
        // The sample is not known. To round adds one at most, away from zero.
        if (ours_milli.abs() - theirs.abs()) == 1.0 && ours_milli * theirs >= 0.0 {
            *value = ours.clone();
        }
        return;
    }
    let samples = &context.exchange.ours.samples;
    let cut = |sample: &Sample| (sample.value * 1000.0).trunc();
    let rounded = |sample: &Sample| (sample.value * 1000.0).round();
    let one = samples.iter().any(|sample| cut(sample) == theirs && rounded(sample) == ours_milli);
    let two = samples.iter().any(|first| {
        let of_pod = samples.iter().filter(|second| first.labels.get("pod") == second.labels.get("pod"));
        of_pod.into_iter().any(|second| {
            cut(first) + cut(second) == theirs && rounded(first) + rounded(second) == ours_milli
        })
    });
    if theirs != ours_milli && (one || two) {
        *value = ours.clone();
    }
}

pub(super) fn set_value(item: &mut Json, text: &str) {
    if let Some(value) = item.get_mut("value") {
        *value = Json::text(text);
    }
}

/// A quantity in thousandths.
pub(super) fn milli(text: &str) -> Option<f64> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let factor = match suffix {
        "m" => 1.0,
        "" => 1e3,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "P" => 1e18,
        "Ki" => 1e3 * 1024.0,
        "Mi" => 1e3 * 1_048_576.0,
        "Gi" => 1e3 * 1_073_741_824.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// From here on thousandths are beyond what clients read (`docs/contract.md#safe-range`).
const UNHOLDABLE: f64 = 9_223_372_036_854_775.0;
