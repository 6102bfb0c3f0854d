//! What is wrong with a body, in FastAPI's form: a list of objects with `type`, `loc`, `msg`, and where they help
//! `input` and `ctx`.

use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};
use serde_json::value::RawValue;

use crate::routes::excerpt;

/// The first faults of a body, and how many more there are.
#[derive(Debug, Default)]
pub(in crate::routes) struct Faults {
    first: Vec<Fault>,
    more: usize,
}

/// One fault.
#[derive(Debug, Serialize)]
pub(in crate::routes) struct Fault {
    #[serde(rename = "type")]
    kind: &'static str,
    loc: Vec<Place>,
    msg: &'static str,
    /// What was found, if it is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctx: Option<Context>,
}

#[derive(Debug, Serialize)]
struct Context {
    error: String,
}

/// A step on the way to what is at fault.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Place {
    Field(&'static str),
    Position(usize),
}

impl Fault {
    /// Of the whole body.
    pub(super) fn new(kind: &'static str, msg: &'static str) -> Fault {
        Fault { kind, loc: vec![Place::Field("body")], msg, input: None, ctx: None }
    }

    /// Of this place in the body.
    pub(super) fn at<const STEPS: usize>(mut self, places: [Place; STEPS]) -> Fault {
        self.loc.extend(places);
        self
    }

    /// Repeats what was found, unless it is long.
    pub(super) fn with_input(self, input: &RawValue) -> Fault {
        self.with_input_if_any(Some(input))
    }

    pub(super) fn with_input_if_any(mut self, input: Option<&RawValue>) -> Fault {
        self.input = input.filter(|input| input.get().len() <= excerpt::LONGEST).map(ToOwned::to_owned);
        self
    }

    pub(super) fn with_error(mut self, error: String) -> Fault {
        self.ctx = Some(Context { error });
        self
    }
}

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Adds a fault, or counts it.
    pub(super) fn push(&mut self, fault: impl FnOnce() -> Fault) {
        if self.first.len() < MOST_FAULTS {
            self.first.push(fault());
        } else {
            self.more += 1;
        }
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Faults {
        Faults { first: vec![fault], more: 0 }
    }
}

impl Serialize for Faults {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct More {
            #[serde(rename = "type")]
            kind: &'static str,
            loc: [&'static str; 2],
            msg: String,
            ctx: MoreContext,
        }
        #[derive(Serialize)]
        struct MoreContext {
            more: usize,
        }
        let mut list = serializer.serialize_seq(None)?;
        for fault in &self.first {
            list.serialize_element(fault)?;
        }
        if self.more > 0 {
            list.serialize_element(&More {
                kind: "more_errors",
                loc: ["body", "features"],
                msg: format!("{} more inputs are not valid", self.more),
                ctx: MoreContext { more: self.more },
            })?;
        }
        list.end()
    }
}

/// Faults that are named; more are counted.
pub(super) const MOST_FAULTS: usize = 20;
