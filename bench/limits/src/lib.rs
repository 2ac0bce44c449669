//! Programs that bound what a broker on this machine can reach: `produce-load` sends prebuilt Produce
//! requests over Kafka's protocol, `fetch-load` reads what is there, `limit-server` is the smallest
//! receiver and sender of it.
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
pub mod sequential;
pub mod server;
pub mod time;
pub mod wire;
