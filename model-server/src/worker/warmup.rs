//! Executes a model with made-up input before it serves: whatever is done at a first execution is done then, and the
//! largest batch for which there is memory is found.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contain::contained;
use crate::memory::{self, MemoryBudget, Size};
use crate::model::cause::{Cause, cause_of};
use crate::model::{InferError, Loader, Model, ModelError};

/// How a model is warmed.
#[derive(Debug, Clone)]
pub struct WarmupSettings {
    /// Executions of one row and of the largest batch; fewer if one takes long. With 0 nothing is executed.
    pub iterations: usize,
    /// Rows of one execution at most.
    pub max_batch_size: usize,
    /// Models that will be executed at the same time.
    pub workers: usize,
    /// What the process may take; not limited when `None`.
    pub memory: Option<MemoryBudget>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warm {
    /// Rows of the largest batch for which there is memory.
    pub rows: usize,
    /// The first output that is not a finite number, if there is one.
    pub odd_output: Option<f32>,
    /// The most memory of the process during the largest batch, where it is known.
    pub peak_bytes: Option<u64>,
}

/// Executes batches of 1, 2, 4 ... rows, up to the largest.
///
/// # Errors
/// A model that does not compute one row, or fails on more for another reason than memory.
pub fn warm(
    model: &mut Box<dyn Model>,
    loader: &Arc<dyn Loader>,
    settings: &WarmupSettings,
) -> Result<Warm, ModelError> {
    let largest = settings.max_batch_size;
    let mut warm = Warm { rows: largest, odd_output: None, peak_bytes: None };
    if settings.iterations == 0 {
        return Ok(warm);
    }
    let mut growth = Growth { loaded: memory::resident(), measured: Vec::new(), workers: settings.workers };
    let mut expected_time = Duration::ZERO;
    let mut previous = 0;
    for rows in sizes(largest) {
        let expected_bytes = growth.predict(rows);
        if let (Some(expected), Some(budget)) = (expected_bytes, &settings.memory)
            && expected > budget.bytes
        {
            tracing::warn!(
                rows,
                expected = %Size(expected),
                max_memory = %budget,
                max_batch_size = previous,
                "batches of so many rows would take too much memory; using smaller ones"
            );
            warm.rows = previous;
            break;
        }
        if expected_time > SLOW {
            let seconds = expected_time.as_secs_f64().round();
            let bytes = expected_bytes.map_or_else(|| "unknown".to_owned(), |bytes| Size(bytes).to_string());
            tracing::info!(rows, expected_seconds = seconds, expected_memory = bytes, "warming up");
        }
        memory::restart_peak();
        let began = Instant::now();
        let repeats = if rows == 1 || rows == largest { settings.iterations } else { 1 };
        match execute(model, rows, repeats) {
            Ok(odd) => warm.odd_output = warm.odd_output.or(odd),
            Err(Trouble::OutOfMemory { text, panicked }) => {
                if panicked {
                    *model = loader.load()?;
                }
                if previous == 0 {
                    return Err(ModelError(format!("there is no memory to compute one row: {text}")));
                }
                tracing::warn!(
                    rows,
                    error = text,
                    max_batch_size = previous,
                    "there is no memory for batches of so many rows; using smaller ones"
                );
                warm.rows = previous;
                break;
            }
            Err(Trouble::Failed(error)) => return Err(error),
        }
        warm.peak_bytes = memory::peak();
        growth.add(rows, warm.peak_bytes);
        if let (1, Some(peak), Some(budget)) = (rows, warm.peak_bytes, &settings.memory)
            && peak > budget.bytes
        {
            tracing::warn!(peak = %Size(peak), max_memory = %budget, "one row takes more memory than there should be");
        }
        let took = began.elapsed();
        let one = if took > SLOW { took } else { took / u32::try_from(repeats).unwrap_or(u32::MAX) };
        expected_time = one * 2;
        previous = rows;
    }
    Ok(warm)
}

/// 1, 2, 4 ... and the largest.
fn sizes(largest: usize) -> impl Iterator<Item = usize> {
    let powers = std::iter::successors(Some(1_usize), |rows| rows.checked_mul(2));
    powers.take_while(move |rows| *rows < largest).chain(std::iter::once(largest))
}

enum Trouble {
    OutOfMemory { text: String, panicked: bool },
    Failed(ModelError),
}

/// Executes a batch of zeros, several times if that is quick; the first output that is not a finite number.
fn execute(model: &mut Box<dyn Model>, rows: usize, times: usize) -> Result<Option<f32>, Trouble> {
    let zeros = vec![0.0; rows * model.shape().input.width];
    let mut odd = None;
    for _ in 0..times {
        let began = Instant::now();
        match contained(|| model.infer(&zeros, rows)) {
            Ok(Ok(output)) => odd = odd.or(output.into_iter().find(|number| !number.is_finite())),
            Ok(Err(InferError::OutOfMemory(text))) => {
                return Err(Trouble::OutOfMemory { text, panicked: false });
            }
            Ok(Err(error)) => return Err(Trouble::Failed(error.into())),
            Err(text) if cause_of(&text) == Cause::OutOfMemory => {
                return Err(Trouble::OutOfMemory { text, panicked: true });
            }
            Err(text) => return Err(Trouble::Failed(ModelError(format!("the model panicked: {text}")))),
        }
        if began.elapsed() > SLOW {
            break;
        }
    }
    Ok(odd)
}

/// An execution that takes longer is not repeated, and is announced.
const SLOW: Duration = Duration::from_secs(1);

/// How memory grows with the rows of a batch.
struct Growth {
    /// Before the first execution.
    loaded: Option<u64>,
    /// Rows, and the bytes that their execution took beyond that.
    measured: Vec<(usize, u64)>,
    /// Executions at the same time.
    workers: usize,
}

impl Growth {
    fn add(&mut self, rows: usize, peak: Option<u64>) {
        if let (Some(loaded), Some(peak)) = (self.loaded, peak) {
            self.measured.push((rows, peak.saturating_sub(loaded)));
        }
    }

