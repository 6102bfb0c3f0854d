//! What a model takes and gives, and which requests may be computed together.

use std::fmt;

use super::{DataType, SignatureError, Tensor, TensorError};

/// What a model takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What it takes, in the order in which it is executed.
    pub inputs: Vec<TensorSpec>,
    /// What it gives, in the same way.
    pub outputs: Vec<TensorSpec>,
    /// What the first dimension of all of them means.
    pub batch: BatchAxis,
}

/// A tensor that a model takes or gives, as its file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the file.
    pub name: String,
    /// What its elements are.
    pub datatype: DataType,
    /// Its dimensions; any number of them of any size when `None`.
    pub shape: Option<Vec<Dim>>,
    /// An input that may be left out.
    pub optional: bool,
}

/// The size of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// Always this.
    Fixed(usize),
    /// Each request's own.
    Dynamic,
}

/// What the first dimension of a model's tensors means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchAxis {
    /// Rows, any number of them: requests may be computed together.
    Dynamic,
    /// Rows, always this number.
    Fixed(usize),
    /// Something else, or not the same in all of them: each request is one row.
    None,
}

impl Signature {
    /// A signature whose first dimensions are rows if they are declared alike. A backend that knows better sets
    /// [`batch`](Signature::batch) after that.
    pub fn new(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Signature {
        let mut first = inputs.iter().chain(&outputs).map(|tensor| tensor.shape.as_ref()?.first().copied());
        let batch = match first.next().flatten() {
            Some(axis) if !inputs.is_empty() && first.all(|other| other == Some(axis)) => match axis {
                Dim::Dynamic => BatchAxis::Dynamic,
                Dim::Fixed(rows) => BatchAxis::Fixed(rows),
            },
            _ => BatchAxis::None,
        };
        Signature { inputs, outputs, batch }
    }

    /// How many rows a request has, if its inputs are what the model takes: one for each input, in order.
    ///
    /// # Errors
    /// What was expected and found of the first input that is not.
    pub fn rows(&self, inputs: &[Option<Tensor>]) -> Result<usize, SignatureError> {
        debug_assert_eq!(inputs.len(), self.inputs.len(), "one for each");
        let mut rows: Option<(usize, &str)> = None;
        for (spec, input) in self.inputs.iter().zip(inputs) {
            let Some(input) = input else {
                if spec.optional {
                    continue;
                }
                return Err(SignatureError::Missing(spec.name.clone()));
            };
            spec.admits(input)?;
            if self.batch != BatchAxis::Dynamic {
                continue;
            }
            let Some(found) = input.shape().first().copied() else { continue };
            match rows {
                Some((expected, name)) if expected != found => {
                    return Err(SignatureError::UnequalRows {
                        input: spec.name.clone(),
                        expected,
                        first: name.to_owned(),
                        found,
                    });
                }
                _ if found == 0 => return Err(SignatureError::NoRows(spec.name.clone())),
                _ => rows = Some((found, &spec.name)),
            }
        }
        Ok(match self.batch {
            BatchAxis::Dynamic => rows.map_or(1, |(rows, _)| rows),
            BatchAxis::Fixed(rows) => rows.max(1),
            BatchAxis::None => 1,
        })
    }

    /// Has each request computed alone, whatever is declared, unless rows are seen to belong together.
    pub fn join_only_if(&mut self, rows_belong_together: bool) {
        if self.batch == BatchAxis::Dynamic && !rows_belong_together {
            self.batch = BatchAxis::None;
        }
    }

    /// The width of its rows, if all that it takes is FP32 numbers in rows of a fixed width, one row at a time or more.
    pub fn row_width(&self) -> Option<usize> {
        let [TensorSpec { datatype: DataType::Fp32, shape: Some(shape), .. }] = &self.inputs[..] else {
            return None;
        };
        match shape[..] {
            [Dim::Dynamic | Dim::Fixed(1), Dim::Fixed(width)] => Some(width),
            _ => None,
        }
    }

    /// Zeros in the shape that the model takes: `rows` rows where that is for the request to say, and this size in all
    /// other dimensions that are. What may be left out is.
    ///
    /// # Errors
    /// Memory cannot hold them.
    pub fn zeros(&self, rows: usize, size: usize) -> Result<Vec<Option<Tensor>>, TensorError> {
        let zeros = self.inputs.iter().map(|spec| {
            if spec.optional {
                return Ok(None);
            }
            let dims = spec.shape.iter().flatten().enumerate();
            let shape = dims.map(|(axis, dim)| match dim {
                Dim::Fixed(fixed) => *fixed,
                Dim::Dynamic if axis == 0 && self.batch == BatchAxis::Dynamic => rows,
                Dim::Dynamic => size,
            });
            Tensor::zeros(spec.datatype, shape.collect()).map(Some)
        });
        zeros.collect()
    }

    /// Whether a dimension besides that of rows is for the request to say.
    pub fn has_other_dynamic_dims(&self) -> bool {
        let rows = usize::from(self.batch == BatchAxis::Dynamic);
        let dims =
            self.inputs.iter().flat_map(|spec| spec.shape.iter().flat_map(|shape| shape.iter().skip(rows)));
        dims.into_iter().any(|dim| *dim == Dim::Dynamic)
    }
}

impl TensorSpec {
    /// Whether a tensor is as it is declared.
    ///
    /// # Errors
    /// What was expected and found.
    pub fn admits(&self, tensor: &Tensor) -> Result<(), SignatureError> {
        if tensor.datatype() != self.datatype {
            return Err(SignatureError::DataType {
                input: self.name.clone(),
                expected: self.datatype,
                found: tensor.datatype(),
            });
        }
        self.admits_shape(tensor.shape())
    }

