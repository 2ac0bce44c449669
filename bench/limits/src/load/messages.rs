//! Messages of `millrace.v1`: a length, an envelope in MessagePack, a payload.

use crate::msgpack::{Malformed, Reader};

/// A message: the envelope's length, the envelope, the payload.
pub fn with_length(envelope: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = (envelope.len() as u32).to_be_bytes();
    [&length[..], envelope, payload].concat()
}

/// What a server's message says, as far as a producer needs it.
#[derive(Default)]
pub struct Said<'a> {
    pub kind: &'a str,
    pub id: Option<i64>,
    pub bytes: u64,
    pub credits: u64,
    pub kept: u64,
    pub code: i64,
    pub message: &'a str,
    /// Of a `produced`.
    pub error: i64,
    pub base_offset: i64,
    pub message_bytes_max: u64,
    pub requests_max: u64,
}

/// Reads a message's envelope; there is no payload that a producer would be sent.
pub fn read(message: &[u8]) -> Result<Said<'_>, Malformed> {
    let (length, rest) = message.split_first_chunk().ok_or(Malformed)?;
    let envelope = rest.get(..u32::from_be_bytes(*length) as usize);
    let mut reader = Reader::new(envelope.ok_or(Malformed)?);
    let mut said = Said::default();
    for _ in 0..reader.map()? {
        match reader.text()? {
            "type" => said.kind = reader.text()?,
            "id" if reader.is_nil() => {}
            "id" => said.id = Some(reader.integer()?),
            "bytes" => said.bytes = not_negative(reader.integer()?)?,
            "credits" => said.credits = not_negative(reader.integer()?)?,
            "kept" => said.kept = not_negative(reader.integer()?)?,
            "code" => said.code = reader.integer()?,
            "message" => said.message = reader.text()?,
            "partitions" => read_produced(&mut reader, &mut said)?,
            "limits" => read_limits(&mut reader, &mut said)?,
            _ => reader.skip()?,
        }
    }
    if reader.is_at_end() {
        Ok(said)
    } else {
        Err(Malformed)
    }
}

fn not_negative(value: i64) -> Result<u64, Malformed> {
    u64::try_from(value).map_err(|_| Malformed)
}

/// `[[errorCode, baseOffset, appendTimeMs, logStartOffset, message]]`: one partition was sent.
fn read_produced(reader: &mut Reader, said: &mut Said) -> Result<(), Malformed> {
    if reader.array()? != 1 || reader.array()? != 5 {
        return Err(Malformed);
    }
    said.error = reader.integer()?;
    said.base_offset = reader.integer()?;
    (0..3).try_for_each(|_| reader.skip())
}

fn read_limits(reader: &mut Reader, said: &mut Said) -> Result<(), Malformed> {
    for _ in 0..reader.map()? {
        match reader.text()? {
            "messageBytes" => said.message_bytes_max = not_negative(reader.integer()?)?,
            "requests" => said.requests_max = not_negative(reader.integer()?)?,
            _ => reader.skip()?,
        }
    }
    Ok(())
}
