//! Runs code that depends on hostile data on its own thread, with a deep stack and limits of memory and time.
//!
//! Rust code cannot handle a failed allocation: it ends the process, and an allocator must not unwind. So a thread that
//! exceeds a limit is parked forever in its next allocation, with everything it holds, and a Verdict records that the
//! code must not run again. A thread that exceeds its time limit is first asked to end.

use crate::watch::{thread_time, StopCheck};
use crate::{catch, Failure, MEMORY, PANIC};
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::Duration;

/// Values nest as deeply as the fuel of a template allows, and are dropped recursively.
const STACK: usize = 256 << 20;
/// The end of the stack: a thread that allocates there is stopped.
const STACK_END: usize = 4 << 20;
/// Allocations between two checks of the clock.
const PERIOD: u32 = 1024;
/// A thread that exceeds its time limit is stopped after this multiple of the limit.
const STOP_FACTOR: u32 = 2;
/// Period at which the waiter polls the thread, and polls per second of the time limit after which a thread that does
/// not allocate is abandoned. They are generous, because the thread may share its core.
const POLL_PERIOD: Duration = Duration::from_millis(50);
const POLLS_PER_SECOND: u32 = 300;

const RUNNING: u8 = 0;
const DONE: u8 = 1;
const ABANDONED: u8 = 2; // cancelled
const OVERTIME: u8 = 3;
const NO_MEMORY: u8 = 4;
const NO_TIME: u8 = 5;
const NO_STACK: u8 = 6;

/// Why some code must not run again.
#[derive(Clone, Default)]
pub struct Verdict(Arc<AtomicU8>);

impl Verdict {
    /// The limit that was exceeded.
    pub fn spent(&self) -> Option<&'static str> {
        budget_of(self.0.load(Ordering::Acquire))
    }
}

fn budget_of(state: u8) -> Option<&'static str> {
    match state {
        NO_MEMORY => Some("memory"),
        NO_TIME | OVERTIME => Some("time"),
        NO_STACK => Some("depth"),
        _ => None,
    }
}

struct Shared<T> {
    signal: Signal,
    result: Mutex<Option<Result<T, Failure>>>,
}

struct Signal {
    state: AtomicU8,
    waiter: Thread,
    verdict: Verdict,
}

impl Signal {
    /// Sets `state` if the thread is running; returns whether it was.
    fn change(&self, state: u8) -> bool {
        self.state.compare_exchange(RUNNING, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn set(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        self.waiter.unpark();
    }
}

/// The remaining budget of a confined thread.
#[derive(Clone, Copy)]
struct Budget {
    bytes: isize,
    end: Duration,      // CPU time of the thread at which it is asked to end
    last: Duration,     // CPU time at which it is stopped
    stack_floor: usize, // an address
    allocations: u32,   // so far
    signal: *const Signal,
}

thread_local! {
    /// None: this thread is not confined.
    static BUDGET: Cell<Option<Budget>> = const { Cell::new(None) };
}

/// Parks this thread forever.
fn stop(signal: *const Signal, why: u8) -> ! {
    BUDGET.set(None);
    // Safety: the signal is in an Arc that this thread holds and now keeps forever.
    let signal = unsafe { &*signal };
    signal.verdict.0.store(why, Ordering::Release);
    signal.set(why);
    loop {
        thread::park();
    }
}

/// Charges `bytes` to the budget of this thread (negative: freed). Does not return if a limit is exceeded.
pub fn charge(bytes: isize) {
    let Some(mut budget) = BUDGET.get() else { return };
    budget.bytes -= bytes;
    if bytes > 0 {
        budget.allocations = budget.allocations.wrapping_add(1);
        if budget.bytes < 0 {
            stop(budget.signal, NO_MEMORY);
        }
        if (&raw const budget as usize) < budget.stack_floor {
            stop(budget.signal, NO_STACK);
        }
        if budget.allocations % PERIOD == 0 {
            check_clock(&budget);
        }
    }
    BUDGET.set(Some(budget));
}

fn check_clock(budget: &Budget) {
    let now = thread_time();
    if now > budget.last {
        stop(budget.signal, NO_TIME);
    }
    // Safety: as in stop().
    let signal = unsafe { &*budget.signal };
    if now > budget.end && signal.change(OVERTIME) {
        signal.waiter.unpark();
    }
}

/// Stops a confined thread, because the system is out of memory.
pub fn out_of_memory() {
    if let Some(budget) = BUDGET.get() {
        stop(budget.signal, NO_MEMORY);
    }
}

pub enum Outcome<T> {
    Finished(Result<T, Failure>),
    /// A limit, which the text names, was exceeded. The thread ends at its next call of cancelled(), or is parked.
    Spent(&'static str),
    /// The call was cancelled; the thread ends at its next call of cancelled(), or by its limits.
    Abandoned,
}

/// Whether the result of this confined thread is no longer needed.
pub fn cancelled() -> bool {
    // Safety: as in stop().
    BUDGET.get().is_some_and(|budget| unsafe { (*budget.signal).state.load(Ordering::Relaxed) } != RUNNING)
}

/// Runs `body` with at most `memory` bytes and `time` of CPU time, until `check` cancels it. Sets `verdict` if `body`
/// had to be stopped.
pub fn run<T: Send + 'static>(
    memory: usize,
    time: Duration,
    check: StopCheck,
    verdict: &Verdict,
    body: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Outcome<T> {
    let signal = Signal { state: AtomicU8::new(RUNNING), waiter: thread::current(), verdict: verdict.clone() };
    let shared = Arc::new(Shared { signal, result: Mutex::new(None) });
    let inner = shared.clone();
    let started = thread::Builder::new().stack_size(STACK).spawn(move || {
        let top = 0u8;
        BUDGET.set(Some(Budget {
            bytes: memory as isize,
            end: thread_time() + time,
            last: thread_time() + time * STOP_FACTOR,
            stack_floor: (&raw const top as usize).saturating_sub(STACK - STACK_END),
            allocations: 0,
            signal: &inner.signal,
        }));
        let result = catch(body).unwrap_or_else(|panic| Err(Failure(PANIC, panic)));
        BUDGET.set(None);
        *inner.result.lock().unwrap_or_else(|e| e.into_inner()) = Some(result);
        inner.signal.set(DONE);
    });
    if let Err(e) = started {
        return Outcome::Finished(Err(Failure(
            MEMORY,
            format!("cannot start a thread with a stack of {} MB: {e}", STACK >> 20),
        )));
    }
    let mut polls = 0;
    loop {
        let state = shared.signal.state.load(Ordering::Acquire);
        if state == DONE {
            break;
        }
        if let Some(budget) = budget_of(state) {
            return Outcome::Spent(budget);
        }
        thread::park_timeout(POLL_PERIOD);
        polls += 1;
        if check.stop() && shared.signal.change(ABANDONED) {
            return Outcome::Abandoned;
        }
        // A thread that does not allocate cannot be stopped; it is abandoned.
        if polls > POLLS_PER_SECOND * time.as_secs() as u32 && shared.signal.change(OVERTIME) {
            verdict.0.store(NO_TIME, Ordering::Release);
        }
    }
    let result = shared.result.lock().unwrap_or_else(|e| e.into_inner()).take();
    Outcome::Finished(result.unwrap_or_else(|| Err(Failure(PANIC, "no result".into()))))
}