    /// Whether a shape is as it is declared.
    ///
    /// # Errors
    /// What was expected and found.
    pub fn admits_shape(&self, shape: &[usize]) -> Result<(), SignatureError> {
        let Some(declared) = &self.shape else { return Ok(()) };
        let alike = |(dim, size): (&Dim, &usize)| match dim {
            Dim::Fixed(fixed) => fixed == size,
            Dim::Dynamic => true,
        };
        if declared.len() == shape.len() && declared.iter().zip(shape).all(alike) {
            return Ok(());
        }
        Err(SignatureError::Shape {
            input: self.name.clone(),
            expected: Declared(self.shape.as_deref()).to_string(),
            found: shape.to_vec(),
        })
    }

    /// Its dimensions as the protocol writes them: -1 for one that is for the request to say, and that alone if even
    /// their number is.
    pub fn dims(&self) -> Vec<i64> {
        let Some(shape) = &self.shape else { return vec![-1] };
        shape.iter().map(|dim| dim.number()).collect()
    }
}

impl Dim {
    fn number(self) -> i64 {
        match self {
            Dim::Fixed(size) => i64::try_from(size).unwrap_or(i64::MAX),
            Dim::Dynamic => -1,
        }
    }
}

/// For people.
impl fmt::Display for BatchAxis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchAxis::Dynamic => f.write_str("batches of any number of rows"),
            BatchAxis::Fixed(rows) => write!(f, "each request of {rows} rows, computed alone"),
            BatchAxis::None => f.write_str("each request computed alone"),
        }
    }
}

/// For people: `"x" FP32 [-1, 3]`.
impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}", self.name, self.datatype.name(), Declared(self.shape.as_deref()))?;
        if self.optional { f.write_str(" (optional)") } else { Ok(()) }
    }
}

/// Declared dimensions, for people.
struct Declared<'a>(Option<&'a [Dim]>);

