//! From the engine's operations to those of ONNX.

use std::collections::BTreeMap;

use meanet_engine::{BatchNorm, Conv2d, Graph, Linear, Op, Shape, Shortcut, Source};

use crate::proto::{
    ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS, Attribute, Dimension, FLOAT, Graph as Written, INT64,
    Node, Tensor, TensorShape, TensorType, Type, ValueInfo,
};
use crate::{Named, Sum};

const IMAGE: &str = "image";

pub(crate) struct Writer<'a> {
    graph: &'a Graph,
    shapes: &'a [Shape],
    /// What nodes of the graph are called.
    names: BTreeMap<usize, String>,
    /// The normalised image, where something reads it.
    pixels: Option<String>,
    written: Written,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(graph: &'a Graph, shapes: &'a [Shape]) -> Self {
        Self {
            graph,
            shapes,
            names: BTreeMap::new(),
            pixels: None,
            written: Written::default(),
        }
    }

    /// A value of another segment.
    pub(crate) fn enter(&mut self, node: usize, name: &str) {
        self.written.input.push(info(name, self.shapes[node]));
        self.names.insert(node, name.to_owned());
    }

    /// Writes a node; its operands must have been written, or have entered.
    pub(crate) fn node(&mut self, index: usize) -> Result<(), String> {
        let node = &self.graph.nodes[index];
        let inputs = node
            .inputs
            .iter()
            .map(|source| self.operand(*source))
            .collect::<Result<Vec<_>, _>>()?;
        let from = inputs.first().cloned().unwrap_or_default();
        let map = node
            .inputs
            .first()
            .map(|&source| self.graph.shape_of(source, self.shapes));
        let is_map = matches!(map, Some(Shape::Map(_)));
        let name = format!("v{index}");
        match &node.op {
            Op::Conv2d(conv) => self.conv(&name, conv, from),
            Op::BatchNorm(norm) if is_map => self.norm(&name, norm, from),
            Op::BatchNorm(_) => return Err("a batch norm of a vector has no counterpart".to_owned()),
            Op::Relu => self.op("Relu", &name, [from], []),
            Op::Relu6 => {
                let bounds = [("low", 0.0), ("high", 6.0)]
                    .map(|(bound, value)| self.floats(&format!("{name}.{bound}"), &[], &[value]));
                let [low, high] = bounds;
                self.op("Clip", &name, [from, low, high], []);
            }
            Op::Sigmoid => self.op("Sigmoid", &name, [from], []),
            Op::Swish => {
                let sigmoid = format!("{name}.sigmoid");
                self.op("Sigmoid", &sigmoid, [from.clone()], []);
                self.op("Mul", &name, [from, sigmoid], []);
            }
            Op::Add => self.op("Add", &name, inputs, []),
            Op::Scale => {
                let factors = inputs.get(1).cloned().unwrap_or_default();
                let shape = self.integers(&format!("{name}.shape"), &[0, -1, 1, 1]);
                let square = format!("{name}.factors");
                self.op("Reshape", &square, [factors, shape], []);
                self.op("Mul", &name, [from, square], []);
            }
            Op::GlobalAvgPool => {
                let mean = format!("{name}.mean");
                self.op("GlobalAveragePool", &mean, [from], []);
                self.op("Flatten", &name, [mean], [int("axis", 1)]);
            }
            Op::AvgPool { kernel, stride } => {
                self.op("AveragePool", &name, [from], window([*kernel; 2], *stride, 0));
            }
            Op::MaxPool {
                kernel,
                stride,
                padding,
            } => self.op("MaxPool", &name, [from], window([*kernel; 2], *stride, *padding)),
            Op::Linear(linear) => self.linear(&name, linear, from, is_map),
            Op::Concat => self.op("Concat", &name, inputs, [int("axis", 1)]),
            Op::Shortcut(shortcut) => self.shortcut(&name, *shortcut, from),
        }
        self.names.insert(index, name);
        Ok(())
    }

    /// A value that comes out, after `sum` was added.
    pub(crate) fn leave(&mut self, output: &Named, sum: Option<&Sum>) -> Result<(), String> {
        let mut from = self.operand(Source::Node(output.node))?;
        if let Some(sum) = sum {
            let columns: Vec<i64> = sum.columns.iter().map(|&c| i64::from(c)).collect();
            let columns = self.integers(&format!("{}.columns", output.name), &columns);
            let chosen = format!("{}.chosen", output.name);
            let added = self.operand(Source::Node(sum.from))?;
            self.op("Gather", &chosen, [added, columns], [int("axis", 1)]);
            let weight = self.floats(&format!("{}.weight", output.name), &[], &[sum.weight]);
            let weighted = format!("{}.weighted", output.name);
            self.op("Mul", &weighted, [chosen, weight], []);
            let total = format!("{}.total", output.name);
            self.op("Add", &total, [from, weighted], []);
            from = total;
        }
        self.op("Identity", &output.name, [from], []);
        self.written
            .output
            .push(info(&output.name, self.shapes[output.node]));
        Ok(())
    }

    pub(crate) fn finish(self, name: &str) -> Written {
        Written {
            name: name.to_owned(),
            ..self.written
        }
    }

    fn operand(&mut self, source: Source) -> Result<String, String> {
        match source {
            Source::Image => Ok(self.pixels()),
            Source::Node(node) => self
                .names
                .get(&node)
                .cloned()
                .ok_or_else(|| format!("node {node} is read and neither exported nor an input")),
        }
    }

    /// The image, normalised.
    fn pixels(&mut self) -> String {
        if let Some(name) = &self.pixels {
            return name.clone();
        }
        let input = &self.graph.input;
        let channels = [input.shape[0], 1, 1];
        self.written.input.insert(0, info(IMAGE, Shape::Map(input.shape)));
        let scale = self.floats("image.scale", &channels, &input.scale);
        let shift = self.floats("image.shift", &channels, &input.shift);
        self.op("Mul", "image.scaled", [IMAGE.to_owned(), scale], []);
        self.op("Add", "pixels", ["image.scaled".to_owned(), shift], []);
        self.pixels = Some("pixels".to_owned());
        "pixels".to_owned()
    }

    fn conv(&mut self, name: &str, conv: &Conv2d, from: String) {
        let [rows, columns] = conv.kernel;
        let fan_in = conv.weight.len() / (conv.out * rows * columns).max(1);
        let mut inputs = vec![
            from,
            self.floats(
                &format!("{name}.weight"),
                &[conv.out, fan_in, rows, columns],
                &conv.weight,
            ),
        ];
        if !conv.bias.is_empty() {
            inputs.push(self.floats(&format!("{name}.bias"), &[conv.out], &conv.bias));
        }
        let mut attributes = Vec::from(window(conv.kernel, conv.stride, conv.padding));
        attributes.push(int("group", conv.groups));
        self.op("Conv", name, inputs, attributes);
    }

    fn norm(&mut self, name: &str, norm: &BatchNorm, from: String) {
        let mut inputs = vec![from];
        for (part, values) in [
            ("gamma", &norm.gamma),
            ("beta", &norm.beta),
            ("mean", &norm.mean),
            ("variance", &norm.variance),
        ] {
            inputs.push(self.floats(&format!("{name}.{part}"), &[values.len()], values));
        }
        let epsilon = Attribute {
            name: "epsilon".to_owned(),
            f: Some(norm.epsilon),
            r#type: ATTRIBUTE_FLOAT,
            ..Attribute::default()
        };
        self.op("BatchNormalization", name, inputs, [epsilon]);
    }

    fn linear(&mut self, name: &str, linear: &Linear, from: String, is_map: bool) {
        let vector = if is_map {
            let flat = format!("{name}.flat");
            self.op("Flatten", &flat, [from], [int("axis", 1)]);
            flat
        } else {
            from
        };
        let fan_in = linear.weight.len() / linear.out.max(1);
        let mut inputs = vec![
            vector,
            self.floats(&format!("{name}.weight"), &[linear.out, fan_in], &linear.weight),
        ];
        if !linear.bias.is_empty() {
            inputs.push(self.floats(&format!("{name}.bias"), &[linear.out], &linear.bias));
        }
        self.op("Gemm", name, inputs, [int("transB", 1)]);
    }

    fn shortcut(&mut self, name: &str, shortcut: Shortcut, from: String) {
        let stride = shortcut.stride as i64;
        let bounds = [
            ("starts", vec![0, 0]),
            ("ends", vec![i64::MAX, i64::MAX]),
            ("axes", vec![2, 3]),
            ("steps", vec![stride, stride]),
        ];
        let mut inputs = vec![from];
        inputs.extend(bounds.map(|(part, values)| self.integers(&format!("{name}.{part}"), &values)));
        let thinned = format!("{name}.thinned");
        self.op("Slice", &thinned, inputs, []);
        let (before, after) = (shortcut.before as i64, shortcut.after as i64);
        let pads = self.integers(&format!("{name}.pads"), &[0, before, 0, 0, 0, after, 0, 0]);
        self.op("Pad", name, [thinned, pads], []);
    }

    fn op(
        &mut self,
        kind: &str,
        name: &str,
        inputs: impl Into<Vec<String>>,
        attributes: impl Into<Vec<Attribute>>,
    ) {
        self.written.node.push(Node {
            input: inputs.into(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: kind.to_owned(),
            attribute: attributes.into(),
        });
    }

    fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, dims, FLOAT, bytes)
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, &[values.len()], INT64, bytes)
    }

    fn constant(&mut self, name: &str, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        self.written.initializer.push(Tensor {
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type,
            name: name.to_owned(),
            raw_data,
        });
        name.to_owned()
    }
}

