//! Makes libtorch see GPUs. A program that is linked with libtorch's CPU part alone never loads the other, because nothing in it
//! refers to that; and what libtorch was asked once about CUDA it remembers. So it is loaded here, before any question.
#![allow(unsafe_code, reason = "to load a library runs its code; libtorch's is trusted as the rest of it is")]

use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// How many GPUs libtorch can use, or why none.
pub(super) fn devices() -> Result<usize, String> {
    static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        // SAFETY: the library belongs to the libtorch that is loaded already; its initialisers register it there. It is never
        // unloaded.
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

const LIBRARY: &str = "libtorch_cuda.so";
