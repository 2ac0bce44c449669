//! Fetch requests (version 11) and their answers: heads in memory, records as stretches of files.
//!
//! Runs on the thread that has the sockets.

use super::log::{Log, Stretch};
use crate::wire::{Malformed, Reader, Writer};
use std::collections::VecDeque;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

struct Wanted {
    partition: i32,
    offset: i64,
    bytes_max: u64,
}

pub struct Request {
    correlation_id: i32,
    pub max_wait_ms: u64,
    min_bytes: u64,
    bytes_max: u64,
    topic: Vec<u8>,
    wanted: Vec<Wanted>,
}

/// Records of one partition in an answer.
pub struct Records {
    /// Bytes of the answer's heads that go before.
    pub after: usize,
    pub partition: usize,
    /// What has still to be read from the file.
    pub stretch: Stretch,
}

pub struct Answer {
    pub heads: Vec<u8>,
    pub heads_sent: usize,
    pub records: VecDeque<Records>,
    /// Read, and not sent: the socket had no room.
    pub copied: Vec<u8>,
}

/// Reads a frame without its length field. There is one topic, so any name means it.
pub fn parse(frame: &[u8]) -> Result<Request, Malformed> {
    let mut reader = Reader::new(frame);
    reader.take(4)?; // key and version
    let correlation_id = reader.i32()?;
    reader.string()?; // client id
    reader.i32()?; // replica
    let max_wait_ms = not_negative(reader.i32()?)?;
    let min_bytes = not_negative(reader.i32()?)?;
    let bytes_max = not_negative(reader.i32()?)?;
    reader.take(9)?; // isolation level, session, its epoch
    if reader.i32()? != 1 {
        return Err(Malformed);
    }
    let topic = reader.string()?.to_vec();
    let mut wanted = Vec::new();
    for _ in 0..reader.count()? {
        let partition = reader.i32()?;
        reader.i32()?; // leader epoch
        let offset = reader.i64()?;
        reader.i64()?; // log start offset
        let bytes_max = not_negative(reader.i32()?)?;
        wanted.push(Wanted {
            partition,
            offset,
            bytes_max,
        });
    }
    Ok(Request {
        correlation_id,
        max_wait_ms,
        min_bytes,
        bytes_max,
        topic,
        wanted,
    })
}

fn not_negative(value: i32) -> Result<u64, Malformed> {
    u64::try_from(value).map_err(|_| Malformed)
}

/// Whether there are the bytes that the client waits for, or an error to tell it of.
pub fn is_ready(request: &Request, log: &Log) -> bool {
    let mut bytes = 0;
    for wanted in &request.wanted {
        match find(wanted, log, request.bytes_max, bytes == 0) {
            Ok(stretch) => bytes += stretch.to - stretch.from,
            Err(_) => return true,
        }
        if bytes >= request.min_bytes.max(1) {
            return true;
        }
    }
    request.min_bytes == 0
}

fn find(wanted: &Wanted, log: &Log, rest: u64, at_least_one: bool) -> Result<Stretch, i16> {
    let index = wanted.partition as usize;
    if index >= log.partitions() {
        return Err(UNKNOWN_TOPIC_OR_PARTITION);
    }
    let bytes_max = wanted.bytes_max.min(rest);
    log.find(index, wanted.offset, bytes_max, at_least_one)
        .ok_or(OFFSET_OUT_OF_RANGE)
}

/// The answer with what is there now.
pub fn answer(request: &Request, log: &Log) -> Answer {
    let mut heads = Writer::response(request.correlation_id);
    heads.i32(0).i16(0).i32(0).i32(1);
    heads.i16(request.topic.len() as i16);
    heads.bytes.extend_from_slice(&request.topic);
    heads.i32(request.wanted.len() as i32);
    let mut records = VecDeque::new();
    let mut bytes = 0;
    for wanted in &request.wanted {
        let rest = request.bytes_max.saturating_sub(bytes);
        let found = find(wanted, log, rest, bytes == 0);
        let index = wanted.partition as usize;
        let length = found
            .as_ref()
            .map_or(0, |stretch| stretch.to - stretch.from);
        let code = found.as_ref().err().copied().unwrap_or(0);
        // Asked for after the records, which must not go beyond it.
        let is_known = index < log.partitions();
        let high_watermark = if is_known { log.end_offset(index) } else { -1 };
        heads.i32(wanted.partition).i16(code);
        heads.i64(high_watermark).i64(high_watermark).i64(0);
        heads.i32(-1).i32(-1).i32(length as i32);
        bytes += length;
        if let Ok(stretch) = found
            && length > 0
        {
            records.push_back(Records {
                after: heads.bytes.len(),
                partition: index,
                stretch,
            });
        }
    }
    let mut heads = heads.finish();
    let length = heads.len() as u64 - 4 + bytes;
    heads[..4].copy_from_slice(&(length as i32).to_be_bytes());
    Answer {
        heads,
        heads_sent: 0,
        records,
        copied: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FETCH;
    use std::fs::File;

    fn request(min_bytes: i32, offsets: &[i64]) -> Request {
        let mut writer = Writer::request(FETCH, 9);
        writer.i32(-1).i32(500).i32(min_bytes).i32(1000);
        writer.i8(0).i32(0).i32(-1).i32(1).string("t");
        writer.i32(offsets.len() as i32);
        for (partition, offset) in offsets.iter().enumerate() {
            writer.i32(partition as i32).i32(-1);
            writer.i64(*offset).i64(-1).i32(400);
        }
        writer.i32(0).string("");
        parse(&writer.finish()[4..]).unwrap()
    }

    fn log() -> Log {
        let file = || Some(File::open("/dev/null").unwrap());
        let log = Log::new(vec![file(), file()]);
        log.wrote(0, 300, 3).unwrap();
        log.wrote(1, 300, 3).unwrap();
        log
    }

    #[test]
    fn is_ready_when_the_bytes_that_are_wanted_are_there() {
        let log = log();
        assert!(!is_ready(&request(1, &[3, 3]), &log));
        assert!(!is_ready(&request(601, &[0, 0]), &log));
        assert!(is_ready(&request(600, &[0, 0]), &log));
        assert!(is_ready(&request(0, &[3, 3]), &log));
        assert!(is_ready(&request(1000, &[4, 0]), &log), "out of range");
    }

    #[test]
    fn answer_counts_the_records_in_its_length() {
        let answer = answer(&request(1, &[0, 3]), &log());
        let length = i32::from_be_bytes(answer.heads[..4].try_into().unwrap());
        assert_eq!(length as usize, answer.heads.len() - 4 + 300);
        assert_eq!(answer.records.len(), 1);
        assert!(answer.records[0].after < answer.heads.len());
    }

    #[test]
    fn answer_tells_of_errors() {
        let answer = answer(&request(1000, &[4, 0, 0]), &log());
        let partitions = &answer.heads[4 + 4 + 14 + 3 + 4..];
        assert_eq!(partitions[4..6], OFFSET_OUT_OF_RANGE.to_be_bytes());
        let third = &partitions[2 * 42..];
        assert_eq!(third[4..6], UNKNOWN_TOPIC_OR_PARTITION.to_be_bytes());
    }
}
