//! Record batches, version 2, uncompressed and without a producer id.
//!
//! ```text
//!  0 baseOffset i64 │ 8 batchLength i32 │ 12 leaderEpoch i32 │ 16 magic i8 │ 17 crc u32
//! 21 attributes i16 │ 23 lastOffsetDelta i32 │ 27 baseTimestamp i64 │ 35 maxTimestamp i64
//! 43 producerId i64 │ 51 producerEpoch i16 │ 53 baseSequence i32 │ 57 recordsCount i32 │ 61 …
//! ```
//! The CRC-32C covers 21 to the end, so that the base offset can be stamped without touching it.

const BATCH_LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const RECORDS_COUNT: usize = 57;
pub const HEADER_BYTES: usize = 61;
/// Where the bytes begin that the checksum covers.
pub const CRC_FROM: usize = ATTRIBUTES;
/// Base offset and length: what batchLength does not count.
const PREFIX_BYTES: usize = 12;

/// Random bytes from a seed (xorshift64*): incompressible, and the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A mask of a WebSocket frame, no byte of which leaves what it covers as it is.
    pub fn mask(&mut self) -> [u8; 4] {
        (self.next() as u32 | 0x0101_0101).to_le_bytes()
    }

    /// Appends `count` of them.
    pub fn fill(&mut self, bytes: &mut Vec<u8>, count: usize) {
        let end = bytes.len() + count;
        while bytes.len() < end {
            let word = self.next().to_le_bytes();
            let wanted = (end - bytes.len()).min(8);
            bytes.extend_from_slice(&word[..wanted]);
        }
    }
}

fn put_varint(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fn varint_bytes(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

/// A record without key and headers: the length of what follows its own length field.
fn record_body_bytes(index: usize, value_bytes: usize) -> usize {
    // attributes, timestampDelta 0, offsetDelta, keyLength −1, valueLength, value, headersCount 0
    1 + 1 + varint_bytes(index as i64) + 1 + varint_bytes(value_bytes as i64) + value_bytes + 1
}

/// How many events of `event_bytes` fit a batch of `batch_bytes_max`; at least one.
pub fn events_that_fit(batch_bytes_max: usize, event_bytes: usize) -> usize {
    let mut bytes = HEADER_BYTES;
    let mut count = 0;
    loop {
        let body = record_body_bytes(count, event_bytes);
        bytes += varint_bytes(body as i64) + body;
        if bytes > batch_bytes_max {
            return count.max(1);
        }
        count += 1;
    }
}

/// A batch of `count` events whose values are `event_bytes` random bytes each.
pub fn build(count: usize, event_bytes: usize, timestamp_ms: i64, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + count * (event_bytes + 16));
    bytes.extend_from_slice(&0i64.to_be_bytes());
    bytes.extend_from_slice(&0i32.to_be_bytes()); // batchLength, below
    bytes.extend_from_slice(&(-1i32).to_be_bytes());
    bytes.push(2);
    bytes.extend_from_slice(&0u32.to_be_bytes()); // crc, below
    bytes.extend_from_slice(&0i16.to_be_bytes());
    bytes.extend_from_slice(&(count as i32 - 1).to_be_bytes());
    bytes.extend_from_slice(&timestamp_ms.to_be_bytes());
    bytes.extend_from_slice(&timestamp_ms.to_be_bytes());
    bytes.extend_from_slice(&(-1i64).to_be_bytes());
    bytes.extend_from_slice(&(-1i16).to_be_bytes());
    bytes.extend_from_slice(&(-1i32).to_be_bytes());
    bytes.extend_from_slice(&(count as i32).to_be_bytes());
    assert_eq!(bytes.len(), HEADER_BYTES);
    for index in 0..count {
        put_varint(&mut bytes, record_body_bytes(index, event_bytes) as i64);
        bytes.extend_from_slice(&[0, 0]);
        put_varint(&mut bytes, index as i64);
        put_varint(&mut bytes, -1);
        put_varint(&mut bytes, event_bytes as i64);
        random.fill(&mut bytes, event_bytes);
        bytes.push(0);
    }
    let length = (bytes.len() - PREFIX_BYTES) as i32;
    bytes[BATCH_LENGTH..BATCH_LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES..]);
    bytes[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The number of events of `bytes` if they are exactly one sound batch. `check_crc` false trusts
/// the content, never the lengths.
pub fn check(bytes: &[u8], check_crc: bool) -> Option<i64> {
    if bytes.len() < HEADER_BYTES || bytes[MAGIC] != 2 {
        return None;
    }
    if i32_at(bytes, BATCH_LENGTH) as i64 != (bytes.len() - PREFIX_BYTES) as i64 {
        return None;
    }
    if check_crc && crc_fast::crc32_iscsi(&bytes[ATTRIBUTES..]) != i32_at(bytes, CRC) as u32 {
        return None;
    }
    let count = i32_at(bytes, RECORDS_COUNT);
    (count > 0).then_some(i64::from(count))
}

/// What a reader needs of a batch's header.
pub struct Head {
    pub base_offset: i64,
    /// One past the last offset.
    pub next_offset: i64,
    /// Of the whole batch, header included.
    pub bytes: usize,
    pub crc: u32,
}

/// The header at the begin of `bytes`, which has `HEADER_BYTES` at least. None for anything that is
/// no batch of version 2 with events in it.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let base_offset = i64::from_be_bytes(*bytes.first_chunk()?);
    let length = usize::try_from(i32_at(bytes, BATCH_LENGTH)).ok()?;
    let last_delta = i32_at(bytes, LAST_OFFSET_DELTA);
    let is_sound = bytes[MAGIC] == 2
        && length >= HEADER_BYTES - PREFIX_BYTES
        && (0..=i64::MAX >> 1).contains(&base_offset)
        && last_delta >= 0;
    is_sound.then(|| Head {
        base_offset,
        next_offset: base_offset + i64::from(last_delta) + 1,
        bytes: PREFIX_BYTES + length,
        crc: i32_at(bytes, CRC) as u32,
    })
}

/// Writes what the receiver decides: base offset and leader epoch 0.
pub fn stamp(bytes: &mut [u8], base_offset: i64) {
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes[LEADER_EPOCH..LEADER_EPOCH + 4].copy_from_slice(&0i32.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_makes_a_batch_that_check_accepts_and_a_flipped_bit_breaks() {
        let mut batch = build(3, 200, 1_700_000_000_000, &mut Random::new(7));
        assert_eq!(check(&batch, true), Some(3));
        stamp(&mut batch, 1 << 40);
        assert_eq!(
            check(&batch, true),
            Some(3),
            "the stamp lies outside the checksum"
        );
        for at in [ATTRIBUTES, HEADER_BYTES + 5, batch.len() - 1] {
            batch[at] ^= 4;
            assert_eq!(check(&batch, true), None);
            batch[at] ^= 4;
        }
        assert_eq!(check(&batch[..batch.len() - 1], true), None);
    }

    #[test]
    fn crc_is_the_one_of_castagnoli() {
        assert_eq!(crc_fast::crc32_iscsi(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn events_that_fit_is_the_largest_count_within_the_bound() {
        for (bytes, event) in [(65_536, 1024), (1_048_576, 1024), (4096, 100), (1, 200)] {
            let count = events_that_fit(bytes, event);
            let size = |count| build(count, event, 0, &mut Random::new(1)).len();
            assert!(count == 1 || size(count) <= bytes);
            assert!(size(count + 1) > bytes);
        }
    }
}
