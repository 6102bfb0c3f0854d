//! Tensors as plain data: what requests carry, what models take and give, what answers hold.

mod datatype;
mod element;
mod error;
mod signature;

use bytes::Bytes;

pub use self::datatype::DataType;
pub use self::element::Element;
use self::error::MOST_ELEMENTS;
pub use self::error::{SignatureError, TensorError};
pub use self::signature::{BatchAxis, Dim, Signature, TensorSpec};

/// Numbers, truth values or byte strings in a grid of any rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    datatype: DataType,
    shape: Vec<usize>,
    data: Bytes,
}

impl Tensor {
    /// A tensor of elements that lie row by row in memory as the protocol's binary extension lays them out: little end
    /// first, a truth value as a byte of 0 or 1, a byte string after its length in four bytes.
    ///
    /// # Errors
    /// The data has not the length that type and shape ask for.
    pub fn new(datatype: DataType, shape: Vec<usize>, data: impl Into<Bytes>) -> Result<Tensor, TensorError> {
        let data = data.into();
        let elements = elements(&shape).ok_or_else(|| TensorError::TooManyElements(shape.clone()))?;
        if let Some(size) = datatype.size() {
            if elements.checked_mul(size) != Some(data.len()) {
                let expected = elements as u128 * size as u128;
                return Err(TensorError::ByteCount { expected, found: data.len() });
            }
        } else {
            let found = Strings { rest: &data }.try_fold(0_usize, |count, string| string.map(|_| count + 1));
            match found {
                Some(found) if found == elements => {}
                Some(found) => return Err(TensorError::StringCount { expected: elements, found }),
                None => return Err(TensorError::StringCutOff),
            }
        }
        if datatype == DataType::Bool
            && let Some(place) = data.iter().position(|byte| *byte > 1)
        {
            return Err(TensorError::NotABool { place, found: data[place] });
        }
        Ok(Tensor { datatype, shape, data })
    }

    /// A tensor of numbers.
    ///
    /// # Errors
    /// There are more or fewer than the shape asks for.
    pub fn of<T: Element>(shape: Vec<usize>, numbers: &[T]) -> Result<Tensor, TensorError> {
        if elements(&shape) != Some(numbers.len()) {
            return Err(TensorError::NumberCount { shape, found: numbers.len() });
        }
        let mut data = Vec::with_capacity(size_of_val(numbers));
        T::write(numbers, &mut data);
        Ok(Tensor { datatype: T::DATATYPE, shape, data: data.into() })
    }

    /// A tensor of byte strings.
    ///
    /// # Errors
    /// There are more or fewer than the shape asks for, or one is longer than 4 GiB.
    pub fn of_strings<S: AsRef<[u8]>>(shape: Vec<usize>, strings: &[S]) -> Result<Tensor, TensorError> {
        let mut data = Vec::new();
        for string in strings {
            push_string(&mut data, string.as_ref())?;
        }
        Tensor::new(DataType::Bytes, shape, data)
    }

    /// Zeros, `false` or empty strings.
    ///
    /// # Errors
    /// The shape has more elements than memory can hold.
    pub fn zeros(datatype: DataType, shape: Vec<usize>) -> Result<Tensor, TensorError> {
        // An empty string is its length alone.
        let size = datatype.size().unwrap_or(LENGTH);
        let length = elements(&shape).and_then(|elements| elements.checked_mul(size));
        let length = length.filter(|length| isize::try_from(*length).is_ok());
        let length = length.ok_or_else(|| TensorError::TooManyElements(shape.clone()))?;
        // Asked for beforehand, as the process would end without it.
        if Vec::<u8>::new().try_reserve_exact(length).is_err() {
            return Err(TensorError::NoMemory { bytes: length, shape });
        }
        Ok(Tensor { datatype, shape, data: vec![0; length].into() })
    }

    /// What its elements are.
    pub fn datatype(&self) -> DataType {
        self.datatype
    }

    /// The size of each dimension, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its elements in memory, as [`new`](Tensor::new) takes them.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// How many elements it has.
    pub fn elements(&self) -> usize {
        // It was built with a number of elements that fits.
        self.shape.iter().product()
    }

