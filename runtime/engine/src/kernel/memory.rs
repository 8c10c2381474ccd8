/// A cache line, the unit of alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Floats on cache-line boundaries, zero at first.
pub(crate) struct Memory {
    lines: Box<[Line]>,
}

impl Memory {
    /// At least `floats` of them.
    pub(crate) fn zeroed(floats: usize) -> Self {
        Self {
            lines: vec![Line([0.0; 16]); floats.div_ceil(16)].into_boxed_slice(),
        }
    }

    /// Floats.
    pub(crate) fn len(&self) -> usize {
        self.lines.len() * 16
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: a line is 16 floats without padding, and the lines lie one behind the other.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len()) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as for `as_slice`, and the lines are borrowed for as long.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len()) }
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.lines.as_ptr().cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.lines.as_mut_ptr().cast()
    }
}
