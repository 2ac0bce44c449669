//! The mask of WebSocket frames (RFC 6455 §5.3), undone where the bytes lie.

use crate::call::{Call, Outcome, Value};
use crate::memory::Range;

/// `unmask(bytes, offset, length, key)`: the highest byte of `key` belongs to the first byte.
pub fn unmask(call: &Call) -> Outcome {
    let bytes = call.bytes(0, "bytes")?;
    let range = bytes.range(call.size(1, "offset")?, call.size(2, "length")?, "length")?;
    let key = call.int32(3, "key")?;
    unsafe { apply(range, key.to_be_bytes()) };
    Ok(Value::Undefined)
}

/// # Safety
/// `range` must be good to read and write. It may be shared memory, so that no reference is made.
unsafe fn apply(range: Range, key: [u8; 4]) {
    let Range { pointer, length } = range;
    let wide = u64::from_ne_bytes([
        key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3],
    ]);
    let words = pointer.cast::<u64>();
    // Nothing but a load, a xor and a store: the compiler makes vector instructions of it.
    for index in 0..length / 8 {
        unsafe {
            let word = words.add(index);
            word.write_unaligned(word.read_unaligned() ^ wide);
        }
    }
    for index in length & !7..length {
        unsafe { *pointer.add(index) ^= key[index & 3] };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guarded::Guarded;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::guarded::config())]

        #[test]
        fn apply_stays_inside_and_undoes_itself(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            key in any::<[u8; 4]>(),
        ) {
            let memory = Guarded::of(&bytes);
            let range = Range { pointer: memory.pointer(), length: bytes.len() };
            unsafe { apply(range, key) };
            let masked: Vec<u8> = bytes.iter().zip(0..).map(|(b, i)| b ^ key[i % 4]).collect();
            prop_assert_eq!(memory.bytes(), &masked[..]);
            unsafe { apply(range, key) };
            prop_assert_eq!(memory.bytes(), &bytes[..]);
        }
    }

    #[test]
    fn apply_repeats_the_key_from_the_first_byte_on_and_touches_nothing_else() {
        let key = [0x11, 0x22, 0x44, 0x88];
        for start in 0..9 {
            for length in 0..70 {
                let mut memory: Vec<u8> = (0..96).map(|byte: u8| byte.wrapping_mul(7)).collect();
                let mut expected = memory.clone();
                for index in 0..length {
                    expected[start + index] ^= key[index % 4];
                }
                let pointer = unsafe { memory.as_mut_ptr().add(start) };
                unsafe { apply(Range { pointer, length }, key) };
                assert_eq!(memory, expected, "{start} {length}");
            }
        }
    }
}