impl fmt::Display for Declared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(dims) => f.debug_list().entries(dims.iter().map(|dim| dim.number())).finish(),
            None => f.write_str("of any rank"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, datatype: DataType, dims: &[i64]) -> TensorSpec {
        let dim = |size: &i64| usize::try_from(*size).map_or(Dim::Dynamic, Dim::Fixed);
        let shape = Some(dims.iter().map(dim).collect());
        TensorSpec { name: name.to_owned(), datatype, shape, optional: false }
    }

    fn signature(inputs: &[&[i64]], outputs: &[&[i64]]) -> Signature {
        let specs = |all: &[&[i64]]| {
            let named = all.iter().enumerate();
            named.map(|(number, dims)| spec(&format!("t{number}"), DataType::Fp32, dims)).collect()
        };
        Signature::new(specs(inputs), specs(outputs))
    }

    #[allow(clippy::unnecessary_wraps, reason = "as an input that is not left out")]
    fn zeros(shape: &[usize]) -> Option<Tensor> {
        Some(Tensor::zeros(DataType::Fp32, shape.to_vec()).expect("a small one"))
    }

    #[test]
    fn rows_are_joined_only_if_every_tensor_declares_its_first_dimension_dynamic() {
        for (inputs, outputs, expected) in [
            (&[&[-1, 3][..]][..], &[&[-1, 2][..]][..], BatchAxis::Dynamic),
            (&[&[-1]], &[&[-1, 2], &[-1]], BatchAxis::Dynamic),
            (&[&[4, 3]], &[&[4]], BatchAxis::Fixed(4)),
            (&[&[-1, 3]], &[&[1, 2]], BatchAxis::None),
            (&[&[-1, 3], &[3]], &[&[-1, 2]], BatchAxis::None),
            (&[&[-1, 3], &[]], &[&[-1, 2]], BatchAxis::None),
            (&[&[4, 3]], &[&[2]], BatchAxis::None),
            (&[], &[&[-1]], BatchAxis::None),
        ] {
            assert_eq!(signature(inputs, outputs).batch, expected, "{inputs:?} {outputs:?}");
        }
        let mut any = signature(&[&[-1]], &[&[-1]]);
        any.outputs[0].shape = None;
        assert_eq!(Signature::new(any.inputs, any.outputs).batch, BatchAxis::None);
    }

    #[test]
    fn inputs_are_checked_against_what_is_declared() {
        let of_two = signature(&[&[-1, 3], &[-1, -1]], &[&[-1]]);
        let rows = |inputs: &[Option<Tensor>]| of_two.rows(inputs).map_err(|error| error.to_string());
        assert_eq!(rows(&[zeros(&[2, 3]), zeros(&[2, 7])]), Ok(2));
        let other = Some(Tensor::of(vec![1, 3], &[1_i32, 2, 3]).expect("a tensor"));
        for (inputs, expected) in [
            ([zeros(&[2, 3]), zeros(&[1, 7])], "expected 2 rows of input \"t1\" as of \"t0\", found 1"),
            ([zeros(&[2, 3]), None], "expected input \"t1\", found none"),
            ([zeros(&[3]), None], "expected shape [-1, 3] of input \"t0\", found [3]"),
            ([zeros(&[2, 4]), None], "expected shape [-1, 3] of input \"t0\", found [2, 4]"),
            ([zeros(&[0, 3]), zeros(&[0, 1])], "expected at least one row of input \"t0\", found none"),
            ([other, None], "expected datatype FP32 of input \"t0\", found INT32"),
        ] {
            assert_eq!(rows(&inputs), Err(expected.to_owned()));
        }
        let fixed = signature(&[&[4, 3]], &[&[4]]);
        assert_eq!(fixed.rows(&[zeros(&[4, 3])]), Ok(4));
        assert!(fixed.rows(&[zeros(&[1, 3])]).is_err());
        let mut optional = signature(&[&[-1, 3], &[2]], &[&[1]]);
        optional.inputs[1].optional = true;
        assert_eq!(optional.rows(&[zeros(&[5, 3]), None]), Ok(1));
    }

    #[test]
    fn zeros_are_what_the_model_takes() {
        let signature = signature(&[&[-1, -1, 3]], &[&[-1]]);
        let made = signature.zeros(2, 5).expect("small");
        assert_eq!(made[0].as_ref().expect("one").shape(), [2, 5, 3]);
        assert_eq!(signature.rows(&made), Ok(2));
        assert!(signature.has_other_dynamic_dims());
        assert!(signature.zeros(usize::MAX, 5).is_err());
    }

    #[test]
    fn only_rows_of_single_precision_have_a_width() {
        assert_eq!(signature(&[&[-1, 3]], &[&[-1, 2]]).row_width(), Some(3));
        assert_eq!(signature(&[&[1, 3]], &[&[7]]).row_width(), Some(3));
        for inputs in [&[&[-1, -1][..]][..], &[&[2, 3]], &[&[3]], &[&[-1, 3], &[-1, 3]], &[]] {
            assert_eq!(signature(inputs, &[&[-1, 2]]).row_width(), None, "{inputs:?}");
        }
        let double = vec![spec("x", DataType::Fp64, &[-1, 3])];
        assert_eq!(Signature::new(double, Vec::new()).row_width(), None);
    }
}
