//! The way down by the engine, which computes all of a step itself; the tensor library only has the loss.

use burn::store::ModuleSnapshot;
use burn::tensor::{Device, Tensor, TensorData};
use meanet_engine::{
    Descend, EngineError, Images, Learner, Numbers, Op, Options, Plan, Purpose, SegmentId, Session,
};
use snafu::{OptionExt, ResultExt};

use super::pupil::{Batch, Drawn, Form, Pupil};
use super::{Start, with};
use crate::input::InputSpec;
use crate::lower::{Compute, Weighted};
use crate::train::average::keep;
use crate::train::checkpoint::Checkpoint;
use crate::train::optimizer::MOMENTUM;
use crate::train::run::{DataSnafu, EngineSnafu, TrainError, WeightsSnafu};
use crate::weights::{Tensors, Values, WeightsError, names_of, tensors_of};

/// A module in training by the engine.
pub(super) struct OnEngine<M> {
    name: String,
    /// Says what is computed; its own weights are those of the beginning.
    module: M,
    weight_decay: f32,
    decay: Option<f64>,
    /// Steps done.
    steps: usize,
    kept: Kept,
    desk: Desk,
    /// The logits that the next step's loss is made of.
    logits: Option<Tensor<2>>,
}

/// Numbers by name, as a checkpoint has them.
struct Kept {
    weights: Tensors,
    velocities: Tensors,
    average: Tensors,
}

/// The engine, set up for batches of one form.
struct Desk {
    form: Form,
    learner: Learner,
    /// Prefix of the names of each node's tensors.
    nodes: Vec<(usize, String)>,
}

impl<M: Pupil> OnEngine<M> {
    pub(super) fn begin(
        module: M,
        start: Start<'_>,
        input: &InputSpec,
        form: Form,
    ) -> Result<Self, TrainError> {
        let kept = Kept {
            weights: start.weights,
            velocities: start.velocities,
            average: start.average,
        };
        let purpose = learning(start.how.average);
        Ok(Self {
            desk: Desk::new(&module, &start.name, &kept, input, form, purpose)?,
            name: start.name,
            module,
            weight_decay: start.how.weight_decay,
            decay: start.how.average,
            steps: start.steps,
            kept,
            logits: None,
        })
    }

    pub(super) fn logits(&mut self, batch: &Batch, input: &InputSpec) -> Result<Tensor<2>, TrainError> {
        if batch.form != self.desk.form {
            self.kept = self.now()?;
            let purpose = learning(self.decay);
            self.desk = Desk::new(&self.module, &self.name, &self.kept, input, batch.form, purpose)?;
        }
        let logits = self.desk.forward(batch)?;
        let outputs = logits.len() / batch.form.count.max(1);
        let data = TensorData::new(logits.to_vec(), [batch.form.count, outputs]);
        let logits = Tensor::<2>::from_data(data, &Device::flex().autodiff()).require_grad();
        self.logits = Some(logits.clone());
        Ok(logits)
    }

    pub(super) fn gather(&mut self, loss: &Tensor<1>) -> Result<(), TrainError> {
        let gradients = loss.backward();
        let gradient = self
            .logits
            .take()
            .and_then(|logits| logits.grad(&gradients))
            .context(DataSnafu {
                reason: "the loss does not depend on what the network says",
            })?;
        let gradient: Vec<f32> = gradient.into_data().iter::<f32>().collect();
        self.desk.learner.gather(&gradient).context(EngineSnafu)
    }

    pub(super) fn step(&mut self, rate: f64) -> Result<(), TrainError> {
        self.steps += 1;
        let how = Descend {
            rate: rate as f32,
            momentum: MOMENTUM,
            weight_decay: self.weight_decay,
            keep: self.decay.map(|decay| keep(decay, self.steps)),
        };
        self.desk.learner.descend(how).context(EngineSnafu)
    }

    pub(super) fn given(&self) -> Result<M, TrainError> {
        let Kept { weights, average, .. } = self.now()?;
        let given = if self.decay.is_some() { average } else { weights };
        with(&self.module, &self.name, given)
    }

