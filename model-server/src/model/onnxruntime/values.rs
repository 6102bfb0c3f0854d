//! Tensors as ONNX Runtime has them.

use std::fmt::Debug;

use half::{bf16, f16};
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef};
use zerocopy::{FromBytes, Immutable, IntoBytes, TryFromBytes};

use super::error::InputError;
use crate::model::InferError;
use crate::tensor::{DataType, Tensor, TensorSpec};

/// The protocol's type for one of the library's, if it has one.
pub(super) fn datatype(element: TensorElementType) -> Option<DataType> {
    Some(match element {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Bfloat16 => DataType::Bf16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::String => DataType::Bytes,
        _ => return None,
    })
}

/// An input for the library, which reads it where it lies if it can.
pub(super) fn taken<'a>(
    name: &str,
    tensor: &'a Tensor,
    failed: impl Fn(ort::Error) -> InferError,
) -> Result<SessionInputValue<'a>, InferError> {
    let shape = dims(tensor);
    match tensor.datatype() {
        DataType::Bool => {
            // A tensor of these is built with nothing else.
            let truths = <[bool]>::try_ref_from_bytes(tensor.data())
                .map_err(|_| InferError::invalid(InputError::NotBools(name.to_owned())))?;
            return Ok(TensorRef::from_array_view((shape, truths)).map_err(failed)?.into());
        }
        DataType::Uint8 => numbers::<u8>(tensor, shape),
        DataType::Uint16 => numbers::<u16>(tensor, shape),
        DataType::Uint32 => numbers::<u32>(tensor, shape),
        DataType::Uint64 => numbers::<u64>(tensor, shape),
        DataType::Int8 => numbers::<i8>(tensor, shape),
        DataType::Int16 => numbers::<i16>(tensor, shape),
        DataType::Int32 => numbers::<i32>(tensor, shape),
        DataType::Int64 => numbers::<i64>(tensor, shape),
        DataType::Fp16 => numbers::<f16>(tensor, shape),
        DataType::Bf16 => numbers::<bf16>(tensor, shape),
        DataType::Fp32 => numbers::<f32>(tensor, shape),
        DataType::Fp64 => numbers::<f64>(tensor, shape),
        DataType::Bytes => {
            let texts = texts(name, tensor)?;
            ort::value::Tensor::from_string_array((shape, &texts[..])).map(Into::into)
        }
    }
    .map_err(failed)
}

/// ONNX has texts, which the library takes up to their first zero.
fn texts(name: &str, tensor: &Tensor) -> Result<Vec<String>, InferError> {
    let texts = tensor.strings().enumerate().map(|(place, bytes)| {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        text.map(str::to_owned)
            .ok_or_else(|| InferError::invalid(InputError::NotText { input: name.to_owned(), place }))
    });
    texts.collect()
}

fn numbers<T>(tensor: &Tensor, shape: Vec<i64>) -> ort::Result<SessionInputValue<'_>>
where
    T: PrimitiveTensorElementType + FromBytes + IntoBytes + Immutable + Clone + Debug + 'static,
{
    // In place, unless a number begins where none can: the tensor may be a part of a request.
    if let Ok(numbers) = <[T]>::ref_from_bytes(tensor.data()) {
        return Ok(TensorRef::from_array_view((shape, numbers))?.into());
    }
    let mut numbers: Vec<T> = vec![T::new_zeroed(); tensor.elements()];
    numbers.as_mut_bytes().copy_from_slice(tensor.data());
    Ok(ort::value::Tensor::from_array((shape, numbers))?.into())
}

fn dims(tensor: &Tensor) -> Vec<i64> {
    // Memory holds no tensor of more.
    tensor.shape().iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect()
}

/// An output of the library's, copied out of its memory.
pub(super) fn given(
    value: &DynValue,
    spec: &TensorSpec,
    failed: impl Fn(ort::Error) -> InferError,
) -> Result<Tensor, InferError> {
    let copied = match spec.datatype {
        DataType::Bool => bytes::<bool>(value),
        DataType::Uint8 => bytes::<u8>(value),
        DataType::Uint16 => bytes::<u16>(value),
        DataType::Uint32 => bytes::<u32>(value),
        DataType::Uint64 => bytes::<u64>(value),
        DataType::Int8 => bytes::<i8>(value),
        DataType::Int16 => bytes::<i16>(value),
        DataType::Int32 => bytes::<i32>(value),
        DataType::Int64 => bytes::<i64>(value),
        DataType::Fp16 => bytes::<f16>(value),
        DataType::Bf16 => bytes::<bf16>(value),
        DataType::Fp32 => bytes::<f32>(value),
        DataType::Fp64 => bytes::<f64>(value),
        DataType::Bytes => {
            let (shape, texts) = value.try_extract_strings().map_err(failed)?;
            return Ok(Tensor::of_strings(sizes(shape), &texts)?);
        }
    };
    let (shape, data) = copied.map_err(failed)?;
    Ok(Tensor::new(spec.datatype, shape, data)?)
}

fn bytes<T>(value: &DynValue) -> ort::Result<(Vec<usize>, Vec<u8>)>
where
    T: PrimitiveTensorElementType + IntoBytes + Immutable,
{
    let (shape, numbers) = value.try_extract_tensor::<T>()?;
    Ok((sizes(shape), numbers.as_bytes().to_vec()))
}

fn sizes(shape: &[i64]) -> Vec<usize> {
    // The library has no tensor of negative size.
    shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect()
}
