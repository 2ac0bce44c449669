//! Produce over Kafka's protocol, version 7: the request and its response, for one partition.

use super::Prebuilt;
use super::connection::Answer;
use super::options::Options;
use crate::wire::{Malformed, PREFIX_BYTES, PRODUCE, Reader, Writer, version_of};

const RESPONSE_BYTES_MAX: usize = 64 * 1024;
const CORRELATION_ID_AT: usize = 8;

pub fn request(options: &Options, partition: usize, batch: &[u8]) -> Prebuilt {
    let mut body = Writer::default();
    body.string("limits")
        .null_string()
        .i16(options.acks)
        .i32(30_000);
    body.i32(1)
        .string(&options.topic)
        .i32(1)
        .i32(partition as i32)
        .i32(batch.len() as i32);
    body.bytes.extend_from_slice(batch);
    let mut prefix = Writer::default();
    prefix.i32((PREFIX_BYTES - 4 + body.bytes.len()) as i32);
    prefix.i16(PRODUCE).i16(version_of(PRODUCE)).i32(0);
    Prebuilt {
        prefix: prefix.bytes,
        id_at: CORRELATION_ID_AT,
        id_mask: [0; 4],
        body: body.bytes,
        credits: 0,
    }
}

/// Takes the whole responses out of `received`.
pub fn take(
    received: &mut Vec<u8>,
    partition: usize,
    answers: &mut Vec<Answer>,
) -> Result<(), String> {
    let mut at = 0;
    loop {
        match parse(&received[at..], partition) {
            Ok(None) => break,
            Ok(Some((answer, bytes))) => {
                answers.push(answer);
                at += bytes;
            }
            Err(Malformed) => return Err("sent what is no Produce response".to_string()),
        }
    }
    received.drain(..at);
    Ok(())
}

/// The first response of `bytes` and its length, if it is whole.
fn parse(bytes: &[u8], partition: usize) -> Result<Option<(Answer, usize)>, Malformed> {
    if bytes.len() < 4 {
        return Ok(None);
    }
    let length = Reader::new(bytes).i32()? as usize;
    if length > RESPONSE_BYTES_MAX {
        return Err(Malformed);
    }
    let Some(frame) = bytes.get(4..4 + length) else {
        return Ok(None);
    };
    let mut reader = Reader::new(frame);
    let id = reader.i32()?;
    if reader.count()? != 1 {
        return Err(Malformed);
    }
    reader.string()?;
    if reader.count()? != 1 || reader.i32()? != partition as i32 {
        return Err(Malformed);
    }
    let error = reader.i16()?;
    let base_offset = reader.i64()?;
    reader.i64()?; // log append time
    reader.i64()?; // log start offset
    reader.i32()?; // throttle time
    if reader.at != length {
        return Err(Malformed);
    }
    let answer = Answer {
        id,
        error,
        base_offset,
    };
    Ok(Some((answer, 4 + length)))
}
