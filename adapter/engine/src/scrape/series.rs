//! The series of one target: which it has, which are new, and which are gone.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::clock::now_ms;
use super::error::ScrapeError;
use crate::Engine;
use crate::exposition::{self, Exposed};
use crate::labels::{Labels, METRIC_NAME};
use crate::store::{Owner, SeriesRef, Store, StoreFull};

/// The series of one target.
pub(super) struct TargetSeries<H: BuildHasher = RandomState> {
    engine: Engine,
    owner: Owner,
    /// The target's own labels.
    own: Labels,
    sample_limit: usize,
    known: HashTable<Known>,
    /// A secret of this process: a target that chooses its labels cannot choose their hashes.
    hasher: H,
    scrapes: u64,
}

/// A series seen in the last scrape, by the hash of what was exposed: the next scrape finds it without making labels.
/// Its labels are compared: two that have one hash are two.
struct Known {
    hash: u64,
    series: SeriesRef,
    seen_in: u64,
}

impl TargetSeries {
    pub(super) fn new(engine: Engine, own: Labels, sample_limit: usize) -> TargetSeries {
        TargetSeries::with_hasher(engine, own, sample_limit, RandomState::new())
    }

    /// All of it, which leaves a target without series behind.
    pub(super) fn take(&mut self) -> TargetSeries {
        let nothing = TargetSeries {
            engine: self.engine.clone(),
            owner: self.owner,
            own: self.own.clone(),
            sample_limit: self.sample_limit,
            known: HashTable::new(),
            hasher: RandomState::new(),
            scrapes: 0,
        };
        std::mem::replace(self, nothing)
    }
}

