use snafu::Snafu;

use crate::options::Isa;

/// Why a graph was not compiled, or a batch not computed.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
#[non_exhaustive]
pub enum EngineError {
    /// A node cannot be what it says.
    #[snafu(display("failed to compile node {node} ({op}): {reason}"))]
    Node {
        /// Its index.
        node: usize,
        /// Its operation.
        op: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The graph as a whole is wrong.
    #[snafu(display("failed to compile the graph: {reason}"))]
    Graph {
        /// What is wrong and what would be right.
        reason: String,
    },
    /// No such instruction set.
    #[snafu(display(
        "failed to find an instruction set named {name}: write avx512-vnni, avx512, avx2-vnni, avx2, neon or portable"
    ))]
    UnknownIsa {
        /// The name given.
        name: String,
    },
    /// The instruction set is not there.
    #[snafu(display("failed to compile for {isa:?}: this machine lacks it; leave `isa` unset"))]
    MissingIsa {
        /// The one wanted.
        isa: Isa,
    },
    /// An option is out of its bounds.
    #[snafu(display("failed to compile: {option} is {value}; give a value of {least} to {most}"))]
    Bounds {
        /// Name of the option.
        option: &'static str,
        /// Value given.
        value: usize,
        /// Least value taken.
        least: usize,
        /// Most taken.
        most: usize,
    },
    /// A step was asked for that was not laid out.
    #[snafu(display("failed to take a step: the network was compiled to count only; compile it to learn"))]
    Counts,
    /// A thread could not be started.
    #[snafu(display("failed to start compute thread {index}"))]
    Thread {
        /// Which.
        index: usize,
        /// What the system says.
        source: std::io::Error,
    },
    /// A thread panicked; the session is of no more use.
    #[snafu(display("failed to compute: a compute thread panicked; make a new session"))]
    Panicked,
    /// More images than planned for.
    #[snafu(display(
        "failed to run {count} images: the plan takes {max_batch}; raise `max_batch` or split the batch"
    ))]
    Batch {
        /// Images given.
        count: usize,
        /// Most the plan takes.
        max_batch: usize,
    },
    /// The pixels are no batch of that many images.
    #[snafu(display("failed to run {count} images: {values} values given, {expected} expected"))]
    Pixels {
        /// Images announced.
        count: usize,
        /// Values given.
        values: usize,
        /// Values that many images have.
        expected: usize,
    },
    /// There is no such segment, output, or image in the batch.
    #[snafu(display("failed to find {what} {index}: there are {count}"))]
    Index {
        /// What was looked for.
        what: &'static str,
        /// Index given.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A segment was asked for before one that it reads.
    #[snafu(display(
        "failed to run segment {segment} on image {row}: segment {needs} has not run on it; run that first"
    ))]
    Missing {
        /// The segment asked for.
        segment: String,
        /// The image of the batch.
        row: usize,
        /// The segment it reads.
        needs: String,
    },
    /// A vector was asked for where there is a map.
    #[snafu(display("failed to read output {output}: it is a {found}"))]
    Kind {
        /// Index of the output.
        output: usize,
        /// What it is.
        found: &'static str,
    },
}

impl EngineError {
    /// Whether it is the graph that cannot be computed, whatever the machine and the options.
    #[must_use]
    pub fn is_of_graph(&self) -> bool {
        matches!(self, Self::Node { .. } | Self::Graph { .. })
    }
}
