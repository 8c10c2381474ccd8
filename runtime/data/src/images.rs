/// Labelled RGB images of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// Rows of each image.
    pub height: usize,
    /// Columns of each image.
    pub width: usize,
    /// Pixels, `[n, 3, height, width]`, red plane first.
    pub pixels: Vec<u8>,
    /// Class of each image, `[n]`.
    pub labels: Vec<u32>,
}

impl Images {
    /// No images yet, of the size given.
    #[must_use]
    pub fn empty(height: usize, width: usize) -> Self {
        Self {
            height,
            width,
            pixels: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image.
    #[must_use]
    pub fn stride(&self) -> usize {
        3 * self.height * self.width
    }

    /// Pixels of image `index`, `[3, height, width]`.
    #[must_use]
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.stride()..(index + 1) * self.stride()]
    }

    /// Adds one image.
    ///
    /// # Panics
    /// When `pixels` is not `[3, height, width]`.
    pub fn push(&mut self, pixels: &[u8], label: u32) {
        assert_eq!(pixels.len(), self.stride(), "an image of another size was pushed");
        self.pixels.extend_from_slice(pixels);
        self.labels.push(label);
    }

    /// The images at `indices`, in that order.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut chosen = Self::empty(self.height, self.width);
        chosen.pixels.reserve(indices.len() * self.stride());
        for &index in indices {
            chosen.push(self.image(index), self.labels[index]);
        }
        chosen
    }

    /// The images of both, these first.
    ///
    /// # Panics
    /// When the sizes differ.
    #[must_use]
    pub fn concat(mut self, other: &Self) -> Self {
        assert_eq!(
            (self.height, self.width),
            (other.height, other.width),
            "images of two sizes were joined"
        );
        self.pixels.extend_from_slice(&other.pixels);
        self.labels.extend_from_slice(&other.labels);
        self
    }
}

/// Images that training and selection may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Training(pub Images);

/// Images that only reports may use: nothing is trained, chosen or tuned on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test(pub Images);
