//! Requests in, responses out: Produce by the appender, the few others from what little is known.
//! Not Fetch, which belongs to the sockets' thread.

use super::appender::Appender;
use super::log::Log;
use crate::control::EARLIEST;
use crate::wire::{
    API_VERSIONS, CREATE_TOPICS, LIST_OFFSETS, METADATA, Malformed, PRODUCE, Reader, SPOKEN,
    TOPIC_ALREADY_EXISTS, UNKNOWN_TOPIC_OR_PARTITION, Writer, version_of,
};
use std::ops::Range;
use std::sync::Arc;

const INVALID_REQUEST: i16 = 42;

/// Received bytes with whole frames in them, and the responses to those.
pub struct Block {
    pub connection: usize,
    pub bytes: Vec<u8>,
    /// Frames without their length field.
    pub frames: Vec<Range<usize>>,
    pub responses: Vec<u8>,
    /// The peer sent what cannot be answered: close the connection.
    pub is_broken: bool,
}

pub struct Answers {
    pub appender: Appender,
    log: Arc<Log>,
    /// The topic, once it was created.
    topic: Option<Vec<u8>>,
    host: String,
    port: u16,
}

impl Answers {
    pub fn new(appender: Appender, log: Arc<Log>, host: String, port: u16) -> Answers {
        Answers {
            appender,
            log,
            topic: None,
            host,
            port,
        }
    }