/// Attributes of what slides over a map; padding is alike on all sides.
fn window(kernel: [usize; 2], stride: usize, padding: usize) -> [Attribute; 3] {
    [
        ints("kernel_shape", &kernel),
        ints("strides", &[stride; 2]),
        ints("pads", &[padding; 4]),
    ]
}

fn int(name: &str, value: usize) -> Attribute {
    Attribute {
        name: name.to_owned(),
        i: Some(value as i64),
        r#type: ATTRIBUTE_INT,
        ..Attribute::default()
    }
}

fn ints(name: &str, values: &[usize]) -> Attribute {
    Attribute {
        name: name.to_owned(),
        ints: values.iter().map(|&v| v as i64).collect(),
        r#type: ATTRIBUTE_INTS,
        ..Attribute::default()
    }
}

/// A value with the free batch `n` before its shape.
fn info(name: &str, shape: Shape) -> ValueInfo {
    let sides = match shape {
        Shape::Map(sides) => sides.to_vec(),
        Shape::Vector(length) => vec![length],
    };
    let batch = Dimension {
        dim_value: None,
        dim_param: Some("n".to_owned()),
    };
    let rest = sides.into_iter().map(|side| Dimension {
        dim_value: Some(side as i64),
        dim_param: None,
    });
    ValueInfo {
        name: name.to_owned(),
        r#type: Some(Type {
            tensor_type: Some(TensorType {
                elem_type: FLOAT,
                shape: Some(TensorShape {
                    dim: std::iter::once(batch).chain(rest).collect(),
                }),
            }),
        }),
    }
}
