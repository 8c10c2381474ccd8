//! Steps of training that only move numbers.

use std::ops::Range;

use crate::kernel::frame::{Frame, Map, Place};

/// Channels of a value that another one is, or was, part of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Its first channel in the larger value.
    pub(crate) first: usize,
    /// Whether there is something to add to.
    pub(crate) add: bool,
}

/// `[channels, height, width]` → the place of the image of `frame`.
///
/// # Safety
/// The program was checked for this place, `from` has its values, and nobody else uses it.
pub(crate) unsafe fn give(frame: &Frame, to: &Place, from: &[f32]) {
    let lanes = frame.kernels.lanes;
    // SAFETY: as promised by the caller.
    unsafe {
        let map = frame.map(to, 0);
        for (channel, plane) in from.chunks_exact(to.height * to.width).enumerate() {
            for (y, row) in plane.chunks_exact(to.width).enumerate() {
                let pixel = map.at(channel / lanes, y, 0, lanes).add(channel % lanes);
                for (x, value) in row.iter().enumerate() {
                    pixel.add(x * lanes).write(*value);
                }
            }
        }
    }
}

/// Puts every pixel `stride` apart, with zeros between: what a convolution with that stride becomes on the way back.
///
/// # Safety
/// The program was checked for these places.
pub(crate) unsafe fn spread(frame: &Frame, [from, to]: [&Place; 2], stride: usize) {
    let lanes = frame.kernels.lanes;
    // SAFETY: as promised by the caller; pixels out are those of the larger value.
    unsafe {
        let (source, target) = (frame.map(from, 0), frame.map(to, 0));
        for block in 0..from.blocks(lanes) {
            clear(target, to, block, lanes);
            for y in 0..from.height {
                let (row, wide) = (
                    source.at(block, y, 0, lanes),
                    target.at(block, y * stride, 0, lanes),
                );
                for x in 0..from.width {
                    wide.add(x * stride * lanes)
                        .copy_from_nonoverlapping(row.add(x * lanes), lanes);
                }
            }
        }
    }
}

/// The gradient of a mean over all positions.
///
/// # Safety
/// The program was checked for these places.
pub(crate) unsafe fn unpool(frame: &Frame, [from, to]: [&Place; 2], add: bool) {
    let lanes = frame.kernels.lanes;
    let share = 1.0 / (to.height * to.width) as f32;
    // SAFETY: as promised by the caller.
    unsafe {
        let (source, target) = (frame.map(from, 0), frame.map(to, 0));
        for block in 0..to.blocks(lanes) {
            let mean = source.at(block, 0, 0, lanes);
            if !add {
                target.clear_border(to, block, lanes);
            }
            for (y, x) in pixels(to) {
                let pixel = target.at(block, y, x, lanes);
                for lane in 0..lanes {
                    let before = if add { *pixel.add(lane) } else { 0.0 };
                    pixel.add(lane).write(*mean.add(lane) * share + before);
                }
            }
        }
    }
}

/// The channels of `from` that `window` shows → `to`.
///
/// # Safety
/// The program was checked for these places.
pub(crate) unsafe fn split(frame: &Frame, [from, to]: [&Place; 2], window: Window) {
    let lanes = frame.kernels.lanes;
    // SAFETY: as promised by the caller.
    unsafe {
        let (source, target) = (frame.map(from, 0), frame.map(to, 0));
        if !window.add {
            for block in 0..to.blocks(lanes) {
                clear(target, to, block, lanes);
            }
        }
        for channel in 0..to.channels {
            let there = window.first + channel;
            for y in 0..to.height {
                let row = source.at(there / lanes, y, 0, lanes).add(there % lanes);
                let own = target.at(channel / lanes, y, 0, lanes).add(channel % lanes);
                for x in 0..to.width {
                    *own.add(x * lanes) += *row.add(x * lanes);
                }
            }
        }
    }
}

/// Zeros of a block and its border.
unsafe fn clear(map: Map, place: &Place, block: usize, lanes: usize) {
    // SAFETY: the caller owns this value of this image.
    unsafe {
        map.clear_border(place, block, lanes);
        for y in 0..place.height {
            map.at(block, y, 0, lanes).write_bytes(0, place.width * lanes);
        }
    }
}

fn pixels(place: &Place) -> impl Iterator<Item = (usize, usize)> {
    let columns: Range<usize> = 0..place.width;
    (0..place.height).flat_map(move |y| columns.clone().map(move |x| (y, x)))
}
