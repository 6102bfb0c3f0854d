//! Executes a model with made-up input before it serves: whatever is done at a first execution is done then, and the
//! largest batch for which there is memory is found.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serve::error_chain;

use super::error::{Panicked, WarmupError, WarmupFault, WarmupInputError};
use crate::contain::contained;
use crate::memory::{self, MemoryBudget, Size};
use crate::model::cause::{Cause, cause_of};
use crate::model::{InferError, Loader, Model, ModelError};
use crate::tensor::{BatchAxis, Signature, Tensor};

/// Reads a request of one row that a model is warmed with in place of zeros, when it is known what the model takes.
#[derive(Clone)]
pub struct WarmupInput(pub Arc<ReadInputs>);

/// Gives an input for each that the signature names.
type ReadInputs = dyn Fn(&Signature) -> Result<Vec<Option<Tensor>>, WarmupInputError> + Send + Sync;

impl fmt::Debug for WarmupInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WarmupInput")
    }
}

/// How a model is warmed.
#[derive(Debug, Clone)]
pub struct WarmupSettings {
    /// What a row is; zeros when `None`.
    pub input: Option<WarmupInput>,
    /// Executions of one row and of the largest batch; fewer if one takes long. With 0 nothing is executed.
    pub iterations: usize,
    /// Rows of one execution at most.
    pub max_batch_size: usize,
    /// Models that will be executed at the same time.
    pub workers: usize,
    /// What the process may take; not limited when `None`.
    pub memory: Option<MemoryBudget>,
    /// Most sizes of batches are executed, not every second one: a GPU prepares itself for each of them.
    pub every_size: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Warm {
    /// Rows of the largest batch for which there is memory.
    pub rows: usize,
    /// Whether outputs have a row for each row of inputs, so that requests can be computed together.
    pub joins: bool,
    /// The first output that has something that is not a finite number, if there is one.
    pub odd_output: Option<String>,
    /// One row that the model computes; `None` if none is known.
    pub probe: Option<Arc<[Option<Tensor>]>>,
    /// The most memory of the process during the largest batch, where it is known.
    pub peak_bytes: Option<u64>,
    /// What each size of a batch took.
    pub sizes: Vec<WarmSize>,
}

/// What a size of a batch took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmSize {
    /// Rows of the batch.
    pub rows: usize,
    /// How long one execution took: the last one, if there were several.
    pub time: Duration,
    /// The most memory of the process meanwhile, where it is known.
    pub peak_bytes: Option<u64>,
}

/// Executes batches of 1, 2, 4 ... rows, up to the largest; one alone of a model that joins no rows. Dimensions that
/// requests choose have a size that the model takes, of those that are tried.
///
/// # Errors
/// A model of plain rows that does not compute one of zeros, or any that fails on more rows for another reason than
/// memory.
pub fn warm(
    model: &mut Box<dyn Model>,
    loader: &Arc<dyn Loader>,
    settings: &WarmupSettings,
) -> Result<Warm, WarmupError> {
    warm_sizes(model, loader, settings)
        .map_err(|fault| WarmupError { model: loader.name(), fault: Box::new(fault) })
}

