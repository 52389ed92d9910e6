//! tokenizers, minijinja, llguidance, symphonia, image decoders and resvg behind a small C ABI (mlxk_rust.h). This file
//! has the parts that all entry points share.

mod audio;
mod bmp;
mod confined;
mod decode;
mod grammar;
mod growth;
mod image;
mod memory;
mod mp4_delay;
mod patterns;
mod pipeline;
mod pyformat;
mod resample;
mod spelling;
mod strmethods;
mod svg;
mod template;
mod tokenizer;
mod tokenizer_file;
mod watch;
mod wave;

use std::any::Any;
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

pub const OK: i32 = 0;
pub const FAILED: i32 = 1;
pub const RAISED: i32 = 2;
pub const PANIC: i32 = 3;
pub const STOPPED: i32 = 4;
pub const TOO_LONG: i32 = 5;
pub const MEMORY: i32 = 6;
pub const TOO_COMPLEX: i32 = 7;

/// A failed call: the status and the text for `error`.
pub struct Failure(pub i32, pub String);

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(e: E) -> Self {
        Failure(FAILED, e.to_string())
    }
}

#[repr(C)]
pub struct Text {
    data: *mut u8,
    size: usize,
}

impl Text {
    pub fn from_string(s: String) -> Text {
        Text::from_bytes(s.into_bytes())
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Text {
        let boxed = bytes.into_boxed_slice();
        let size = boxed.len();
        Text { data: Box::into_raw(boxed) as *mut u8, size }
    }
}

#[no_mangle]
pub unsafe extern "C" fn mlxk_text_free(text: Text) {
    if !text.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(text.data, text.size)));
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Silences panics inside calls of the ABI, which are reported through `error`.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.with(|g| g.get()) {
                previous(info);
            }
        }));
    });
}

pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|s| s.to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".to_string())
}

/// Runs `body`; a panic is returned as its text.
pub fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    quiet_panics();
    let outer = GUARDED.with(|g| g.replace(true));
    let result = catch_unwind(AssertUnwindSafe(body));
    GUARDED.with(|g| g.set(outer));
    result.map_err(|p| panic_text(&*p))
}

/// Runs `body`, an entry point of the ABI: returns the status and stores the error text in `error`.
pub unsafe fn guard(error: *mut Text, body: impl FnOnce() -> Result<(), Failure>) -> i32 {
    let failure = match catch(body) {
        Ok(Ok(())) => return OK,
        Ok(Err(failure)) => failure,
        Err(text) => Failure(PANIC, text),
    };
    if !error.is_null() {
        *error = Text::from_string(failure.1);
    }
    failure.0
}

pub unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}
