//! Instructions, peak stack and peak heap of a piece of work.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use embedded_alloc::LlffHeap;
use semihosting::println;

const HEAP_BYTES: usize = 320 * 1024;
/// Stack that is painted below the caller.
const PAINTED_BYTES: usize = 96 * 1024;
/// Room for what `paint` and `unpainted` themselves use.
const OWN_BYTES: usize = 512;
const PAINT: u32 = 0x5AA5_C33C;

/// An allocator that remembers the most that was in use.
struct Counted {
    heap: LlffHeap,
    peak: AtomicUsize,
}

#[global_allocator]
static HEAP: Counted = Counted { heap: LlffHeap::empty(), peak: AtomicUsize::new(0) };

// SAFETY: every call goes to the heap inside.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let given = unsafe { self.heap.alloc(layout) };
        // One hart and no interrupts: nothing comes in between.
        self.peak.store(self.peak.load(Relaxed).max(self.heap.used()), Relaxed);
        given
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.heap.dealloc(at, layout) }
    }
}

pub(crate) fn init_heap() {
    static mut ROOM: [MaybeUninit<u8>; HEAP_BYTES] = [MaybeUninit::uninit(); HEAP_BYTES];
    // SAFETY: called once, before anything is allocated, and nothing else names the room.
    unsafe { HEAP.heap.init(&raw mut ROOM as usize, HEAP_BYTES) }
}

/// Runs the work and prints what it took.
pub(crate) fn measured<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let top = paint();
    let before = instructions();
    let value = run(work);
    let spent = instructions().wrapping_sub(before);
    println!("{name}: {spent} instructions, {} bytes of stack", used_below(top));
    value
}

pub(crate) fn report() {
    println!("heap: {} bytes in use, {} at most", HEAP.heap.used(), HEAP.peak.load(Relaxed));
}

#[inline(never)]
fn run<T>(work: impl FnOnce() -> T) -> T {
    work()
}

fn instructions() -> u32 {
    let count;
    // SAFETY: reads a counter.
    unsafe { asm!("csrr {}, minstret", out(reg) count) };
    count
}

/// Fills the free stack and returns where it begins.
#[inline(never)]
fn paint() -> usize {
    let top = stack_pointer() - OWN_BYTES;
    for at in (top - PAINTED_BYTES..top).step_by(4) {
        // SAFETY: below the stack pointer, above the heap, and aligned as the stack is.
        unsafe { (at as *mut u32).write_volatile(PAINT) };
    }
    top
}

/// Bytes below `top` that were written since it was painted.
#[inline(never)]
fn used_below(top: usize) -> usize {
    let untouched = (top - PAINTED_BYTES..top)
        .step_by(4)
        // SAFETY: as in `paint`.
        .take_while(|at| unsafe { (*at as *const u32).read_volatile() } == PAINT)
        .count();
    PAINTED_BYTES - untouched * 4
}

fn stack_pointer() -> usize {
    let at;
    // SAFETY: reads a register.
    unsafe { asm!("mv {}, sp", out(reg) at) };
    at
}
