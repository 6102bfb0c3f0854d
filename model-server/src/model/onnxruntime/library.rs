//! Finds ONNX Runtime's library, and looks at it before anything else does: one that is missing or too old must
//! neither end nor stop the program.

#![allow(unsafe_code, reason = "a library is loaded, and asked for its version by its own C functions")]

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider as _};
use ort::logging::LogLevel;

use super::error::LibraryError;

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
    pub fn load(path: &Path) -> Result<Library, LibraryError> {
        // Nothing is found beside the program here, or on the loader's own paths.
        let path = std::fs::canonicalize(path)
            .map_err(|cause| LibraryError::Read { path: path.to_owned(), cause })?;
        let version = checked(&path)?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let environment = match &*loaded {
            Some((first, environment)) if *first == path => environment.clone(),
            Some((first, _)) => {
                return Err(LibraryError::Second { path, first: first.clone() });
            }
            None => {
                let failed = |cause| LibraryError::Start { path: path.clone(), cause };
                let builder = ort::init_from(&path).map_err(|error| failed(error.into()))?;
                // What is wrong comes as errors of calls, too: printed by the library, it would be told twice.
                let environment = builder.with_name("model-server").with_telemetry(false).build();
                let environment = environment.map_err(|error| failed(error.into()))?;
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
    pub(super) fn can_use_cuda(&self) -> Result<(), LibraryError> {
        if ep::CUDA::is_available().unwrap_or(false) {
            return Ok(());
        }
        Err(LibraryError::WithoutCuda(self.path.clone()))
    }
}

/// The version of a library that has all that is needed.
fn checked(path: &Path) -> Result<String, LibraryError> {
    // SAFETY: its initialisers run. It is the operator who names it, or puts it beside the program.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|cause| LibraryError::Load { path: path.to_owned(), cause })?;
    // SAFETY: the function has this type in every version of the library.
    let base =
        unsafe { library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0") };
    let base = base.map_err(|_| LibraryError::Other(path.to_owned()))?;
    // SAFETY: it gives a structure that lives as long as the library, or none.
    let Some(base) = (unsafe { base().as_ref() }) else {
        return Err(LibraryError::NoInterface(path.to_owned()));
    };
    // SAFETY: a text that ends with a zero and lives as long as the library.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) }.to_string_lossy().into_owned();
    // SAFETY: it gives the functions of this version, or null if it is older.
    if unsafe { (base.GetApi)(ort::MINOR_VERSION) }.is_null() {
        return Err(LibraryError::Old { version, path: path.to_owned() });
    }
    // It stays for as long as the process.
    std::mem::forget(library);
    Ok(version)
}

/// The library and its environment: a process has one of each, until it ends.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);
const VARIABLE: &str = "ORT_DYLIB_PATH";
const NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];
