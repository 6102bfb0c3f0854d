//! Numbers that no quantity can hold: how NaN, infinity and what is out of range are answered.

use apiservice::quantity::Quantity;
use rules::policy::OnNan;

/// A sample that cannot be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Dropped {
    /// The object's name.
    pub object: String,
    /// The sample's number.
    pub value: f64,
    /// Why it was dropped.
    pub reason: DropReason,
}

/// Why a sample was not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// `+Inf` or `-Inf`.
    Infinite,
    /// A number beyond what the API's clients read correctly.
    OutOfRange,
    /// Not a number, and the rule says `onNaN: missing`.
    NotANumber,
}

/// The API's form of a sample: rounded half away from zero to milli (D16), NaN by the rule's policy.
pub fn quantity(value: f64, on_nan: OnNan) -> Result<Quantity, DropReason> {
    if value.is_nan() {
        return match on_nan {
            OnNan::Zero => Ok(Quantity::from_milli(0)),
            OnNan::Missing => Err(DropReason::NotANumber),
        };
    }
    if value.is_infinite() {
        return Err(DropReason::Infinite);
    }
    Quantity::from_f64(value).map_err(|_| DropReason::OutOfRange)
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Dropped { object, value, reason } = self;
        match reason {
            DropReason::Infinite => {
                write!(f, "the sample of {object} is {}, which no quantity can hold", infinity(*value))
            }
            DropReason::OutOfRange => {
                write!(f, "the sample of {object} is {value:e}, beyond what a quantity can hold")
            }
            DropReason::NotANumber => {
                write!(f, "the sample of {object} is NaN and the rule says onNaN: missing")
            }
        }
    }
}

fn infinity(value: f64) -> &'static str {
    if value > 0.0 { "+Inf" } else { "-Inf" }
}
