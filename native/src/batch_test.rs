//! Validation and stamping on plain memory. The full set of rules is held by the property test
//! against the JavaScript twin (`test/record/batch-engine.test.ts`).

use super::*;

fn batch(records_count: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0u8; HEADER_BYTES];
    bytes.extend_from_slice(body);
    let batch_length = (bytes.len() - LENGTH_PREFIX_BYTES) as i32;
    let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    set(BATCH_LENGTH, &batch_length.to_be_bytes());
    set(MAGIC, &[2]);
    set(LAST_OFFSET_DELTA, &(records_count - 1).to_be_bytes());
    set(MAX_TIMESTAMP, &1_000i64.to_be_bytes());
    set(PRODUCER_ID, &(-1i64).to_be_bytes());
    set(PRODUCER_EPOCH, &(-1i16).to_be_bytes());
    set(BASE_SEQUENCE, &(-1i32).to_be_bytes());
    set(RECORDS_COUNT, &records_count.to_be_bytes());
    let crc = unsafe { crc_of(bytes[ATTRIBUTES..].as_ptr(), bytes.len() - ATTRIBUTES) };
    bytes[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn run(
    bytes: &mut [u8],
    append_time_ms: f64,
    batches_max: usize,
) -> (Result<usize, i32>, Vec<f64>) {
    let mut info = vec![0.0; batches_max * INFO_WORDS];
    let stamp = Stamp {
        base_offset: 70.0,
        leader_epoch: 5,
        append_time_ms,
        batch_bytes_max: 1e6,
        timestamp_max: 2_000.0,
        allow_control: false,
    };
    let range = Range {
        pointer: bytes.as_mut_ptr(),
        length: bytes.len(),
    };
    let words = unsafe { Words::new(info.as_mut_ptr(), info.len()) };
    (process(range, &stamp, words), info)
}

#[test]
fn crc_is_castagnoli() {
    let check = b"123456789";
    assert_eq!(unsafe { crc_of(check.as_ptr(), check.len()) }, 0xe306_9283);
    assert_eq!(unsafe { crc_of(check.as_ptr(), 0) }, 0);
}

#[test]
fn process_stamps_consecutive_offsets() {
    let mut bytes = [batch(3, b"abc"), batch(2, b"")].concat();
    let (result, info) = run(&mut bytes, -1.0, 2);
    assert_eq!(result, Ok(2));
    assert_eq!(bytes[..8], 70i64.to_be_bytes());
    assert_eq!(bytes[64..72], 73i64.to_be_bytes());
    assert_eq!(
        bytes[64 + LEADER_EPOCH..64 + LEADER_EPOCH + 4],
        5i32.to_be_bytes()
    );
    assert_eq!(
        info[INFO_WORDS..],
        [64.0, 61.0, 2.0, 0.0, -1.0, -1.0, -1.0, 73.0, 1000.0]
    );
}

#[test]
fn process_leaves_a_valid_crc_when_it_sets_append_time() {
    let mut bytes = batch(1, b"hello");
    assert_eq!(run(&mut bytes, 1_500.0, 1).0, Ok(1));
    assert_eq!(
        bytes[MAX_TIMESTAMP..MAX_TIMESTAMP + 8],
        1_500i64.to_be_bytes()
    );
    assert_eq!(bytes[ATTRIBUTES + 1], LOG_APPEND_TIME_BIT as u8);
    assert_eq!(run(&mut bytes, -1.0, 1).0, Ok(1));
    assert_eq!(bytes[ATTRIBUTES + 1], 0);
}

#[test]
fn process_writes_nothing_when_a_later_batch_is_refused() {
    let mut second = batch(1, b"x");
    *second.last_mut().unwrap() ^= 1;
    let mut bytes = [batch(1, b"x"), second].concat();
    let before = bytes.clone();
    assert_eq!(run(&mut bytes, -1.0, 2).0, Err(CORRUPT_MESSAGE));
    assert_eq!(bytes, before);
}

#[test]
fn process_refuses_what_does_not_fit() {
    assert_eq!(run(&mut [], -1.0, 1).0, Err(CORRUPT_MESSAGE));
    let mut two = [batch(1, b""), batch(1, b"")].concat();
    assert_eq!(run(&mut two, -1.0, 1).0, Err(INVALID_RECORD));
    let whole = batch(1, b"abc");
    for length in 1..whole.len() {
        assert_eq!(
            run(&mut whole[..length].to_vec(), -1.0, 1).0,
            Err(CORRUPT_MESSAGE)
        );
    }
}
