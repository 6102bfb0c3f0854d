//! What every server of ours needs to serve clients that it did not choose: those that are slow, silent, hostile or
//! many.
//!
//! [`serve`] accepts connections and never stops: one too many ends another one ([`Trust`] says which). Everything that
//! a client can do slowly has a limit of time, everything that it can send has one of size ([`Limits`]), and on the way
//! out every client is told to finish ([`lifecycle`]). The program supplies how a connection begins ([`Handshake`];
//! without TLS [`Plain`]) and what answers requests ([`Service`]), and shows what was counted ([`Stats`]).

mod accept;
mod activity;
mod caller;
mod connection;
mod connection_limit;
mod error_chain;
pub mod files;
mod followed;
mod frames;
mod head;
pub mod lifecycle;
mod limits;
mod listen;
mod preface;
pub mod printable;
mod quality_list;
mod registrar;
mod sending;
mod service;
pub mod signals;
mod stats;
mod trust;
mod watched;

pub use accept::{Ended, serve};
pub use caller::Caller;
pub use error_chain::error_chain;
pub use followed::{FileName, FileStats, FollowedFile};
pub use limits::{FREE_HEAD_BYTES, Limits};
pub use listen::listen;
pub use quality_list::{Alternative, quality_list};
pub use registrar::Registrar;
pub use service::{Begun, Handshake, LastAnswer, Plain, Refusal, Service};
pub use stats::Stats;
pub use trust::Trust;
