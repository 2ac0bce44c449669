//! One consumer: a connection, a position in each partition, one request under way.

use super::options::Options;
use super::stream::{PartitionHead, Sink, Stream};
use crate::batch::Head;
use crate::wire::{FETCH, Writer};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

pub struct Consumer {
    pub stream: TcpStream,
    pub responses: Stream,
    pub reading: Reading,
    pub request: Vec<u8>,
    pub request_sent: usize,
    /// When the request under way began to be sent.
    pub asked_ns: u64,
    /// A response has not arrived whole.
    pub is_asking: bool,
    pub is_open: bool,
    /// Is told by epoll when it may write.
    pub awaits_room: bool,
    correlation_id: i32,
    /// The partition that stands first in the next request.
    first: usize,
}

/// What the consumer knows of its partitions. Counts are of the whole run.
pub struct Reading {
    /// By partition: the next offset.
    pub positions: Vec<i64>,
    pub bytes: u64,
    pub events: u64,
    pub truncated_bytes: u64,
    /// Of the response that is being read.
    pub response: Response,
}

#[derive(Default)]
pub struct Response {
    /// Partition and high watermark, in the order of the response.
    pub watermarks: Vec<(usize, i64)>,
    pub bytes: u64,
    /// The last partition that had records.
    last_filled: Option<usize>,
    truncated: bool,
    /// Error codes of partitions.
    pub errors: Vec<i16>,
}

impl Consumer {
    pub fn connect(options: &Options, index: usize, start: &[i64]) -> Result<Consumer, String> {
        let problem = |error| format!("cannot open connection {index}: {error}");
        let stream = TcpStream::connect(&options.connect).map_err(problem)?;
        stream.set_nodelay(true).map_err(problem)?;
        stream.set_nonblocking(true).map_err(problem)?;
        Ok(Consumer {
            stream,
            responses: Stream::new(&options.topic, options.partitions, options.check_crc),
            reading: Reading {
                positions: start.to_vec(),
                bytes: 0,
                events: 0,
                truncated_bytes: 0,
                response: Response::default(),
            },
            request: Vec::new(),
            request_sent: 0,
            asked_ns: 0,
            is_asking: false,
            is_open: true,
            awaits_room: false,
            correlation_id: 0,
            // Consumers that all begin with the same partition would keep in step.
            first: index % options.partitions,
        })
    }

    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Makes the next request. A broker fills a response in the request's order up to its bound, so
    /// the next one begins where the last one was full.
    pub fn ask(&mut self, options: &Options, now_ns: u64) {
        assert!(!self.is_asking);
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let mut request = Writer::request(FETCH, self.correlation_id);
        request.i32(-1).i32(options.max_wait_ms);
        request.i32(options.min_bytes).i32(options.fetch_bytes);
        request.i8(0).i32(0).i32(-1); // read uncommitted; no session
        request.i32(1).string(&options.topic);
        request.i32(options.partitions as i32);
        for place in 0..options.partitions {
            let partition = (self.first + place) % options.partitions;
            request.i32(partition as i32).i32(-1);
            request.i64(self.reading.positions[partition]).i64(-1);
            request.i32(options.partition_bytes);
        }
        request.i32(0).string(""); // nothing forgotten, no rack
        self.request = request.finish();
        self.request_sent = 0;
        self.asked_ns = now_ns;
        self.is_asking = true;
        self.reading.response = Response::default();
        self.responses.expect(self.correlation_id);
    }

    /// The response has arrived whole. Fails where it could go on like this for ever.
    pub fn end_response(&mut self, options: &Options) -> Result<(), String> {
        self.is_asking = false;
        let response = &self.reading.response;
        if let Some(last) = response.last_filled {
            self.first = (last + 1) % options.partitions;
        }
        if let Some(code) = response.errors.first() {
            return Err(format!("a partition answered error {code}"));
        }
        if response.truncated && response.bytes == 0 {
            return Err("sent no batch whole, though it must send the first one so".to_string());
        }
        Ok(())
    }

    pub fn has_reached(&self, ends: &[i64]) -> bool {
        let positions = self.reading.positions.iter();
        positions.zip(ends).all(|(position, end)| position >= end)
    }
}

impl Sink for Reading {
    fn partition(&mut self, head: &PartitionHead) -> Result<(), String> {
        if head.error != 0 {
            self.response.errors.push(head.error);
            return Ok(());
        }
        let position = self.positions[head.index];
        if head.high_watermark < position {
            return Err(format!(
                "partition {}: the high watermark {} is below the position {position}",
                head.index, head.high_watermark
            ));
        }
        self.response
            .watermarks
            .push((head.index, head.high_watermark));
        Ok(())
    }

    fn batch(&mut self, head: &Head) -> Result<(), String> {
        let Some((partition, high_watermark)) = self.response.watermarks.last_mut() else {
            return Err("sent records with an error".to_string());
        };
        let partition = *partition;
        // A broker may look at the watermark before it looks for records, which then go beyond.
        *high_watermark = head.next_offset.max(*high_watermark);
        self.response.last_filled = Some(partition);
        let position = &mut self.positions[partition];
        if head.base_offset != *position {
            return Err(format!(
                "partition {partition}: a batch of offsets {} to {}, exclusive, where {position} \
                 is next",
                head.base_offset, head.next_offset
            ));
        }
        self.events += (head.next_offset - *position) as u64;
        *position = head.next_offset;
        self.bytes += head.bytes as u64;
        self.response.bytes += head.bytes as u64;
        Ok(())
    }

    fn truncated(&mut self, bytes: usize) {
        self.response.truncated = true;
        self.truncated_bytes += bytes as u64;
    }
}