    /// Handles the frames of `block`. The responses may leave once the appender is flushed.
    pub fn handle(&mut self, block: &mut Block) -> std::io::Result<()> {
        let Block {
            bytes,
            frames,
            responses,
            ..
        } = block;
        for frame in frames.drain(..) {
            match self.answer(&mut bytes[frame], responses) {
                Ok(done) => done?,
                Err(Malformed) => {
                    block.is_broken = true;
                    break;
                }
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        frame: &mut [u8],
        responses: &mut Vec<u8>,
    ) -> Result<std::io::Result<()>, Malformed> {
        let mut reader = Reader::new(frame);
        let key = reader.i16()?;
        let version = reader.i16()?;
        let correlation_id = reader.i32()?;
        reader.string()?; // client id
        if version != version_of(key) {
            return Err(Malformed);
        }
        if key == PRODUCE {
            let at = reader.at;
            return self.produce(correlation_id, frame, at, responses);
        }
        let mut response = Writer::response(correlation_id);
        match key {
            API_VERSIONS => {
                response.i16(0).i32(SPOKEN.len() as i32);
                for (key, version) in SPOKEN {
                    response.i16(key).i16(version).i16(version);
                }
            }
            METADATA => self.metadata(&mut reader, &mut response)?,
            CREATE_TOPICS => self.create_topic(&mut reader, &mut response)?,
            LIST_OFFSETS => self.list_offsets(&mut reader, &mut response)?,
            _ => return Err(Malformed),
        }
        responses.extend_from_slice(&response.finish());
        Ok(Ok(()))
    }

    fn produce(
        &mut self,
        correlation_id: i32,
        frame: &mut [u8],
        at: usize,
        responses: &mut Vec<u8>,
    ) -> Result<std::io::Result<()>, Malformed> {
        let mut reader = Reader::new(frame);
        reader.take(at)?;
        reader.string()?; // transactional id
        let acks = reader.i16()?;
        reader.i32()?; // timeout
        if reader.i32()? != 1 {
            return Err(Malformed);
        }
        let topic = reader.string()?;
        let is_known = self.topic.as_deref() == Some(topic);
        let topic = topic.len();
        let topic = reader.at - topic..reader.at;
        if reader.i32()? != 1 {
            return Err(Malformed);
        }
        let partition = reader.i32()?;
        let length = usize::try_from(reader.i32()?).map_err(|_| Malformed)?;
        let batch = reader.at..reader.at + length;
        reader.take(length)?;

        let index = partition as usize;
        let appended = if is_known && index < self.log.partitions() {
            match self.appender.append(index, &mut frame[batch]) {
                Ok(appended) => appended,
                Err(error) => return Ok(Err(error)),
            }
        } else {
            Err(UNKNOWN_TOPIC_OR_PARTITION)
        };
        if acks == 0 {
            return Ok(Ok(()));
        }
        let name = &frame[topic];
        let body = 4 + 4 + 2 + name.len() + 4 + 4 + 2 + 8 + 8 + 8 + 4;
        responses.extend_from_slice(&(body as i32).to_be_bytes());
        responses.extend_from_slice(&correlation_id.to_be_bytes());
        responses.extend_from_slice(&1i32.to_be_bytes());
        responses.extend_from_slice(&(name.len() as i16).to_be_bytes());
        responses.extend_from_slice(name);
        responses.extend_from_slice(&1i32.to_be_bytes());
        responses.extend_from_slice(&partition.to_be_bytes());
        responses.extend_from_slice(&appended.err().unwrap_or(0).to_be_bytes());
        responses.extend_from_slice(&appended.unwrap_or(-1).to_be_bytes());
        responses.extend_from_slice(&(-1i64).to_be_bytes()); // log append time: not used
        responses.extend_from_slice(&0i64.to_be_bytes()); // log start offset
        responses.extend_from_slice(&0i32.to_be_bytes()); // throttle time
        Ok(Ok(()))
    }

    fn metadata(&self, reader: &mut Reader, response: &mut Writer) -> Result<(), Malformed> {
        if reader.i32()? != 1 {
            return Err(Malformed);
        }
        let asked = reader.string()?;
        let is_known = self.topic.as_deref() == Some(asked);
        response
            .i32(0)
            .i32(1)
            .i32(1)
            .string(&self.host)
            .i32(i32::from(self.port))
            .null_string();
        response.null_string().i32(1).i32(1);
        response.i16(if is_known {
            0
        } else {
            UNKNOWN_TOPIC_OR_PARTITION
        });
        response
            .i16(asked.len() as i16)
            .bytes
            .extend_from_slice(asked);
        response.i8(0);
        let count = if is_known {
            self.log.partitions() as i32
        } else {
            0
        };
        response.i32(count);
        for partition in 0..count {
            response
                .i16(0)
                .i32(partition)
                .i32(1)
                .i32(1)
                .i32(1)
                .i32(1)
                .i32(1);
        }
        Ok(())
    }

    fn create_topic(
        &mut self,
        reader: &mut Reader,
        response: &mut Writer,
    ) -> Result<(), Malformed> {
        if reader.i32()? != 1 {
            return Err(Malformed);
        }
        let asked = reader.string()?;
        let partitions = reader.i32()?;
        // One topic with the partitions of the command line. Its settings mean nothing here.
        let is_fitting = self.topic.is_none() && partitions == self.log.partitions() as i32;
        let code = if self.topic.as_deref() == Some(asked) {
            TOPIC_ALREADY_EXISTS
        } else if is_fitting {
            self.topic = Some(asked.to_vec());
            0
        } else {
            INVALID_REQUEST
        };
        response
            .i32(0)
            .i32(1)
            .i16(asked.len() as i16)
            .bytes
            .extend_from_slice(asked);
        response.i16(code).null_string();
        Ok(())
    }

    fn list_offsets(&self, reader: &mut Reader, response: &mut Writer) -> Result<(), Malformed> {
        reader.i32()?; // replica
        if reader.i32()? != 1 {
            return Err(Malformed);
        }
        let asked = reader.string()?;
        let is_known = self.topic.as_deref() == Some(asked);
        let count = reader.count()?;
        response
            .i32(1)
            .i16(asked.len() as i16)
            .bytes
            .extend_from_slice(asked);
        response.i32(count as i32);
        for _ in 0..count {
            let partition = reader.i32()?;
            let timestamp = reader.i64()?;
            let index = partition as usize;
            // The start and the end are all there is.
            let (code, offset) = if !is_known || index >= self.log.partitions() {
                (UNKNOWN_TOPIC_OR_PARTITION, -1)
            } else if timestamp == EARLIEST {
                (0, 0)
            } else {
                (0, self.log.end_offset(index))
            };
            response.i32(partition).i16(code).i64(-1).i64(offset);
        }
        Ok(())
    }
}
