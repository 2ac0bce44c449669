//! Record batches: CRC-32C, and validation and stamping of a run of them in one call.
//!
//! The rules are those of `src/record/batch-engine.ts`, word by word; `batch-engine-js.ts` is the
//! twin, and a property test holds both equal. Each header is copied once and judged by its copy, so
//! that memory which changes under a faulty caller can make a result wrong but no access unsafe.

use std::ptr;

use crate::call::{Call, Failure, Outcome, Value};
use crate::memory::{Range, Words};

const HEADER_BYTES: usize = 61;
const LENGTH_PREFIX_BYTES: usize = 12;

const BATCH_LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
const RECORDS_COUNT: usize = 57;

const COMPRESSION_MASK: i16 = 0x07;
const COMPRESSION_MAX: i16 = 4;
const LOG_APPEND_TIME_BIT: i16 = 0x08;
const CONTROL_BIT: i16 = 0x20;

const INFO_POSITION: usize = 0;
const INFO_BYTES: usize = 1;
const INFO_RECORDS_COUNT: usize = 2;
const INFO_ATTRIBUTES: usize = 3;
const INFO_PRODUCER_ID: usize = 4;
const INFO_PRODUCER_EPOCH: usize = 5;
const INFO_BASE_SEQUENCE: usize = 6;
const INFO_BASE_OFFSET: usize = 7;
const INFO_MAX_TIMESTAMP: usize = 8;
const INFO_WORDS: usize = 9;

const CORRUPT_MESSAGE: i32 = 2;
const MESSAGE_TOO_LARGE: i32 = 10;
const INVALID_TIMESTAMP: i32 = 32;
const UNSUPPORTED_COMPRESSION_TYPE: i32 = 76;
const INVALID_RECORD: i32 = 87;

const SAFE_INTEGER_MAX: i64 = (1 << 53) - 1;

/// The words of `stamp`, in their order.
#[cfg_attr(test, derive(Debug))]
struct Stamp {
    base_offset: f64,
    leader_epoch: i32,
    append_time_ms: f64,
    batch_bytes_max: f64,
    timestamp_max: f64,
    allow_control: bool,
}

const STAMP_WORDS: usize = 6;

impl Stamp {
    /// The stamp, refused where a word cannot be what it says: that is our own caller's bug.
    fn read(words: Words<f64>) -> Outcome<Stamp> {
        let integer = |index: usize, min: f64, max: f64| {
            let value = words.get(index);
            let fits = value >= min && value <= max && value as i64 as f64 == value;
            if fits {
                Ok(value)
            } else {
                Err(Failure::Range("stamp"))
            }
        };
        Ok(Stamp {
            base_offset: integer(0, 0.0, SAFE_INTEGER_MAX as f64)?,
            leader_epoch: integer(1, f64::from(i32::MIN), f64::from(i32::MAX))? as i32,
            append_time_ms: integer(2, -1.0, SAFE_INTEGER_MAX as f64)?,
            batch_bytes_max: words.get(3),
            timestamp_max: words.get(4),
            allow_control: words.get(5) != 0.0,
        })
    }
}

struct Header([u8; HEADER_BYTES]);

impl Header {
    unsafe fn copy(pointer: *const u8) -> Header {
        let mut bytes = [0; HEADER_BYTES];
        unsafe { ptr::copy_nonoverlapping(pointer, bytes.as_mut_ptr(), HEADER_BYTES) };
        Header(bytes)
    }

