//! The allocator. Rust code cannot handle a failed allocation, so a reserve is kept and large work asks for memory
//! first.

use crate::{confined, Failure, MEMORY};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The reserve for work in flight when the system is out of memory.
const RESERVE: Layout = match Layout::from_size_align(8 << 20, 16) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};
static SPARE: AtomicPtr<u8> = AtomicPtr::new(null_mut());

struct Allocator;

unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        confined::charge(layout.size() as isize);
        alloc_or_use_reserve(|| System.alloc(layout))
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        confined::charge(layout.size() as isize);
        alloc_or_use_reserve(|| System.alloc_zeroed(layout))
    }
    unsafe fn realloc(&self, data: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        confined::charge(size as isize - layout.size() as isize);
        alloc_or_use_reserve(|| System.realloc(data, layout, size))
    }
    unsafe fn dealloc(&self, data: *mut u8, layout: Layout) {
        confined::charge(-(layout.size() as isize));
        System.dealloc(data, layout)
    }
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Calls `get`. If it returns null, a confined thread stops, and any other thread retries after the reserve is freed.
fn alloc_or_use_reserve(get: impl Fn() -> *mut u8) -> *mut u8 {
    let data = get();
    if !data.is_null() {
        return data;
    }
    confined::out_of_memory();
    let spare = SPARE.swap(null_mut(), Ordering::AcqRel);
    if spare.is_null() {
        return data;
    }
    // Safety: allocated with this layout, and owned by this thread alone after the swap.
    unsafe { System.dealloc(spare, RESERVE) };
    get()
}

/// Checks that the system has `bytes` of memory in addition to the reserve. Called before work that needs so much.
pub fn room(bytes: usize) -> Result<(), Failure> {
    let no_memory = || Failure(MEMORY, format!("not enough memory: {} MiB are needed", (bytes >> 20) + 1));
    let layout = Layout::from_size_align(bytes.max(1), 16).map_err(|_| no_memory())?;
    // Safety: the layouts are not empty, and every block is freed with the layout of its allocation.
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
