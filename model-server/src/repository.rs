//! Finds the file of a model: `NAME/VERSION/model.onnx` or `model.pt`, as Triton and KServe lay their models out. A
//! model of several files is a folder `model.onnx` with a file of that name in it.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{ModelConfig, ModelSource, VersionPolicy};

/// A model's file and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file; the built-in model when `None`.
    pub path: Option<PathBuf>,
    /// The version; 1 when the model does not come from a repository.
    pub version: String,
}

/// Why there is no file of a model.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The folder of the model cannot be read.
    #[error("cannot read the versions of a model in {}", model.display())]
    Read {
        /// The folder.
        model: PathBuf,
        /// The operating system's reason.
        #[source]
        cause: io::Error,
    },
    /// The model has no version at all.
    #[error("expected a folder with a number as its name in {}, found none", .0.display())]
    NoVersions(PathBuf),
    /// The model does not have the version that is asked for.
    #[error("expected a folder {version} in {}, found none", model.display())]
    NoVersion {
        /// The version.
        version: u64,
        /// The folder of the model.
        model: PathBuf,
    },
    /// The version has no file of a model.
    #[error("expected a file {} in {}, found none", FILES.join(" or "), .0.display())]
    NoFile(PathBuf),
}

/// Where the configured model is.
///
/// # Errors
/// A repository without this model or version.
pub fn find(model: &ModelConfig) -> Result<Found, RepositoryError> {
    match &model.source {
        ModelSource::BuiltIn => Ok(Found { path: None, version: FIRST.to_owned() }),
        ModelSource::File(path) => {
            // A folder that holds a model is taken for it.
            let path = in_folder(path).unwrap_or_else(|| path.clone());
            Ok(Found { path: Some(path), version: FIRST.to_owned() })
        }
        ModelSource::Repository(folder, policy) => in_repository(&folder.join(&model.name), *policy),
    }
}

fn in_repository(model: &Path, policy: VersionPolicy) -> Result<Found, RepositoryError> {
    let entries =
        std::fs::read_dir(model).map_err(|cause| RepositoryError::Read { model: model.to_owned(), cause })?;
    let versions = entries.flatten().filter(|entry| entry.path().is_dir());
    let numbers = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    let chosen = match policy {
        VersionPolicy::Latest => numbers.max(),
        VersionPolicy::Exactly(version) => numbers.filter(|number| *number == version).max(),
    };
    let Some(version) = chosen else {
        let model = model.to_owned();
        return Err(match policy {
            VersionPolicy::Latest => RepositoryError::NoVersions(model),
            VersionPolicy::Exactly(version) => RepositoryError::NoVersion { version, model },
        });
    };
    let folder = model.join(version.to_string());
    let Some(path) = in_folder(&folder) else { return Err(RepositoryError::NoFile(folder)) };
    Ok(Found { path: Some(path), version: version.to_string() })
}

/// The model in a folder: a file, or a folder of the same name with that file in it.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let places = FILES.iter().flat_map(|name| [folder.join(name), folder.join(name).join(name)]);
    places.into_iter().find(|path| path.is_file())
}

const FIRST: &str = "1";
const FILES: [&str; 2] = ["model.onnx", "model.pt"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Backend, Device};

    fn model(source: ModelSource) -> ModelConfig {
        ModelConfig {
            source,
            name: "m".to_owned(),
            backend: Backend::Auto,
            device: Device::Auto,
            onnxruntime: None,
            intra_op_threads: std::num::NonZeroUsize::MIN,
            signature: None,
            input_width: None,
        }
    }

    #[test]
    fn the_highest_version_is_served_unless_another_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        for version in ["2", "10", "x", "3"] {
            let folder = dir.path().join("m").join(version);
            std::fs::create_dir_all(&folder).expect("writable");
            if version != "3" {
                std::fs::write(folder.join("model.onnx"), "").expect("writable");
            }
        }
        let found = |policy| find(&model(ModelSource::Repository(dir.path().to_owned(), policy)));
        let latest = found(VersionPolicy::Latest).expect("found");
        assert_eq!(latest.version, "10");
        assert_eq!(latest.path, Some(dir.path().join("m/10/model.onnx")));
        assert_eq!(found(VersionPolicy::Exactly(2)).expect("found").version, "2");
        let error = found(VersionPolicy::Exactly(4)).expect_err("none").to_string();
        assert!(error.starts_with("expected a folder 4 in ") && error.ends_with(", found none"), "{error}");
        let error = found(VersionPolicy::Exactly(3)).expect_err("none").to_string();
        assert!(
            error.contains("expected a file model.onnx or model.pt in") && error.ends_with("m/3, found none"),
            "{error}"
        );
    }

    #[test]
    fn a_model_of_several_files_is_a_folder_with_the_files_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("m/1/model.onnx");
        std::fs::create_dir_all(&folder).expect("writable");
        let error = find(&model(ModelSource::File(folder.clone()))).map(|found| found.path);
        assert_eq!(error.expect("as it is named"), Some(folder.clone()));
        std::fs::write(folder.join("model.onnx"), "").expect("writable");
        std::fs::write(folder.join("model.onnx.data"), "").expect("writable");
        let repository = ModelSource::Repository(dir.path().to_owned(), VersionPolicy::Latest);
        for source in
            [repository, ModelSource::File(folder.clone()), ModelSource::File(dir.path().join("m/1"))]
        {
            assert_eq!(find(&model(source)).expect("found").path, Some(folder.join("model.onnx")));
        }
    }

    #[test]
    fn a_repository_without_the_model_says_where_it_looked() {
        let dir = tempfile::tempdir().expect("a folder");
        let source = ModelSource::Repository(dir.path().to_owned(), VersionPolicy::Latest);
        let error = find(&model(source)).expect_err("none").to_string();
        assert!(error.contains(&dir.path().join("m").display().to_string()), "{error}");
    }
}
