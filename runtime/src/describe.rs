//! `meanet describe`: what the blocks of a network cost, counted from the graph that is also run.

use std::error::Error;
use std::path::PathBuf;

use meanet_engine::{Graph, Op, SegmentId};
use meanet_net::{Backbone, Block, Blueprint, CloudGraph, EdgeGraph, Fusion, InputSpec, Manifest, Variant};
use serde::Serialize;

/// Either a model, or what one would be.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of a model. Without it the network is described that the other arguments name.
    #[arg(long, conflicts_with_all = ["backbone", "variant", "fusion", "classes", "hard", "cloud", "size"])]
    model: Option<PathBuf>,
    /// Network of the main block.
    #[arg(long, default_value = "ResNet32")]
    backbone: Backbone,
    /// Where the extension begins.
    #[arg(long, default_value = "Extend")]
    variant: Variant,
    /// How main and adaptive features meet.
    #[arg(long, default_value = "Concat")]
    fusion: Fusion,
    /// Classes of the main block.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    classes: u32,
    /// Classes that the extension answers for; half of them where it is not said.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    hard: Option<u32>,
    /// Network of the cloud.
    #[arg(long)]
    cloud: Option<Backbone>,
    /// Side of the images in pixels, or rows and columns as in 224x160.
    #[arg(long, default_value = "32", value_parser = size)]
    size: [usize; 2],
    /// As JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let side = |text: &str| match text.parse() {
        Ok(side) if (1..=1024).contains(&side) => Ok(side),
        _ => Err(format!("{text} is no side of an image: give 1 to 1024")),
    };
    Ok([side(height)?, side(width)?])
}

/// What a network consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// Network of the main block.
    pub backbone: String,
    /// Where the extension begins.
    pub variant: Variant,
    /// How main and adaptive features meet.
    pub fusion: Fusion,
    /// Classes of the main block.
    pub classes: usize,
    /// Rows and columns of an image.
    pub size: [usize; 2],
    /// Network of the cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// In the order they run.
    pub blocks: Vec<BlockCost>,
}

/// What a block costs for one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockCost {
    /// `main`, `adaptive`, `extension` or `cloud`.
    pub block: String,
    /// Trained values.
    pub parameters: usize,
    /// Multiply-accumulates of convolutions and linear layers.
    pub macs: usize,
    /// Of its weights as they are stored and shipped, running statistics included.
    pub bytes: usize,
    /// Channels, rows and columns that it puts out, or the length of its logits.
    pub output: Vec<usize>,
}

/// Prints a table, or JSON.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let description = match &args.model {
        Some(folder) => of_model(folder)?,
        None => of_names(args)?,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&description)?);
    } else {
        print!("{}", description.table());
    }
    Ok(())
}

fn of_names(args: &Args) -> Result<Description, Box<dyn Error>> {
    let blueprint = Blueprint {
        backbone: args.backbone,
        variant: args.variant,
        fusion: args.fusion,
    };
    let [height, width] = args.size;
    let input = InputSpec {
        height,
        width,
        ..InputSpec::cifar100()
    };
    let classes = args.classes as usize;
    let hard = args.hard.map_or(classes.div_ceil(2), |hard| hard as usize);
    let edge = EdgeGraph::untrained(&blueprint, classes, hard, &input)?;
    let cloud = args
        .cloud
        .map(|backbone| {
            Ok::<_, Box<dyn Error>>((backbone, CloudGraph::untrained(backbone, classes, &input)?))
        })
        .transpose()?;
    describe(&blueprint, classes, &edge, cloud)
}

fn of_model(folder: &std::path::Path) -> Result<Description, Box<dyn Error>> {
    let (manifest, _, blobs) = Manifest::open(folder)?;
    let edge = EdgeGraph::of_blobs(blobs.edge())?;
    let blueprint = meanet_net::read_card(&blobs.extension)?.blueprint();
    let cloud = match (&blobs.cloud, manifest.cloud_backbone) {
        (Some(blob), Some(backbone)) => Some((backbone, CloudGraph::of_blob(blob)?)),
        _ => None,
    };
    describe(&blueprint, manifest.classes, &edge, cloud)
}

