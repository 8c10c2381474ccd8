//! Networks of inverted residuals, which their papers print as a table with a row for each stage.

use crate::layout::{Activation, Kind, Layout, Stage, Stem};

/// A stage: expansion, channels, blocks, stride.
pub(super) type Row = [usize; 4];

/// The network with the stages `rows`, of blocks whose kind `kind` says for an expansion, and `tail` channels before the
/// classifier. The adaptive block has its stages without expansion; the extension, two blocks of its last channels.
pub(super) fn layout(
    rows: impl IntoIterator<Item = Row>,
    kind: fn(usize) -> Kind,
    stem: Stem,
    activation: Activation,
    tail: usize,
) -> Layout {
    let stages: Vec<Stage> = rows
        .into_iter()
        .map(|[expand, out, blocks, stride]| Stage {
            kind: kind(expand),
            out,
            blocks,
            stride,
        })
        .collect();
    let adaptive = stages.iter().map(|&stage| Stage {
        kind: kind(1),
        ..stage
    });
    let extension = [1, 3].map(|expand| Stage {
        kind: kind(expand),
        out: crate::layout::channels(&stem, &stages),
        blocks: 1,
        stride: 1,
    });
    Layout {
        stem,
        activation,
        adaptive: adaptive.collect(),
        extension: extension.into(),
        // Before the last reduction.
        split: 5,
        stages,
        tail: Some(tail),
    }
}
