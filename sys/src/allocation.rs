//! Counts allocations, for the test that holds a request to so many of them.
//!
//! Only threads that ask for it are counted: what a request costs is what the threads do that serve requests. It stands
//! in front of the allocator in debug builds, and in no other.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Constant and without a destructor: reading it allocates nothing.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// An allocator whose calls are counted.
#[derive(Debug)]
pub struct Counting<A>(pub A);

/// Counts what this thread allocates from here on.
pub fn count_this_thread() {
    COUNTED.set(true);
}

/// How often counted threads have allocated, or had an allocation grow.
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

fn note() {
    if COUNTED.get() {
        let _before = COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: each call is handed on as it came, so that the allocator below keeps the contract with the same arguments.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise about the layout is the one that is asked for here.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from this allocator, and so from the one below, with this layout.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as above, and the caller's promise about the size is the one that is asked for here.
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}
