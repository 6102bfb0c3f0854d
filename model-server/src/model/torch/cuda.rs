//! Makes libtorch see GPUs. A program that is linked with libtorch's CPU part alone never loads the other, because
//! nothing in it refers to that; and what libtorch was asked once about CUDA it remembers. So it is loaded here, before
//! any question.
#![allow(unsafe_code, reason = "to load a library runs its code; libtorch's is trusted as the rest of it is")]

use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// How many GPUs libtorch can use, or why none.
pub(super) fn devices() -> Result<usize, String> {
    static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        // SAFETY: the library belongs to the libtorch that is loaded already; its initialisers register it there. It is
        // never unloaded.
        unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| error.to_string())
    });
    if let Err(error) = loaded {
        return Err(format!("{LIBRARY} cannot be loaded: {error}"));
    }
    if !tch::Cuda::is_available() {
        return Err("libtorch finds no GPU that it can use; nvidia-smi may say why".to_owned());
    }
    usize::try_from(tch::Cuda::device_count())
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| "no GPU".to_owned())
}

/// Makes a GPU the one of this thread: what a program makes without naming a device lies there.
pub(super) fn select(number: usize) -> Result<(), String> {
    type SetDevice = unsafe extern "C" fn(i32) -> i32;
    let number = i32::try_from(number).map_err(|_| format!("expected a number of a GPU, found {number}"))?;
    // SAFETY: the function of CUDA's runtime, which libtorch's CUDA part has loaded, has this type.
    let status = unsafe {
        let set_device =
            Library::this().get::<SetDevice>(b"cudaSetDevice\0").map_err(|error| error.to_string())?;
        set_device(number)
    };
    if status == 0 { Ok(()) } else { Err(format!("CUDA error: {status} from cudaSetDevice({number})")) }
}

const LIBRARY: &str = "libtorch_cuda.so";
