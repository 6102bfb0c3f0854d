//! Elements of tensors as JSON. It has no form for numbers that are not finite: they are the texts `"NaN"`,
//! `"Infinity"` and `"-Infinity"`, as protobuf's JSON writes them and `NumPy` reads them.

use serde::ser::{Error as _, Serialize, SerializeSeq as _, Serializer};

use crate::tensor::{DataType, Tensor};

/// Elements in a flat list, or nested by dimension.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    tensor: &'a Tensor,
    /// How long lists are, from the outermost on; the innermost is not checked.
    dims: &'a [usize],
    /// The elements of this list, if they are numbers.
    data: &'a [u8],
    /// Single precision is written with all digits of a double.
    in_double: bool,
}

impl<'a> Cells<'a> {
    /// All elements of a tensor in one list.
    pub(super) fn flat(tensor: &'a Tensor) -> Cells<'a> {
        Cells { tensor, dims: &[], data: tensor.data(), in_double: false }
    }

    /// The same, with single precision written with all digits of a double.
    pub(super) fn in_double(tensor: &'a Tensor) -> Cells<'a> {
        Cells { in_double: true, ..Cells::flat(tensor) }
    }

    /// All numbers or truth values of a tensor in lists of lists, one for each dimension.
    pub(super) fn nested(tensor: &'a Tensor) -> Cells<'a> {
        Cells { dims: tensor.shape(), ..Cells::flat(tensor) }
    }

    /// Whether JSON has a form for all elements of a tensor: byte strings may hold anything.
    pub(super) fn can_write(tensor: &Tensor) -> bool {
        tensor.datatype().in_json() && tensor.strings().all(|bytes| std::str::from_utf8(bytes).is_ok())
    }

    fn list<S: Serializer>(self, serializer: S) -> Result<S::Ok, S::Error> {
        macro_rules! numbers {
            ($number:ty) => {
                serializer.collect_seq(self.data.as_chunks().0.iter().map(|b| <$number>::from_le_bytes(*b)))
            };
        }
        match self.tensor.datatype() {
            DataType::Bool => serializer.collect_seq(self.data.iter().map(|byte| *byte != 0)),
            DataType::Uint8 => numbers!(u8),
            DataType::Uint16 => numbers!(u16),
            DataType::Uint32 => numbers!(u32),
            DataType::Uint64 => numbers!(u64),
            DataType::Int8 => numbers!(i8),
            DataType::Int16 => numbers!(i16),
            DataType::Int32 => numbers!(i32),
            DataType::Int64 => numbers!(i64),
            DataType::Fp32 if self.in_double => {
                let singles = self.data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                serializer.collect_seq(singles.map(|single| Double(f64::from(single))))
            }
            DataType::Fp32 => {
                let singles = self.data.as_chunks().0.iter();
                serializer.collect_seq(singles.map(|bytes| Single(f32::from_le_bytes(*bytes))))
            }
            DataType::Fp64 => {
                let doubles = self.data.as_chunks().0.iter();
                serializer.collect_seq(doubles.map(|bytes| Double(f64::from_le_bytes(*bytes))))
            }
            DataType::Bytes => {
                let mut list = serializer.serialize_seq(None)?;
                for bytes in self.tensor.strings() {
                    list.serialize_element(std::str::from_utf8(bytes).map_err(S::Error::custom)?)?;
                }
                list.end()
            }
            DataType::Fp16 | DataType::Bf16 => Err(S::Error::custom("JSON has no half precision")),
        }
    }
}

impl Serialize for Cells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [length, dims @ ..] = self.dims else { return self.list(serializer) };
        if dims.is_empty() {
            return self.list(serializer);
        }
        let mut list = serializer.serialize_seq(Some(*length))?;
        let bytes = self.data.len().checked_div(*length).unwrap_or(0);
        for number in 0..*length {
            let data = &self.data[number * bytes..(number + 1) * bytes];
            list.serialize_element(&Cells { dims, data, ..*self })?;
        }
        list.end()
    }
}

struct Single(f32);

impl Serialize for Single {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f32(self.0)
        } else {
            serializer.serialize_str(word(self.0.into()))
        }
    }
}

struct Double(f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else {
            serializer.serialize_str(word(self.0))
        }
    }
}

fn word(odd: f64) -> &'static str {
    if odd.is_nan() {
        "NaN"
    } else if odd > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).expect("it can be written")
    }

    #[test]
    fn numbers_are_written_as_what_they_are_and_odd_ones_as_texts() {
        let singles =
            Tensor::of(vec![2, 3], &[0.1_f32, f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY, -0.0]);
        let singles = singles.expect("a tensor");
        assert_eq!(json(&Cells::flat(&singles)), r#"[0.1,"NaN",1.0,"Infinity","-Infinity",-0.0]"#);
        assert_eq!(json(&Cells::nested(&singles)), r#"[[0.1,"NaN",1.0],["Infinity","-Infinity",-0.0]]"#);
        assert!(json(&Cells::in_double(&singles)).starts_with(r#"[0.10000000149011612,"NaN","#));
        let doubles = Tensor::of(vec![2], &[0.1, f64::NAN]).expect("a tensor");
        assert_eq!(json(&Cells::flat(&doubles)), r#"[0.1,"NaN"]"#);
        let large = Tensor::of(vec![2], &[i64::MIN, i64::MAX]).expect("a tensor");
        assert_eq!(json(&Cells::flat(&large)), "[-9223372036854775808,9223372036854775807]");
        let truths = Tensor::new(DataType::Bool, vec![1, 2], vec![1, 0]).expect("a tensor");
        assert_eq!(json(&Cells::nested(&truths)), "[[true,false]]");
        let empty = Tensor::zeros(DataType::Int8, vec![2, 0]).expect("a tensor");
        assert_eq!(
            (json(&Cells::flat(&empty)), json(&Cells::nested(&empty))),
            ("[]".to_owned(), "[[],[]]".to_owned())
        );
    }

    #[test]
    fn what_json_has_no_form_for_is_told() {
        let texts = Tensor::of_strings(vec![2], &["a\"", "é"]).expect("a tensor");
        assert!(Cells::can_write(&texts));
        assert_eq!(json(&Cells::flat(&texts)), r#"["a\"","é"]"#);
        let bytes = Tensor::of_strings(vec![1], &[[0xff]]).expect("a tensor");
        assert!(!Cells::can_write(&bytes) && serde_json::to_string(&Cells::flat(&bytes)).is_err());
        let half = Tensor::zeros(DataType::Fp16, vec![1]).expect("a tensor");
        assert!(!Cells::can_write(&half) && serde_json::to_string(&Cells::flat(&half)).is_err());
    }
}
