//! A Fetch response (version 11) as it arrives: heads are looked at, records are passed over. So a
//! response of any size needs no memory but its heads.
//!
//! ```text
//! frame      length i32 │ correlation i32 │ throttle i32 │ error i16 │ session i32 │ topics i32
//!            topic: name string │ partitions i32
//! partition  index i32 │ error i16 │ highWatermark i64 │ lastStableOffset i64 │ logStartOffset i64
//!            abortedTransactions i32, −1 or 0 │ preferredReadReplica i32 │ records bytes i32
//! records    whole batches, the last one perhaps cut short
//! ```

use crate::batch::{self, HEADER_BYTES, Head};
use crate::wire::Reader;
use crc_fast::{CrcAlgorithm, Digest};

const LENGTH_BYTES: usize = 4;
/// Correlation, throttle time, error, session, count of topics.
const ERROR_HEAD_BYTES: usize = 18;
const PARTITION_HEAD_BYTES: usize = 42;

/// What a response says of a partition, before its records.
pub struct PartitionHead {
    pub index: usize,
    pub error: i16,
    pub high_watermark: i64,
}

/// Gets what is found, in the order of the bytes. An error ends the stream.
pub trait Sink {
    fn partition(&mut self, head: &PartitionHead) -> Result<(), String>;
    /// A batch has arrived whole.
    fn batch(&mut self, head: &Head) -> Result<(), String>;
    /// The records ended with `bytes` of a batch that is not whole.
    fn truncated(&mut self, bytes: usize);
}

enum Stage {
    Length,
    FrameHead,
    PartitionHead,
    BatchHead,
    /// Bytes of a batch behind its head; the head comes with its last byte.
    Batch(Head),
    /// Bytes that are no whole batch.
    Rest,
    Done,
}

pub struct Stream {
    topic: String,
    partitions: usize,
    check_crc: bool,
    stage: Stage,
    /// Bytes of the head that is being gathered.
    head: Vec<u8>,
    /// Bytes that the stage still needs: gathered, or passed over.
    wanted: usize,
    /// Bytes of the frame that no stage has been given.
    frame_rest: usize,
    partitions_rest: usize,
    records_rest: usize,
    correlation_id: i32,
    digest: Digest,
}

impl Stream {
    pub fn new(topic: &str, partitions: usize, check_crc: bool) -> Stream {
        Stream {
            topic: topic.to_string(),
            partitions,
            check_crc,
            stage: Stage::Done,
            head: Vec::with_capacity(256),
            wanted: 0,
            frame_rest: 0,
            partitions_rest: 0,
            records_rest: 0,
            correlation_id: 0,
            digest: Digest::new(CrcAlgorithm::Crc32Iscsi),
        }
    }

    /// A request was sent: its response is what comes next.
    pub fn expect(&mut self, correlation_id: i32) {
        assert!(matches!(self.stage, Stage::Done));
        self.correlation_id = correlation_id;
        self.stage = Stage::Length;
        self.wanted = LENGTH_BYTES;
        self.frame_rest = LENGTH_BYTES;
    }

