//! Memory of JavaScript as pointer and length. It may be shared with other threads, so that no
//! reference to it lives longer than one operation and none is ever `&mut`. Every range is checked
//! here and nowhere else.

use std::ptr;

use crate::call::{Failure, Outcome};

/// The bytes of a Uint8Array, for the length of one call.
#[derive(Clone, Copy)]
pub struct Bytes {
    pointer: *mut u8,
    length: usize,
}

/// A checked part of `Bytes`.
#[derive(Clone, Copy)]
pub struct Range {
    pub pointer: *mut u8,
    pub length: usize,
}

impl Bytes {
    /// # Safety
    /// `pointer` must be good for `length` bytes for as long as the value is used.
    #[inline]
    pub unsafe fn new(pointer: *mut u8, length: usize) -> Bytes {
        Bytes { pointer, length }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.length
    }

    /// The part [offset, offset + length).
    #[inline]
    pub fn range(&self, offset: usize, length: usize, name: &'static str) -> Outcome<Range> {
        if offset > self.length || length > self.length - offset {
            return Err(Failure::Range(name));
        }
        Ok(Range {
            pointer: unsafe { self.pointer.add(offset) },
            length,
        })
    }
}

impl Range {
    pub fn iovec(&self) -> libc::iovec {
        libc::iovec {
            iov_base: self.pointer.cast(),
            iov_len: self.length,
        }
    }
}

/// The elements of a typed array of numbers, for the length of one call.
#[derive(Clone, Copy)]
pub struct Words<T> {
    pointer: *mut T,
    length: usize,
}

impl<T: Copy> Words<T> {
    /// # Safety
    /// `pointer` must be good for `length` elements for as long as the value is used.
    #[inline]
    pub unsafe fn new(pointer: *mut T, length: usize) -> Words<T> {
        Words { pointer, length }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.length
    }

    #[inline]
    pub fn get(&self, index: usize) -> T {
        assert!(index < self.length);
        unsafe { ptr::read_unaligned(self.pointer.add(index)) }
    }

    #[inline]
    pub fn set(&self, index: usize, value: T) {
        assert!(index < self.length);
        unsafe { ptr::write_unaligned(self.pointer.add(index), value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_is_refused_outside_the_memory() {
        let mut memory = [0u8; 8];
        let bytes = unsafe { Bytes::new(memory.as_mut_ptr(), memory.len()) };
        assert_eq!(bytes.range(0, 8, "all").unwrap().length, 8);
        assert_eq!(bytes.range(8, 0, "the end").unwrap().length, 0);
        for (offset, length) in [(0, 9), (8, 1), (9, 0), (usize::MAX, 1), (1, usize::MAX)] {
            assert!(
                bytes.range(offset, length, "outside").is_err(),
                "{offset} {length}"
            );
        }
    }
}