    pub(super) fn checkpoint(&self, epochs: usize) -> Result<Checkpoint, TrainError> {
        let Kept {
            weights,
            velocities,
            average,
        } = self.now()?;
        Ok(Checkpoint {
            epochs,
            weights,
            velocities,
            average,
        })
    }

    /// All numbers as they are now.
    fn now(&self) -> Result<Kept, TrainError> {
        let read = |which| self.desk.read(which, &self.kept.weights);
        let mut velocities = read(Numbers::Velocities)?;
        velocities.retain(|key, _| !key.contains(".running_"));
        Ok(Kept {
            weights: read(Numbers::Weights)?,
            velocities,
            average: if self.decay.is_some() {
                read(Numbers::Average)?
            } else {
                Tensors::new()
            },
        })
    }
}

/// To learn, with an average where weights have a decay of one.
fn learning(decay: Option<f64>) -> Purpose {
    Purpose::Learn {
        averaged: decay.is_some(),
    }
}

impl Desk {
    fn new<M: Pupil>(
        module: &M,
        name: &str,
        kept: &Kept,
        input: &InputSpec,
        form: Form,
        purpose: Purpose,
    ) -> Result<Self, TrainError> {
        let module = with(module, name, kept.weights.clone())?;
        let Drawn {
            graph,
            first,
            output,
            weighted,
            ..
        } = module
            .draw(input, form)
            .map_err(WeightsError::from)
            .context(WeightsSnafu)?;
        let options = Options {
            threads: Compute::default().threads,
            max_batch: form.count,
            ..Options::default()
        };
        let mut learner = Learner::compile(&graph, first, output, purpose, &options).context(EngineSnafu)?;
        let nodes = named(&module, &weighted);
        for (node, prefix) in &nodes {
            for (which, tensors) in [
                (Numbers::Velocities, &kept.velocities),
                (Numbers::Average, &kept.average),
            ] {
                if !tensors.is_empty() {
                    let mut op = learner.get(*node, which).context(EngineSnafu)?;
                    take(&mut op, prefix, tensors);
                    learner.set(*node, which, &op).context(EngineSnafu)?;
                }
            }
        }
        learner.ready().context(EngineSnafu)?;
        Ok(Self { form, learner, nodes })
    }

    /// What the module says of the batch, `[n, outputs]`.
    fn forward(&mut self, batch: &Batch) -> Result<&[f32], TrainError> {
        let given: &[&[f32]] = match batch.form.features {
            Some(_) => &[&batch.features],
            None => &[],
        };
        let images = Images::Floats(&batch.pixels);
        self.learner.forward(images, given).context(EngineSnafu)
    }

    /// Numbers by name, in the shapes of `like`.
    fn read(&self, which: Numbers, like: &Tensors) -> Result<Tensors, TrainError> {
        let mut tensors = Tensors::new();
        for (node, prefix) in &self.nodes {
            let mut op = self.learner.get(*node, which).context(EngineSnafu)?;
            for (key, data) in lists(&mut op, prefix) {
                if let Some(values) = like.get(&key) {
                    let data = if is_matrix(&values.shape) {
                        transposed(data, values.shape[1])
                    } else {
                        data.clone()
                    };
                    let shape = values.shape.clone();
                    tensors.insert(key, Values { shape, data });
                }
            }
        }
        Ok(tensors)
    }
}

/// The tensors of `module` with statistics of its norms that have followed `batches`; nothing is learned.
pub(in crate::train) fn count<M: Pupil>(
    module: &M,
    name: &str,
    input: &InputSpec,
    batches: impl Iterator<Item = Batch>,
) -> Result<Tensors, TrainError> {
    let mut kept = Kept {
        weights: tensors_of(module).context(WeightsSnafu)?,
        velocities: Tensors::new(),
        average: Tensors::new(),
    };
    let mut desk: Option<Desk> = None;
    for batch in batches {
        let mut ready = match desk.take() {
            Some(desk) if desk.form == batch.form => desk,
            other => {
                if let Some(other) = other {
                    kept.weights = other.read(Numbers::Weights, &kept.weights)?;
                }
                Desk::new(module, name, &kept, input, batch.form, Purpose::Count)?
            }
        };
        ready.forward(&batch)?;
        desk = Some(ready);
    }
    match desk {
        Some(desk) => desk.read(Numbers::Weights, &kept.weights),
        None => Ok(kept.weights),
    }
}