    /// Takes the next bytes of the connection. Returns whether the response has ended; bytes behind
    /// its end are an error, as one request is under way at a time.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<bool, String> {
        while !matches!(self.stage, Stage::Done) {
            let count = self.wanted.min(bytes.len());
            let (now, later) = bytes.split_at(count);
            match self.stage {
                Stage::Batch(_) if self.check_crc => self.digest.update(now),
                Stage::Batch(_) | Stage::Rest => {}
                _ => self.head.extend_from_slice(now),
            }
            self.wanted -= count;
            bytes = later;
            if self.wanted > 0 {
                return Ok(false);
            }
            self.advance(sink)?;
            self.head.clear();
        }
        if bytes.is_empty() {
            Ok(true)
        } else {
            Err("sent bytes behind the end of a response".to_string())
        }
    }

    /// The stage has its bytes: looks at them and decides what comes next.
    fn advance(&mut self, sink: &mut impl Sink) -> Result<(), String> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Length => self.begin_frame(),
            Stage::FrameHead => self.begin_partitions(),
            Stage::PartitionHead => self.begin_records(sink),
            Stage::BatchHead => self.begin_batch(sink),
            Stage::Batch(head) => {
                if self.check_crc && self.digest.finalize_reset() as u32 != head.crc {
                    return Err(format!(
                        "the batch at offset {} has a wrong CRC",
                        head.base_offset
                    ));
                }
                sink.batch(&head)?;
                self.next_batch(sink)
            }
            Stage::Rest => self.next_partition(),
            Stage::Done => unreachable!("a stage that wants nothing"),
        }
    }

    /// Gives `stage` its bytes, which must be in the frame.
    fn want(&mut self, stage: Stage, bytes: usize) -> Result<(), String> {
        if bytes > self.frame_rest {
            return Err("sent a response that is shorter than its content".to_string());
        }
        self.frame_rest -= bytes;
        self.wanted = bytes;
        self.stage = stage;
        Ok(())
    }

    fn begin_frame(&mut self) -> Result<(), String> {
        let length = i32_of(&mut Reader::new(&self.head))?;
        self.frame_rest = usize::try_from(length).map_err(|_| malformed())?;
        // A response that is an error alone ends with a count of no topics.
        let whole = ERROR_HEAD_BYTES + 2 + self.topic.len() + 4;
        self.want(Stage::FrameHead, whole.min(self.frame_rest))
    }

    fn begin_partitions(&mut self) -> Result<(), String> {
        let mut reader = Reader::new(&self.head);
        if i32_of(&mut reader)? != self.correlation_id {
            return Err("answered another request than the one sent".to_string());
        }
        i32_of(&mut reader)?; // throttle time
        let error = reader.i16().map_err(|_| malformed())?;
        if error != 0 {
            return Err(format!("answered a fetch with error {error}"));
        }
        i32_of(&mut reader)?; // session
        let topics = i32_of(&mut reader)?;
        if topics != 1 || reader.string().map_err(|_| malformed())? != self.topic.as_bytes() {
            return Err("answered for another topic".to_string());
        }
        self.partitions_rest = i32_of(&mut reader)? as usize;
        if self.partitions_rest > self.partitions {
            return Err("answered for more partitions than were asked for".to_string());
        }
        self.next_partition()
    }

    fn next_partition(&mut self) -> Result<(), String> {
        if self.partitions_rest > 0 {
            self.partitions_rest -= 1;
            return self.want(Stage::PartitionHead, PARTITION_HEAD_BYTES);
        }
        if self.frame_rest > 0 {
            return Err("sent a response that is longer than its content".to_string());
        }
        Ok(()) // The stage is Done.
    }

    fn begin_records(&mut self, sink: &mut impl Sink) -> Result<(), String> {
        let mut reader = Reader::new(&self.head);
        let mut read = || -> Result<_, crate::wire::Malformed> {
            let (index, error, high_watermark) = (reader.i32()?, reader.i16()?, reader.i64()?);
            reader.take(16)?; // last stable offset, log start offset
            let aborted = reader.i32()?;
            reader.i32()?; // preferred read replica
            Ok((index, error, high_watermark, aborted, reader.i32()?))
        };
        let (index, error, high_watermark, aborted, records) = read().map_err(|_| malformed())?;
        let index = index as usize;
        if index >= self.partitions || aborted > 0 {
            return Err(malformed());
        }
        sink.partition(&PartitionHead {
            index,
            error,
            high_watermark,
        })?;
        self.records_rest = usize::try_from(records).unwrap_or(0);
        self.next_batch(sink)
    }

    fn next_batch(&mut self, sink: &mut impl Sink) -> Result<(), String> {
        if self.records_rest == 0 {
            return self.next_partition();
        }
        if self.records_rest < HEADER_BYTES {
            return self.pass_over(sink, self.records_rest);
        }
        self.records_rest -= HEADER_BYTES;
        self.want(Stage::BatchHead, HEADER_BYTES)
    }

    fn begin_batch(&mut self, sink: &mut impl Sink) -> Result<(), String> {
        let head = batch::head(&self.head)
            .ok_or_else(|| "sent what is no record batch of version 2".to_string())?;
        let rest = head.bytes - HEADER_BYTES;
        if rest > self.records_rest {
            return self.pass_over(sink, HEADER_BYTES + self.records_rest);
        }
        self.records_rest -= rest;
        if self.check_crc {
            self.digest.update(&self.head[batch::CRC_FROM..]);
        }
        self.want(Stage::Batch(head), rest)
    }

    /// The records end with `bytes` of a batch cut short, of which the unread ones are skipped.
    fn pass_over(&mut self, sink: &mut impl Sink, bytes: usize) -> Result<(), String> {
        sink.truncated(bytes);
        let rest = std::mem::take(&mut self.records_rest);
        self.want(Stage::Rest, rest)
    }
}

