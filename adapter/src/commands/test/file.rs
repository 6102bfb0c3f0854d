//! The shape of a test file. Names are promtool's where it has the same.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiservice::quantity::Quantity;
use engine::labels::Labels;
use engine::notation::{self, Point};
use serde::{Deserialize, Deserializer, de};
use serve::files;

/// Why a test file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TestFileError {
    #[error("cannot read {path}", path = path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{path} is not a test file", path = path.display())]
    Invalid {
        path: PathBuf,
        #[source]
        cause: Box<serde_saphyr::Error>,
    },
    #[error("{path}: expected rule_files and tests, found none of one", path = path.display())]
    Empty { path: PathBuf },
}

/// A test file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    /// Rule files, relative to the test file.
    rule_files: Vec<PathBuf>,
    /// What is tried of them.
    pub(super) tests: Vec<Test>,
    /// The folder of the file.
    #[serde(skip)]
    folder: PathBuf,
}

/// Series, and requests about them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    pub(super) name: String,
    /// The time between two values of a series.
    #[serde(default = "default_interval", deserialize_with = "duration")]
    pub(super) interval: Duration,
    pub(super) input_series: Vec<InputSeries>,
    /// Objects besides those that the labels of the series name: `{namespace="default",pod="a",app="web"}`.
    #[serde(default, deserialize_with = "labels")]
    pub(super) objects: Vec<Labels>,
    pub(super) requests: Vec<Request>,
}

/// A series in promtool's notation, the first value at time 0.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputSeries {
    #[serde(deserialize_with = "one_labels")]
    pub(super) series: Labels,
    #[serde(deserialize_with = "points")]
    pub(super) values: Vec<Point>,
}

/// A request, and what is expected of its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// When it is asked, from the time of the first values.
    #[serde(deserialize_with = "duration")]
    pub(super) at: Duration,
    /// As in `kubectl get --raw PATH`.
    pub(super) path: String,
    /// The queries that must be sent, in order. Not compared when absent.
    pub(super) promql: Option<Vec<String>>,
    /// The values that must come. Not compared when absent.
    pub(super) values: Option<Values>,
    /// The use of CPU and memory, by node, or by pod and container as `POD/CONTAINER`.
    pub(super) usage: Option<BTreeMap<String, ExpectedUsage>>,
    /// A part of the message that the request must be refused with.
    pub(super) error: Option<String>,
}

/// The values of an answer.
#[derive(Debug)]
pub(super) enum Values {
    /// By the object's name.
    OfObjects(BTreeMap<String, Expected>),
    /// Of an external metric, in the order of the answer.
    External(Vec<Expected>),
}

/// The use of one node or container.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedUsage {
    pub(super) cpu: Expected,
    pub(super) memory: Expected,
}

/// A quantity, written as a number or as Kubernetes writes it: `5`, `"500m"`, `"4Ki"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected(pub(super) Quantity);

impl TestFile {
    /// Reads a file.
    ///
    /// # Errors
    /// What was expected, what was found, and where.
    pub(super) fn read(path: &Path) -> Result<TestFile, TestFileError> {
        let text = files::read_text(path, LARGEST_FILE)
            .map_err(|cause| TestFileError::Unreadable { path: path.to_owned(), cause })?;
        let mut file: TestFile = serde_saphyr::from_str(&text)
            .map_err(|cause| TestFileError::Invalid { path: path.to_owned(), cause: Box::new(cause) })?;
        if file.rule_files.is_empty() || file.tests.is_empty() {
            return Err(TestFileError::Empty { path: path.to_owned() });
        }
        path.parent().unwrap_or(Path::new("")).clone_into(&mut file.folder);
        Ok(file)
    }

    /// The paths of the rule files.
    pub(super) fn rule_files(&self) -> impl Iterator<Item = PathBuf> {
        self.rule_files.iter().map(|path| self.folder.join(path))
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values by the names of objects, or a list of values of an external metric")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Values, A::Error> {
                BTreeMap::deserialize(de::value::MapAccessDeserializer::new(map)).map(Values::OfObjects)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Values, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(Values::External)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Expected, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity like 5, 0.25 or \"500m\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Expected, E> {
                Quantity::parse(text).map(Expected).map_err(|error| E::custom(error.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Expected, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Expected, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Expected, E> {
                Quantity::from_f64(number).map(Expected).map_err(|error| E::custom(error.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn default_interval() -> Duration {
    Duration::from_mins(1)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let form = || de::Error::custom(format!("expected a duration like 5m or 1h30m, found {text:?}"));
    rules::duration::parse(&text).ok_or_else(form)
}

fn one_labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    notation::labels(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Labels>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| notation::labels(text).map_err(de::Error::custom)).collect()
}

fn points<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Point>, D::Error> {
    notation::values(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// In bytes.
const LARGEST_FILE: usize = 4 << 20;
