//! What a TorchScript file takes and gives, as a file beside it says, since it does not say so itself: Triton's
//! `config.pbtxt`, or the same fields as JSON in `model.json`.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serve::files;

use super::error::DeclaredError;
use super::pbtxt;
use crate::model::ModelError;
use crate::tensor::{DataType, Dim, TensorSpec};

/// Inputs and outputs, in the order of the module's arguments and results. Without outputs, executions show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
}

/// Fields of a configuration; others are for other servers.
#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    max_batch_size: i64,
    #[serde(default)]
    input: Vec<Entry>,
    #[serde(default)]
    output: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    data_type: String,
    #[serde(default)]
    dims: Vec<i64>,
    #[serde(default)]
    optional: bool,
}

impl Declared {
    /// What the file beside a model says: `model.json`, or `config.pbtxt` there or, in a repository, one folder above.
    /// `None` if there is no such file.
    ///
    /// # Errors
    /// The file is something else.
    pub(super) fn beside(model: &Path, in_repository: bool) -> Result<Option<Declared>, ModelError> {
        let folder = model.parent().unwrap_or(Path::new(""));
        let mut places = vec![model.with_extension("json"), folder.join(PBTXT)];
        if let (true, Some(above)) = (in_repository, folder.parent()) {
            places.push(above.join(PBTXT));
        }
        for path in places {
            match fs::metadata(&path) {
                Ok(found) if found.is_file() => {
                    let read = Declared::read(&path).map(Some);
                    let name = path.display().to_string();
                    return read
                        .map_err(|error| ModelError::unusable(name, "a model's configuration", error));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn read(path: &Path) -> Result<Declared, DeclaredError> {
        let text = files::read_text(path, LONGEST)?;
        let config = if path.extension().is_some_and(|extension| extension == "json") {
            serde_json::from_str(&text)
        } else {
            serde_json::from_value(pbtxt::parse(&text, &REPEATED).map_err(DeclaredError::Pbtxt)?)
        };
        Declared::of(config?)
    }

    fn of(config: Config) -> Result<Declared, DeclaredError> {
        let Config { max_batch_size, input, output } = config;
        if input.is_empty() {
            return Err(DeclaredError::NoInputs);
        }
        let tensors = |entries: Vec<Entry>| -> Result<Vec<TensorSpec>, DeclaredError> {
            let mut tensors = Vec::with_capacity(entries.len());
            for entry in in_order(entries) {
                let tensor = entry.tensor(max_batch_size > 0)?;
                if tensors.iter().any(|other: &TensorSpec| other.name == tensor.name) {
                    return Err(DeclaredError::Twice(tensor.name));
                }
                tensors.push(tensor);
            }
            Ok(tensors)
        };
        Ok(Declared { inputs: tensors(input)?, outputs: tensors(output)? })
    }
}

impl Entry {
    fn tensor(self, batches: bool) -> Result<TensorSpec, DeclaredError> {
        let Entry { name, data_type, dims, optional } = self;
        let Some(datatype) = DataType::config_named(&data_type) else {
            return Err(DeclaredError::DataType { name, found: data_type });
        };
        let rows = batches.then_some(Dim::Dynamic);
        let dims = dims.into_iter().map(|dim| match dim {
            -1 => Ok(Dim::Dynamic),
            size => usize::try_from(size)
                .map(Dim::Fixed)
                .map_err(|_| DeclaredError::Dims { name: name.clone(), found: size }),
        });
        let shape = rows.into_iter().map(Ok).chain(dims).collect::<Result<_, DeclaredError>>()?;
        Ok(TensorSpec { name, datatype, shape: Some(shape), optional })
    }
}

/// By the numbers at the end of their names, if all have one, as Triton asks for: `INPUT__0`, `INPUT__1`; else as they
/// are written.
fn in_order(mut entries: Vec<Entry>) -> Vec<Entry> {
    let number = |entry: &Entry| entry.name.rsplit_once("__")?.1.parse::<u32>().ok();
    if entries.iter().all(|entry| number(entry).is_some()) {
        entries.sort_by_key(number);
    }
    entries
}

const PBTXT: &str = "config.pbtxt";
/// Fields of which there may be several.
const REPEATED: [&str; 3] = ["input", "output", "dims"];
/// Bytes of a configuration.
const LONGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use serve::error_chain;

    use super::*;

    fn read(name: &str, content: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(name), content).expect("writable");
        match Declared::beside(&dir.path().join("model.pt"), false).map_err(|error| error_chain(&error)) {
            Ok(found) => {
                let Declared { inputs, outputs } = found.expect("a file");
                let all = inputs.iter().chain(&outputs).map(ToString::to_string);
                Ok(all.collect::<Vec<_>>().join(", "))
            }
            Err(text) => Err(text.split_once("configuration: ").expect("a reason").1.to_owned()),
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let pbtxt = r#"
            name: "bert"  # as Triton's users write it
            platform: "pytorch_libtorch"
            max_batch_size: 8
            input [
              { name: "mask__1" data_type: TYPE_BOOL dims: [ -1 ] },
              { name: "ids__0", data_type: TYPE_INT64, dims: [ -1 ] optional: true }
            ]
            output { name: "logits" data_type: TYPE_FP16 dims: 2 dims: 3 }
            instance_group [ { kind: KIND_GPU count: 1 gpus: [ 0 ] } ]
            parameters: { key: "x" value: { string_value: "y" } }
        "#;
        let expected =
            r#""ids__0" INT64 [-1, -1] (optional), "mask__1" BOOL [-1, -1], "logits" FP16 [-1, 2, 3]"#;
        assert_eq!(read("config.pbtxt", pbtxt).as_deref(), Ok(expected));
        let json = r#"{"max_batch_size": 8, "x": [1],
            "input": [{"name": "mask__1", "data_type": "TYPE_BOOL", "dims": [-1]},
                      {"name": "ids__0", "data_type": "TYPE_INT64", "dims": [-1], "optional": true}],
            "output": [{"name": "logits", "data_type": "TYPE_FP16", "dims": [2, 3]}]}"#;
        assert_eq!(read("model.json", json).as_deref(), Ok(expected));
    }

    #[test]
    fn without_batches_dimensions_are_all_there_are() {
        let json = r#"{"input": [{"name": "x", "data_type": "TYPE_FP32"}]}"#;
        assert_eq!(read("model.json", json).as_deref(), Ok(r#""x" FP32 []"#));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, content, expected) in [
            ("model.json", "{}", "expected inputs, found none"),
            ("model.json", "[", "EOF while parsing a list at line 1 column 1"),
            (
                "config.pbtxt",
                r#"input { name: "x" data_type: FP32 }"#,
                r#"expected a data_type of "x" as TYPE_FP32, found "FP32""#,
            ),
            (
                "config.pbtxt",
                r#"input { name: "x" data_type: TYPE_FP32 dims: -2 }"#,
                r#"expected dims of "x" of -1 or more, found -2"#,
            ),
            (
                "config.pbtxt",
                r#"input { name: "x" data_type: TYPE_FP32 } input { name: "x" data_type: TYPE_FP32 }"#,
                r#"expected "x" once, found it twice"#,
            ),
            ("config.pbtxt", "input {", "expected } in line 1, found the end"),
        ] {
            assert_eq!(read(name, content), Err(expected.to_owned()), "{content}");
        }
        let dir = tempfile::tempdir().expect("a folder");
        assert!(matches!(Declared::beside(&dir.path().join("model.pt"), true), Ok(None)));
    }

    #[test]
    fn in_a_repository_the_configuration_lies_above_the_versions() {
        let dir = tempfile::tempdir().expect("a folder");
        let version = dir.path().join("1");
        fs::create_dir(&version).expect("writable");
        fs::write(dir.path().join(PBTXT), r#"input { name: "x" data_type: TYPE_INT8 dims: [] }"#)
            .expect("writable");
        let model = version.join("model.pt");
        assert!(matches!(Declared::beside(&model, false), Ok(None)));
        assert!(Declared::beside(&model, true).expect("read").is_some());
    }
}