    /// What the process is expected to take when every worker executes so many rows; unknown before the first
    /// execution. Memory grows by as much for each row as it did between the last two sizes, and a tenth is added for
    /// what is not seen. One row may be computed in another way than several, so that nothing follows from the
    /// difference to it.
    fn predict(&self, rows: usize) -> Option<u64> {
        let (loaded, (last, last_bytes)) = (self.loaded?, *self.measured.last()?);
        let before = self.measured.iter().rev().nth(1).copied().filter(|(rows, _)| *rows > 1);
        let (before, before_bytes) = before.unwrap_or((0, 0));
        let slope = last_bytes.saturating_sub(before_bytes) as f64 / (last - before) as f64;
        let one = last_bytes as f64 + slope * rows.saturating_sub(last) as f64;
        Some(loaded + (one * self.workers as f64 * 1.1) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Shape, TensorShape};

    #[test]
    fn sizes_double_up_to_the_largest() {
        assert_eq!(sizes(1).collect::<Vec<_>>(), [1]);
        assert_eq!(sizes(2).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(sizes(32).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32]);
        assert_eq!(sizes(6).collect::<Vec<_>>(), [1, 2, 4, 6]);
    }

    #[test]
    fn memory_is_predicted_from_the_growth_between_sizes_for_all_workers() {
        let mut growth = Growth { loaded: Some(1000), measured: Vec::new(), workers: 1 };
        assert_eq!(growth.predict(1), None);
        growth.add(1, Some(1100));
        assert_eq!(growth.predict(2), Some(1220));
        growth.add(2, Some(1160));
        assert_eq!(growth.predict(4), Some(1352));
        growth.add(4, Some(1280));
        // 280 for four rows, 60 more for each of the four others.
        assert_eq!(growth.predict(8), Some(1572));
        growth.workers = 2;
        assert_eq!(growth.predict(8), Some(2144));
        let unknown = Growth { loaded: None, measured: Vec::new(), workers: 1 };
        assert_eq!(unknown.predict(4), None);
    }

    /// Has memory for so many rows, and answers zeros.
    struct Greedy {
        shape: Shape,
        rows: usize,
        panics: bool,
        ran: Arc<std::sync::Mutex<Vec<usize>>>,
    }

    impl Model for Greedy {
        fn shape(&self) -> &Shape {
            &self.shape
        }

        fn infer(&mut self, _input: &[f32], rows: usize) -> Result<Vec<f32>, InferError> {
            self.ran.lock().expect("not poisoned").push(rows);
            if rows <= self.rows {
                return Ok(vec![0.0; rows]);
            }
            assert!(!self.panics, "failed to allocate Layout {{ size: {rows} }}");
            Err(InferError::OutOfMemory(format!("{rows} rows")))
        }
    }

    struct GreedyLoader(usize, bool, Arc<std::sync::Mutex<Vec<usize>>>);

    impl Loader for GreedyLoader {
        fn load(&self) -> Result<Box<dyn Model>, ModelError> {
            let tensor = |name: &str| TensorShape { name: name.to_owned(), width: 1 };
            let shape = Shape { input: tensor("x"), output: tensor("y") };
            Ok(Box::new(Greedy { shape, rows: self.0, panics: self.1, ran: Arc::clone(&self.2) }))
        }
    }

    fn warmed(rows: usize, panics: bool) -> (Result<Warm, ModelError>, Vec<usize>) {
        warmed_within(None, rows, panics)
    }

    fn warmed_within(
        memory: Option<MemoryBudget>,
        rows: usize,
        panics: bool,
    ) -> (Result<Warm, ModelError>, Vec<usize>) {
        let ran = Arc::default();
        let loader: Arc<dyn Loader> = Arc::new(GreedyLoader(rows, panics, Arc::clone(&ran)));
        let settings = WarmupSettings { iterations: 2, max_batch_size: 16, workers: 1, memory };
        let mut model = loader.load().expect("it loads");
        let warm = warm(&mut model, &loader, &settings);
        let ran = ran.lock().expect("not poisoned").clone();
        (warm, ran)
    }

    #[test]
    fn the_largest_batch_that_fits_is_found_whether_the_model_says_so_or_panics() {
        for panics in [false, true] {
            let (warm, ran) = warmed(16, panics);
            assert_eq!((warm.expect("warm").rows, ran), (16, vec![1, 1, 2, 4, 8, 16, 16]));
            let (warm, ran) = warmed(5, panics);
            assert_eq!((warm.expect("warm").rows, ran), (4, vec![1, 1, 2, 4, 8]));
            let (warm, ran) = warmed(0, panics);
            let error = warm.expect_err("no row fits").to_string();
            assert!(error.starts_with("there is no memory to compute one row: "), "{error}");
            assert_eq!(ran, [1]);
        }
    }
    #[test]
    fn a_size_that_is_expected_to_take_too_much_is_not_executed() {
        let all = MemoryBudget { bytes: u64::MAX, source: "a test".to_owned() };
        let (warm, ran) = warmed_within(Some(all), 16, false);
        assert_eq!((warm.expect("warm").rows, ran.len()), (16, 7));
        // This process has more already.
        let little = MemoryBudget { bytes: 1, source: "a test".to_owned() };
        let (warm, ran) = warmed_within(Some(little), 16, false);
        assert_eq!((warm.expect("warm").rows, ran), (1, vec![1, 1]));
    }
}
