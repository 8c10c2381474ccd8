//! What the memory of a training has to keep to, so that kernels need not look where they read and write.

use super::lesson::{Lesson, Operation, Work};
use super::norm::Norm;
use super::update::{Derived, Packed};
use crate::kernel::bounds;
use crate::kernel::frame::{Format, Home, Place};
use crate::kernel::table::Kernels;

impl Lesson {
    /// What is wrong with the layout.
    pub(super) fn fault(&self, kernels: &Kernels) -> Option<String> {
        let lanes = kernels.lanes;
        let layout = &self.layout;
        let whole = [layout.trained, layout.running, layout.counts];
        if layout.batch == 0 || whole.iter().any(|floats| !floats.is_multiple_of(lanes)) {
            return Some("it is not made of whole vectors".to_owned());
        }
        for (index, place) in self.places.iter().enumerate() {
            let (images, size) = match place.home {
                Home::Kept => (layout.batch, layout.arena),
                Home::Scratch => (1, layout.scratch),
            };
            if place.end(images, lanes) > size || place.format != Format::Floats {
                return Some(format!("value {index} ends behind its memory of {size}"));
            }
        }
        for (index, norm) in self.norms.iter().enumerate() {
            let trained = [norm.gamma, norm.beta].map(|at| at + norm.floats);
            let running = [norm.mean, norm.variance].map(|at| at + norm.floats);
            if trained.iter().any(|end| *end > layout.trained)
                || running.iter().any(|end| *end > layout.trained + layout.running)
                || norm.derived + Norm::derived_floats(norm.floats) > layout.weights
                || norm.counts + 2 * norm.floats > layout.counts
            {
                return Some(format!("norm {index} lies behind the weights"));
            }
        }
        for derived in self.derived.iter().flatten() {
            if derived.ends(lanes).iter().any(|end| *end > layout.weights) || !derived.is_even() {
                return Some("weights for the way back lie behind the weights".to_owned());
            }
        }
        let phases = self.forward.iter().chain(&self.backward);
        phases
            .flat_map(|phase| &phase.operations)
            .enumerate()
            .find_map(|(index, operation)| {
                let reason = self.operation_fault(operation, kernels)?;
                Some(format!("operation {index} {reason}"))
            })
    }

