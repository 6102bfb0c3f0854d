//! Copies between the server's memory and a device's, each made once: what lies between costs as much as the copy
//! itself.
#![allow(unsafe_code, reason = "libtorch reads and writes memory that is not its own")]

use tch::{Device, Kind, TchError, Tensor};

/// A tensor on a device other than the CPU, of elements that lie here.
pub(super) fn to_device(data: &[u8], shape: &[i64], kind: Kind, device: Device) -> Result<Tensor, TchError> {
    debug_assert!(device != Device::Cpu, "there it would be no copy");
    let elements = shape.iter().product::<i64>() as usize;
    if elements * kind.elt_size_in_bytes() != data.len() {
        return Err(TchError::Shape(format!("expected {shape:?} of {kind:?}, found {} bytes", data.len())));
    }
    if !data.as_ptr().addr().is_multiple_of(kind.elt_size_in_bytes()) || data.is_empty() {
        return Tensor::f_from_data_size(data, shape, kind)?.f_to_device(device);
    }
    // SAFETY: the memory has as many elements as the shape, and they are aligned. The view is read before this
    // returns: a copy from memory that is not pinned ends before its call does. Nothing else keeps the view.
    let view = unsafe { Tensor::f_from_blob(data.as_ptr(), shape, &[], kind, Device::Cpu) }?;
    view.f_to_device(device)
}

/// The elements of a tensor, wherever it is, as they lie in memory.
pub(super) fn from_device(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let (kind, shape) = (tensor.f_kind()?, tensor.size());
    let tensor = tensor.f_contiguous()?;
    let mut data = vec![0_u8; tensor.numel() * kind.elt_size_in_bytes()];
    if tensor.device() == Device::Cpu || !data.as_ptr().addr().is_multiple_of(kind.elt_size_in_bytes()) {
        tensor.f_to_device(Device::Cpu)?.f_copy_data_u8(&mut data, tensor.numel())?;
        return Ok(data);
    }
    if !data.is_empty() {
        // SAFETY: the memory has as many elements as the shape, they are aligned, and nothing else looks at it while
        // the view lives, which is written before this returns.
        let mut view = unsafe { Tensor::f_from_blob(data.as_mut_ptr(), &shape, &[], kind, Device::Cpu) }?;
        view.f_copy_(&tensor)?;
    }
    Ok(data)
}