impl<H: BuildHasher> TargetSeries<H> {
    fn with_hasher(engine: Engine, own: Labels, sample_limit: usize, hasher: H) -> TargetSeries<H> {
        let owner = engine.store().owner();
        TargetSeries { engine, owner, own, sample_limit, known: HashTable::new(), hasher, scrapes: 0 }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// Where they are kept.
    pub(super) fn store(&self) -> &Store {
        self.engine.store()
    }

    /// How many that are gone made room for new ones.
    pub(super) fn evicted(&self) -> u64 {
        self.engine.store().evicted_of(self.owner)
    }

    /// Appends a scrape whole or not at all: the text is read to its end, and every series has its place, before
    /// anything is stored. What was there before and is not any more is gone; after an error that is everything.
    pub(super) fn append(
        &mut self,
        body: &str,
        content_type: &str,
        time_ms: i64,
    ) -> Result<usize, ScrapeError> {
        self.scrapes += 1;
        let outcome = self.append_all(body, content_type, time_ms);
        if outcome.is_err() {
            self.forget(time_ms);
        }
        outcome
    }

    /// There is no scrape to append: nothing is known of the series any more.
    pub(super) fn forget(&mut self, time_ms: i64) {
        self.scrapes += 1;
        self.mark_gone(time_ms);
    }

    fn append_all(&mut self, body: &str, content_type: &str, time_ms: i64) -> Result<usize, ScrapeError> {
        let mut exposed = Vec::new();
        for sample in exposition::samples(body, exposition::format_of(content_type)) {
            exposed.push(sample?);
            if exposed.len() > self.sample_limit {
                return Err(ScrapeError::TooManySamples { limit: self.sample_limit });
            }
        }
        let known: Vec<Option<SeriesRef>> = exposed.iter().map(|sample| self.find(sample)).collect();
        // First, so that they make room for the new ones.
        self.mark_gone(time_ms);
        let mut found = Vec::with_capacity(exposed.len());
        for (sample, known) in exposed.iter().zip(known) {
            found.push(known.map_or_else(|| self.intern(sample), Ok)?);
        }
        for (sample, mut series) in exposed.iter().zip(found) {
            let time_ms = sample.time_ms.unwrap_or(time_ms);
            // One that was dropped in between is made again.
            while series.append(time_ms, sample.value).is_err() {
                series = self.intern(sample)?;
            }
        }
        Ok(exposed.len())
    }

    /// The series of a sample, if the last scrape had it; it is seen in this scrape.
    fn find(&mut self, sample: &Exposed<'_>) -> Option<SeriesRef> {
        let (hash, own) = (self.hash(sample), &self.own);
        let made = becomes_another(sample, own).then(|| self.labels(sample));
        let known = self.known.find_mut(hash, |known| match &made {
            Some(labels) => known.series.labels() == labels,
            None => is_of(known.series.labels(), sample, own),
        })?;
        if known.series.is_dropped() {
            return None;
        }
        known.seen_in = self.scrapes;
        Some(known.series.clone())
    }

    fn intern(&mut self, sample: &Exposed<'_>) -> Result<SeriesRef, StoreFull> {
        let (hash, labels) = (self.hash(sample), self.labels(sample));
        let series = self.engine.store().intern_for(self.owner, &labels)?;
        let seen_in = self.scrapes;
        if let Some(known) = self.known.find_mut(hash, |known| *known.series.labels() == labels) {
            known.series = series.clone();
            known.seen_in = seen_in;
        } else {
            let known = Known { hash, series: series.clone(), seen_in };
            self.known.insert_unique(hash, known, |known| known.hash);
        }
        Ok(series)
    }

    /// The same whatever the order of the labels is.
    fn hash(&self, sample: &Exposed<'_>) -> u64 {
        let labels = sample.labels.iter().map(|(name, value)| self.hasher.hash_one((name, value.as_ref())));
        labels.fold(self.hasher.hash_one(sample.name), u64::wrapping_add)
    }

    /// The exposed labels and the target's; where both have one, the exposed one is renamed.
    fn labels(&self, sample: &Exposed<'_>) -> Labels {
        let own = &self.own;
        let exposed = sample.labels.iter().map(|(name, value)| {
            let name =
                if own.value(name).is_some() { format!("{EXPORTED}{name}") } else { (*name).to_owned() };
            (name, value.to_string())
        });
        let own = own.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Labels::from_pairs(exposed.chain(own).chain([(METRIC_NAME.to_owned(), sample.name.to_owned())]))
    }

    fn mark_gone(&mut self, time_ms: i64) {
        let scrape = self.scrapes;
        let gone: Vec<Known> = self.known.extract_if(|known| known.seen_in != scrape).collect();
        if !gone.is_empty() {
            self.engine.store().mark_gone(gone.iter().map(|known| &known.series), time_ms);
        }
    }

    /// Appends a series about the scrape itself.
    pub(super) fn report(&self, name: &str, value: f64, time_ms: i64) {
        let labels = self.own.with(METRIC_NAME, name);
        // Not of the target's share: that must show when it is full. A series that was dropped in between comes back
        // with the next scrape.
        let _ = self.engine.store().intern_anyway(&labels).append(time_ms, value);
    }
}

/// When scraping ends, nothing is known of the target any more.
impl<H: BuildHasher> Drop for TargetSeries<H> {
    fn drop(&mut self) {
        let known = self.known.iter().map(|known| &known.series);
        self.engine.store().mark_gone(known, now_ms());
    }
}

/// Whether a label that a sample exposes is not in its series: another takes its name when it is renamed.
fn becomes_another(sample: &Exposed<'_>, own: &Labels) -> bool {
    sample.labels.iter().any(|(name, _)| {
        let renamed = name.strip_prefix(EXPORTED).filter(|rest| own.value(rest).is_some());
        *name == METRIC_NAME
            || renamed.is_some_and(|rest| sample.labels.iter().any(|(other, _)| *other == rest))
    })
}

/// Whether a series has the labels that a sample makes beside a target's own: [`TargetSeries::labels`], without making
/// them, for a sample of which each label is there.
fn is_of(series: &Labels, sample: &Exposed<'_>, own: &Labels) -> bool {
    let mut count = 1 + own.pairs().len();
    if series.value(METRIC_NAME) != Some(sample.name) {
        return false;
    }
    for (name, value) in sample.labels.iter().filter(|(_, value)| !value.is_empty()) {
        count += 1;
        let found = if own.value(name).is_some() {
            series.value(&format!("{EXPORTED}{name}"))
        } else {
            series.value(name)
        };
        if found != Some(value.as_ref()) {
            return false;
        }
    }
    series.pairs().len() == count && own.iter().all(|(name, value)| series.value(name) == Some(value))
}

/// What an exposed label begins with where the target has one of its name.
const EXPORTED: &str = "exported_";

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, Hasher};

    use super::*;
    use crate::EngineConfig;
    use crate::store::{Selection, is_stale};

    /// All hashes are one.
    #[derive(Default)]
    struct Same;

    impl Hasher for Same {
        fn finish(&self) -> u64 {
            0
        }

        fn write(&mut self, _: &[u8]) {}
    }

    fn own() -> Labels {
        Labels::from_pairs([("pod", "a"), ("job", "j")])
    }

    /// Labels and last value of the live series of a name.
    fn live(engine: &Engine, name: &str) -> Vec<(String, f64)> {
        let found = engine.store().select(Selection { name: Some(name), matchers: &[] }, 0, i64::MAX);
        let last = found.into_iter().filter_map(|(labels, points)| {
            let last = points.last().filter(|last| !is_stale(last.value))?;
            Some((labels.to_string(), last.value))
        });
        last.collect()
    }

    #[test]
    fn series_whose_hashes_are_equal_stay_apart() {
        let engine = Engine::new(EngineConfig::default());
        let hasher = BuildHasherDefault::<Same>::default();
        let mut series = TargetSeries::with_hasher(engine.clone(), own(), 100, hasher);
        for (time, text) in [
            (1_000, "m{x=\"1\"} 1\nm{x=\"2\"} 2\nm 3\n"),
            (2_000, "m{x=\"2\"} 20\nm 30\nm{x=\"1\"} 10\n"),
            (3_000, "m{x=\"2\"} 200\nm{x=\"1\"} 100\n"),
        ] {
            series.append(text, "", time).expect("an exposition");
        }
        assert_eq!(
            live(&engine, "m"),
            [
                ("m{job=\"j\", pod=\"a\", x=\"1\"}".to_owned(), 100.0),
                ("m{job=\"j\", pod=\"a\", x=\"2\"}".to_owned(), 200.0)
            ]
        );
        assert_eq!(series.count(), 2);
    }

    #[test]
    fn a_series_is_found_again_whatever_the_order_and_the_names_of_its_labels() {
        let engine = Engine::new(EngineConfig::default());
        let mut series = TargetSeries::new(engine.clone(), own(), 100);
        for (time, text) in [
            (1_000, "m{pod=\"p\",x=\"1\",y=\"\"} 1\nn{pod=\"p\",exported_pod=\"q\"} 1\n"),
            (2_000, "m{x=\"1\",pod=\"p\"} 2\nn{exported_pod=\"q\",pod=\"p\"} 2\n"),
            (3_000, "m{pod=\"p\",x=\"1\"} 3\nn{pod=\"p\",exported_pod=\"q\"} 3\n"),
        ] {
            series.append(text, "", time).expect("an exposition");
        }
        let expected = "m{exported_pod=\"p\", job=\"j\", pod=\"a\", x=\"1\"}".to_owned();
        assert_eq!(live(&engine, "m"), [(expected, 3.0)]);
        // What Prometheus would refuse keeps one of the two.
        assert_eq!(live(&engine, "n").iter().map(|(_, value)| *value).collect::<Vec<_>>(), [3.0]);
        // A series that comes back after a scrape without it has its value immediately.
        series.append("x 1\n", "", 4_000).expect("an exposition");
        assert!(live(&engine, "m").is_empty() && live(&engine, "n").is_empty());
        series.append("m{x=\"1\",pod=\"p\"} 5\n", "", 5_000).expect("an exposition");
        assert_eq!(live(&engine, "m").first().map(|(_, value)| *value), Some(5.0));
    }

    #[test]
    fn a_scrape_that_has_no_room_stores_nothing() {
        let config = EngineConfig { max_series_per_target: 3, ..EngineConfig::default() };
        let engine = Engine::new(config);
        let mut series = TargetSeries::new(engine.clone(), own(), 100);
        series.append("m{x=\"1\"} 1\nm{x=\"2\"} 1\n", "", 1_000).expect("room");
        let more = "m{x=\"1\"} 2\nm{x=\"3\"} 2\nm{x=\"4\"} 2\nm{x=\"5\"} 2\n";
        let error = series.append(more, "", 2_000).expect_err("no room");
        assert_eq!(error.to_string(), "the target has more than 3 series, which is the limit for one target");
        assert!(live(&engine, "m").is_empty());
        // Those that are gone make room.
        for round in 3..20 {
            let text = format!("m{{x=\"{round}\"}} 3\nm{{x=\"{}\"}} 3\n", round + 100);
            series.append(&text, "", round * 1_000).expect("room");
            assert_eq!(live(&engine, "m").len(), 2, "round {round}");
            assert!(engine.store().series_count() <= 3);
        }
        assert!(series.evicted() > 20);
    }
}
