//! Memory for tests that ends where a page without access begins: an access behind the last byte
//! ends the process instead of going unseen.

use proptest::test_runner::{Config, RngSeed};

/// The same cases every time; PROPTEST_CASES and PROPTEST_RNG_SEED for more and for others.
pub fn config() -> Config {
    let default = Config::default();
    let is_set = |name| std::env::var_os(name).is_some();
    Config {
        cases: if is_set("PROPTEST_CASES") {
            default.cases
        } else {
            2000
        },
        rng_seed: if is_set("PROPTEST_RNG_SEED") {
            default.rng_seed
        } else {
            RngSeed::Fixed(1)
        },
        failure_persistence: None,
        ..default
    }
}

pub struct Guarded {
    base: *mut u8,
    mapped: usize,
    length: usize,
}

const PAGE: usize = 4096;

impl Guarded {
    /// A copy of `content`; its last byte is the last that may be touched.
    pub fn of(content: &[u8]) -> Guarded {
        let length = content.len();
        let usable = length.div_ceil(PAGE).max(1) * PAGE;
        let mapped = usable + PAGE;
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED);
        let base: *mut u8 = base.cast();
        unsafe {
            assert_eq!(
                libc::mprotect(base.add(usable).cast(), PAGE, libc::PROT_NONE),
                0
            );
            let start = base.add(usable - length);
            std::ptr::copy_nonoverlapping(content.as_ptr(), start, length);
        }
        Guarded {
            base,
            mapped,
            length,
        }
    }

    pub fn pointer(&self) -> *mut u8 {
        unsafe { self.base.add(self.mapped - PAGE - self.length) }
    }

    pub fn bytes(&self) -> &[u8] {
        unsafe { std::slice::from_raw_parts(self.pointer(), self.length) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.base.cast(), self.mapped) };
    }
}
