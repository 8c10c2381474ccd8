use std::ops::Range;

/// A batch of images, `[n, channels, height, width]`, as the input's `scale` and `shift` expect them.
#[derive(Clone, Copy, Debug)]
pub enum Images<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// Floats.
    Floats(&'a [f32]),
}

impl<'a> Images<'a> {
    /// Values of all images.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Floats(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The values at `range`, which exist.
    #[must_use]
    pub fn slice(self, range: Range<usize>) -> Self {
        match self {
            Self::Bytes(values) => Self::Bytes(&values[range]),
            Self::Floats(values) => Self::Floats(&values[range]),
        }
    }

    /// Pieces of `values` values; the last may be shorter.
    pub fn chunks(self, values: usize) -> impl Iterator<Item = Images<'a>> {
        let starts = (0..self.len()).step_by(values.max(1));
        starts.map(move |start| self.slice(start..self.len().min(start + values.max(1))))
    }
}
