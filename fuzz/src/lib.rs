//! What all targets share: the limit of memory, and the form of a target.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Most bytes that the code under test may hold at a time: the cache's 8 MiB, a disk of the fuzzer's own, and no more.
const LIMIT: usize = 48 << 20;

/// Counts the bytes that are held, and ends the run when an input makes them too many.
struct Limited;

static HELD: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    if HELD.fetch_add(bytes, Relaxed) + bytes > LIMIT {
        std::process::abort();
    }
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

pub use libfuzzer_sys::fuzz_target;
pub use muster_fwup::fuzzing::run;

/// A target that runs what `muster_fwup::fuzzing` has under a name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::fuzz_target!(|data: &[u8]| $crate::run($name, data));
    };
}
