//! The samples of an answer, read as upstream reads them, except values that are not numbers: those are left out (D19),
//! where upstream takes them for 0.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::frame::{Field, OrNull};
use super::number::number;
use super::text::{Text, like, repaired};
use crate::source::Sample;

/// Samples, and how many values among them were not numbers.
#[derive(Debug, Default)]
pub(super) struct Vector {
    pub(super) samples: Vec<Sample>,
    /// Native histograms.
    pub(super) histograms: usize,
    /// Samples that say no value.
    pub(super) valueless: usize,
}

/// Reads a [`Vector`].
#[derive(Clone, Copy)]
pub(super) struct VectorSeed;

impl<'de> DeserializeSeed<'de> for VectorSeed {
    type Value = Vector;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vector, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for VectorSeed {
    type Value = Vector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of samples")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vector, A::Error> {
        let mut vector = Vector::default();
        while let Some(entry) = sequence.next_element_seed(OrNull(SampleSeed(vector.samples.last())))? {
            match entry.unwrap_or(Entry::Valueless) {
                Entry::Number(sample) => vector.samples.push(sample),
                Entry::Histogram => vector.histograms += 1,
                Entry::Valueless => vector.valueless += 1,
            }
        }
        Ok(vector)
    }
}

/// What stands where a sample is expected.
enum Entry {
    Number(Sample),
    Histogram,
    Valueless,
}

/// One sample. Samples of one answer have most texts in common with the one before them: those are shared.
struct SampleSeed<'a>(Option<&'a Sample>);

impl<'de> DeserializeSeed<'de> for SampleSeed<'_> {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SampleSeed<'_> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sample with its labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        #[derive(Clone, Copy)]
        enum Name {
            Metric,
            Value,
            Histogram,
        }
        const NAMES: [(&str, Name); 3] =
            [("metric", Name::Metric), ("value", Name::Value), ("histogram", Name::Histogram)];

        let (mut labels, mut point, mut histogram) = (Vec::new(), None::<Point>, false);
        while let Some(name) = map.next_key_seed(Field(&NAMES))? {
            match name {
                Some(Name::Metric) => {
                    let before = self.0.map(|sample| &*sample.labels).unwrap_or_default();
                    match map.next_value_seed(OrNull(LabelsSeed(before)))? {
                        Some(found) if labels.is_empty() => labels = found,
                        Some(more) => labels = sorted(labels.into_iter().chain(more)),
                        None => labels.clear(),
                    }
                }
                Some(Name::Value) => {
                    if let Some(found) = map.next_value_seed(OrNull(PointSeed))? {
                        let before = point.and_then(|point| point.value);
                        point = Some(Point { value: found.value.or(before), ..found });
                    }
                }
                Some(Name::Histogram) => {
                    histogram |= map.next_value::<Option<IgnoredAny>>()?.is_some();
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(match point {
            _ if histogram => Entry::Histogram,
            Some(Point { timestamp_ms, value: Some(value) }) => {
                Entry::Number(Sample { labels, timestamp_ms, value })
            }
            _ => Entry::Valueless,
        })
    }
}

type Label = (Arc<str>, Arc<str>);

/// By name; a name that comes twice has its last value, as in any JSON object.
pub(super) fn sorted(labels: impl Iterator<Item = Label>) -> Vec<Label> {
    labels.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// The labels of a sample, sorted by name as [`Sample`] has them, beside those of the sample before it.
struct LabelsSeed<'a>(&'a [Label]);

impl<'de> DeserializeSeed<'de> for LabelsSeed<'_> {
    type Value = Vec<Label>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Label>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LabelsSeed<'_> {
    type Value = Vec<Label>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Label>, A::Error> {
        let mut labels: Vec<Label> = Vec::with_capacity(self.0.len());
        loop {
            let before = self.0.get(labels.len());
            let (name_before, value_before) = before.map(|(name, value)| (name, value)).unzip();
            let Some(name) = map.next_key_seed(Text(|text: &str| like(name_before, text)))? else { break };
            let value = map.next_value_seed(OrNull(Text(|text: &str| like(value_before, text))))?;
            labels.push((name, value.unwrap_or_else(|| Arc::from(""))));
        }
        // Prometheus sorts them; others may not.
        if !labels.is_sorted_by(|(one, _), (next, _)| one < next) {
            labels = sorted(labels.into_iter());
        }
        Ok(labels)
    }
}

/// `[1435781451.781, "1"]`, of which either may be absent or `null`.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) timestamp_ms: i64,
    pub(super) value: Option<f64>,
}

/// Reads a [`Point`].
#[derive(Clone, Copy)]
pub(super) struct PointSeed;

impl<'de> DeserializeSeed<'de> for PointSeed {
    type Value = Point;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Point, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PointSeed {
    type Value = Point;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time and a number in quotes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Point, A::Error> {
        let seconds: Option<f64> = sequence.next_element()?.flatten();
        let value = sequence.next_element_seed(OrNull(NumberSeed))?.flatten();
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Point { timestamp_ms: milliseconds(seconds.unwrap_or_default()), value })
    }
}

/// Whole milliseconds, as upstream counts them: what is beyond is cut off, but for what binary fractions add.
fn milliseconds(seconds: f64) -> i64 {
    let exact = seconds * 1000.0;
    let nearest = exact.round();
    if (exact - nearest).abs() < BINARY_NOISE { nearest as i64 } else { exact.trunc() as i64 }
}

struct NumberSeed;

impl<'de> DeserializeSeed<'de> for NumberSeed {
    type Value = f64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<f64, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for NumberSeed {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number in quotes")
    }

    fn visit_bytes<E: de::Error>(self, text: &[u8]) -> Result<f64, E> {
        let found = str::from_utf8(text).ok().and_then(number);
        found.ok_or_else(|| {
            let start = &text[..text.len().min(LONGEST_SHOWN)];
            E::invalid_value(de::Unexpected::Str(&repaired(start)), &self)
        })
    }
}

/// More than a time in this millennium is off by, in milliseconds.
const BINARY_NOISE: f64 = 0.001;
const LONGEST_SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use testkit::rows::each_row;

    use super::*;

    #[test]
    fn times_are_cut_to_milliseconds() {
        let rows = [
            ("1435781451.781", 1_435_781_451_781),
            ("1795461859.629", 1_795_461_859_629),
            ("1700000000", 1_700_000_000_000),
            ("1.0006", 1000),
            ("1.7e9", 1_700_000_000_000),
            ("0.001", 1),
            ("-0.1", -100),
        ];
        each_row(rows, |(text, expected)| {
            assert_eq!(milliseconds(text.parse().expect("a number")), expected, "{text}");
        });
    }
}
