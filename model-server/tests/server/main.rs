//! The server: its routes over a model that the test holds in its hand, and the program as it is run.

mod lifecycle;
mod mixing;
mod onnx;
mod open_inference;
mod queueing;
mod serving;
mod support;
