//! Makes libtorch see GPUs. A program that is linked with libtorch's CPU part alone never loads the other, because
//! nothing in it refers to that; and what libtorch was asked once about CUDA it remembers. So it is loaded here, before
//! any question.
#![allow(unsafe_code, reason = "to load a library runs its code; libtorch's is trusted as the rest of it is")]

use std::sync::{Arc, OnceLock};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::error::DeviceError;

/// How many GPUs libtorch can use, or why none.
pub(super) fn devices() -> Result<usize, DeviceError> {
    static LOADED: OnceLock<Result<Library, Arc<libloading::Error>>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        // SAFETY: the library belongs to the libtorch that is loaded already; its initialisers register it there. It is
        // never unloaded.
        unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_GLOBAL) }.map_err(Arc::new)
    });
    if let Err(cause) = loaded {
        return Err(DeviceError::Library { library: LIBRARY, cause: Arc::clone(cause) });
    }
    if !tch::Cuda::is_available() {
        return Err(DeviceError::NotAvailable);
    }
    usize::try_from(tch::Cuda::device_count()).ok().filter(|count| *count > 0).ok_or(DeviceError::None)
}

/// Makes a GPU the one of this thread: what a program makes without naming a device lies there.
pub(super) fn select(number: usize) -> Result<(), DeviceError> {
    type SetDevice = unsafe extern "C" fn(i32) -> i32;
    let number = i32::try_from(number).map_err(|_| DeviceError::Number(number))?;
    // SAFETY: the function of CUDA's runtime, which libtorch's CUDA part has loaded, has this type.
    let status = unsafe {
        let set_device = Library::this().get::<SetDevice>(b"cudaSetDevice\0")?;
        set_device(number)
    };
    if status == 0 { Ok(()) } else { Err(DeviceError::Select { status, number }) }
}

const LIBRARY: &str = "libtorch_cuda.so";
