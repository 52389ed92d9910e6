//! The allocator, and what is done so that Rust code, which cannot be refused memory, is not left without.

use crate::{confined, Failure, MEMORY};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Kept for what is under way when the system gives no more.
const RESERVE: Layout = match Layout::from_size_align(8 << 20, 16) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};
static SPARE: AtomicPtr<u8> = AtomicPtr::new(null_mut());

struct Allocator;

unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        confined::book(layout.size() as isize);
        insist(|| System.alloc(layout))
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        confined::book(layout.size() as isize);
        insist(|| System.alloc_zeroed(layout))
    }
    unsafe fn realloc(&self, data: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        confined::book(size as isize - layout.size() as isize);
        insist(|| System.realloc(data, layout, size))
    }
    unsafe fn dealloc(&self, data: *mut u8, layout: Layout) {
        confined::book(-(layout.size() as isize));
        System.dealloc(data, layout)
    }
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// What `get` gives; where that is nothing a confined thread stops, and any other gets it from the reserve.
fn insist(get: impl Fn() -> *mut u8) -> *mut u8 {
    let data = get();
    if !data.is_null() {
        return data;
    }
    confined::out_of_memory();
    let spare = SPARE.swap(null_mut(), Ordering::AcqRel);
    if spare.is_null() {
        return data;
    }
    // Safety: it was allocated with this layout, and nobody else has it any more.
    unsafe { System.dealloc(spare, RESERVE) };
    get()
}

/// Whether the system would now give `bytes`, and the reserve. Asked before work that needs so much.
pub fn room(bytes: usize) -> Result<(), Failure> {
    let no_memory = || Failure(MEMORY, format!("there is no memory for {} MiB of work", (bytes >> 20) + 1));
    let layout = Layout::from_size_align(bytes.max(1), 16).map_err(|_| no_memory())?;
    // Safety: layouts that are not empty; what is given is given back as it came.
    unsafe {
        if SPARE.load(Ordering::Acquire).is_null() {
            let spare = System.alloc(RESERVE);
            if spare.is_null() {
                return Err(no_memory());
            }
            if SPARE.compare_exchange(null_mut(), spare, Ordering::AcqRel, Ordering::Acquire).is_err() {
                System.dealloc(spare, RESERVE); // another thread was faster
            }
        }
        let data = System.alloc(layout);
        if data.is_null() {
            return Err(no_memory());
        }
        System.dealloc(data, layout);
    }
    Ok(())
}
