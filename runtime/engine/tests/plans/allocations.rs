//! Running a session allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use meanet_engine::{Images, Isa, Plan};

use crate::networks::meanet;
use crate::{options, pixels};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Allocations of this thread so far.
pub fn count() -> usize {
    COUNT.get()
}

struct Counting;

// SAFETY: all is passed on to the system's allocator; counting touches a constant-initialised cell of the thread.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_request_allocates_nothing() {
    let (graph, main, extension) = meanet(16, [16, 32], 10, false, 3);
    let images = pixels(4 * graph.input.values(), 1);
    let plan = Plan::compile(&graph, &options(Isa::best(), 1, true)).unwrap();
    let mut session = plan.session().unwrap();
    let before = COUNT.get();
    for _ in 0..3 {
        session.run(main, Images::Bytes(&images), 4).unwrap();
        session
            .run_rows(extension, Images::Bytes(&images), 4, &[1, 3])
            .unwrap();
    }
    assert_eq!(COUNT.get(), before);
}