fn warm_sizes(
    model: &mut Box<dyn Model>,
    loader: &Arc<dyn Loader>,
    settings: &WarmupSettings,
) -> Result<Warm, WarmupFault> {
    let signature = model.signature().clone();
    let joins = signature.batch == BatchAxis::Dynamic;
    let largest = match signature.batch {
        BatchAxis::Dynamic => settings.max_batch_size,
        BatchAxis::Fixed(rows) => rows.max(1),
        BatchAxis::None => 1,
    };
    let given: Option<Arc<[Option<Tensor>]>> = match &settings.input {
        Some(WarmupInput(read)) => Some(read(&signature)?.into()),
        None => None,
    };
    let mut warm =
        Warm { rows: largest, joins, odd_output: None, probe: None, peak_bytes: None, sizes: Vec::new() };
    if settings.iterations == 0 {
        warm.probe = match given {
            // A model of plain rows computes one of zeros, or it computes nothing.
            None if signature.row_width().is_some() => Some(signature.zeros(1, 1)?.into()),
            given => given,
        };
        return Ok(warm);
    }
    let mut growth = Growth { loaded: memory::resident(), measured: Vec::new(), workers: settings.workers };
    let mut expected_time = Duration::ZERO;
    let mut previous = 0;
    let mut inner_size = None;
    let one = if joins { 1 } else { largest };
    let all_up_to = if settings.every_size { EVERY_SIZE } else { 0 };
    for rows in sizes(if joins { largest } else { 1 }, all_up_to).map(|rows| rows * one) {
        let expected_bytes = growth.predict(rows);
        if let (Some(expected), Some(budget)) = (expected_bytes, &settings.memory)
            && expected > budget.bytes
        {
            tracing::warn!(
                rows,
                expected = %Size(expected),
                max_memory = %budget,
                max_batch_size = previous,
                "batches of this size would take too much memory; using smaller ones"
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
        let repeats = if rows == one || rows == largest { settings.iterations } else { 1 };
        let executed = match (&given, inner_size) {
            (Some(given), _) => {
                let executed = repeated(given, &signature, rows / one)
                    .and_then(|inputs| execute(model, &inputs, repeats));
                if executed.is_ok() {
                    warm.probe.get_or_insert_with(|| Arc::clone(given));
                }
                executed
            }
            (None, Some(size)) => {
                zeros(&signature, rows, size).and_then(|zeros| execute(model, &zeros, repeats))
            }
            (None, None) => {
                find_size(model, loader, &signature, rows, repeats).map(|(size, probe, executed)| {
                    inner_size = Some(size);
                    warm.probe = Some(probe);
                    executed
                })
            }
        };
        let time = match executed {
            Ok(Executed { outputs, time }) => {
                let mut named = signature.outputs.iter().zip(&outputs);
                let odd = named.find(|(_, output)| output.first_odd().is_some());
                warm.odd_output = warm.odd_output.or(odd.map(|(spec, _)| spec.name.clone()));
                let other = signature.outputs.iter().zip(&outputs);
                let mut other = other.filter(|(_, output)| output.shape().first() != Some(&rows));
                if let (true, Some((spec, output))) = (joins, other.next()) {
                    tracing::warn!(
                        output = spec.name,
                        shape = ?output.shape(),
                        rows,
                        "an output has not a row for each row of inputs; computing each request alone"
                    );
                    warm.joins = false;
                }
                time
            }
            Err(Trouble::OutOfMemory { text, panicked }) => {
                if panicked {
                    *model = loader.load()?;
                }
                if previous == 0 {
                    return Err(WarmupFault::NoMemory(text));
                }
                tracing::warn!(
                    rows,
                    error = text,
                    max_batch_size = previous,
                    "out of memory for batches of this size; using smaller ones"
                );
                warm.rows = previous;
                break;
            }
            Err(Trouble::Failed(InferError::Refused(error) | InferError::Invalid(error)))
                if previous == 0 && given.is_none() && signature.row_width().is_none() =>
            {
                tracing::warn!(error = %error_chain(&error), "cannot warm up: the model refuses zeros; the first requests are slower, unless --warmup-input names one");
                break;
            }
            // Exporters declare rows dynamic of models that have the number of their example inside.
            Err(Trouble::Failed(InferError::Invalid(error))) if previous > 0 => {
                tracing::warn!(
                    rows,
                    error = %error_chain(&error),
                    max_batch_size = previous,
                    "the model computes no batches of this number of rows; using smaller ones"
                );
                warm.rows = previous;
                break;
            }
            Err(Trouble::Failed(error)) => return Err(error.into()),
            Err(Trouble::Lost(error)) => return Err(error.into()),
        };
        warm.peak_bytes = memory::peak();
        growth.add(rows, warm.peak_bytes);
        warm.sizes.push(WarmSize { rows, time, peak_bytes: warm.peak_bytes });
        if let (true, Some(peak), Some(budget)) = (rows == one, warm.peak_bytes, &settings.memory)
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

/// The size of dimensions that requests choose, one row of it, and what the model computes from that.
type SizedProbe = (usize, Arc<[Option<Tensor>]>, Executed);

/// Finds a size that the model takes for the dimensions that requests choose; if it takes none, what it said of the
/// first.
fn find_size(
    model: &mut Box<dyn Model>,
    loader: &Arc<dyn Loader>,
    signature: &Signature,
    rows: usize,
    times: usize,
) -> Result<SizedProbe, Trouble> {
    let sizes = if signature.has_other_dynamic_dims() { &SIZES[..] } else { &SIZES[..1] };
    let mut first_refusal = None;
    for size in sizes {
        let zeros = zeros(signature, rows, *size)?;
        match execute(model, &zeros, times) {
            Ok(executed) => return Ok((*size, zeros.into(), executed)),
            Err(Trouble::Failed(InferError::Refused(error) | InferError::Invalid(error))) => {
                // It may have panicked, and be in any state.
                *model = loader.load().map_err(Trouble::Lost)?;
                first_refusal.get_or_insert(error);
            }
            Err(trouble) => return Err(trouble),
        }
    }
    // A size was tried: there is at least one.
    Err(Trouble::Failed(InferError::Refused(first_refusal.expect("a refusal"))))
}

/// A request's inputs with each row of it this number of times.
fn repeated(
    given: &[Option<Tensor>],
    signature: &Signature,
    times: usize,
) -> Result<Vec<Option<Tensor>>, Trouble> {
    let inputs = given.iter().zip(&signature.inputs).map(|(input, spec)| match input {
        // What replaces a constant has no rows.
        Some(rows) if times > 1 && !spec.optional => Tensor::join(&vec![rows; times]).map(Some),
        input => Ok(input.clone()),
    });
    inputs.collect::<Result<_, _>>().map_err(|error| Trouble::Failed(error.into()))
}

fn zeros(signature: &Signature, rows: usize, size: usize) -> Result<Vec<Option<Tensor>>, Trouble> {
    let zeros = signature.zeros(rows, size);
    zeros.map_err(|error| Trouble::OutOfMemory { text: error.to_string(), panicked: false })
}

/// Sizes that are tried: a step of a sequence, some, and images.
const SIZES: [usize; 5] = [1, 16, 64, 224, 640];

/// All up to a size, then twice as many each time, and the largest.
fn sizes(largest: usize, all_up_to: usize) -> impl Iterator<Item = usize> {
    let next = move |rows: &usize| if *rows < all_up_to { rows.checked_add(1) } else { rows.checked_mul(2) };
    let sizes = std::iter::successors(Some(1_usize), next);
    sizes.take_while(move |rows| *rows < largest).chain(std::iter::once(largest))
}

/// Rows of batches up to which every size is executed where that is worth it.
const EVERY_SIZE: usize = 64;

/// What came of the last of several executions, and how long that took.
struct Executed {
    outputs: Vec<Tensor>,
    time: Duration,
}

enum Trouble {
    OutOfMemory {
        text: String,
        panicked: bool,
    },
    Failed(InferError),
    /// The model cannot be loaded again.
    Lost(ModelError),
}

/// Executes the model, several times if that is quick.
fn execute(model: &mut Box<dyn Model>, inputs: &[Option<Tensor>], times: usize) -> Result<Executed, Trouble> {
    let mut last = Executed { outputs: Vec::new(), time: Duration::ZERO };
    for _ in 0..times {
        let began = Instant::now();
        last.outputs = match contained(|| model.infer(inputs)) {
            Ok(Ok(outputs)) => outputs,
            Ok(Err(InferError::OutOfMemory(text))) => {
                return Err(Trouble::OutOfMemory { text, panicked: false });
            }
            Ok(Err(error)) => return Err(Trouble::Failed(error)),
            Err(text) if cause_of(&text) == Cause::OutOfMemory => {
                return Err(Trouble::OutOfMemory { text, panicked: true });
            }
            Err(text) => {
                return Err(Trouble::Failed(InferError::refused(Panicked(text))));
            }
        };
        last.time = began.elapsed();
        if last.time > SLOW {
            break;
        }
    }
    Ok(last)
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

    /// What the process is expected to take when every worker executes `rows` rows; unknown before the first
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
    use crate::tensor::{DataType, Dim, TensorSpec};

    #[test]
    fn sizes_double_up_to_the_largest() {
        let sizes = |largest, all_up_to| super::sizes(largest, all_up_to).collect::<Vec<_>>();
        assert_eq!(sizes(1, 0), [1]);
        assert_eq!(sizes(2, 0), [1, 2]);
        assert_eq!(sizes(32, 0), [1, 2, 4, 8, 16, 32]);
        assert_eq!(sizes(6, 0), [1, 2, 4, 6]);
        assert_eq!(sizes(4, 64), [1, 2, 3, 4]);
        assert_eq!(sizes(20, 3), [1, 2, 3, 6, 12, 20]);
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

    /// Has memory for a number of rows, and answers zeros.
    struct Greedy {
        signature: Signature,
        rows: usize,
        panics: bool,
        /// It refuses rows that are narrower, if it takes any width.
        least_width: usize,
        /// It answers no more rows, whatever it is asked.
        most_answered: usize,
        ran: Arc<std::sync::Mutex<Vec<usize>>>,
    }

    impl Model for Greedy {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn infer(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, InferError> {
            let shape = inputs[0].as_ref().expect("an input").shape();
            let rows = shape[0];
            self.ran.lock().expect("not poisoned").push(rows);
            if shape[1] < self.least_width {
                return Err(InferError::refused(format!("{} is narrow", shape[1])));
            }
            if rows <= self.rows {
                return Ok(vec![Tensor::zeros(DataType::Fp32, vec![rows.min(self.most_answered), 1])?]);
            }
            assert!(!self.panics, "failed to allocate Layout {{ size: {rows} }}");
            Err(InferError::OutOfMemory(format!("{rows} rows")))
        }
    }

    #[derive(Clone)]
    struct GreedyLoader {
        rows: usize,
        panics: bool,
        least_width: usize,
        most_answered: usize,
        ran: Arc<std::sync::Mutex<Vec<usize>>>,
    }

    impl Loader for GreedyLoader {
        fn load(&self) -> Result<Box<dyn Model>, ModelError> {
            let dims = if self.least_width > 1 { [Dim::Dynamic; 2] } else { [Dim::Dynamic, Dim::Fixed(1)] };
            let tensor = |name: &str| TensorSpec {
                name: name.to_owned(),
                datatype: DataType::Fp32,
                shape: Some(dims.to_vec()),
                optional: false,
            };
            Ok(Box::new(Greedy {
                signature: Signature::new(vec![tensor("x")], vec![tensor("y")]),
                rows: self.rows,
                panics: self.panics,
                least_width: self.least_width,
                most_answered: self.most_answered,
                ran: Arc::clone(&self.ran),
            }))
        }
    }

    fn warmed(rows: usize, panics: bool) -> (Result<Warm, WarmupError>, Vec<usize>) {
        warmed_within(None, rows, panics)
    }

    fn warmed_within(
        memory: Option<MemoryBudget>,
        rows: usize,
        panics: bool,
    ) -> (Result<Warm, WarmupError>, Vec<usize>) {
        warmed_by(
            GreedyLoader { rows, panics, least_width: 1, most_answered: 99, ran: Arc::default() },
            memory,
        )
    }

    fn warmed_by(
        loader: GreedyLoader,
        memory: Option<MemoryBudget>,
    ) -> (Result<Warm, WarmupError>, Vec<usize>) {
        warmed_with(None, loader, memory)
    }

    fn warmed_with(
        input: Option<WarmupInput>,
        loader: GreedyLoader,
        memory: Option<MemoryBudget>,
    ) -> (Result<Warm, WarmupError>, Vec<usize>) {
        let ran = Arc::clone(&loader.ran);
        let loader: Arc<dyn Loader> = Arc::new(loader);
        let settings = WarmupSettings {
            input,
            iterations: 2,
            max_batch_size: 16,
            workers: 1,
            memory,
            every_size: false,
        };
        let mut model = loader.load().expect("it loads");
        let warm = warm(&mut model, &loader, &settings);
        let ran = ran.lock().expect("not poisoned").clone();
        (warm, ran)
    }

    #[test]
    fn a_size_is_found_for_what_requests_choose() {
        let loader = |least_width, most_answered| GreedyLoader {
            rows: 99,
            panics: false,
            least_width,
            most_answered,
            ran: Arc::default(),
        };
        let (warm, ran) = warmed_by(loader(17, 99), None);
        let warm = warm.expect("warm");
        assert_eq!((warm.rows, warm.joins, ran), (16, true, vec![1, 1, 1, 1, 2, 4, 8, 16, 16]));
        assert_eq!(warm.probe.expect("a row")[0].as_ref().expect("an input").shape(), [1, 64]);
        let (warm, ran) = warmed_by(loader(1000, 99), None);
        let warm = warm.expect("not warm, but served");
        assert_eq!((warm.probe, ran), (None, vec![1; 5]));
        let (warm, _) = warmed_by(loader(17, 1), None);
        assert!(!warm.expect("warm").joins, "one row whatever it is asked");
    }

    #[test]
    fn a_row_that_is_given_is_repeated_in_place_of_zeros() {
        let loader =
            GreedyLoader { rows: 99, panics: false, least_width: 17, most_answered: 99, ran: Arc::default() };
        let row = |_: &Signature| Ok(vec![Tensor::of(vec![1, 20], &[0.5_f32; 20]).ok()]);
        let (warm, ran) = warmed_with(Some(WarmupInput(Arc::new(row))), loader, None);
        assert_eq!(ran, [1, 1, 2, 4, 8, 16, 16]);
        let probe = warm.expect("warm").probe.expect("a row");
        assert_eq!(probe[0], Tensor::of(vec![1, 20], &[0.5_f32; 20]).ok());
    }

    #[test]
    fn the_largest_batch_that_fits_is_found_whether_the_model_says_so_or_panics() {
        for panics in [false, true] {
            let (warm, ran) = warmed(16, panics);
            assert_eq!((warm.expect("warm").rows, ran), (16, vec![1, 1, 2, 4, 8, 16, 16]));
            let (warm, ran) = warmed(5, panics);
            assert_eq!((warm.expect("warm").rows, ran), (4, vec![1, 1, 2, 4, 8]));
            let (warm, ran) = warmed(0, panics);
            let error = error_chain(&warm.expect_err("no row fits"));
            assert!(
                error.contains("cannot be warmed up: there is no memory to compute one row: "),
                "{error}"
            );
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
