//! Objects become bytes: one module for each form (contract, section 7).

pub mod yaml;
