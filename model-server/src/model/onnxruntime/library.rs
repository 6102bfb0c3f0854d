//! Finds ONNX Runtime's library, and looks at it before anything else does: one that is missing or too old must
//! neither end nor stop the program.

#![allow(unsafe_code, reason = "a library is loaded, and asked for its version by its own C functions")]

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider as _};
use ort::logging::LogLevel;
use serve::error_chain;

use crate::model::ModelError;

/// ONNX Runtime, loaded.
pub struct Library {
    path: PathBuf,
    version: String,
    environment: Environment,
}

/// Where the library is: as asked, as the environment says, or beside the program; `None` if it is not there.
pub fn locate(asked: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = asked {
        return Some(path.to_owned());
    }
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let program = std::env::current_exe().ok()?;
    NAMES.iter().map(|name| program.with_file_name(name)).find(|path| path.is_file())
}

impl Library {
    /// Loads the library, once in a process.
    ///
    /// # Errors
    /// Something else than a library of ONNX Runtime, or one that is too old; or another one than before.
    pub fn load(path: &Path) -> Result<Library, ModelError> {
        // Nothing is found beside the program here, or on the loader's own paths.
        let path = std::fs::canonicalize(path).map_err(|error| {
            ModelError(format!("cannot read ONNX Runtime's library {}: {error}", path.display()))
        })?;
        let version = checked(&path)?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let environment = match &*loaded {
            Some((first, environment)) if *first == path => environment.clone(),
            Some((first, _)) => {
                return Err(ModelError(format!(
                    "cannot load {}: ONNX Runtime is loaded from {} already",
                    path.display(),
                    first.display()
                )));
            }
            None => {
                let failed = |error: &dyn std::fmt::Display| {
                    ModelError(format!("cannot use ONNX Runtime's library {}: {error}", path.display()))
                };
                let builder = ort::init_from(&path).map_err(|error| failed(&error))?;
                // What is wrong comes as errors of calls, too: printed by the library, it would be told twice.
                let environment = builder.with_name("model-server").with_telemetry(false).build();
                let environment = environment.map_err(|error| failed(&error))?;
                environment.set_log_level(LogLevel::Fatal);
                *loaded = Some((path.clone(), environment.clone()));
                environment
            }
        };
        Ok(Library { path, version, environment })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, as in 1.32.0.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Whether it was built for NVIDIA's GPUs.
    ///
    /// # Errors
    /// It was not.
    pub(super) fn can_use_cuda(&self) -> Result<(), ModelError> {
        if ep::CUDA::is_available().unwrap_or(false) {
            return Ok(());
        }
        Err(ModelError(format!(
            "expected ONNX Runtime with its CUDA execution provider, as in PyPI's onnxruntime-gpu, found one without it: {}",
            self.path.display()
        )))
    }
}

/// The version of a library that has all that is needed.
fn checked(path: &Path) -> Result<String, ModelError> {
    // SAFETY: its initialisers run. It is the operator who names it, or puts it beside the program.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| {
        let error = error_chain(&error);
        ModelError(format!("cannot load ONNX Runtime's library {}: {error}", path.display()))
    })?;
    // SAFETY: the function has this type in every version of the library.
    let base =
        unsafe { library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0") };
    let base = base.map_err(|_| {
        ModelError(format!("expected ONNX Runtime's library, found {} without OrtGetApiBase", path.display()))
    })?;
    // SAFETY: it gives a structure that lives as long as the library, or none.
    let Some(base) = (unsafe { base().as_ref() }) else {
        return Err(ModelError(format!(
            "expected ONNX Runtime's interface in {}, found none",
            path.display()
        )));
    };
    // SAFETY: a text that ends with a zero and lives as long as the library.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) }.to_string_lossy().into_owned();
    // SAFETY: it gives the functions of this version, or null if it is older.
    if unsafe { (base.GetApi)(ort::MINOR_VERSION) }.is_null() {
        let path = path.display();
        return Err(ModelError(format!(
            "expected ONNX Runtime 1.{} or later, found {version} in {path}",
            ort::MINOR_VERSION
        )));
    }
    // It stays for as long as the process.
    std::mem::forget(library);
    Ok(version)
}

/// The library and its environment: a process has one of each, until it ends.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);
const VARIABLE: &str = "ORT_DYLIB_PATH";
const NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];
