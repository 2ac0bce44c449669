//! One call from JavaScript: its arguments, its answer, its failure. The whole glue of the addon.
//!
//! A body is `fn(&Call) -> Result<Value, Failure>`. Nothing here keeps a JavaScript value after the
//! call: pointers taken from an argument are good only until the body returns.

use std::ffi::CStr;
use std::ptr;

use napi::sys;

use crate::errno;
use crate::memory::{Bytes, Words};

/// The most arguments that any function takes.
const ARGUMENTS_MAX: usize = 7;

/// Largest integer that a JavaScript number holds exactly.
pub const SAFE_INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

pub struct Call {
    pub env: sys::napi_env,
    arguments: [sys::napi_value; ARGUMENTS_MAX],
}

/// What a body answers.
pub enum Value {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

/// Why a body does not answer; `run` throws it.
#[derive(Debug)]
pub enum Failure {
    /// An argument of the wrong type: TypeError.
    Type(&'static str),
    /// An argument outside its bounds: RangeError.
    Range(&'static str),
    /// A system call failed: Error with `code` and `syscall`.
    System { errno: i32, syscall: &'static str },
    /// Node-API refused, or an exception is pending already.
    Engine,
}

impl Failure {
    /// The failure of the system call that has just set errno.
    pub fn last(syscall: &'static str) -> Failure {
        Failure::System {
            errno: errno::last(),
            syscall,
        }
    }
}

pub type Outcome<T = Value> = Result<T, Failure>;

/// Turns a Node-API status into an outcome.
pub fn check(status: sys::napi_status) -> Outcome<()> {
    if status == sys::Status::napi_ok {
        Ok(())
    } else {
        Err(Failure::Engine)
    }
}

impl Call {
    /// An integer in [min, max].
    #[inline]
    fn integer(&self, index: usize, min: f64, max: f64, name: &'static str) -> Outcome<f64> {
        let mut value = 0f64;
        let status =
            unsafe { sys::napi_get_value_double(self.env, self.arguments[index], &mut value) };
        if status != sys::Status::napi_ok {
            return Err(Failure::Type(name));
        }
        // NaN fails the comparison; a fraction fails the second test.
        if !(value >= min && value <= max) || value as i64 as f64 != value {
            return Err(Failure::Range(name));
        }
        Ok(value)
    }

    #[inline]
    pub fn int32(&self, index: usize, name: &'static str) -> Outcome<i32> {
        Ok(self.integer(index, f64::from(i32::MIN), f64::from(i32::MAX), name)? as i32)
    }

    /// A count, length, index or descriptor: an integer in [0, 2^31).
    #[inline]
    pub fn natural(&self, index: usize, name: &'static str) -> Outcome<i32> {
        Ok(self.integer(index, 0.0, f64::from(i32::MAX), name)? as i32)
    }

    #[inline]
    pub fn size(&self, index: usize, name: &'static str) -> Outcome<usize> {
        Ok(self.integer(index, 0.0, SAFE_INTEGER_MAX, name)? as usize)
    }

    /// A position in a file: an integer in [0, 2^53).
    #[inline]
    pub fn position(&self, index: usize, name: &'static str) -> Outcome<i64> {
        Ok(self.integer(index, 0.0, SAFE_INTEGER_MAX, name)? as i64)
    }

    /// A finite number ≥ 0, fractions allowed.
    pub fn duration(&self, index: usize, name: &'static str) -> Outcome<f64> {
        let mut value = 0f64;
        let status =
            unsafe { sys::napi_get_value_double(self.env, self.arguments[index], &mut value) };
        if status != sys::Status::napi_ok {
            return Err(Failure::Type(name));
        }
        if !(value >= 0.0 && value.is_finite()) {
            return Err(Failure::Range(name));
        }
        Ok(value)
    }

    pub fn boolean(&self, index: usize, name: &'static str) -> Outcome<bool> {
        let mut value = false;
        let status =
            unsafe { sys::napi_get_value_bool(self.env, self.arguments[index], &mut value) };
        if status == sys::Status::napi_ok {
            Ok(value)
        } else {
            Err(Failure::Type(name))
        }
    }

    /// A string of at most `bytes_max` bytes of UTF-8.
    pub fn text(&self, index: usize, bytes_max: usize, name: &'static str) -> Outcome<String> {
        let value = self.arguments[index];
        let mut length = 0usize;
        let status = unsafe {
            sys::napi_get_value_string_utf8(self.env, value, ptr::null_mut(), 0, &mut length)
        };
        if status != sys::Status::napi_ok {
            return Err(Failure::Type(name));
        }
        if length > bytes_max {
            return Err(Failure::Range(name));
        }
        let mut buffer = vec![0u8; length + 1]; // Node-API writes a terminating zero.
        check(unsafe {
            sys::napi_get_value_string_utf8(
                self.env,
                value,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &mut length,
            )
        })?;
        buffer.truncate(length);
        String::from_utf8(buffer).map_err(|_| Failure::Range(name))
    }

    /// A Uint8Array, over a SharedArrayBuffer or not.
    #[inline]
    pub fn bytes(&self, index: usize, name: &'static str) -> Outcome<Bytes> {
        self.bytes_of(self.arguments[index], name)
    }

    #[inline]
    pub fn bytes_of(&self, value: sys::napi_value, name: &'static str) -> Outcome<Bytes> {
        let (kind, length, data) = self.typed_array(value, name)?;
        match kind {
            sys::TypedarrayType::uint8_array => Ok(unsafe { Bytes::new(data.cast(), length) }),
            _ => Err(Failure::Type(name)),
        }
    }

    #[inline]
    pub fn float64s(&self, index: usize, name: &'static str) -> Outcome<Words<f64>> {
        let (kind, length, data) = self.typed_array(self.arguments[index], name)?;
        match kind {
            sys::TypedarrayType::float64_array => Ok(unsafe { Words::new(data.cast(), length) }),
            _ => Err(Failure::Type(name)),
        }
    }

    /// An Int32Array or Uint32Array: the ranges of a gathering write.
    #[inline]
    pub fn words32(&self, index: usize, name: &'static str) -> Outcome<Words<u32>> {
        let (kind, length, data) = self.typed_array(self.arguments[index], name)?;
        match kind {
            sys::TypedarrayType::int32_array | sys::TypedarrayType::uint32_array => {
                Ok(unsafe { Words::new(data.cast(), length) })
            }
            _ => Err(Failure::Type(name)),
        }
    }

    /// An Int32Array: where pairs are answered.
    #[inline]
    pub fn int32s(&self, index: usize, name: &'static str) -> Outcome<Words<i32>> {
        let (kind, length, data) = self.typed_array(self.arguments[index], name)?;
        match kind {
            sys::TypedarrayType::int32_array => Ok(unsafe { Words::new(data.cast(), length) }),
            _ => Err(Failure::Type(name)),
        }
    }

    pub fn argument(&self, index: usize) -> sys::napi_value {
        self.arguments[index]
    }

    #[inline]
    fn typed_array(
        &self,
        value: sys::napi_value,
        name: &'static str,
    ) -> Outcome<(sys::napi_typedarray_type, usize, *mut std::ffi::c_void)> {
        let mut kind: sys::napi_typedarray_type = 0;
        let mut length = 0usize;
        let mut data = ptr::null_mut();
        // Neither the buffer nor the byte offset is asked for: each would cost a handle or a branch.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                self.env,
                value,
                &mut kind,
                &mut length,
                &mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if status != sys::Status::napi_ok {
            return Err(Failure::Type(name));
        }
        Ok((kind, length, data))
    }
}

/// Runs one body. Inlined into the entry point of each function.
#[inline(always)]
pub unsafe fn run(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    body: impl Fn(&Call) -> Outcome,
) -> sys::napi_value {
    let mut call = Call {
        env,
        arguments: [ptr::null_mut(); ARGUMENTS_MAX],
    };
    let mut count = ARGUMENTS_MAX;
    let status = unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            &mut count,
            call.arguments.as_mut_ptr(), // Missing arguments come as `undefined`.
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    let outcome = if status == sys::Status::napi_ok {
        body(&call)
    } else {
        Err(Failure::Engine)
    };
    match outcome {
        Ok(value) => unsafe { to_javascript(env, value) },
        Err(failure) => {
            unsafe { throw(env, failure) };
            ptr::null_mut()
        }
    }
}

#[inline(always)]
unsafe fn to_javascript(env: sys::napi_env, value: Value) -> sys::napi_value {
    let mut result = ptr::null_mut();
    unsafe {
        match value {
            Value::Undefined => return ptr::null_mut(),
            Value::Null => sys::napi_get_null(env, &mut result),
            Value::Bool(value) => sys::napi_get_boolean(env, value, &mut result),
            Value::Number(value) => sys::napi_create_double(env, value, &mut result),
            Value::Text(text) => sys::napi_create_string_utf8(
                env,
                text.as_ptr().cast(),
                text.len() as isize,
                &mut result,
            ),
        };
    }
    result
}

#[cold]
unsafe fn throw(env: sys::napi_env, failure: Failure) {
    unsafe {
        match failure {
            Failure::Type(name) => {
                let message = format!("{name} is missing or of the wrong type\0");
                let code = c"ERR_INVALID_ARG_TYPE".as_ptr();
                sys::napi_throw_type_error(env, code, message.as_ptr().cast());
            }
            Failure::Range(name) => {
                let message = format!("{name} is out of bounds\0");
                let code = c"ERR_OUT_OF_RANGE".as_ptr();
                sys::napi_throw_range_error(env, code, message.as_ptr().cast());
            }
            Failure::System { errno, syscall } => throw_system(env, errno, syscall),
            Failure::Engine => {
                let mut pending = false;
                sys::napi_is_exception_pending(env, &mut pending);
                if !pending {
                    let message = c"Node-API refused a call of the addon".as_ptr();
                    sys::napi_throw_error(env, ptr::null(), message);
                }
            }
        }
    }
}

/// Throws the shape of Node's own system errors: `code`, `errno` (negative), `syscall`.
unsafe fn throw_system(env: sys::napi_env, number: i32, syscall: &str) {
    let code = errno::name(number);
    let message = format!("{code}: {}, {syscall}", errno::describe(number));
    unsafe {
        let message = to_javascript(env, Value::Text(message));
        let code = to_javascript(env, Value::Text(code.into()));
        let mut error = ptr::null_mut();
        sys::napi_create_error(env, code, message, &mut error);
        let number = to_javascript(env, Value::Number(-f64::from(number)));
        sys::napi_set_named_property(env, error, c"errno".as_ptr(), number);
        let syscall = to_javascript(env, Value::Text(syscall.into()));
        sys::napi_set_named_property(env, error, c"syscall".as_ptr(), syscall);
        sys::napi_throw(env, error);
    }
}

type Entry = unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

pub fn define(
    env: sys::napi_env,
    exports: sys::napi_value,
    name: &CStr,
    entry: Entry,
) -> napi::Result<()> {
    let mut function = ptr::null_mut();
    napi::check_status!(unsafe {
        sys::napi_create_function(
            env,
            name.as_ptr(),
            name.to_bytes().len() as isize,
            Some(entry),
            ptr::null_mut(),
            &mut function,
        )
    })?;
    napi::check_status!(unsafe {
        sys::napi_set_named_property(env, exports, name.as_ptr(), function)
    })
}

pub fn set_constant(
    env: sys::napi_env,
    exports: sys::napi_value,
    name: &CStr,
    value: u32,
) -> napi::Result<()> {
    let mut number = ptr::null_mut();
    napi::check_status!(unsafe { sys::napi_create_uint32(env, value, &mut number) })?;
    napi::check_status!(unsafe {
        sys::napi_set_named_property(env, exports, name.as_ptr(), number)
    })
}

/// Defines one JavaScript function per body, each with an entry point of its own.
macro_rules! define_functions {
    ($env:expr, $exports:expr, { $($name:literal => $body:path,)* }) => {{
        $({
            unsafe extern "C" fn entry(
                env: napi::sys::napi_env,
                info: napi::sys::napi_callback_info,
            ) -> napi::sys::napi_value {
                unsafe { crate::call::run(env, info, $body) }
            }
            crate::call::define($env, $exports, $name, entry)?;
        })*
        Ok(())
    }};
}
pub(crate) use define_functions;