/// Each node with the prefix of its tensors' names.
fn named<M: ModuleSnapshot>(module: &M, weighted: &[Weighted]) -> Vec<(usize, String)> {
    let names = names_of(module);
    let prefix = |name: &String| Some(name.rsplit_once('.')?.0.to_owned() + ".");
    weighted
        .iter()
        .filter_map(|of| Some((of.node, prefix(names.get(&of.parameter)?)?)))
        .collect()
}

/// The lists of numbers of an operation, by the names that the tensor library gives them.
fn lists<'a>(op: &'a mut Op, prefix: &str) -> Vec<(String, &'a mut Vec<f32>)> {
    let lists: Vec<(&str, &mut Vec<f32>)> = match op {
        Op::Conv2d(conv) => vec![("weight", &mut conv.weight), ("bias", &mut conv.bias)],
        Op::Linear(linear) => vec![("weight", &mut linear.weight), ("bias", &mut linear.bias)],
        Op::BatchNorm(norm) => vec![
            ("gamma", &mut norm.gamma),
            ("beta", &mut norm.beta),
            ("running_mean", &mut norm.mean),
            ("running_var", &mut norm.variance),
        ],
        _ => Vec::new(),
    };
    let named = lists
        .into_iter()
        .map(|(name, list)| (format!("{prefix}{name}"), list));
    named.collect()
}

/// Sets the numbers of `op` that `tensors` have.
fn take(op: &mut Op, prefix: &str, tensors: &Tensors) {
    for (key, list) in lists(op, prefix) {
        if let Some(values) = tensors.get(&key) {
            *list = if is_matrix(&values.shape) {
                transposed(&values.data, values.shape[0])
            } else {
                values.data.clone()
            };
        }
    }
}

fn is_matrix(shape: &[usize]) -> bool {
    shape.len() == 2
}

/// The other way around: burn's matrices are `[in, out]`, the engine's `[out, in]`. `rows` is how many rows `values` has, or how many
/// columns the result.
fn transposed(values: &[f32], rows: usize) -> Vec<f32> {
    let columns = values.len() / rows.max(1);
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
        .collect()
}

/// A module as a plan, to be asked.
pub(in crate::train) struct Planned {
    session: Session,
    segments: Vec<SegmentId>,
    output: (SegmentId, usize),
}

impl Planned {
    /// For batches of `form` and smaller ones.
    pub(super) fn new<M: Pupil>(module: &M, input: &InputSpec, form: Form) -> Result<Self, TrainError> {
        let drawn = module
            .draw(input, form)
            .map_err(WeightsError::from)
            .context(WeightsSnafu)?;
        let options = Options {
            threads: Compute::default().threads,
            max_batch: form.count,
            ..Options::default()
        };
        let plan = Plan::compile(&drawn.graph, &options).context(EngineSnafu)?;
        Ok(Self {
            session: plan.session().context(EngineSnafu)?,
            segments: drawn.segments,
            output: drawn.output,
        })
    }

    pub(super) fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>, TrainError> {
        self.answer(batch).context(EngineSnafu)
    }

    fn answer(&mut self, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        let count = batch.form.count;
        if let Some(features) = batch.form.features {
            let values: usize = features.iter().product();
            for (row, features) in batch.features.chunks_exact(values).enumerate() {
                self.session.write(SegmentId(0), 0, row, features)?;
            }
        }
        for segment in &self.segments {
            self.session.run(*segment, Images::Floats(&batch.pixels), count)?;
        }
        let mut logits = Vec::new();
        for row in 0..count {
            logits.extend_from_slice(self.session.vector(self.output.0, self.output.1, row)?);
        }
        Ok(logits)
    }
}
