//! Types of elements, as the Open Inference Protocol names them.

/// What the elements of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// A truth value: a byte of 0 or 1.
    Bool,
    /// 8 bits without a sign.
    Uint8,
    /// 16 bits without a sign.
    Uint16,
    /// 32 bits without a sign.
    Uint32,
    /// 64 bits without a sign.
    Uint64,
    /// 8 bits with a sign.
    Int8,
    /// 16 bits with a sign.
    Int16,
    /// 32 bits with a sign.
    Int32,
    /// 64 bits with a sign.
    Int64,
    /// Half precision. JSON has no form for it.
    Fp16,
    /// Half of single precision, with its exponent. JSON has no form for it.
    Bf16,
    /// Single precision.
    Fp32,
    /// Double precision.
    Fp64,
    /// Byte strings; texts in JSON.
    Bytes,
}

impl DataType {
    /// Every type.
    pub const ALL: [DataType; 14] = [
        DataType::Bool,
        DataType::Uint8,
        DataType::Uint16,
        DataType::Uint32,
        DataType::Uint64,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Fp16,
        DataType::Bf16,
        DataType::Fp32,
        DataType::Fp64,
        DataType::Bytes,
    ];

    /// The protocol's name.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// The name in Triton's model configuration.
    pub fn config_name(self) -> &'static str {
        self.facts().1
    }

    /// The bytes of an element; `None` for byte strings, which differ.
    pub fn size(self) -> Option<usize> {
        self.facts().2
    }

    /// The type that the protocol calls so.
    pub fn named(name: &str) -> Option<DataType> {
        DataType::ALL.into_iter().find(|datatype| datatype.name() == name)
    }

    /// The type that Triton's model configuration calls so.
    pub fn config_named(name: &str) -> Option<DataType> {
        DataType::ALL.into_iter().find(|datatype| datatype.config_name() == name)
    }

    /// Whether JSON has a form for its elements.
    pub fn in_json(self) -> bool {
        !matches!(self, DataType::Fp16 | DataType::Bf16)
    }

    /// Whether its elements may be infinite or not a number.
    pub fn is_float(self) -> bool {
        matches!(self, DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64)
    }

    /// Where the first number is that is not finite, in elements that lie in memory.
    pub(super) fn first_odd(self, data: &[u8]) -> Option<usize> {
        fn find<const N: usize>(data: &[u8], odd: impl Fn([u8; N]) -> bool) -> Option<usize> {
            let numbers = data.as_chunks::<N>().0;
            // A block at a time without looking for its place, which compilers make vector instructions of.
            let any = |block: &[[u8; N]]| block.iter().fold(false, |any, chunk| any | odd(*chunk));
            let block = numbers.chunks(BLOCK).position(any)?;
            let before = block * BLOCK;
            Some(before + numbers[before..].iter().position(|chunk| odd(*chunk))?)
        }
        // The exponent of infinity and of what is not a number has all bits set.
        let half = |exponent: u16| move |bytes| u16::from_le_bytes(bytes) & exponent == exponent;
        match self {
            DataType::Fp16 => find(data, half(0x7c00)),
            DataType::Bf16 => find(data, half(0x7f80)),
            DataType::Fp32 => find(data, |bytes| !f32::from_le_bytes(bytes).is_finite()),
            DataType::Fp64 => find(data, |bytes| !f64::from_le_bytes(bytes).is_finite()),
            _ => None,
        }
    }

    fn facts(self) -> (&'static str, &'static str, Option<usize>) {
        match self {
            DataType::Bool => ("BOOL", "TYPE_BOOL", Some(1)),
            DataType::Uint8 => ("UINT8", "TYPE_UINT8", Some(1)),
            DataType::Uint16 => ("UINT16", "TYPE_UINT16", Some(2)),
            DataType::Uint32 => ("UINT32", "TYPE_UINT32", Some(4)),
            DataType::Uint64 => ("UINT64", "TYPE_UINT64", Some(8)),
            DataType::Int8 => ("INT8", "TYPE_INT8", Some(1)),
            DataType::Int16 => ("INT16", "TYPE_INT16", Some(2)),
            DataType::Int32 => ("INT32", "TYPE_INT32", Some(4)),
            DataType::Int64 => ("INT64", "TYPE_INT64", Some(8)),
            DataType::Fp16 => ("FP16", "TYPE_FP16", Some(2)),
            DataType::Bf16 => ("BF16", "TYPE_BF16", Some(2)),
            DataType::Fp32 => ("FP32", "TYPE_FP32", Some(4)),
            DataType::Fp64 => ("FP64", "TYPE_FP64", Some(8)),
            DataType::Bytes => ("BYTES", "TYPE_STRING", None),
        }
    }
}

/// Numbers that are looked at together.
const BLOCK: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_found_by_each_of_its_names() {
        for datatype in DataType::ALL {
            assert_eq!(DataType::named(datatype.name()), Some(datatype));
            assert_eq!(DataType::config_named(datatype.config_name()), Some(datatype));
        }
        assert_eq!(DataType::named("TYPE_FP32"), None);
        assert_eq!(DataType::named("fp32"), None);
    }

    #[test]
    fn numbers_that_are_not_finite_are_found_in_every_precision() {
        for (datatype, one, odd) in [
            (DataType::Fp16, vec![0x00, 0x3c], vec![0x00, 0xfc]),
            (DataType::Bf16, vec![0x80, 0x3f], vec![0xc0, 0x7f]),
            (DataType::Fp32, 1_f32.to_le_bytes().to_vec(), f32::NAN.to_le_bytes().to_vec()),
            (DataType::Fp64, 1_f64.to_le_bytes().to_vec(), f64::NEG_INFINITY.to_le_bytes().to_vec()),
        ] {
            assert_eq!(datatype.first_odd(&one.repeat(3)), None, "{datatype:?}");
            for place in [2, BLOCK - 1, BLOCK, 3 * BLOCK + 7] {
                let numbers = [one.repeat(place), odd.clone(), one.repeat(BLOCK)].concat();
                assert_eq!(datatype.first_odd(&numbers), Some(place), "{datatype:?}");
            }
        }
        assert_eq!(DataType::Int64.first_odd(&[255; 16]), None);
    }
}
