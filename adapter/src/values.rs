//! Step 9 of a request: samples become one value per object, by the same plan that made the query.
//!
//! Every number takes one way: [`nan_and_infinity`]. A number that no quantity can hold is missing, never a wrong zero
//! (D25), and the caller learns what was dropped.

pub mod nan_and_infinity;
pub mod usage;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use apiservice::quantity::Quantity;
use rules::policy::{OnEmpty, Policy};

use self::nan_and_infinity::{DropReason, Dropped, quantity};
use crate::source::Sample;

/// The value of one object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectValue {
    /// The number as the API shows it.
    pub quantity: Quantity,
    /// When the sample was taken, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Where it comes from.
    pub made_by: MadeBy,
}

/// Where a value comes from: a sample, or what the rule says instead of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// A sample.
    Sample,
    /// A sample that is NaN, read as 0 by `onNaN: zero`.
    NanIsZero,
    /// No sample, read as 0 by `onEmpty: zero`.
    EmptyIsZero,
    /// No sample, and the value that was served last, by `onEmpty: last(...)`.
    Last,
}

/// Samples joined to the objects that were asked for.
#[derive(Debug, Default, PartialEq)]
pub struct Joined {
    /// Values in the order of the names asked for; objects without one are left out.
    pub values: Vec<(usize, ObjectValue)>,
    /// Positions of the names asked for that have no sample, and no value by `onEmpty: zero` either.
    pub absent: Vec<usize>,
    /// Samples of asked objects that have no value, and why.
    pub dropped: Vec<Dropped>,
    /// Samples beside the one that counts.
    pub duplicates: Duplicates,
    /// Samples of objects in other namespaces than the one asked for.
    pub foreign: Foreign,
}

/// The namespace that objects are asked for in, and the label by which samples say theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InNamespace<'a> {
    /// The label.
    pub label: &'a str,
    /// The namespace.
    pub namespace: &'a str,
}

/// Samples that say they are of another namespace: no object's of the one that was asked for, though names be equal.
/// Upstream shows them (D78).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foreign {
    /// How many there are.
    pub count: usize,
    /// An object of one of them, and its namespace.
    pub example: Option<(String, String)>,
}

/// Further samples for objects that already have one: the last counts, as upstream, but NaN never beside a number
/// (D56).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// How many there are.
    pub count: usize,
    /// One of the objects.
    pub example: Option<String>,
}

/// What becomes of a sample in a join.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It says that it is of another namespace.
    OfAnotherNamespace,
    /// It does not have the label that names its object.
    WithoutObject,
    /// Another sample of the same object counts instead.
    Displaced,
    /// It is the value.
    Used,
    /// No quantity can hold it.
    NotShown(DropReason),
}

/// Picks the sample of each name by `join_label`, in the order of `names`.
///
/// Samples of other objects and samples without the label are ignored, as upstream
/// (`pkg/custom-provider/series_registry.go`). `now_ms` is the time of a value that `onEmpty: zero` makes up.
pub fn join(
    samples: &[Sample],
    join_label: &str,
    wanted: (Option<InNamespace<'_>>, &[&str]),
    policy: Policy,
    now_ms: i64,
) -> Joined {
    join_telling(samples, join_label, wanted, policy, now_ms, |_, _| {})
}

/// [`join`], telling what becomes of each sample as it is decided; nothing of those whose object was not asked for.
pub fn join_telling(
    samples: &[Sample],
    join_label: &str,
    (namespace, names): (Option<InNamespace<'_>>, &[&str]),
    policy: Policy,
    now_ms: i64,
    mut tell: impl FnMut(&Sample, Fate),
) -> Joined {
    let mut joined = Joined::default();
    let mut by_name: HashMap<&str, &Sample> = HashMap::with_capacity(samples.len());
    for sample in samples {
        let Some(name) = sample.label(join_label) else {
            tell(sample, Fate::WithoutObject);
            continue;
        };
        if let Some(other) = namespace.and_then(|namespace| namespace.other(sample)) {
            joined.foreign.add(name, other);
            tell(sample, Fate::OfAnotherNamespace);
            continue;
        }
        match by_name.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(sample);
            }
            Entry::Occupied(mut entry) => {
                joined.duplicates.add(name);
                let displaced =
                    if replaces(sample.value, entry.get().value) { entry.insert(sample) } else { sample };
                tell(displaced, Fate::Displaced);
            }
        }
    }
    for (position, name) in names.iter().enumerate() {
        let value = match by_name.get(name) {
            Some(sample) => match quantity(sample.value, policy.on_nan) {
                Ok(quantity) => {
                    tell(sample, Fate::Used);
                    ObjectValue::of(sample, quantity)
                }
                Err(reason) => {
                    tell(sample, Fate::NotShown(reason));
                    joined.dropped.push(Dropped { object: (*name).to_owned(), value: sample.value, reason });
                    continue;
                }
            },
            None if policy.on_empty == OnEmpty::Zero => ObjectValue::zero(now_ms),
            None => {
                joined.absent.push(position);
                continue;
            }
        };
        joined.values.push((position, value));
    }
    joined
}

