//! Clients of every kind against a real socket: in both versions of HTTP, well-behaved and not.

mod connection_limit;
mod ends;
mod heads;
mod server;
mod slow;
