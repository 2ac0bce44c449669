//! Two programs that bound what a broker on this machine can reach: `produce-load` sends prebuilt
//! Produce requests over Kafka's protocol, `limit-server` is the smallest receiver of them.
//!
//! Both are measuring tools for loopback. Neither is a Kafka client or broker for anything else.

pub mod args;
pub mod batch;
pub mod cold;
pub mod histogram;
pub mod load;
pub mod net;
pub mod server;
pub mod time;
pub mod wire;
