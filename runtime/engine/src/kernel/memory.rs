/// Bytes of a cache line, the unit of alignment.
const LINE: usize = 64;
/// Floats of one.
const FLOATS: usize = LINE / size_of::<f32>();

/// Floats on cache-line boundaries, zero at first.
pub(crate) struct Memory {
    floats: Vec<f32>,
    /// The first one on a boundary.
    start: usize,
    len: usize,
}

impl Memory {
    /// At least `floats` of them. They are not asked for by alignment, since then they would be set to zero one by one: as it is, the
    /// system gives pages as they are first written to, so that what is not used yet takes no memory.
    pub(crate) fn zeroed(floats: usize) -> Self {
        let len = floats.next_multiple_of(FLOATS);
        let floats = vec![0.0; len + FLOATS - 1];
        let beyond = floats.as_ptr().addr() % LINE;
        Self {
            start: (LINE - beyond) % LINE / size_of::<f32>(),
            floats,
            len,
        }
    }

    /// Floats.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        &self.floats[self.start..][..self.len]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.floats[self.start..][..self.len]
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.as_slice().as_ptr()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.as_mut_slice().as_mut_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_begin_on_a_cache_line_and_are_zero() {
        for floats in [0, 1, 15, 16, 17, 1000, 100_000] {
            let mut memory = Memory::zeroed(floats);
            assert_eq!(memory.as_ptr().addr() % LINE, 0, "{floats}");
            assert!(memory.len() >= floats && memory.len() < floats + FLOATS);
            assert!(memory.as_slice().iter().all(|value| value.to_bits() == 0));
            memory.as_mut_slice().fill(1.0);
            assert_eq!(memory.as_slice().len(), memory.len());
        }
    }
}
