/// A batch of images, `[n, channels, height, width]`, as the input's `scale` and `shift` expect them.
#[derive(Clone, Copy, Debug)]
pub enum Images<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// Floats.
    Floats(&'a [f32]),
}

impl Images<'_> {
    /// Values of all images.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Floats(values) => values.len(),
        }
    }
}
