//! One blocking connection for what stands around the load: versions, the topic, its offsets.

use crate::time;
use crate::wire::{
    API_VERSIONS, CREATE_TOPICS, LIST_OFFSETS, METADATA, Malformed, Reader, TOPIC_ALREADY_EXISTS,
    UNKNOWN_TOPIC_OR_PARTITION, Writer, version_of,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const RESPONSE_BYTES_MAX: usize = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(20);
/// LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER and UNKNOWN_TOPIC_OR_PARTITION.
const NOT_YET: [i16; 3] = [5, 6, UNKNOWN_TOPIC_OR_PARTITION];

/// What ListOffsets takes for a timestamp and means the log's end or its start by.
pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;

pub struct Control {
    stream: TcpStream,
    next_correlation_id: i32,
}

impl Control {
    pub fn connect(address: &str) -> Result<Control, String> {
        let problem = |error| format!("cannot connect to {address}: {error}");
        let stream = TcpStream::connect(address).map_err(problem)?;
        stream.set_nodelay(true).map_err(problem)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(problem)?;
        stream.set_write_timeout(Some(TIMEOUT)).map_err(problem)?;
        Ok(Control {
            stream,
            next_correlation_id: 1,
        })
    }

    /// Sends a request and returns the body of its response.
    fn ask(&mut self, key: i16, body: impl FnOnce(&mut Writer)) -> Result<Vec<u8>, String> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let mut request = Writer::request(key, correlation_id);
        body(&mut request);
        let problem = |error| format!("request {key} failed: {error}");
        self.stream.write_all(&request.finish()).map_err(problem)?;
        let mut header = [0u8; 8];
        self.stream.read_exact(&mut header).map_err(problem)?;
        let mut reader = Reader::new(&header);
        let length = reader.i32().map_or(0, |length| length as usize);
        if !(4..=RESPONSE_BYTES_MAX).contains(&length) || reader.i32().ok() != Some(correlation_id)
        {
            return Err(format!(
                "request {key}: the response's frame is not what was asked for"
            ));
        }
        let mut bytes = vec![0u8; length - 4];
        self.stream.read_exact(&mut bytes).map_err(problem)?;
        Ok(bytes)
    }

    /// Fails unless the broker takes `keys` and what this file asks, in the versions spoken here.
    pub fn require_versions(&mut self, keys: &[i16]) -> Result<(), String> {
        let bytes = self.ask(API_VERSIONS, |_| {})?;
        let ranges = parse_versions(&bytes).map_err(|error| error.to_string())?;
        for key in [METADATA, LIST_OFFSETS].iter().chain(keys).copied() {
            let version = version_of(key);
            if !ranges
                .iter()
                .any(|one| one.0 == key && one.1 <= version && version <= one.2)
            {
                return Err(format!(
                    "the broker does not take request {key} version {version}"
                ));
            }
        }
        Ok(())
    }

    /// Creates the topic if it is missing, and waits until every partition has a leader. Fails
    /// where the topic is there already and `configs` says how it is to be: it may be otherwise.
    pub fn ensure_topic(
        &mut self,
        topic: &str,
        partitions: usize,
        configs: &[(String, String)],
    ) -> Result<(), String> {
        self.await_topic(topic, partitions, Some(configs))
    }

    /// Waits until the topic is there and every partition has a leader.
    pub fn expect_topic(&mut self, topic: &str, partitions: usize) -> Result<(), String> {
        self.await_topic(topic, partitions, None)
    }

    fn await_topic(
        &mut self,
        topic: &str,
        partitions: usize,
        create_with: Option<&[(String, String)]>,
    ) -> Result<(), String> {
        let deadline = time::now_ns() + TIMEOUT.as_nanos() as u64;
        let mut created = false;
        loop {
            let bytes = self.ask(METADATA, |request| {
                request.i32(1).string(topic).i8(0);
            })?;
            let found = parse_metadata(&bytes).map_err(|error| error.to_string())?;
            if found.brokers != 1 {
                return Err(format!("the load is for one broker, not {}", found.brokers));
            }
            if let Some(configs) = create_with.filter(|_| !created) {
                if found.error == UNKNOWN_TOPIC_OR_PARTITION {
                    self.create_topic(topic, partitions, configs)?;
                    created = true;
                    continue;
                }
                if found.error == 0 && !configs.is_empty() {
                    return Err(format!(
                        "topic {topic} is there already, so --topic-config changes nothing: leave \
                         it out, or name another topic"
                    ));
                }
            }
            if found.error == 0 && found.partitions != partitions {
                let count = found.partitions;
                return Err(format!(
                    "topic {topic} has {count} partitions, not {partitions}"
                ));
            }
            if found.error == 0 && found.led == partitions {
                return Ok(());
            }
            if time::now_ns() > deadline {
                return Err(match found.error {
                    UNKNOWN_TOPIC_OR_PARTITION => {
                        format!("there is no topic {topic}: let produce-load create it first")
                    }
                    error => format!("topic {topic} has no leaders (error {error})"),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn create_topic(
        &mut self,
        topic: &str,
        partitions: usize,
        configs: &[(String, String)],
    ) -> Result<(), String> {
        let bytes = self.ask(CREATE_TOPICS, |request| {
            request.i32(1).string(topic).i32(partitions as i32).i16(1);
            request.i32(0).i32(configs.len() as i32); // no assignments
            for (name, value) in configs {
                request.string(name).string(value);
            }
            request.i32(10_000).i8(0);
        })?;
        match parse_created(&bytes).map_err(|error| error.to_string())? {
            0 | TOPIC_ALREADY_EXISTS => Ok(()),
            code => Err(format!(
                "the broker refused to create topic {topic}: error {code}"
            )),
        }
    }

    /// The end offset of each partition.
    pub fn end_offsets(&mut self, topic: &str, partitions: usize) -> Result<Vec<i64>, String> {
        self.offsets(topic, partitions, LATEST)
    }

    /// The offset of each partition at `timestamp`. Waits for partitions whose leader is known but
    /// not at work yet, as just after their creation.
    pub fn offsets(
        &mut self,
        topic: &str,
        partitions: usize,
        timestamp: i64,
    ) -> Result<Vec<i64>, String> {
        let deadline = time::now_ns() + TIMEOUT.as_nanos() as u64;
        loop {
            let bytes = self.ask(LIST_OFFSETS, |request| {
                request.i32(-1).i32(1).string(topic).i32(partitions as i32);
                for partition in 0..partitions {
                    request.i32(partition as i32).i64(timestamp);
                }
            })?;
            match parse_offsets(&bytes, partitions).map_err(|error| error.to_string())? {
                Ok(offsets) => return Ok(offsets),
                Err((_, code)) if NOT_YET.contains(&code) && time::now_ns() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err((partition, code)) => {
                    return Err(format!("no offset of partition {partition}: error {code}"));
                }
            }
        }
    }
}

fn parse_versions(bytes: &[u8]) -> Result<Vec<(i16, i16, i16)>, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.i16()? != 0 {
        return Err(Malformed);
    }
    (0..reader.count()?)
        .map(|_| Ok((reader.i16()?, reader.i16()?, reader.i16()?)))
        .collect()
}

struct Metadata {
    brokers: usize,
    error: i16,
    partitions: usize,
    /// Partitions that have a leader.
    led: usize,
}

fn parse_metadata(bytes: &[u8]) -> Result<Metadata, Malformed> {
    let mut reader = Reader::new(bytes);
    reader.i32()?; // throttle time
    let brokers = reader.count()?;
    for _ in 0..brokers {
        reader.i32()?;
        reader.string()?;
        reader.i32()?;
        reader.string()?;
    }
    reader.string()?; // cluster id
    reader.i32()?; // controller
    if reader.count()? != 1 {
        return Err(Malformed);
    }
    let error = reader.i16()?;
    reader.string()?;
    reader.i8()?; // internal
    let partitions = reader.count()?;
    let mut led = 0;
    for _ in 0..partitions {
        let error = reader.i16()?;
        reader.i32()?;
        let leader = reader.i32()?;
        led += usize::from(error == 0 && leader >= 0);
        for _ in 0..2 {
            let nodes = reader.count()?;
            reader.take(nodes * 4)?;
        }
    }
    Ok(Metadata {
        brokers,
        error,
        partitions,
        led,
    })
}

fn parse_created(bytes: &[u8]) -> Result<i16, Malformed> {
    let mut reader = Reader::new(bytes);
    reader.i32()?; // throttle time
    if reader.count()? != 1 {
        return Err(Malformed);
    }
    reader.string()?;
    reader.i16()
}

/// The offsets, or the first partition that has an error and the error's code.
type Offsets = Result<Vec<i64>, (i32, i16)>;

fn parse_offsets(bytes: &[u8], partitions: usize) -> Result<Offsets, Malformed> {
    let mut offsets = vec![-1; partitions];
    let mut reader = Reader::new(bytes);
    for _ in 0..reader.count()? {
        reader.string()?;
        for _ in 0..reader.count()? {
            let partition = reader.i32()?;
            let error = reader.i16()?;
            reader.i64()?; // timestamp
            let offset = reader.i64()?;
            if error != 0 {
                return Ok(Err((partition, error)));
            }
            *offsets.get_mut(partition as usize).ok_or(Malformed)? = offset;
        }
    }
    if offsets.contains(&-1) {
        Err(Malformed)
    } else {
        Ok(Ok(offsets))
    }
}