    fn operation_fault(&self, operation: &Operation, kernels: &Kernels) -> Option<&'static str> {
        let lanes = kernels.lanes;
        let layout = &self.layout;
        let place = |index: usize| &self.places[index];
        let input = operation.inputs.first().map(|p| place(*p));
        let output = operation.output.map(place);
        let alike = |values: &[&Place]| values.windows(2).all(|pair| shape(pair[0]) == shape(pair[1]));
        match (&operation.work, input, output) {
            (Work::Normalise(normalise), None, Some(output)) => {
                let lists = [normalise.scale.len(), normalise.shift.len()];
                (lists != [output.channels; 2]).then_some("has another number of channels than the images")
            }
            (Work::Give(_), None, Some(_)) => None,
            (Work::Concat, Some(_), Some(output)) => {
                let inputs = || operation.inputs.iter().map(|p| place(*p));
                let sides = inputs().all(|input| shape(input)[1..] == shape(output)[1..]);
                let channels: usize = inputs().map(|input| input.channels).sum();
                (!sides || channels != output.channels).then_some("joins values of other shapes")
            }
            (Work::Pool(pool), Some(input), Some(output)) => {
                let whole = pool.kernel == [input.height, input.width] && pool.padding == 0;
                (!whole || shape(output) != [input.channels, 1, 1]).then_some("pools what is not there")
            }
            (Work::Sum, Some(input), Some(output)) => {
                let other = operation.inputs.get(1).map(|p| place(*p));
                let alike = other.is_some_and(|other| alike(&[input, other, output]));
                (!alike).then_some("adds values of different shapes")
            }
            (Work::Direct(direct), Some(input), Some(output)) => {
                let area = direct.kernel[0] * direct.kernel[1];
                let end = bounds::end(&direct.groups, input.channels * area, lanes);
                let ends = [end, direct.bias + output.blocks(lanes) * lanes];
                let window = (direct.kernel, direct.stride, direct.padding);
                window_fault(window, input, output)
                    .or_else(|| bounds::covers(&direct.groups, output.blocks(lanes)))
                    .or_else(|| behind(&ends, layout.weights))
            }
            (Work::Winograd(winograd), Some(input), Some(output)) => {
                let widest = winograd.tiling.groups.iter().map(|g| g.count).max();
                let ends = [
                    winograd.tiling.end(input.channels * lanes),
                    winograd.bias + output.blocks(lanes) * lanes,
                    winograd.zeros + widest.unwrap_or_default() * lanes,
                ];
                window_fault(([3, 3], 1, 1), input, output)
                    .or_else(|| bounds::covers(&winograd.tiling.groups, output.blocks(lanes)))
                    .or_else(|| behind(&ends, layout.weights))
                    .or_else(|| behind(&[winograd.tiling.workspace()], layout.workspace))
            }
            (Work::Depthwise(depthwise), Some(input), Some(output)) => {
                let (kernel, stride) = depthwise.window();
                let ends = depthwise.ends(output.blocks(lanes), lanes);
                window_fault((kernel, stride, depthwise.padding()), input, output)
                    .or_else(|| (input.channels != output.channels).then_some("changes the channels"))
                    .or_else(|| behind(&ends, layout.weights))
            }
            (Work::Moments(norm), Some(z), None) => self.norm_fault(*norm, z, lanes),
            (Work::Apply(norm), Some(z), Some(output)) => {
                let values: Vec<&Place> = operation.inputs.iter().map(|p| place(*p)).collect();
                (!alike(&values) || !alike(&[z, output]))
                    .then_some("changes the shape")
                    .or_else(|| self.norm_fault(*norm, z, lanes))
            }
            (Work::Slopes(norm) | Work::Through(norm), Some(gradient), output) => {
                let mut values: Vec<&Place> = operation.inputs.iter().map(|p| place(*p)).collect();
                values.extend(output);
                (!alike(&values) || operation.inputs.len() < 2)
                    .then_some("changes the shape")
                    .or_else(|| self.norm_fault(*norm, gradient, lanes))
            }
            (Work::Dense(dense), Some(input), Some(gradient)) => {
                let area = dense.kernel[0] * dense.kernel[1];
                let end = bounds::end(&dense.groups, input.channels * area, lanes);
                window_fault((dense.kernel, dense.stride, dense.padding), input, gradient)
                    .or_else(|| bounds::covers(&dense.groups, gradient.blocks(lanes)))
                    .or_else(|| behind(&[end], layout.trained))
            }
            (Work::DepthwiseGradient(depthwise), Some(input), Some(gradient)) => {
                let end = depthwise.weights + gradient.blocks(lanes) * 9 * lanes;
                window_fault(([3, 3], depthwise.stride, depthwise.padding), input, gradient)
                    .or_else(|| (input.channels != gradient.channels).then_some("changes the channels"))
                    .or_else(|| behind(&[end], layout.trained))
            }
            (Work::Bias(at), Some(gradient), None) => {
                behind(&[at + gradient.blocks(lanes) * lanes], layout.trained)
            }
            (Work::Spread(stride), Some(input), Some(output)) => {
                let fits = |small: usize, large: usize| (small - 1) * stride < large;
                let fits = fits(input.height, output.height) && fits(input.width, output.width);
                (!fits || input.channels != output.channels).then_some("spreads beyond its output")
            }
            (Work::Unpool, Some(input), Some(output)) => {
                (shape(input) != [output.channels, 1, 1]).then_some("spreads another number of channels")
            }
            (Work::Split(window), Some(input), Some(output)) => {
                let sides = shape(input)[1..] == shape(output)[1..];
                (!sides || window.first + output.channels > input.channels)
                    .then_some("splits what is not there")
            }
            _ => Some("has no input or output, or one too many"),
        }
    }

    fn norm_fault(&self, norm: usize, place: &Place, lanes: usize) -> Option<&'static str> {
        let fits = self.norms[norm].floats == place.blocks(lanes) * lanes;
        (!fits).then_some("has another number of channels than its norm")
    }
}

impl Derived {
    /// Whether packed weights are grouped as [`Packed::at`] relies on.
    fn is_even(&self) -> bool {
        match self {
            Self::Back { from, to, .. } => from.is_even() && to.is_even(),
            Self::BackDepthwise { .. } => true,
            Self::Winograd { from, to, .. } => {
                from.groups.len() == to.len() && from.groups.iter().zip(to).all(|(a, b)| a.count == b.count)
            }
        }
    }
}

impl Packed {
    /// Whether all groups but the last are alike.
    fn is_even(&self) -> bool {
        let most = self.groups.first().map_or(1, |group| group.count);
        let mut all = self.groups.iter().enumerate();
        all.all(|(index, group)| group.first == index * most && group.count <= most)
    }
}

fn shape(place: &Place) -> [usize; 3] {
    [place.channels, place.height, place.width]
}

fn behind(ends: &[usize], size: usize) -> Option<&'static str> {
    ends.iter()
        .any(|end| *end > size)
        .then_some("reads or writes behind its memory")
}

/// Kernel, stride and padding between two values; kernels for training are there for strides of 1 and 2.
fn window_fault(window: ([usize; 2], usize, usize), input: &Place, output: &Place) -> Option<&'static str> {
    let known = (1..=2).contains(&window.1);
    (!known)
        .then_some("has a stride that no kernel is for")
        .or_else(|| bounds::window(window, input, output))
}