    /// Its numbers, if they are of this type.
    pub fn numbers<T: Element>(&self) -> Option<Vec<T>> {
        (self.datatype == T::DATATYPE).then(|| T::read(&self.data))
    }

    /// Its byte strings; none unless it is of these.
    pub fn strings(&self) -> impl Iterator<Item = &[u8]> {
        let rest = if self.datatype == DataType::Bytes { &self.data[..] } else { &[] };
        // It was built with whole ones.
        Strings { rest }.map_while(|string| string)
    }

    /// Where the first number is that is not finite, if there is one.
    pub fn first_odd(&self) -> Option<usize> {
        self.datatype.first_odd(&self.data)
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// The shape has another number of elements.
    pub fn with_shape(self, shape: Vec<usize>) -> Result<Tensor, TensorError> {
        if elements(&shape) == Some(self.elements()) {
            return Ok(Tensor { shape, ..self });
        }
        Err(TensorError::ElementCount { shape, found: self.elements() })
    }

    /// Several tensors joined along their first dimension. Type and other dimensions are those of the first.
    ///
    /// # Errors
    /// There is none, or one has another type or other dimensions, or is a scalar.
    pub fn join(tensors: &[&Tensor]) -> Result<Tensor, TensorError> {
        let first = tensors.first().ok_or(TensorError::NothingToJoin)?;
        let (_, others) = first.shape.split_first().ok_or(TensorError::Scalar)?;
        let alike = |tensor: &&Tensor| {
            tensor.datatype == first.datatype && tensor.shape.get(1..).is_some_and(|dims| dims == others)
        };
        if let Some(other) = tensors.iter().copied().find(|tensor| !alike(tensor)) {
            return Err(TensorError::NotAlike {
                expected: first.datatype,
                dims: others.to_vec(),
                found: other.datatype,
                shape: other.shape.clone(),
            });
        }
        let mut shape = first.shape.clone();
        shape[0] = tensors.iter().map(|tensor| tensor.shape[0]).sum();
        let data: Vec<&[u8]> = tensors.iter().map(|tensor| &tensor.data[..]).collect();
        Ok(Tensor { datatype: first.datatype, shape, data: data.concat().into() })
    }

    /// Parts of the given numbers of rows, one after another; they share the memory of the whole.
    ///
    /// # Errors
    /// It is a scalar, or has another number of rows than all parts together.
    pub fn split(&self, rows: &[usize]) -> Result<Vec<Tensor>, TensorError> {
        let expected = rows.iter().try_fold(0_usize, |sum, rows| sum.checked_add(*rows));
        let (first, others) = match self.shape.split_first() {
            Some((first, others)) if Some(*first) == expected => (*first, others),
            _ => {
                let expected: u128 = rows.iter().map(|rows| *rows as u128).sum();
                return Err(TensorError::RowCount { expected, shape: self.shape.clone() });
            }
        };
        let of_row: usize = others.iter().product();
        let mut parts = Vec::with_capacity(rows.len());
        let mut start = 0;
        for rows in rows {
            let end = match self.datatype.size() {
                Some(size) => start + rows * of_row * size,
                None => start + length_of_strings(&self.data[start..], rows * of_row),
            };
            let mut shape = self.shape.clone();
            shape[0] = *rows;
            parts.push(Tensor { datatype: self.datatype, shape, data: self.data.slice(start..end) });
            start = end;
        }
        debug_assert!(start == self.data.len() || first == 0, "every row is in a part");
        Ok(parts)
    }
}

/// How many elements a shape has, if memory can hold them.
pub fn elements(shape: &[usize]) -> Option<usize> {
    // Zero times anything is zero, in whatever order.
    if shape.contains(&0) {
        return Some(0);
    }
    let product = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    product.filter(|elements| *elements <= MOST_ELEMENTS)
}

/// Appends a byte string as it lies in a tensor.
///
/// # Errors
/// It is longer than its length can say.
pub fn push_string(data: &mut Vec<u8>, string: &[u8]) -> Result<(), TensorError> {
    let length = u32::try_from(string.len()).map_err(|_| TensorError::StringTooLong(string.len()))?;
    data.extend(length.to_le_bytes());
    data.extend(string);
    Ok(())
}

/// Byte strings behind one another; `None` for one that is cut off, and then again and again.
struct Strings<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Strings<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        if self.rest.is_empty() {
            return None;
        }
        let string = self.rest.split_first_chunk::<LENGTH>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
        });
        Some(string.map(|(string, rest)| {
            self.rest = rest;
            string
        }))
    }
}