impl ObjectValue {
    fn of(sample: &Sample, quantity: Quantity) -> ObjectValue {
        let made_by = if sample.value.is_nan() { MadeBy::NanIsZero } else { MadeBy::Sample };
        ObjectValue { quantity, timestamp_ms: sample.timestamp_ms, made_by }
    }

    /// What `onEmpty: zero` makes of no sample.
    fn zero(now_ms: i64) -> ObjectValue {
        ObjectValue { quantity: Quantity::from_milli(0), timestamp_ms: now_ms, made_by: MadeBy::EmptyIsZero }
    }
}

impl Joined {
    /// Gives names without a sample a value, in the order of the names.
    pub fn fill(&mut self, value: impl Fn(usize) -> Option<ObjectValue>) {
        let before = self.values.len();
        self.absent.retain(|position| {
            let found = value(*position);
            self.values.extend(found.map(|value| (*position, value)));
            found.is_none()
        });
        if self.values.len() > before {
            self.values.sort_by_key(|(position, _)| *position);
        }
    }
}

impl MadeBy {
    /// All of the policies.
    pub const POLICIES: [MadeBy; 3] = [MadeBy::NanIsZero, MadeBy::EmptyIsZero, MadeBy::Last];

    /// As metrics name the policy; `None` for a sample.
    pub fn label(self) -> Option<&'static str> {
        match self {
            MadeBy::Sample => None,
            MadeBy::NanIsZero => Some("on_nan_zero"),
            MadeBy::EmptyIsZero => Some("on_empty_zero"),
            MadeBy::Last => Some("on_empty_last"),
        }
    }

    /// As a rule writes the policy; `None` for a sample.
    pub fn policy(self, policy: Policy) -> Option<String> {
        match self {
            MadeBy::Sample => None,
            MadeBy::NanIsZero => Some("onNaN: zero".to_owned()),
            MadeBy::EmptyIsZero => Some("onEmpty: zero".to_owned()),
            MadeBy::Last => Some(format!("onEmpty: {}", policy.on_empty)),
        }
    }
}

/// Whether a further sample for an object counts instead of an earlier one.
fn replaces(later: f64, earlier: f64) -> bool {
    !later.is_nan() || earlier.is_nan()
}

impl InNamespace<'_> {
    /// Whether a sample says that it is of another namespace.
    pub fn is_foreign(&self, sample: &Sample) -> bool {
        self.other(sample).is_some()
    }

    /// Whether a sample says that it is of this namespace.
    pub fn is_own(&self, sample: &Sample) -> bool {
        sample.label(self.label) == Some(self.namespace)
    }

    /// The other namespace that a sample says it is of.
    fn other<'s>(&self, sample: &'s Sample) -> Option<&'s str> {
        sample.label(self.label).filter(|found| !found.is_empty() && *found != self.namespace)
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::OfAnotherNamespace => "of another namespace",
            Fate::WithoutObject => "without the label of the object",
            Fate::Displaced => "not used: another sample of the same object is",
            Fate::Used => "used",
            Fate::NotShown(DropReason::Infinite) => "dropped: no quantity can hold infinity",
            Fate::NotShown(DropReason::OutOfRange) => "dropped: no quantity can hold it",
            Fate::NotShown(DropReason::NotANumber) => "dropped: the rule says onNaN: missing",
        })
    }
}

impl Foreign {
    fn add(&mut self, object: &str, namespace: &str) {
        self.count += 1;
        self.example.get_or_insert_with(|| (object.to_owned(), namespace.to_owned()));
    }
}

impl Duplicates {
    fn add(&mut self, object: &str) {
        self.count += 1;
        self.example.get_or_insert_with(|| object.to_owned());
    }
}

/// Every sample as a value of its own, in their order: an external metric has no objects to join by. `metric` names
/// what is dropped. `tell` is told what becomes of each.
pub fn each(
    samples: &[Sample],
    metric: &str,
    policy: Policy,
    now_ms: i64,
    mut tell: impl FnMut(&Sample, Fate),
) -> Joined {
    let mut picked = Joined::default();
    for (position, sample) in samples.iter().enumerate() {
        match quantity(sample.value, policy.on_nan) {
            Ok(quantity) => {
                tell(sample, Fate::Used);
                picked.values.push((position, ObjectValue::of(sample, quantity)));
            }
            Err(reason) => {
                tell(sample, Fate::NotShown(reason));
                picked.dropped.push(Dropped { object: metric.to_owned(), value: sample.value, reason });
            }
        }
    }
    if samples.is_empty() && policy.on_empty == OnEmpty::Zero {
        picked.values.push((0, ObjectValue::zero(now_ms)));
    }
    picked
}
