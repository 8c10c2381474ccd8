use ::burn::tensor::TensorData;

use super::*;
use crate::backend::Backend;
use crate::extend::Specialist;
use crate::layout::{Blueprint, Fusion};
use crate::network::Network;
use crate::train::initial::seeded;
use crate::train::loss::cross_entropy;

const OUTPUTS: usize = 6;

fn numbers(count: usize, seed: u64, from: f32, to: f32) -> Vec<f32> {
    let mut random = meanet_data::Shuffle::new(seed);
    let order = random.epoch(count.max(2));
    order
        .iter()
        .take(count)
        .map(|&place| from + (to - from) * place as f32 / count as f32)
        .collect()
}

fn batch(form: Form, seed: u64) -> Batch {
    let [height, width] = form.size;
    let features: usize = form.features.map_or(0, |shape| shape.iter().product());
    Batch {
        form,
        pixels: numbers(form.count * 3 * height * width, seed, 0.0, 255.0),
        features: numbers(form.count * features, seed + 100, 0.0, 2.0),
    }
}

/// A module that begins, and how.
fn begun<M: Pupil>(module: M, processor: &Processor, form: Form) -> Descent<M> {
    let how = Optimisation {
        weight_decay: 1e-3,
        average: Some(0.9),
        ..Optimisation::default()
    };
    let beginning = Beginning {
        name: "a module".to_owned(),
        how: &how,
        checkpoint: None,
        steps: 1,
        processor,
        input: &InputSpec::cifar100(),
        form,
    };
    Descent::begin(module, beginning).unwrap()
}

/// Weights after a step by the processor.
fn trained<M: Pupil>(make: impl Fn(&Device) -> M, processor: &Processor, form: Form) -> Tensors {
    let module = seeded(make(&processor.training_device()), 4).unwrap();
    let mut descent = begun(module, processor, form);
    assert_eq!(
        matches!(descent.way, Way::Engine(_)),
        matches!(processor, Processor::Engine)
    );
    let targets: Vec<f32> = (0..form.count * OUTPUTS)
        .map(|i| f32::from(u8::from(i % OUTPUTS == i / OUTPUTS * 5 % OUTPUTS)))
        .collect();
    let targets = TensorData::new(targets, [form.count, OUTPUTS]);
    // A step of two batches, one after the other.
    for seed in [1, 2] {
        let logits = descent.logits(batch(form, seed)).unwrap();
        let targets = Tensor::from_data(targets.clone(), &descent.autodiff());
        descent.gather(&(cross_entropy(logits, targets) * 0.5)).unwrap();
    }
    descent.step(0.02).unwrap();
    // It is judged as what it gives, in batches of any size up to the largest.
    let few = Form { count: 3, ..form };
    let given = descent.given().unwrap();
    let wanted = given.answer(batch(few, 77), &InputSpec::cifar100(), &processor.device());
    let found = descent.judge(form).unwrap().logits(batch(few, 77)).unwrap();
    assert_eq!(found.len(), 3 * OUTPUTS);
    for (wanted, found) in wanted.into_data().iter::<f32>().zip(&found) {
        assert!((wanted - found).abs() < 1e-3, "{found} for {wanted}");
    }
    descent.checkpoint(1).unwrap().weights
}

/// What computes besides `flex`: the engine, and what was built in and is there.
fn others() -> Vec<(Backend, Processor)> {
    let mut others = vec![(Backend::Engine, Processor::Engine)];
    for backend in [Backend::Torch, Backend::Cuda] {
        match backend.processor() {
            Ok(processor) => others.push((backend, processor)),
            Err(reason) => println!("left out: {reason}"),
        }
    }
    others
}

/// A step leads to the same weights whatever computes it, but for rounding.
fn agree<M: Pupil>(name: &str, make: impl Fn(&Device) -> M, form: Form) {
    let wanted = trained(&make, &Processor::Burn(Device::flex()), form);
    for (backend, processor) in others() {
        let found = trained(&make, &processor, form);
        near(&format!("{name}, {backend}"), &make, &found, &wanted);
    }
}

/// Both are as far from the weights that `make` begins with, and in the same direction.
fn near<M: Pupil>(name: &str, make: impl Fn(&Device) -> M, found: &Tensors, wanted: &Tensors) {
    let start = tensors_of(&seeded(make(&Device::flex()), 4).unwrap()).unwrap();
    assert!(wanted.keys().eq(found.keys()), "{name}");
    for (key, wanted) in wanted {
        let length = |values: &[f32], from: &[f32]| {
            let squares = values.iter().zip(from).map(|(a, b)| (a - b).powi(2));
            squares.sum::<f32>().sqrt()
        };
        let off = length(&found[key].data, &wanted.data);
        let moved = length(&wanted.data, &start[key].data);
        // A number that rounding takes across the kink of an activation changes more than its own weight. The tensor
        // library's statistics are those of before the step.
        assert!(
            off < 0.03 * moved + 1e-5 || key.contains(".running_"),
            "{name}, {key}: off by {off:e} of {moved:e}"
        );
    }
}

const WHOLE: Form = Form {
    count: 10,
    size: [16, 16],
    features: None,
};

#[test]
fn every_backend_trains_networks_alike() {
    for name in ["ResNet20", "MobileNetV2x0.5Cifar"] {
        let make = |device: &Device| Network::new(name.parse().unwrap(), OUTPUTS, device);
        agree(name, make, WHOLE);
    }
}

#[test]
fn every_backend_trains_extensions_alike() {
    for name in ["ResNet20", "MobileNetV2x0.5Cifar"] {
        for fusion in [Fusion::Concat, Fusion::Sum] {
            let blueprint = Blueprint {
                fusion,
                ..Blueprint::whole(name.parse().unwrap())
            };
            let [_, height, width] = blueprint.features([16, 16]).unwrap();
            let layout = blueprint.backbone.layout();
            let channels = crate::layout::channels(&layout.stem, &blueprint.main(&layout));
            let form = Form {
                features: Some([channels, height, width]),
                ..WHOLE
            };
            let make = |device: &Device| Specialist::new(&blueprint, OUTPUTS, device);
            agree(&format!("{name}, {fusion:?}"), make, form);
        }
    }
}

#[test]
fn what_the_engine_cannot_train_goes_to_the_tensor_library() {
    let network = Network::new("MicroNet".parse().unwrap(), OUTPUTS, &Device::flex());
    let form = Form {
        size: [32, 32],
        count: 2,
        ..WHOLE
    };
    let mut descent = begun(network, &Processor::Engine, form);
    assert!(matches!(descent.way, Way::Device(_)));
    let loss = descent.logits(batch(form, 1)).unwrap().powf_scalar(2.0).mean();
    descent.gather(&loss).unwrap();
    descent.step(0.1).unwrap();
}
