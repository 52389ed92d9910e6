//! Runs code that hostile data drives on a thread of its own with a deep stack and budgets of memory and time.
//!
//! Memory cannot be refused to Rust code: a failed allocation ends the process, and an allocator must not unwind. So a
//! thread that exceeds a budget is stopped where it stands, in its next allocation, for good, with what it holds, and a
//! Verdict says that the code must not run again. One that takes too long is asked to end first.

use crate::watch::{thread_time, StopCheck};
use crate::{catch, Failure, MEMORY, PANIC};
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::Duration;

/// Values nest as deep as a template's fuel allows, and are dropped by recursion.
const STACK: usize = 256 << 20;
/// The part of the stack that no allocation may be asked for from.
const STACK_END: usize = 4 << 20;
/// Allocations between two looks at the clock.
const PERIOD: u32 = 1024;
/// How many times its budget of time a thread gets to end by itself.
const PATIENCE: u32 = 2;
/// Looks of whoever waits for the thread, and how many of them for each second of its budget before one that allocates
/// nothing is given up: it may have to share its core.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 300;

const RUNNING: u8 = 0;
const DONE: u8 = 1;
const ABANDONED: u8 = 2; // nobody waits for it
const OVERTIME: u8 = 3;
const NO_MEMORY: u8 = 4;
const NO_TIME: u8 = 5;
const NO_STACK: u8 = 6;

/// Why some code must not run again.
#[derive(Clone, Default)]
pub struct Verdict(Arc<AtomicU8>);

impl Verdict {
    /// The budget that was spent.
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
    /// Whether the thread was running, and has now that state.
    fn change(&self, state: u8) -> bool {
        self.state.compare_exchange(RUNNING, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn set(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        self.waiter.unpark();
    }
}

/// What a confined thread may still take.
#[derive(Clone, Copy)]
struct Budget {
    bytes: isize,
    end: Duration,      // of the thread's time: then it is asked to end
    last: Duration,     // then it is stopped
    stack_floor: usize, // an address
    allocations: u32,   // so far
    signal: *const Signal,
}

thread_local! {
    /// None: this thread is not confined.
    static BUDGET: Cell<Option<Budget>> = const { Cell::new(None) };
}

/// Stops this thread for good.
fn stop(signal: *const Signal, why: u8) -> ! {
    BUDGET.set(None);
    // Safety: the signal lives in an Arc that this thread holds and now keeps for ever.
    let signal = unsafe { &*signal };
    signal.verdict.0.store(why, Ordering::Release);
    signal.set(why);
    loop {
        thread::park();
    }
}

/// Books `bytes` of this thread (negative: given back); does not return when a budget is spent.
pub fn book(bytes: isize) {
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
            look_at_the_clock(&budget);
        }
    }
    BUDGET.set(Some(budget));
}

fn look_at_the_clock(budget: &Budget) {
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

/// The system gave no memory: stops a confined thread.
pub fn out_of_memory() {
    if let Some(budget) = BUDGET.get() {
        stop(budget.signal, NO_MEMORY);
    }
}

pub enum Outcome<T> {
    Finished(Result<T, Failure>),
    /// A budget, which the text names, was spent. The thread ends at its next look at unwanted(), or stands still.
    Spent(&'static str),
    /// Nobody waits any more; the thread ends at its next look at unwanted(), or by its budgets.
    Abandoned,
}

/// Whether nobody waits any more for what this confined thread does.
pub fn unwanted() -> bool {
    // Safety: as in stop().
    BUDGET.get().is_some_and(|budget| unsafe { (*budget.signal).state.load(Ordering::Relaxed) } != RUNNING)
}

/// Runs `body` with at most `memory` bytes and `time` of a processor, until `check` says that nobody waits for it.
/// `verdict` is passed once it had to be stopped.
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
            last: thread_time() + time * PATIENCE,
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
        return Outcome::Finished(Err(Failure(MEMORY, format!("no thread could be started with a stack of {} MB: {e}", STACK >> 20))));
    }
    let mut looks = 0;
    loop {
        let state = shared.signal.state.load(Ordering::Acquire);
        if state == DONE {
            break;
        }
        if let Some(budget) = budget_of(state) {
            return Outcome::Spent(budget);
        }
        thread::park_timeout(LOOK);
        looks += 1;
        if check.stop() && shared.signal.change(ABANDONED) {
            return Outcome::Abandoned;
        }
        // What allocates nothing cannot be stopped; it is not waited for either.
        if looks > LOOKS * time.as_secs() as u32 && shared.signal.change(OVERTIME) {
            verdict.0.store(NO_TIME, Ordering::Release);
        }
    }
    let result = shared.result.lock().unwrap_or_else(|e| e.into_inner()).take();
    Outcome::Finished(result.unwrap_or_else(|| Err(Failure(PANIC, "no result".into()))))
}
