//! Runs of batches from nowhere and runs that were right before somebody changed them, some with
//! their CRCs made right again: no access outside, nothing written when refused, and what is stamped
//! is a run of whole batches with consecutive offsets.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::guarded::{Guarded, config};

const BATCHES_MAX: usize = 5;
const CODES: [i32; 5] = [
    CORRUPT_MESSAGE,
    MESSAGE_TOO_LARGE,
    INVALID_TIMESTAMP,
    UNSUPPORTED_COMPRESSION_TYPE,
    INVALID_RECORD,
];

/// A batch without a CRC: `repair` gives it one.
fn batch(records_count: i32, body: &[u8], producer_id: i64, attributes: i16) -> Vec<u8> {
    let mut bytes = vec![0u8; HEADER_BYTES];
    bytes.extend_from_slice(body);
    let batch_length = (bytes.len() - LENGTH_PREFIX_BYTES) as i32;
    let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    set(BATCH_LENGTH, &batch_length.to_be_bytes());
    set(MAGIC, &[2]);
    set(ATTRIBUTES, &attributes.to_be_bytes());
    set(
        LAST_OFFSET_DELTA,
        &records_count.wrapping_sub(1).to_be_bytes(),
    );
    set(MAX_TIMESTAMP, &1_000i64.to_be_bytes());
    set(PRODUCER_ID, &producer_id.to_be_bytes());
    set(RECORDS_COUNT, &records_count.to_be_bytes());
    bytes
}

/// Right CRCs, as far as the lengths lead.
fn repair(bytes: &mut [u8]) {
    let mut at = 0;
    while at + HEADER_BYTES <= bytes.len() {
        let length = i32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        let size = i64::from(length) + LENGTH_PREFIX_BYTES as i64;
        if size < HEADER_BYTES as i64 || size > (bytes.len() - at) as i64 {
            return;
        }
        let end = at + size as usize;
        let crc = crc_fast::crc32_iscsi(&bytes[at + ATTRIBUTES..end]);
        bytes[at + CRC..at + CRC + 4].copy_from_slice(&crc.to_be_bytes());
        at = end;
    }
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(-1),
        Just(1),
        Just(i64::from(i32::MAX)),
        Just(i64::from(i32::MIN)),
        Just(i64::MAX),
        Just(i64::MIN),
        Just(SAFE_INTEGER_MAX),
        Just(SAFE_INTEGER_MAX + 1),
        any::<i64>(),
    ]
}

/// Some batches, then integers of some width written anywhere.
fn runs() -> impl Strategy<Value = Vec<u8>> {
    let one = (
        1..4i32,
        vec(any::<u8>(), 0..20),
        -1..3i64,
        prop_oneof![Just(0i16), any::<i16>()],
    );
    let edit = (
        any::<prop::sample::Index>(),
        integer(),
        prop_oneof![Just(1), Just(2), Just(4), Just(8)],
    );
    (
        vec(one, 0..7),
        vec(edit, 0..3),
        any::<bool>(),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(batches, edits, is_repaired, cut, is_cut)| {
            let mut bytes: Vec<u8> = batches
                .iter()
                .flat_map(|(count, body, id, attributes)| batch(*count, body, *id, *attributes))
                .collect();
            repair(&mut bytes);
            for (index, value, width) in edits {
                if bytes.len() < width {
                    continue;
                }
                let at = index.index(bytes.len() - width + 1);
                bytes[at..at + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
            }
            if is_cut && !bytes.is_empty() {
                bytes.truncate(cut.index(bytes.len()));
            }
            if is_repaired {
                repair(&mut bytes);
            }
            bytes
        })
}

fn stamps() -> impl Strategy<Value = Stamp> {
    let limit = prop_oneof![Just(1e6), Just(70.0), Just(f64::NAN)];
    let append_time = prop_oneof![Just(-1.0), Just(1_500.0)];
    let time = prop_oneof![Just(2_000.0), Just(f64::INFINITY), Just(f64::NAN)];
    (
        0..1_000_000u32,
        any::<i32>(),
        append_time,
        limit,
        time,
        any::<bool>(),
    )
        .prop_map(
            |(
                base_offset,
                leader_epoch,
                append_time_ms,
                batch_bytes_max,
                timestamp_max,
                control,
            )| {
                Stamp {
                    base_offset: f64::from(base_offset),
                    leader_epoch,
                    append_time_ms,
                    batch_bytes_max,
                    timestamp_max,
                    allow_control: control,
                }
            },
        )
}

fn run(memory: &Guarded, stamp: &Stamp) -> (Result<usize, i32>, Vec<f64>) {
    let mut info = vec![0.0; BATCHES_MAX * INFO_WORDS];
    let words = unsafe { Words::new(info.as_mut_ptr(), info.len()) };
    let range = Range {
        pointer: memory.pointer(),
        length: memory.bytes().len(),
    };
    (process(range, stamp, words), info)
}

fn check_run(bytes: &[u8], stamp: &Stamp) -> Result<(), TestCaseError> {
    let memory = Guarded::of(bytes);
    let (result, info) = run(&memory, stamp);
    let count = match result {
        Err(code) => {
            prop_assert!(CODES.contains(&code), "code {}", code);
            prop_assert_eq!(memory.bytes(), bytes, "a refused run was written to");
            return Ok(());
        }
        Ok(count) => count,
    };
    prop_assert!((1..=BATCHES_MAX).contains(&count));
    let mut position = 0;
    let mut offset = stamp.base_offset;
    for batch in info[..count * INFO_WORDS].chunks(INFO_WORDS) {
        prop_assert_eq!(batch[INFO_POSITION] as usize, position);
        prop_assert_eq!(batch[INFO_BASE_OFFSET], offset);
        let size = batch[INFO_BYTES] as usize;
        let stamped = &memory.bytes()[position..position + size];
        prop_assert_eq!(&stamped[..8], (offset as i64).to_be_bytes());
        prop_assert_eq!(
            &stamped[LEADER_EPOCH..MAGIC],
            stamp.leader_epoch.to_be_bytes()
        );
        let crc = crc_fast::crc32_iscsi(&stamped[ATTRIBUTES..]);
        prop_assert_eq!(&stamped[CRC..ATTRIBUTES], crc.to_be_bytes());
        position += size;
        offset += batch[INFO_RECORDS_COUNT];
    }
    prop_assert_eq!(position, bytes.len(), "the batches fill the run");
    let before = memory.bytes().to_vec();
    let (again, _) = run(&memory, stamp);
    prop_assert_eq!(again, Ok(count));
    prop_assert_eq!(
        memory.bytes(),
        &before[..],
        "stamping twice is stamping once"
    );
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn process_of_changed_batches_stays_inside_and_tells_the_truth(
        bytes in runs(),
        stamp in stamps().prop_map(std::rc::Rc::new).no_shrink(),
    ) {
        check_run(&bytes, &stamp)?;
    }

    #[test]
    fn process_of_noise_stays_inside(bytes in vec(any::<u8>(), 0..200)) {
        let memory = Guarded::of(&bytes);
        let stamp = Stamp {
            base_offset: 0.0,
            leader_epoch: 0,
            append_time_ms: -1.0,
            batch_bytes_max: 1e6,
            timestamp_max: 1e15,
            allow_control: true,
        };
        prop_assert!(run(&memory, &stamp).0.is_err());
        prop_assert_eq!(memory.bytes(), &bytes[..]);
    }
}
