//! Where values lie, and what a thread sees of them while it runs a segment.

use std::ops::Range;

use crate::images::Images;

use super::table::Kernels;

/// Which buffer a value lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// Memory of the images computed together; used again by later values.
    Scratch,
    /// Memory of the whole batch.
    Kept,
}

/// What the slots of a value hold; a slot has the size of a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A channel each.
    Floats,
    /// Two channels each, as 16-bit integers of 8 or 9 significant bits.
    Words,
}

/// A value: `[block of channels][border + height + border][border + width + border][lane]` for each image. Lanes behind the last
/// channel, and the border, are zero. Strides and offset are in floats. Of words, a block has twice as many channels, and the half of
/// the last block that no channel needs is never read into a result.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) channels: usize,
    pub(crate) format: Format,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) border: usize,
    pub(crate) home: Home,
    pub(crate) offset: usize,
    /// From image to image.
    pub(crate) image: usize,
    /// From block to block.
    pub(crate) block: usize,
    /// From row to row.
    pub(crate) row: usize,
}

impl Place {
    /// Slots of a pixel.
    pub(crate) fn slots(&self) -> usize {
        match self.format {
            Format::Floats => self.channels,
            Format::Words => self.channels.div_ceil(2),
        }
    }

    pub(crate) fn blocks(&self, lanes: usize) -> usize {
        self.slots().div_ceil(lanes)
    }

    /// Where the numbers of an image's value lie, as `[channels, height, width]` row by row; from the image's own first float on.
    pub(crate) fn floats(&self, lanes: usize) -> impl Iterator<Item = usize> {
        let (channels, height, width) = (self.channels, self.height, self.width);
        let (block, row, border) = (self.block, self.row, self.border);
        (0..channels).flat_map(move |channel| {
            let first = channel / lanes * block + channel % lanes;
            (0..height)
                .flat_map(move |y| (0..width).map(move |x| first + (y + border) * row + (x + border) * lanes))
        })
    }

    /// Floats behind which nothing of `images` images lies, from the start of the buffer.
    pub(crate) fn end(&self, images: usize, lanes: usize) -> usize {
        let last_block = (self.blocks(lanes) - 1) * self.block;
        let rows = self.height + 2 * self.border;
        self.offset
            + (images - 1) * self.image
            + last_block
            + (rows - 1) * self.row
            + (self.width + 2 * self.border) * lanes
    }
}

/// One value of one image.
#[derive(Clone, Copy)]
pub(crate) struct Map {
    /// First float of the border of block 0.
    base: *mut f32,
    border: usize,
    pub(crate) block: usize,
    pub(crate) row: usize,
}

impl Map {
    /// Lane 0 of a pixel.
    ///
    /// # Safety
    /// The pixel lies in the map.
    pub(crate) unsafe fn at(self, block: usize, y: usize, x: usize, lanes: usize) -> *mut f32 {
        // SAFETY: as promised; a map covers all its blocks, rows and columns.
        unsafe {
            self.base
                .add(block * self.block + (y + self.border) * self.row + (x + self.border) * lanes)
        }
    }

    /// Lane 0 of block 0 of the pixel `padding` above and left of `(y, x)`, in `block`.
    ///
    /// # Safety
    /// `padding` is at most the border, and the pixel lies in the map or its border.
    pub(crate) unsafe fn at_padded(
        self,
        block: usize,
        y: usize,
        x: usize,
        padding: usize,
        lanes: usize,
    ) -> *const f32 {
        let inset = self.border - padding;
        // SAFETY: as promised.
        unsafe {
            self.base
                .add(block * self.block + (y + inset) * self.row + (x + inset) * lanes)
        }
    }

    /// Zeros the border of one block.
    ///
    /// # Safety
    /// `place` is where this map lies, and nobody else reads or writes the border meanwhile.
    pub(crate) unsafe fn clear_border(self, place: &Place, block: usize, lanes: usize) {
        let border = place.border;
        if border == 0 {
            return;
        }
        let across = (place.width + 2 * border) * lanes;
        // SAFETY: the border is part of the place; rows above, rows below, and the ends of each row between.
        unsafe {
            let start = self.base.add(block * self.block);
            for row in (0..border).chain(place.height + border..place.height + 2 * border) {
                start.add(row * self.row).write_bytes(0, across);
            }
            for row in border..place.height + border {
                let left = start.add(row * self.row);
                left.write_bytes(0, border * lanes);
                left.add(across - border * lanes).write_bytes(0, border * lanes);
            }
        }
    }
}

/// A share of the units of a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) index: usize,
    pub(crate) of: usize,
}

impl Part {
    /// Shares of all parts are disjoint and cover `0..total`.
    pub(crate) fn of(self, total: usize) -> Range<usize> {
        total * self.index / self.of..total * (self.index + 1) / self.of
    }
}

/// What a thread works on: some images of a batch.
pub(crate) struct Frame<'a> {
    pub(crate) kernels: &'static Kernels,
    pub(crate) weights: *const f32,
    /// Scratch of these images.
    pub(crate) scratch: *mut f32,
    /// Kept values of the whole batch.
    pub(crate) kept: *mut f32,
    /// This thread's own workspace.
    pub(crate) workspace: *mut f32,
    /// All pixels of the batch.
    pub(crate) pixels: Images<'a>,
    /// The images of the batch that are computed.
    pub(crate) rows: Rows<'a>,
}

/// Indices of images in the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    /// From the first on.
    Range(usize, usize),
    /// These.
    Pick(&'a [usize]),
}

impl Rows<'_> {
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Range(start, end) => end - start,
            Self::Pick(rows) => rows.len(),
        }
    }

    pub(crate) fn get(self, index: usize) -> usize {
        match self {
            Self::Range(start, _) => start + index,
            Self::Pick(rows) => rows[index],
        }
    }

    pub(crate) fn slice(self, range: Range<usize>) -> Self {
        match self {
            Self::Range(start, _) => Self::Range(start + range.start, start + range.end),
            Self::Pick(rows) => Self::Pick(&rows[range]),
        }
    }
}

impl Frame<'_> {
    /// Images computed together.
    pub(crate) fn images(&self) -> usize {
        self.rows.len()
    }

    /// A value of the `image`-th image of this frame.
    ///
    /// # Safety
    /// The place was checked against the buffers, and `image` is less than [`Frame::images`].
    pub(crate) unsafe fn map(&self, place: &Place, image: usize) -> Map {
        let (buffer, index) = match place.home {
            Home::Scratch => (self.scratch, image),
            Home::Kept => (self.kept, self.rows.get(image)),
        };
        Map {
            // SAFETY: as promised.
            base: unsafe { buffer.add(place.offset + index * place.image) },
            border: place.border,
            block: place.block,
            row: place.row,
        }
    }
}
