//! Tensors on their way into libtorch and back.

use tch::{Device, IValue, Kind, TchError};

use super::error::{OutputError, infer_error};
use super::memory;
use crate::model::InferError;
use crate::tensor::{DataType, Tensor};

/// A tensor on the device.
pub(super) fn taken(tensor: &Tensor, device: Device) -> Result<tch::Tensor, TchError> {
    let kind = kind(tensor.datatype())
        .ok_or_else(|| TchError::Kind(format!("libtorch has no type {}", tensor.datatype().name())))?;
    let shape: Vec<i64> = tensor.shape().iter().map(|size| *size as i64).collect();
    if device == Device::Cpu {
        // A copy: a module may keep what it is given.
        return tch::Tensor::f_from_data_size(tensor.data(), &shape, kind);
    }
    memory::to_device(tensor.data(), &shape, kind, device)
}

/// How names of outputs begin that are only places.
pub(super) const PLACE: &str = "output__";

/// All tensors of a value with their names: a dictionary's keys, or the places in a list or tuple, numbered through.
pub(super) fn given(value: IValue, outputs: &mut Vec<(String, Tensor)>) -> Result<(), InferError> {
    match value {
        IValue::Tensor(tensor) => {
            let name = format!("{PLACE}{}", outputs.len());
            outputs.push((name, on_cpu(&tensor)?));
        }
        IValue::TensorList(tensors) => {
            for tensor in tensors {
                given(IValue::Tensor(tensor), outputs)?;
            }
        }
        IValue::Tuple(values) | IValue::GenericList(values) => {
            for value in values {
                given(value, outputs)?;
            }
        }
        IValue::GenericDict(entries) => {
            for entry in entries {
                match entry {
                    (IValue::String(name), IValue::Tensor(tensor)) => {
                        if outputs.iter().any(|(other, _)| *other == name) {
                            return Err(OutputError::Twice(name).into());
                        }
                        outputs.push((name, on_cpu(&tensor)?));
                    }
                    (key, value) => {
                        let (key, value) = (describe(&key), describe(&value));
                        return Err(OutputError::Dictionary { key, value }.into());
                    }
                }
            }
        }
        // An output that the module leaves out.
        IValue::None => {}
        other => return Err(OutputError::NotTensors(describe(&other)).into()),
    }
    Ok(())
}

fn on_cpu(tensor: &tch::Tensor) -> Result<Tensor, InferError> {
    let read =
        || -> Result<_, TchError> { Ok((tensor.f_kind()?, tensor.size(), memory::from_device(tensor)?)) };
    let (kind, shape, data) = read().map_err(|error| infer_error(&error))?;
    let datatype = datatype(kind).ok_or(OutputError::Type(kind))?;
    let shape = shape.into_iter().map(|size| usize::try_from(size).unwrap_or_default());
    Ok(Tensor::new(datatype, shape.collect(), data)?)
}

fn describe(value: &IValue) -> &'static str {
    match value {
        IValue::None => "nothing",
        IValue::Tensor(_) => "a tensor",
        IValue::Double(_) | IValue::Int(_) | IValue::Bool(_) => "a number",
        IValue::String(_) => "a text",
        IValue::Object(_) => "an object",
        _ => "a list",
    }
}

fn kind(datatype: DataType) -> Option<Kind> {
    Some(match datatype {
        DataType::Bool => Kind::Bool,
        DataType::Uint8 => Kind::Uint8,
        DataType::Int8 => Kind::Int8,
        DataType::Int16 => Kind::Int16,
        DataType::Int32 => Kind::Int,
        DataType::Int64 => Kind::Int64,
        DataType::Fp16 => Kind::Half,
        DataType::Bf16 => Kind::BFloat16,
        DataType::Fp32 => Kind::Float,
        DataType::Fp64 => Kind::Double,
        DataType::Uint16 | DataType::Uint32 | DataType::Uint64 | DataType::Bytes => return None,
    })
}

fn datatype(found: Kind) -> Option<DataType> {
    DataType::ALL.into_iter().find(|datatype| kind(*datatype) == Some(found))
}