    fn int16(&self, at: usize) -> i16 {
        i16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    fn int32(&self, at: usize) -> i32 {
        i32::from_be_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn int64(&self, at: usize) -> i64 {
        i64::from_be_bytes(self.0[at..at + 8].try_into().unwrap())
    }
}

pub fn crc32c(call: &Call) -> Outcome {
    let bytes = call.bytes(0, "bytes")?;
    let start = call.size(1, "start")?;
    let end = call.size(2, "end")?;
    if end < start {
        return Err(Failure::Range("end"));
    }
    let range = bytes.range(start, end - start, "end")?;
    Ok(Value::Number(f64::from(unsafe {
        crc_of(range.pointer, range.length)
    })))
}

pub fn validate_and_stamp(call: &Call) -> Outcome {
    let bytes = call.bytes(0, "bytes")?;
    let range = bytes.range(call.size(1, "offset")?, call.size(2, "length")?, "length")?;
    let stamp = call.float64s(3, "stamp")?;
    let info = call.float64s(4, "info")?;
    if stamp.len() < STAMP_WORDS {
        return Err(Failure::Range("stamp"));
    }
    Ok(Value::Number(
        match process(range, &Stamp::read(stamp)?, info) {
            Ok(count) => count as f64,
            Err(code) => -f64::from(code),
        },
    ))
}

/// # Safety
/// The range must be readable, and nobody may write to it during the call.
unsafe fn crc_of(pointer: *const u8, length: usize) -> u32 {
    crc_fast::crc32_iscsi(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Validates all, then stamps all; the number of batches, or an error code.
fn process(run: Range, stamp: &Stamp, info: Words<f64>) -> Result<usize, i32> {
    let mut position = 0;
    let mut count = 0;
    while position < run.length {
        if count == info.len() / INFO_WORDS {
            return Err(INVALID_RECORD);
        }
        let rest = Range {
            pointer: unsafe { run.pointer.add(position) },
            length: run.length - position,
        };
        let header = check(rest, stamp)?;
        let bytes = LENGTH_PREFIX_BYTES + header.int32(BATCH_LENGTH) as usize;
        describe(&header, position, bytes, |word, value| {
            info.set(count * INFO_WORDS + word, value)
        });
        position += bytes;
        count += 1;
    }
    if count == 0 {
        return Err(CORRUPT_MESSAGE);
    }

    let mut base_offset = stamp.base_offset;
    for index in 0..count {
        let words = index * INFO_WORDS;
        // Position and length come back from `info`, which JavaScript owns: checked once more.
        let position = info.get(words + INFO_POSITION) as usize;
        let bytes = info.get(words + INFO_BYTES) as usize;
        assert!(bytes >= HEADER_BYTES && position <= run.length && bytes <= run.length - position);
        let batch = Range {
            pointer: unsafe { run.pointer.add(position) },
            length: bytes,
        };
        let (attributes, max_timestamp) = unsafe { write(batch, stamp, base_offset) };
        info.set(words + INFO_ATTRIBUTES, f64::from(attributes));
        info.set(words + INFO_BASE_OFFSET, base_offset);
        info.set(words + INFO_MAX_TIMESTAMP, max_timestamp as f64);
        base_offset += info.get(words + INFO_RECORDS_COUNT);
    }
    Ok(count)
}

/// The header of the batch at the start of `rest`, or why it is refused.
fn check(rest: Range, stamp: &Stamp) -> Result<Header, i32> {
    if rest.length < HEADER_BYTES {
        return Err(CORRUPT_MESSAGE);
    }
    let header = unsafe { Header::copy(rest.pointer) };
    let batch_length = header.int32(BATCH_LENGTH);
    if batch_length < (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32 {
        return Err(CORRUPT_MESSAGE);
    }
    let bytes = LENGTH_PREFIX_BYTES + batch_length as usize;
    if bytes > rest.length {
        return Err(CORRUPT_MESSAGE);
    }
    if bytes as f64 > stamp.batch_bytes_max {
        return Err(MESSAGE_TOO_LARGE);
    }
    if header.0[MAGIC] != 2 {
        return Err(CORRUPT_MESSAGE);
    }
    let crc = unsafe { crc_of(rest.pointer.add(ATTRIBUTES), bytes - ATTRIBUTES) };
    if crc != header.int32(CRC) as u32 {
        return Err(CORRUPT_MESSAGE);
    }

    let attributes = header.int16(ATTRIBUTES);
    let control = attributes & CONTROL_BIT != 0;
    if control && !stamp.allow_control {
        return Err(INVALID_RECORD);
    }
    if attributes & COMPRESSION_MASK > COMPRESSION_MAX {
        return Err(UNSUPPORTED_COMPRESSION_TYPE);
    }
    let records_count = header.int32(RECORDS_COUNT);
    if records_count <= 0 || header.int32(LAST_OFFSET_DELTA) != records_count - 1 {
        return Err(INVALID_RECORD);
    }
    let producer_id = header.int64(PRODUCER_ID);
    if producer_id >= 0 {
        let sequenced = control || header.int32(BASE_SEQUENCE) >= 0;
        if header.int16(PRODUCER_EPOCH) < 0 || !sequenced || producer_id > SAFE_INTEGER_MAX {
            return Err(INVALID_RECORD);
        }
    }
    let max_timestamp = header.int64(MAX_TIMESTAMP);
    // Not `>`: a limit that is not a number refuses, as it does in the twin.
    let in_time = max_timestamp as f64 <= stamp.timestamp_max;
    if max_timestamp < -1 || !in_time {
        return Err(INVALID_TIMESTAMP);
    }
    Ok(header)
}

/// What validation tells of one batch; the words of stamping follow later.
fn describe(header: &Header, position: usize, bytes: usize, mut set: impl FnMut(usize, f64)) {
    set(INFO_POSITION, position as f64);
    set(INFO_BYTES, bytes as f64);
    set(INFO_RECORDS_COUNT, f64::from(header.int32(RECORDS_COUNT)));
    set(INFO_PRODUCER_ID, header.int64(PRODUCER_ID).max(-1) as f64);
    set(INFO_PRODUCER_EPOCH, f64::from(header.int16(PRODUCER_EPOCH)));
    set(INFO_BASE_SEQUENCE, f64::from(header.int32(BASE_SEQUENCE)));
}

/// Stamps one batch in place; its attributes and maximum timestamp as they are now.
///
/// # Safety
/// `batch` must be a whole batch, writable, at least a header long.
unsafe fn write(batch: Range, stamp: &Stamp, base_offset: f64) -> (i16, i64) {
    let at = |offset: usize| unsafe { batch.pointer.add(offset) };
    let header = unsafe { Header::copy(batch.pointer) };
    unsafe { put(at(0), (base_offset as i64).to_be_bytes()) };
    unsafe { put(at(LEADER_EPOCH), stamp.leader_epoch.to_be_bytes()) };

    let before = header.int16(ATTRIBUTES);
    let append_time = stamp.append_time_ms >= 0.0;
    let (attributes, max_timestamp) = if append_time {
        (before | LOG_APPEND_TIME_BIT, stamp.append_time_ms as i64)
    } else {
        (before & !LOG_APPEND_TIME_BIT, header.int64(MAX_TIMESTAMP))
    };
    if append_time || attributes != before {
        unsafe {
            put(at(ATTRIBUTES), attributes.to_be_bytes());
            put(at(MAX_TIMESTAMP), max_timestamp.to_be_bytes());
            let crc = crc_of(at(ATTRIBUTES), batch.length - ATTRIBUTES);
            put(at(CRC), crc.to_be_bytes());
        }
    }
    (attributes, max_timestamp)
}

unsafe fn put<const N: usize>(pointer: *mut u8, bytes: [u8; N]) {
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pointer, N) };
}

#[cfg(test)]
#[path = "batch_test.rs"]
mod tests;

#[cfg(test)]
#[path = "batch_fuzz.rs"]
mod fuzz;
