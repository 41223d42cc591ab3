//! Memory that is used again: a training step makes the same buffers as the one before, and fresh pages cost more than what is computed in them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::MmapMut;

/// Elements of the smallest buffer.
const SMALLEST: usize = 64;

/// Elements from which on memory is mapped for itself, so that giving it back leaves no holes in the heap, and from which on in huge pages.
const MAPPED: usize = 1 << 16;
const HUGE: usize = 1 << 20;

/// Memory of a buffer, zeros at first.
enum Memory {
    Heap(Vec<f32>),
    Mapped(MmapMut),
}

impl Memory {
    fn new(len: usize) -> Self {
        if len < MAPPED {
            return Self::Heap(vec![0.0; len]);
        }
        match MmapMut::map_anon(4 * len) {
            Ok(map) => {
                #[cfg(target_os = "linux")]
                if len >= HUGE {
                    // A hint: without huge pages all is the same but slower.
                    let _ = map.advise(memmap2::Advice::HugePage);
                }
                Self::Mapped(map)
            }
            // The system's limit on the number of maps, say: the heap then gives the memory or the error.
            Err(_) => Self::Heap(vec![0.0; len]),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Heap(values) => values.len(),
            Self::Mapped(map) => map.len() / 4,
        }
    }
}

impl Deref for Memory {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Heap(values) => values,
            // SAFETY: a map starts at a page, and any bytes are an f32.
            Self::Mapped(map) => unsafe { std::slice::from_raw_parts(map.as_ptr().cast(), map.len() / 4) },
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Heap(values) => values,
            // SAFETY: as above, and borrowed for writing.
            Self::Mapped(map) => unsafe { std::slice::from_raw_parts_mut(map.as_mut_ptr().cast(), map.len() / 4) },
        }
    }
}

/// Buffers that nobody uses now. Together with those in use they never take more than the most that was in use at one time.
#[derive(Default)]
pub(super) struct Pool(Mutex<State>);

#[derive(Default)]
struct State {
    /// Free memory by its size in elements.
    free: BTreeMap<usize, Vec<Memory>>,
    /// Elements of the free memory.
    n_free: usize,
    /// Elements in use.
    n_used: usize,
    /// The most elements that were in use.
    most_used: usize,
}

/// Dense storage of a [`super::CpuDevice`], f32 or bf16, which gets the memory back when the buffer is dropped. As a slice it gives f32.
pub struct CpuBuffer {
    /// Room for `len` elements or more.
    memory: Memory,
    len: usize,
    /// Elements are bf16.
    narrow: bool,
    pool: Arc<Pool>,
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `len` elements with whatever its memory held.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> CpuBuffer {
        CpuBuffer { memory: self.take_memory(len), len, narrow: false, pool: Arc::clone(self) }
    }

    /// A buffer of `len` elements of bf16 with whatever its memory held.
    pub(super) fn take_narrow(self: &Arc<Self>, len: usize) -> CpuBuffer {
        CpuBuffer { memory: self.take_memory(len.div_ceil(2)), len, narrow: true, pool: Arc::clone(self) }
    }

    /// Gives memory that nobody uses back to the system.
    pub(super) fn release_unused(&self) {
        self.state().shrink(0);
    }

    fn take_memory(&self, len: usize) -> Memory {
        let size = size_class(len);
        let mut state = self.state();
        // A shorter pack takes what a longer one left: fresh pages cost more than they are worth. Small memory is cheap to come by.
        let largest = if size < MAPPED { size + size / 4 } else { 4 * size };
        let found = state.free.range_mut(size..=largest).find_map(|(_, memories)| memories.pop());
        let memory = if let Some(memory) = found {
            state.n_free -= memory.len();
            memory
        } else {
            let room = state.most_used.saturating_sub(state.n_used + size);
            state.shrink(room);
            Memory::new(size)
        };
        state.n_used += memory.len();
        state.most_used = state.most_used.max(state.n_used);
        memory
    }
}

impl CpuBuffer {
    /// Elements, of either kind.
    pub(super) fn n_elements(&self) -> usize {
        self.len
    }

    /// Its elements, bf16.
    pub(super) fn halves(&self) -> Option<&[u16]> {
        // SAFETY: any bytes are numbers of either kind, and an f32 is aligned for an u16.
        self.narrow.then(|| unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast(), self.len) })
    }

    /// Its elements, bf16, to write.
    pub(super) fn halves_mut(&mut self) -> Option<&mut [u16]> {
        // SAFETY: as above, and borrowed for writing.
        self.narrow.then(|| unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr().cast(), self.len) })
    }
}

impl State {
    /// Gives free memory back to the system, the largest first, until at most `room` elements are left.
    fn shrink(&mut self, room: usize) {
        while self.n_free > room {
            let Some(mut entry) = self.free.last_entry() else { break };
            match entry.get_mut().pop() {
                Some(memory) => self.n_free -= memory.len(),
                None => drop(entry.remove()),
            }
        }
    }
}

/// The next of eight sizes between two powers of two, so that packs of nearly the same length use the same memory.
fn size_class(len: usize) -> usize {
    let step = len.max(SMALLEST).next_power_of_two() / 16;
    len.max(SMALLEST).next_multiple_of(step.max(1))
}

impl Drop for CpuBuffer {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, Memory::Heap(Vec::new()));
        let mut state = self.pool.state();
        state.n_used -= memory.len();
        state.n_free += memory.len();
        state.free.entry(memory.len()).or_default().push(memory);
    }
}

impl Deref for CpuBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        assert!(!self.narrow, "a buffer of bf16 where one of f32 is expected");
        &self.memory[..self.len]
    }
}

impl DerefMut for CpuBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        assert!(!self.narrow, "a buffer of bf16 where one of f32 is expected");
        &mut self.memory[..self.len]
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl fmt::Debug for CpuBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_and_is_used_again() {
        let pool = Arc::new(Pool::default());
        let first = pool.take(1000);
        let address = first.as_ptr();
        drop(first);
        let second = pool.take(990);
        assert_eq!((second.as_ptr(), second.len()), (address, 990));
    }

    #[test]
    fn a_shorter_pack_takes_the_memory_of_a_longer_one() {
        let pool = Arc::new(Pool::default());
        let long = [pool.take(400_000), pool.take(900_000)];
        let addresses = long.each_ref().map(|buffer| buffer.as_ptr());
        drop(long);
        let short = [pool.take(120_000), pool.take(270_000)];
        assert_eq!(short.each_ref().map(|buffer| buffer.as_ptr()), addresses);
    }

    #[test]
    fn used_and_free_memory_stay_below_the_most_ever_used() {
        let pool = Arc::new(Pool::default());
        drop((pool.take(100_000), pool.take(100_000)));
        let most = pool.state().most_used;
        for len in (1..60).map(|i| i * 1700) {
            let _buffers = (pool.take(len), pool.take(len / 3));
            let state = pool.state();
            assert!(state.n_used + state.n_free <= most, "{} used and {} free of {most}", state.n_used, state.n_free);
        }
    }

    #[test]
    fn sizes_round_up_by_an_eighth_at_most() {
        for len in 1..5000 {
            let size = size_class(len);
            assert!(size >= len && (len < SMALLEST || size <= len + len / 8), "{len} becomes {size}");
            assert_eq!(size_class(size), size);
        }
    }
}
