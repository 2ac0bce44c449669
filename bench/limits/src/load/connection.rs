//! One connection of the load: what it is writing, and what it waits for.

use super::options::Options;
use super::{Payload, Prebuilt};
use crate::wire::{Malformed, PREFIX_BYTES, Reader};
use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

#[derive(Clone, Copy)]
pub struct Sent {
    pub intended_ns: u64,
    pub started_ns: u64,
}

pub struct Connection {
    pub stream: TcpStream,
    pub partition: usize,
    /// Requests whose sending has begun and whose response has not arrived, oldest first.
    pub unanswered: VecDeque<Sent>,
    pub first_unanswered_id: i32,
    pub next_id: i32,
    /// Requests written whole so far; picks the variant and the place in the schedule.
    pub done: u64,
    /// Open loop: due and not begun.
    pub due: u64,
    /// The request being written: its prefix and how much of prefix and body has gone out.
    pub prefix: [u8; PREFIX_BYTES],
    pub sent_bytes: usize,
    pub is_writing: bool,
    /// False after "would block", until epoll says otherwise.
    pub is_writable: bool,
    pub is_open: bool,
    pub received: Vec<u8>,
}

impl Connection {
    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

pub fn connect(options: &Options, index: usize) -> Result<Connection, String> {
    let problem = |error| format!("cannot open connection {index}: {error}");
    let stream = TcpStream::connect(&options.connect).map_err(problem)?;
    stream.set_nodelay(true).map_err(problem)?;
    stream.set_nonblocking(true).map_err(problem)?;
    Ok(Connection {
        stream,
        partition: index % options.partitions,
        unanswered: VecDeque::with_capacity(options.in_flight),
        first_unanswered_id: 0,
        next_id: 0,
        done: 0,
        due: 0,
        prefix: [0; PREFIX_BYTES],
        sent_bytes: 0,
        is_writing: false,
        is_writable: true,
        is_open: true,
        received: Vec::with_capacity(4096),
    })
}

pub fn request_of<'a>(payload: &'a Payload, connection: &Connection) -> &'a Prebuilt {
    let variants = &payload.requests[connection.partition];
    &variants[connection.done as usize % variants.len()]
}

/// Partition, error code and base offset of a Produce response (version 7) for one partition.
pub fn parse_produced(reader: &mut Reader) -> Result<(i32, i16, i64), Malformed> {
    if reader.count()? != 1 {
        return Err(Malformed);
    }
    reader.string()?;
    if reader.count()? != 1 {
        return Err(Malformed);
    }
    let partition = reader.i32()?;
    let error = reader.i16()?;
    let base_offset = reader.i64()?;
    reader.i64()?; // log append time
    reader.i64()?; // log start offset
    reader.i32()?; // throttle time
    Ok((partition, error, base_offset))
}
