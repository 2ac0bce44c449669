//! One connection of the load: what it is writing, and what it waits for.

use super::options::Options;
use super::websocket::{self, WebSocket};
use super::{Payload, Prebuilt, kafka};
use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

#[derive(Clone, Copy)]
pub struct Sent {
    pub id: i32,
    pub intended_ns: u64,
    pub started_ns: u64,
}

/// What a response says of one request.
pub struct Answer {
    pub id: i32,
    pub error: i16,
    pub base_offset: i64,
}

pub struct Connection {
    pub stream: TcpStream,
    pub partition: usize,
    /// Requests whose sending has begun and whose response has not arrived, oldest first.
    pub unanswered: VecDeque<Sent>,
    pub next_id: i32,
    /// Requests written whole so far; picks the variant and the place in the schedule.
    pub done: u64,
    /// Open loop: due and not begun.
    pub due: u64,
    /// The request being written: its prefix with the id, and how much of both parts has gone out.
    pub prefix: Vec<u8>,
    pub sent_bytes: usize,
    pub is_writing: bool,
    /// False after "would block", until epoll says otherwise.
    pub is_writable: bool,
    pub is_open: bool,
    pub received: Vec<u8>,
    /// None: Kafka's protocol.
    pub websocket: Option<Box<WebSocket>>,
}

pub fn connect(options: &Options, payload: &Payload, index: usize) -> Result<Connection, String> {
    let problem = |error| format!("cannot open connection {index}: {error}");
    let mut stream = TcpStream::connect(&options.connect).map_err(problem)?;
    stream.set_nodelay(true).map_err(problem)?;
    let partition = index % options.partitions;
    let mut received = Vec::with_capacity(4096);
    let websocket = if options.websocket {
        let request = &payload.requests[partition][0];
        let websocket = websocket::open(&mut stream, options, request, &mut received)?;
        Some(Box::new(websocket))
    } else {
        None
    };
    stream.set_nonblocking(true).map_err(problem)?;
    Ok(Connection {
        stream,
        partition,
        unanswered: VecDeque::with_capacity(options.in_flight),
        next_id: 0,
        done: 0,
        due: 0,
        prefix: Vec::new(),
        sent_bytes: 0,
        is_writing: false,
        is_writable: true,
        is_open: true,
        received,
        websocket,
    })
}

impl Connection {
    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// The request that is being written, or comes next.
    pub fn request<'a>(&self, payload: &'a Payload) -> &'a Prebuilt {
        let variants = &payload.requests[self.partition];
        &variants[self.done as usize % variants.len()]
    }

    /// Whether the broker has room for another request.
    pub fn has_credit(&mut self) -> bool {
        self.websocket.as_mut().is_none_or(|one| one.may_send())
    }

    /// Waits for credits, with nothing under way that would bring some.
    pub fn is_starved(&self) -> bool {
        let websocket = self.websocket.as_ref();
        self.unanswered.is_empty() && websocket.is_some_and(|one| one.credits < one.cost)
    }

    /// Puts the next id into the prefix and returns it.
    pub fn begin(&mut self, payload: &Payload) -> i32 {
        let request = self.request(payload);
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.prefix.clear();
        self.prefix.extend_from_slice(&request.prefix);
        let place = &mut self.prefix[request.id_at..request.id_at + 4];
        for (index, byte) in id.to_be_bytes().iter().enumerate() {
            place[index] = byte ^ request.id_mask[index];
        }
        if let Some(websocket) = &mut self.websocket {
            websocket.spend();
        }
        self.sent_bytes = 0;
        self.is_writing = true;
        id
    }

    /// Takes the whole answers out of what was received.
    pub fn take(&mut self, answers: &mut Vec<Answer>) -> Result<(), String> {
        match &mut self.websocket {
            Some(websocket) => websocket.take(&mut self.received, answers),
            None => kafka::take(&mut self.received, self.partition, answers),
        }
    }

    /// The request with `id`, which is not waited for any more. Kafka answers in the order asked,
    /// a WebSocket in any.
    pub fn answered(&mut self, id: i32) -> Option<Sent> {
        let index = self.unanswered.iter().position(|sent| sent.id == id)?;
        if index > 0 && self.websocket.is_none() {
            return None;
        }
        self.unanswered.remove(index)
    }
}
