//! What the text of a failed execution says about its cause. Libraries for GPUs and tensors have no classes of
//! errors, only words.

/// Why an execution failed, as far as words can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There was no memory for it; a smaller batch may do.
    OutOfMemory,
    /// Something is wrong with the device or its driver: once a CUDA context is broken, every later call fails as well.
    Device,
    /// The numbers that it was given: an integer is divided by zero.
    Inputs,
    /// The model does not take this input, or anything else.
    Other,
}

/// The cause that a text names.
pub fn cause_of(text: &str) -> Cause {
    let text = text.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if any(&OUT_OF_MEMORY) {
        Cause::OutOfMemory
    } else if any(&DIVISION) {
        Cause::Inputs
    } else if any(&NOT_SUPPORTED) {
        Cause::Other
    } else if any(&DEVICE) || text.split(|c: char| !c.is_alphanumeric()).any(|word| word == XID) {
        Cause::Device
    } else {
        Cause::Other
    }
}

/// The line of an error of libtorch's that says what happened. A text of the TorchScript interpreter begins with a
/// traceback and ends with the cause; any other begins with it, and goes on with advice and a stack.
pub fn line_of(text: &str) -> &str {
    let text = text.split("Exception raised from").next().unwrap_or(text);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    if !first.contains("TorchScript interpreter") {
        return first;
    }
    let rest: Vec<&str> = lines.collect();
    let error = rest.iter().rfind(|line| {
        line.split_once(": ").is_some_and(|(kind, _)| kind.ends_with("Error") && !kind.contains(' '))
    });
    error.or(rest.last()).copied().unwrap_or(first)
}

/// Of PyTorch's allocators, on the CPU (three) and on GPUs, of CUDA's libraries, of the C++ library, of tract.
const OUT_OF_MEMORY: [&str; 11] = [
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "failed to allocate",
    "_alloc_failed",
    "allocation_failed",
    "memoryallocation",
    // cuDNN finds no algorithm whose workspace fits; it says so whatever the reason.
    "unable to find a valid cudnn algorithm",
    // The allocator asks for the free memory to report that there is none, and fails at that.
    "nvml_success == r internal assert",
];

/// Of Rust's arithmetic, which tract uses.
const DIVISION: [&str; 2] = ["attempt to divide by zero", "with a divisor of zero"];

/// Calls that a library refuses, on a device that is well.
const NOT_SUPPORTED: [&str; 6] = [
    "status_not_supported",
    "status_invalid_value",
    "status_bad_param",
    "status_arch_mismatch",
    "invalid device function",
    "no kernel image",
];

/// Of CUDA's runtime, driver and libraries, and of AMD's HIP.
const DEVICE: [&str; 13] = [
    "cuda error",
    "cuda driver error",
    "device-side assert",
    "illegal memory access",
    "illegal instruction was encountered",
    "unspecified launch failure",
    "uncorrectable ecc",
    "fallen off the bus",
    "cublas_status_",
    "cudnn_status_",
    "cusolver_status_",
    "cusparse_status_",
    "hip error",
];
/// The driver's word for a fault of a GPU.
const XID: &str = "xid";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_lack_of_memory_are_known() {
        for text in [
            "CUDA out of memory. Tried to allocate 20.00 GiB (GPU 0; 79.10 GiB total capacity)",
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.",
            "DefaultCPUAllocator: not enough memory: you tried to allocate 4503599627370496 bytes.",
            "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
            "Unable to find a valid cuDNN algorithm to run convolution",
            "NVML_SUCCESS == r INTERNAL ASSERT FAILED at \"/pytorch/c10/cuda/CUDACachingAllocator.cpp\":1131",
            "std::bad_alloc",
            "failed to allocate Layout { size: 18874368000, align: 64 (1 << 6) }",
        ] {
            assert_eq!(cause_of(text), Cause::OutOfMemory, "{text}");
        }
    }

    #[test]
    fn words_of_a_broken_device_are_known() {
        for text in [
            "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported",
            "CUDA error: an illegal memory access was encountered",
            "CUDA error: unspecified launch failure",
            "CUDA error: uncorrectable ECC error encountered",
            "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb)`",
            "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
            "cuDNN error: CUDNN_STATUS_MAPPING_ERROR",
            "CUDA driver error: device not ready",
            "Xid 79: GPU has fallen off the bus",
        ] {
            assert_eq!(cause_of(text), Cause::Device, "{text}");
        }
    }

    #[test]
    fn a_division_by_zero_is_the_inputs_affair() {
        for text in [
            "attempt to divide by zero, at math/mod.rs:226:54",
            "attempt to calculate the remainder with a divisor of zero",
        ] {
            assert_eq!(cause_of(text), Cause::Inputs, "{text}");
        }
    }

    #[test]
    fn anything_else_is_the_models_affair() {
        for text in [
            "mat1 and mat2 shapes cannot be multiplied (1x5 and 3x2)",
            "index 7 is out of bounds for dimension 0 with size 5",
            "expected input \"oxide\"",
            "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input.",
            "CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasGemmEx`",
            "",
        ] {
            assert_eq!(cause_of(text), Cause::Other, "{text}");
        }
    }

    #[test]
    fn the_line_that_says_what_happened_is_told() {
        for (text, expected) in [
            (
                "The following operation failed in the TorchScript interpreter.\n\
                 Traceback of TorchScript, serialized code (most recent call last):\n  \
                 File \"code/__torch__.py\", line 8, in forward\n    return torch.addmm(b, x, w)\n           ~~~ <--- HERE\n\n\
                 RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x5 and 3x2)\n",
                "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x5 and 3x2)",
            ),
            (
                "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript:\n\
                 RuntimeError: CUDA error: device-side assert triggered\nFor debugging consider CUDA_LAUNCH_BLOCKING=1\n",
                "RuntimeError: CUDA error: device-side assert triggered",
            ),
            (
                "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript:\nodd\n\n",
                "odd",
            ),
            (
                "shape '[2]' is invalid for input of size 3\nException raised from view at Shape.cpp:1 (most recent call first):\n\
                 frame #0: c10::Error::Error\n",
                "shape '[2]' is invalid for input of size 3",
            ),
            ("", ""),
        ] {
            assert_eq!(line_of(text), expected, "{text}");
        }
    }
}
