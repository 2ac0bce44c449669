//! Programs that bound what a broker on this machine can reach: `produce-load` sends prebuilt
//! requests, `fetch-load` reads what is there, `limit-server` is the smallest receiver and sender
//! of it; `cold-reads`, `sequential-reader` and `write-engines` ask the disk alone.
//!
//! All are measuring tools for loopback. None is a Kafka client or broker for anything else.

pub mod args;
pub mod batch;
pub mod cold;
pub mod control;
pub mod engines;
pub mod fetch;
pub mod histogram;
pub mod json;
pub mod load;
pub mod msgpack;
pub mod net;
pub mod page_cache;
pub mod program;
pub mod sequential;
pub mod server;
pub mod time;
pub mod wire;
