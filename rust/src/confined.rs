//! Runs code that hostile data drives on a thread of its own with a deep stack and a memory budget.
//!
//! Memory cannot be refused to Rust code: a failed allocation ends the process, and an allocator must not unwind. So a
//! thread that exceeds its budget is stopped where it stands, for good, with what it holds; whoever started it is told
//! and must not run that code again.

use crate::{catch, Failure, FAILED, PANIC};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};

/// Values nest as deep as a template's fuel allows, and are dropped by recursion.
const STACK: usize = 256 << 20;

const RUNNING: u8 = 0;
const DONE: u8 = 1;
const STOPPED: u8 = 2;

struct Shared<T> {
    signal: Signal,
    result: Mutex<Option<Result<T, Failure>>>,
}

struct Signal {
    state: AtomicU8,
    waiter: Thread,
}

impl Signal {
    fn set(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        self.waiter.unpark();
    }
}

thread_local! {
    /// Bytes this thread may still take; None: no limit.
    static LEFT: Cell<Option<isize>> = const { Cell::new(None) };
    static SIGNAL: Cell<*const Signal> = const { Cell::new(std::ptr::null()) };
}

/// Books `bytes` (negative: given back); does not return when the budget is spent.
fn book(bytes: isize) {
    LEFT.with(|left| {
        if let Some(rest) = left.get() {
            let rest = rest - bytes;
            left.set(Some(rest));
            if rest < 0 && bytes > 0 {
                left.set(None);
                // The signal lives in an Arc that this thread holds and now keeps for ever.
                unsafe { (*SIGNAL.with(|s| s.get())).set(STOPPED) };
                loop {
                    thread::park();
                }
            }
        }
    });
}

struct Budgeted;

unsafe impl GlobalAlloc for Budgeted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        book(layout.size() as isize);
        System.alloc(layout)
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        book(layout.size() as isize);
        System.alloc_zeroed(layout)
    }
    unsafe fn realloc(&self, data: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        book(size as isize - layout.size() as isize);
        System.realloc(data, layout, size)
    }
    unsafe fn dealloc(&self, data: *mut u8, layout: Layout) {
        book(-(layout.size() as isize));
        System.dealloc(data, layout)
    }
}

#[global_allocator]
static ALLOCATOR: Budgeted = Budgeted;

pub enum Outcome<T> {
    Finished(Result<T, Failure>),
    /// The budget was spent; the thread stands still and keeps it.
    Stopped,
}

/// Runs `body` with at most `budget` bytes of memory.
pub fn run<T: Send + 'static>(budget: usize, body: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Outcome<T> {
    let signal = Signal { state: AtomicU8::new(RUNNING), waiter: thread::current() };
    let shared = Arc::new(Shared { signal, result: Mutex::new(None) });
    let inner = shared.clone();
    let started = thread::Builder::new().stack_size(STACK).spawn(move || {
        SIGNAL.with(|s| s.set(&inner.signal));
        LEFT.with(|left| left.set(Some(budget as isize)));
        let result = catch(body).unwrap_or_else(|panic| Err(Failure(PANIC, panic)));
        LEFT.with(|left| left.set(None));
        *inner.result.lock().unwrap_or_else(|e| e.into_inner()) = Some(result);
        inner.signal.set(DONE);
    });
    if let Err(e) = started {
        return Outcome::Finished(Err(Failure(FAILED, format!("no thread to render on: {e}"))));
    }
    while shared.signal.state.load(Ordering::Acquire) == RUNNING {
        thread::park();
    }
    if shared.signal.state.load(Ordering::Acquire) == STOPPED {
        return Outcome::Stopped;
    }
    let result = shared.result.lock().unwrap_or_else(|e| e.into_inner()).take();
    Outcome::Finished(result.unwrap_or_else(|| Err(Failure(PANIC, "no result".into()))))
}
