//! Limits on work that depends on hostile data: CPU time and cancellation.

use crate::{Failure, FAILED, STOPPED};
use std::cell::Cell;
use std::ffi::c_void;
use std::time::{Duration, Instant};

/// Minimum time between two checks of the CPU time.
const PERIOD: Duration = Duration::from_millis(20);

/// The mlxk_stop of the C ABI: returns nonzero if the call is cancelled. Called on the thread of the call only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct StopCheck {
    context: *mut c_void,
    stop: Option<unsafe extern "C" fn(*mut c_void) -> i32>,
}

impl StopCheck {
    pub fn never() -> StopCheck {
        StopCheck { context: std::ptr::null_mut(), stop: None }
    }

    pub fn stop(&self) -> bool {
        // Safety: the caller of the ABI keeps `context` alive during its call.
        self.stop.is_some_and(|stop| unsafe { stop(self.context) } != 0)
    }
}

/// The CPU time of this thread.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // Safety: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Ends work on this thread that exceeds its CPU time or is cancelled. The work must call check().
pub struct Watch {
    end: Duration, // CPU time of this thread
    stop: StopCheck,
    asked: Cell<u32>,
    looked: Cell<Instant>,
    ended: Cell<Option<i32>>, // with this status
}

impl Watch {
    pub fn new(budget: Duration, stop: StopCheck) -> Watch {
        Watch {
            end: thread_time() + budget,
            stop,
            asked: Cell::new(0),
            looked: Cell::new(Instant::now()),
            ended: Cell::new(None),
        }
    }

    /// An error if the work must end. Cheap: reads a clock every 16 calls.
    pub fn check(&self) -> Result<(), String> {
        self.asked.set(self.asked.get().wrapping_add(1));
        if self.ended.get().is_none() && self.asked.get() % 16 == 0 && self.looked.get().elapsed() >= PERIOD {
            self.looked.set(Instant::now());
            if self.stop.stop() {
                self.ended.set(Some(STOPPED));
            } else if thread_time() > self.end {
                self.ended.set(Some(FAILED));
            }
        }
        match self.ended.get() {
            None => Ok(()),
            Some(_) => Err(self.text()),
        }
    }

    /// The result of the last check(), for work that swallows its error.
    pub fn result(&self) -> Result<(), Failure> {
        self.ended.get().map_or(Ok(()), |status| Err(Failure(status, self.text())))
    }

    fn text(&self) -> String {
        if self.ended.get() == Some(STOPPED) { "stopped" } else { "it takes too long" }.into()
    }
}
