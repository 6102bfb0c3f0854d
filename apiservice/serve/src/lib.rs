//! What every server of ours needs: a socket for both families of addresses, and an orderly end.

pub mod lifecycle;
mod listen;

pub use listen::listen;
