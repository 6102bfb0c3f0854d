//! Numbers of Rust's that tensors are made of.

use super::DataType;

/// A number that tensors are made of.
pub trait Element: Copy + private::Sealed {
    /// The type of a tensor of these.
    const DATATYPE: DataType;

    /// Appends numbers as they lie in a tensor.
    fn write(numbers: &[Self], data: &mut Vec<u8>);

    /// The numbers that lie in a tensor.
    fn read(data: &[u8]) -> Vec<Self>;
}

mod private {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($number:ty: $datatype:ident),*) => {$(
        impl private::Sealed for $number {}

        impl Element for $number {
            const DATATYPE: DataType = DataType::$datatype;

            fn write(numbers: &[$number], data: &mut Vec<u8>) {
                data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            }

            fn read(data: &[u8]) -> Vec<$number> {
                data.as_chunks().0.iter().map(|bytes| <$number>::from_le_bytes(*bytes)).collect()
            }
        }
    )*};
}

elements!(u8: Uint8, u16: Uint16, u32: Uint32, u64: Uint64, i8: Int8, i16: Int16, i32: Int32, i64: Int64, f32: Fp32, f64: Fp64);
