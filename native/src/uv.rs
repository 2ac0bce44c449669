//! The few functions of libuv that the poller needs, looked up in the running program. They are not
//! part of Node-API: a host that does not export them has no poller, and everything else works.

use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

pub const UV_READABLE: c_int = 1;
/// `uv_handle_type` of a uv_poll_t: the eighth entry of libuv's frozen list of handle types.
pub const UV_POLL: c_int = 8;

/// A uv_loop_t or uv_handle_t whose layout is libuv's own business.
pub type Loop = c_void;
pub type Handle = c_void;

pub struct Uv {
    pub handle_size: unsafe extern "C" fn(c_int) -> usize,
    pub poll_init: unsafe extern "C" fn(*mut Loop, *mut Handle, c_int) -> c_int,
    pub poll_start: unsafe extern "C" fn(
        *mut Handle,
        c_int,
        unsafe extern "C" fn(*mut Handle, c_int, c_int),
    ) -> c_int,
    pub poll_stop: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub close: unsafe extern "C" fn(*mut Handle, unsafe extern "C" fn(*mut Handle)),
    pub set_data: unsafe extern "C" fn(*mut Handle, *mut c_void),
    pub get_data: unsafe extern "C" fn(*const Handle) -> *mut c_void,
}

/// None where the program does not export libuv.
pub fn uv() -> Option<&'static Uv> {
    static UV: OnceLock<Option<Uv>> = OnceLock::new();
    UV.get_or_init(|| unsafe { look_up() }).as_ref()
}

unsafe fn look_up() -> Option<Uv> {
    unsafe fn symbol<F: Copy>(name: &CStr) -> Option<F> {
        assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        if address.is_null() {
            return None;
        }
        Some(unsafe { std::mem::transmute_copy(&address) })
    }
    unsafe {
        Some(Uv {
            handle_size: symbol(c"uv_handle_size")?,
            poll_init: symbol(c"uv_poll_init")?,
            poll_start: symbol(c"uv_poll_start")?,
            poll_stop: symbol(c"uv_poll_stop")?,
            close: symbol(c"uv_close")?,
            set_data: symbol(c"uv_handle_set_data")?,
            get_data: symbol(c"uv_handle_get_data")?,
        })
    }
}
