//! Values that were served last, for rules that say `onEmpty: last(5m)` (D90).
//!
//! A value is kept with the time of its sample and under everything that limits its query: it is never served as newer
//! than it is, nor to a request for anything else. What is kept has a bound in bytes and in age.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::values::{MadeBy, ObjectValue};

/// A value, and the labels of its sample where the answer shows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// The labels; `None` for an object's value, and for a scalar.
    pub labels: Option<Vec<(Arc<str>, Arc<str>)>>,
    /// The value.
    pub value: ObjectValue,
}

/// What limits the query of a request, but for the object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The metric's name in the API.
    pub metric: String,
    /// The resource of the objects; empty for an external metric.
    pub resource: String,
    /// The namespace of the request; `None` for objects that are in none.
    pub namespace: Option<String>,
    /// The metric selector, as Kubernetes writes it.
    pub selector: String,
    /// The rule's query template. Rules may change while the program runs.
    pub template: String,
    /// The name of the rule's series.
    pub series: String,
}

/// Under what a value is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// What limits the query. Shared by the objects of a request.
    pub limits: Arc<Limits>,
    /// The object's name; `None` for an external metric, whose values are kept together.
    pub object: Option<Arc<str>>,
}

/// Values by what they were asked for. All methods may be called at the same time.
pub struct LastValues {
    kept: Cache<Key, Kept>,
    evicted: Arc<AtomicU64>,
}

/// What is kept at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastValuesStats {
    /// Answers that are kept.
    pub kept: u64,
    /// Their memory, in bytes.
    pub bytes: u64,
    /// Answers that were dropped since the start, to make room for newer ones.
    pub evicted: u64,
}

#[derive(Clone)]
struct Kept {
    values: Arc<[Served]>,
    oldest_ms: i64,
    /// After this no rule wants it.
    lifetime: Duration,
}

struct Lifetime;

impl Default for LastValues {
    fn default() -> LastValues {
        LastValues::with_capacity(MOST_BYTES)
    }
}

impl LastValues {
    fn with_capacity(bytes: u64) -> LastValues {
        let evicted = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&evicted);
        let kept = Cache::builder()
            .max_capacity(bytes)
            .weigher(|key: &Key, kept: &Kept| u32::try_from(key.bytes() + kept.bytes()).unwrap_or(u32::MAX))
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lifetime)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        LastValues { kept, evicted }
    }

    /// Keeps what was served, for as long as it is not older than `max_age`.
    pub fn keep(&self, key: Key, values: Arc<[Served]>, max_age: Duration, now_ms: i64) {
        let Some(oldest_ms) = values.iter().map(|served| served.value.timestamp_ms).min() else { return };
        let Some(lifetime) = max_age.checked_sub(age(oldest_ms, now_ms)) else { return };
        self.kept.insert(key, Kept { values, oldest_ms, lifetime });
    }

    /// What was served last, unless it is older than `max_age`.
    pub fn find(&self, key: &Key, max_age: Duration, now_ms: i64) -> Option<Vec<Served>> {
        let kept = self.kept.get(key).filter(|kept| age(kept.oldest_ms, now_ms) <= max_age)?;
        let again = |served: &Served| Served {
            labels: served.labels.clone(),
            value: ObjectValue { made_by: MadeBy::Last, ..served.value },
        };
        Some(kept.values.iter().map(again).collect())
    }

    /// What is kept now.
    pub fn stats(&self) -> LastValuesStats {
        // Counts are those of the last of these.
        self.kept.run_pending_tasks();
        LastValuesStats {
            kept: self.kept.entry_count(),
            bytes: self.kept.weighted_size(),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}

impl Key {
    fn bytes(&self) -> usize {
        let Limits { metric, resource, namespace, selector, template, series } = &*self.limits;
        let limits = [metric, resource, selector, template, series].map(String::len).iter().sum::<usize>();
        let names =
            namespace.as_ref().map_or(0, String::len) + self.object.as_ref().map_or(0, |name| name.len());
        size_of::<Limits>() + limits + names
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        let labels = self.values.iter().flat_map(|served| served.labels.iter().flatten());
        let labels: usize = labels.map(|(name, value)| name.len() + value.len() + BYTES_OF_A_LABEL).sum();
        self.values.len() * size_of::<Served>() + labels + BYTES_OF_AN_ENTRY
    }
}

impl Expiry<Key, Kept> for Lifetime {
    fn expire_after_create(&self, _: &Key, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.lifetime)
    }

    fn expire_after_update(&self, _: &Key, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.lifetime)
    }
}

/// The age of a sample. One of the future has none.
fn age(timestamp_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(now_ms.saturating_sub(timestamp_ms)).unwrap_or_default())
}

/// Some 10,000 objects.
const MOST_BYTES: u64 = 8 << 20;
/// Two shared texts: pointers, lengths and counts.
const BYTES_OF_A_LABEL: usize = 64;
/// What the cache itself takes, about.
const BYTES_OF_AN_ENTRY: usize = 256;

#[cfg(test)]
mod tests {
    use apiservice::quantity::Quantity;

    use super::*;

    fn key(namespace: &str, object: &str) -> Key {
        let limits = Limits {
            metric: "depth".to_owned(),
            resource: "pods".to_owned(),
            namespace: Some(namespace.to_owned()),
            selector: String::new(),
            template: "<<.Series>>{<<.LabelMatchers>>}".to_owned(),
            series: "depth".to_owned(),
        };
        Key { limits: Arc::new(limits), object: Some(object.into()) }
    }

    fn value(number: i64, timestamp_ms: i64) -> Arc<[Served]> {
        let value =
            ObjectValue { quantity: Quantity::from_milli(number), timestamp_ms, made_by: MadeBy::Sample };
        Arc::new([Served { labels: None, value }])
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_value_is_served_again_with_its_own_time_until_it_is_too_old() {
        let values = LastValues::default();
        values.keep(key("a", "x"), value(7, 1_000), MINUTE, 2_000);
        let found = values.find(&key("a", "x"), MINUTE, 61_000).expect("a minute old");
        assert_eq!(found[0].value.timestamp_ms, 1_000);
        assert_eq!(
            (found[0].value.quantity, found[0].value.made_by),
            (Quantity::from_milli(7), MadeBy::Last)
        );
        assert_eq!(values.find(&key("a", "x"), MINUTE, 61_001), None);
    }

    #[test]
    fn a_rule_that_asks_for_newer_values_gets_no_older_ones() {
        let values = LastValues::default();
        values.keep(key("a", "x"), value(7, 0), MINUTE, 0);
        assert!(values.find(&key("a", "x"), MINUTE / 2, 30_000).is_some());
        assert_eq!(values.find(&key("a", "x"), MINUTE / 2, 30_001), None);
    }

    #[test]
    fn a_value_that_is_too_old_is_not_kept() {
        let values = LastValues::default();
        values.keep(key("a", "x"), value(7, 0), MINUTE, 60_001);
        assert_eq!(values.stats().kept, 0);
    }

    #[test]
    fn bytes_have_a_bound_and_the_oldest_make_room() {
        let values = LastValues::with_capacity(10_000);
        for number in 0..100 {
            values.keep(key("a", &number.to_string()), value(number, 0), MINUTE, 0);
            values.stats();
        }
        let LastValuesStats { kept, bytes, evicted } = values.stats();
        assert!(bytes <= 10_000 && kept > 5, "{kept} of {bytes} bytes");
        assert_eq!(kept + evicted, 100);
        assert!(values.find(&key("a", "99"), MINUTE, 0).is_some());
        assert_eq!(values.find(&key("a", "0"), MINUTE, 0), None);
    }
}
