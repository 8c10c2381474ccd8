//! Which kernels compute a layer, and where the weights lie that they read.

use crate::choice::{merged_rows, suits_winograd};
use crate::kernel::learn::{Derived, FREQUENCIES, Packed, Work};
use crate::kernel::{
    Cuts, Depthwise, Direct, Format, Group, Home, Place, Tiling, Walk, Winograd, best_group, floats, step,
};
use crate::layout::kept_place;
use crate::pack::groups;
use crate::shape::Shape;

use super::{Builder, Form};

impl Builder<'_> {
    fn suits_winograd(&self, conv: Form, input: &Place, output: &Place) -> bool {
        self.plan.winograd && suits_winograd(conv.window(), [input, output], self.lanes())
    }

    /// Blocks out of a group at most, for the kernels that will read the weights.
    fn most(&self, conv: Form, input: &Place, output: &Place) -> usize {
        let lanes = self.lanes();
        let menu = floats(self.plan.kernels, conv.stride);
        let blocks = output.blocks(lanes);
        let width = if self.suits_winograd(conv, input, output) {
            self.tiles(input, output)
        } else {
            output.width * merged_rows(conv.window(), [input, output].into_iter(), output)
        };
        best_group(&menu, width, blocks)
    }

    fn tiles(&self, input: &Place, output: &Place) -> usize {
        let lanes = self.lanes();
        let per_image = output.height.div_ceil(4) * output.width.div_ceil(4);
        Tiling::tiles(input.blocks(lanes) + output.blocks(lanes), lanes).min(per_image)
    }

    /// What computes a layer forward.
    pub(super) fn layer(&mut self, node: usize, conv: Form, [from, to]: [usize; 2]) -> Work {
        let (input, output) = (self.places[from].clone(), self.places[to].clone());
        if conv.depthwise {
            let weights = self.parameters.weights(node).unwrap_or(0);
            return Work::Depthwise(Depthwise::new(
                self.plan.kernels,
                [conv.kernel, [conv.stride, conv.padding], [weights, self.zeros]],
                output.width,
            ));
        }
        let most = self.most(conv, &input, &output);
        let packed = self.parameters.dense(node, most, self.lanes());
        let bias = if conv.biased {
            self.parameters.bias(node).unwrap_or(self.zeros)
        } else {
            self.zeros
        };
        self.dense(packed, conv, [&input, &output], bias, 1)
    }

    /// A dense layer whose weights are `packed`. Its frequencies, if it has any, are made in the given round.
    fn dense(
        &mut self,
        packed: Packed,
        conv: Form,
        [input, output]: [&Place; 2],
        bias: usize,
        round: usize,
    ) -> Work {
        let lanes = self.lanes();
        let menu = floats(self.plan.kernels, conv.stride);
        if !self.suits_winograd(conv, input, output) {
            let merged = merged_rows(conv.window(), [input, output].into_iter(), output);
            let width = output.width * merged;
            return Work::Direct(Direct {
                walk: Walk::Rows(merged),
                kernel: conv.kernel,
                stride: conv.stride,
                padding: conv.padding,
                groups: packed.groups,
                bias,
                cuts: Cuts::new(&menu, width..=width),
            });
        }
        let tiles = self.tiles(input, output);
        let (blocks, out) = (input.blocks(lanes), output.blocks(lanes));
        let size = input.channels * lanes;
        let frequency = out * size;
        let start = self.room(FREQUENCIES * frequency);
        let most = packed.groups.first().map_or(1, |group| group.count);
        let made: Vec<Group> = groups(out, most, start, size);
        self.derived[round].push(Derived::Winograd {
            from: packed,
            to: made.clone(),
            frequency,
        });
        let tiling = Tiling {
            groups: made,
            frequency,
            tiles,
            steps: [step(blocks, tiles, lanes), step(out, tiles, lanes)],
        };
        self.layout.workspace = self.layout.workspace.max(tiling.workspace());
        Work::Winograd(Winograd {
            tiling,
            bias,
            zeros: self.zeros,
            cuts: Cuts::new(&menu, 1..=tiles),
        })
    }

    /// Where the gradient at `gradient` of a strided convolution is spread, of one image at a time.
    pub(super) fn spread_place(&mut self, gradient: usize, input: usize, conv: Form, border: usize) -> usize {
        let channels = self.places[gradient].channels;
        let length = |side: usize, kernel: usize| side + 2 * conv.padding + 1 - kernel;
        let height = length(self.places[input].height, conv.kernel[0]);
        let width = length(self.places[input].width, conv.kernel[1]);
        let shape = Shape::Map([channels, height, width]);
        let mut place = kept_place(shape, Format::Floats, border, self.lanes());
        place.home = Home::Scratch;
        self.layout.scratch = self.layout.scratch.max(place.image);
        self.push(place)
    }

    /// What takes the gradient of a layer back to what it read.
    pub(super) fn back(&mut self, node: usize, conv: Form, [source, target]: [&Place; 2]) -> Work {
        let lanes = self.lanes();
        if conv.depthwise {
            let floats = 9 * source.blocks(lanes) * lanes;
            let to = self.room(floats);
            let from = self.parameters.weights(node).unwrap_or(0);
            self.derived[0].push(Derived::BackDepthwise { from, to, floats });
            return Work::Depthwise(Depthwise::new(
                self.plan.kernels,
                [conv.kernel, [1, conv.padding], [to, self.zeros]],
                target.width,
            ));
        }
        let area = conv.kernel[0] * conv.kernel[1];
        let blocks = target.blocks(lanes);
        let size = source.channels * area * lanes;
        let start = self.room(blocks * size);
        let most = self.most(conv, source, target);
        let packed = || Packed {
            groups: groups(blocks, most, start, size),
            channels: source.channels,
            area,
        };
        let forward = Packed {
            groups: self.parameters.groups(node),
            channels: target.channels,
            area,
        };
        self.derived[0].push(Derived::Back {
            from: forward,
            to: packed(),
            out: source.channels,
        });
        self.dense(packed(), conv, [source, target], self.zeros, 1)
    }
}