fn malformed() -> String {
    "sent what is no Fetch response".to_string()
}

fn i32_of(reader: &mut Reader) -> Result<i32, String> {
    reader.i32().map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Random;
    use crate::wire::Writer;

    #[derive(Default)]
    struct Found {
        partitions: Vec<(usize, i16, i64)>,
        batches: Vec<(i64, i64, usize)>,
        truncated: usize,
    }

    impl Sink for Found {
        fn partition(&mut self, head: &PartitionHead) -> Result<(), String> {
            self.partitions
                .push((head.index, head.error, head.high_watermark));
            Ok(())
        }
        fn batch(&mut self, head: &Head) -> Result<(), String> {
            self.batches
                .push((head.base_offset, head.next_offset, head.bytes));
            Ok(())
        }
        fn truncated(&mut self, bytes: usize) {
            self.truncated += bytes;
        }
    }

    fn response(correlation_id: i32, parts: &[(i32, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::response(correlation_id);
        writer.i32(0).i16(0).i32(0).i32(1).string("topic");
        writer.i32(parts.len() as i32);
        for (index, records) in parts {
            writer.i32(*index).i16(0).i64(99).i64(99).i64(0).i32(-1);
            writer.i32(-1).i32(records.len() as i32);
            writer.bytes.extend_from_slice(records);
        }
        writer.finish()
    }

    fn batch_at(offset: i64, count: usize) -> Vec<u8> {
        let mut bytes = batch::build(count, 100, 0, &mut Random::new(3));
        batch::stamp(&mut bytes, offset);
        bytes
    }

    fn feed_by(step: usize, bytes: &[u8], check_crc: bool) -> Result<(bool, Found), String> {
        let mut stream = Stream::new("topic", 3, check_crc);
        let mut found = Found::default();
        stream.expect(7);
        let mut ended = false;
        for piece in bytes.chunks(step) {
            ended = stream.feed(piece, &mut found)?;
        }
        Ok((ended, found))
    }

    #[test]
    fn feed_finds_the_same_however_the_bytes_are_cut() {
        let (first, second) = (batch_at(4, 3), batch_at(7, 2));
        let cut = [&first[..], &second[..], &batch_at(9, 5)[..80]].concat();
        let bytes = response(7, &[(2, &cut), (0, &[]), (1, &first[..20])]);
        for step in [1, 2, 7, 61, 100, bytes.len()] {
            let (ended, found) = feed_by(step, &bytes, true).unwrap();
            assert!(ended);
            assert_eq!(found.partitions, [(2, 0, 99), (0, 0, 99), (1, 0, 99)]);
            let batches = [(4, 7, first.len()), (7, 9, second.len())];
            assert_eq!(found.batches, batches);
            assert_eq!(found.truncated, 80 + 20);
        }
    }

    #[test]
    fn feed_finds_a_flipped_bit_only_where_it_checks() {
        let mut batch = batch_at(0, 3);
        let last = batch.len() - 1;
        batch[last] ^= 1;
        let bytes = response(7, &[(0, &batch)]);
        assert!(feed_by(64, &bytes, true).is_err());
        assert!(feed_by(64, &bytes, false).is_ok());
    }

    #[test]
    fn feed_refuses_what_is_no_response() {
        let good = response(7, &[(0, &batch_at(0, 1))]);
        assert!(feed_by(64, &response(8, &[]), false).is_err(), "another id");
        assert!(feed_by(64, &response(7, &[(3, &[])]), false).is_err());
        assert!(feed_by(64, &[&good[..], &[0]].concat(), false).is_err());
        let mut shorter = good.clone();
        shorter[3] -= 1;
        assert!(feed_by(64, &shorter, false).is_err());
        let mut failed = Writer::response(7);
        failed.i32(0).i16(56).i32(0).i32(0);
        let problem = feed_by(64, &failed.finish(), false).err().unwrap();
        assert!(problem.contains("error 56"), "{problem}");
        assert!(!feed_by(64, &good[..good.len() - 1], false).unwrap().0);
    }
}
