//! Clients of every kind against a real socket: in both versions of HTTP, well-behaved and not.

mod ends;
mod heads;
mod places;
mod server;
mod slow;