/// Counts the blocks of a network.
pub fn describe(
    blueprint: &Blueprint,
    classes: usize,
    edge: &EdgeGraph,
    cloud: Option<(Backbone, CloudGraph)>,
) -> Result<Description, Box<dyn Error>> {
    let [_, height, width] = edge.graph.input.shape;
    let parts = [
        (Block::Main, edge.main),
        (Block::Adaptive, edge.adaptive),
        (Block::Extension, edge.extension),
    ];
    let mut blocks = costs(&edge.graph, &parts)?;
    if let Some((_, cloud)) = &cloud {
        blocks.extend(costs(&cloud.graph, &[(Block::Cloud, cloud.network)])?);
    }
    Ok(Description {
        backbone: blueprint.backbone.to_string(),
        variant: blueprint.variant,
        fusion: blueprint.fusion,
        classes,
        size: [height, width],
        cloud: cloud.map(|(backbone, _)| backbone.to_string()),
        blocks,
    })
}

/// Counts blocks, which are segments of a graph.
pub fn costs(graph: &Graph, parts: &[(Block, SegmentId)]) -> Result<Vec<BlockCost>, Box<dyn Error>> {
    let (shapes, costs) = (graph.shapes()?, graph.costs()?);
    let mut blocks = Vec::new();
    for (block, id) in parts {
        let (Some(segment), Some(cost)) = (graph.segments.get(id.0), costs.get(id.0)) else {
            return Err(format!("the graph has no segment {}", id.0).into());
        };
        let before = id.0.checked_sub(1).and_then(|before| graph.segments.get(before));
        let start = before.map_or(0, |segment| segment.end);
        let running = |op: &Op| match op {
            Op::BatchNorm(norm) => norm.mean.len() + norm.variance.len(),
            _ => 0,
        };
        let weights = |op: &Op| match op {
            Op::Conv2d(conv) => conv.weight.len(),
            Op::Linear(linear) => linear.weight.len(),
            _ => 0,
        };
        let nodes = &graph.nodes[start..segment.end];
        let statistics: usize = nodes.iter().map(|n| running(&n.op)).sum();
        let weights: usize = nodes.iter().map(|n| weights(&n.op)).sum();
        let vectors = cost.parameters - weights + statistics;
        let output = segment.outputs.first().map(|&node| shapes[node]);
        blocks.push(BlockCost {
            block: segment.name.clone(),
            parameters: cost.parameters,
            macs: cost.macs,
            bytes: weights * block.bytes_of_a_weight() + vectors * size_of::<f32>(),
            output: match output {
                Some(meanet_engine::Shape::Map(shape)) => shape.to_vec(),
                Some(meanet_engine::Shape::Vector(length)) => vec![length],
                None => Vec::new(),
            },
        });
    }
    Ok(blocks)
}

impl Description {
    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        use std::fmt::Write as _;
        let [height, width] = self.size;
        let mut table = format!(
            "{}, variant {:?}, features by {:?}, {} classes, images of {height}×{width}",
            self.backbone, self.variant, self.fusion, self.classes
        );
        if let Some(cloud) = &self.cloud {
            let _ = write!(table, "; {cloud} in the cloud");
        }
        let _ = writeln!(
            table,
            "\n\n{:<10} {:>12} {:>10} {:>10}  output",
            "block", "parameters", "MACs", "bytes"
        );
        for block in &self.blocks {
            let output: Vec<String> = block.output.iter().map(usize::to_string).collect();
            let _ = writeln!(
                table,
                "{:<10} {:>12} {:>10} {:>10}  {}",
                block.block,
                scaled(block.parameters),
                scaled(block.macs),
                scaled(block.bytes),
                output.join("×")
            );
        }
        table
    }
}

/// `473k`, `69.1M`
#[must_use]
pub fn scaled(count: usize) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{:.0}k", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}M", count as f64 / 1e6),
        _ => format!("{:.1}G", count as f64 / 1e9),
    }
}