/// Bytes of the first strings, with their lengths.
fn length_of_strings(data: &[u8], count: usize) -> usize {
    let mut strings = Strings { rest: data };
    for _ in 0..count {
        if strings.next().flatten().is_none() {
            break;
        }
    }
    data.len() - strings.rest.len()
}

/// Bytes of the length of a byte string.
const LENGTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_the_length_that_type_and_shape_ask_for() {
        let new = |datatype, shape: &[usize], data: &[u8]| {
            Tensor::new(datatype, shape.to_vec(), data.to_vec()).map_err(|error| error.to_string())
        };
        assert_eq!(new(DataType::Fp32, &[], &[0; 4]).expect("a scalar").elements(), 1);
        assert_eq!(new(DataType::Int64, &[2, 0, 3], &[]).expect("an empty one").elements(), 0);
        assert_eq!(new(DataType::Fp16, &[2, 3], &[0; 12]).expect("six").elements(), 6);
        for (datatype, shape, data, expected) in [
            (DataType::Fp64, &[2][..], &[0; 15][..], "expected 16 bytes, found 15"),
            (DataType::Bytes, &[2], &[1, 0, 0, 0, 7], "expected 2 byte strings, found 1"),
            (
                DataType::Bytes,
                &[1],
                &[2, 0, 0, 0, 7],
                "expected byte strings, each after its length in four bytes, found one cut off",
            ),
            (
                DataType::Bytes,
                &[1],
                &[255, 255, 255],
                "expected byte strings, each after its length in four bytes, found one cut off",
            ),
            (DataType::Bool, &[3], &[0, 1, 2], "expected a byte of 0 or 1 at 2, found 2"),
            (
                DataType::Uint8,
                &[usize::MAX, 2],
                &[],
                "expected a shape of at most 9223372036854775807 elements, found [18446744073709551615, 2]",
            ),
        ] {
            assert_eq!(new(datatype, shape, data), Err(expected.to_owned()), "{datatype:?} {shape:?}");
        }
        assert!(Tensor::zeros(DataType::Fp64, vec![usize::MAX >> 2]).is_err());
    }

    #[test]
    fn joined_tensors_are_split_again_whatever_their_elements_are() {
        let numbers = |rows: usize, from: i64| (from..from + 2 * rows as i64).collect::<Vec<_>>();
        let tensor = |rows, from| Tensor::of(vec![rows, 2], &numbers(rows, from)).expect("a tensor");
        let parts = [tensor(1, 0), tensor(3, 10), tensor(2, 20)];
        let whole = Tensor::join(&parts.iter().collect::<Vec<_>>()).expect("alike");
        assert_eq!(whole.shape(), [6, 2]);
        assert_eq!(whole.split(&[1, 3, 2]).expect("six rows"), parts);
        let error = whole.split(&[1, 3]).expect_err("four rows").to_string();
        assert_eq!(error, "expected 4 rows in the first dimension, found shape [6, 2]");
        let texts = |rows, texts: &[&str]| Tensor::of_strings(vec![rows, 2], texts).expect("a tensor");
        let parts = [texts(1, &["a", ""]), texts(2, &["", "long enough", "é", "b"])];
        let whole = Tensor::join(&[&parts[0], &parts[1]]).expect("alike");
        assert_eq!(whole.strings().map(<[u8]>::len).collect::<Vec<_>>(), [1, 0, 0, 11, 2, 1]);
        assert_eq!(whole.split(&[1, 2]).expect("three rows"), parts);
        let scalar = Tensor::of(vec![], &[1.0_f32]).expect("a scalar");
        assert!(scalar.split(&[1]).is_err() && Tensor::join(&[&scalar]).is_err());
        let wide = Tensor::of(vec![1, 3], &[1_i64, 2, 3]).expect("a tensor");
        let error = Tensor::join(&[&tensor(1, 0), &wide]).expect_err("other dimensions").to_string();
        assert_eq!(error, "expected INT64 and dimensions [2] after the first, found INT64 of shape [1, 3]");
    }
}
