use meanet_data::procedural;

use super::*;
use crate::network::Network;
use crate::train::initial::seeded;
use crate::weights::{encode, tensors_of};

const CLASSES: usize = 4;

fn main() -> Vec<u8> {
    let card = Card::whole(
        Block::Main,
        "ResNet20".parse().unwrap(),
        CLASSES,
        InputSpec::cifar100(),
    );
    let network = seeded(Network::new(card.backbone, card.classes, &Device::flex()), 1).unwrap();
    encode(&card, &tensors_of(&network).unwrap()).unwrap()
}

fn recipe(second_opinion: bool) -> ExtensionRecipe {
    let mut recipe = ExtensionRecipe::new((0..).take(CLASSES).collect());
    recipe.epochs = 2;
    recipe.optimisation.batch_size = 16;
    recipe.optimisation.average = Some(0.9);
    ExtensionRecipe {
        second_opinion,
        ..recipe
    }
}

fn train(recipe: &ExtensionRecipe, start: Option<(&[u8], &[u8])>) -> Result<TrainedExtension, TrainError> {
    let images = Training(procedural(CLASSES, 48, 1));
    let examples = Examples {
        start,
        holdout: Some(&images),
        ..Examples::of(&images)
    };
    train_extension(recipe, &main(), &examples, None, &Processor::Engine)
}

/// The weights by which main and adaptive features enter the extension.
fn entering(trained: &TrainedExtension) -> [Vec<f32>; 2] {
    let tensors = open(&trained.extension, Block::Extension).unwrap().1;
    let mut halves = [Vec::new(), Vec::new()];
    for key in ["blocks.0.first.conv.weight", "blocks.0.shortcut.conv.weight"] {
        let weight = &tensors[key];
        let of_one = weight.data.len() / weight.shape[0];
        for row in weight.data.chunks(of_one) {
            let (main, adaptive) = row.split_at(of_one / 2);
            halves[0].extend(main);
            halves[1].extend(adaptive);
        }
    }
    halves
}

#[test]
fn a_second_opinion_hears_nothing_of_the_main_block_until_it_is_retrained() {
    let apart = train(&recipe(true), None).unwrap();
    let [main, adaptive] = entering(&apart);
    assert!(main.iter().all(|weight| weight.abs() < f32::MIN_POSITIVE));
    // Blobs round the smallest to zero.
    let heard = adaptive.iter().filter(|weight| weight.abs() > 0.0).count();
    assert!(10 * heard > 9 * adaptive.len());
    let start = Some((apart.adaptive.as_slice(), apart.extension.as_slice()));
    let [main, _] = entering(&train(&recipe(false), start).unwrap());
    assert!(main.iter().any(|weight| weight.abs() > 1e-6));
    // Going on as a second opinion it forgets that again.
    let again = train(&recipe(false), start).unwrap();
    let start = Some((again.adaptive.as_slice(), again.extension.as_slice()));
    let [main, _] = entering(&train(&recipe(true), start).unwrap());
    assert!(main.iter().all(|weight| weight.abs() < f32::MIN_POSITIVE));
}

#[test]
fn an_opinion_that_cannot_be_added_is_refused() {
    for wrong in [
        ExtensionRecipe {
            adds_to_main: false,
            ..recipe(true)
        },
        ExtensionRecipe {
            fusion: Fusion::Sum,
            ..recipe(true)
        },
    ] {
        let error = train(&wrong, None).unwrap_err().to_string();
        assert!(error.contains("second opinion"), "{error}");
    }
}

#[test]
fn images_are_cut_anew_in_each_epoch_and_are_themselves_where_they_are_measured() {
    let (images, recipe) = (Training(procedural(CLASSES, 8, 1)), recipe(true));
    let (card, _) = open(&main(), Block::Main).unwrap();
    let alone = Alone::new(&recipe, &card, &Examples::of(&images)).unwrap();
    let all: Vec<usize> = (0..alone.len()).collect();
    let pixels = |version| alone.lesson(&all, version).unwrap().seen.pixels;
    assert!(pixels(Version::Epoch(0)) == pixels(Version::Epoch(0)));
    assert!(pixels(Version::Epoch(0)) != pixels(Version::Epoch(1)));
    let plain: Vec<f32> = images.0.pixels.iter().map(|&pixel| f32::from(pixel)).collect();
    assert!(pixels(Version::Plain) == plain);
}

#[test]
fn a_retraining_is_gentle_where_it_goes_on() {
    let (card, _) = open(&main(), Block::Main).unwrap();
    let of = |outputs: &[u32]| {
        let card = Card {
            outputs: Some(outputs.to_vec()),
            ..card.clone()
        };
        ExtensionRecipe::retraining(&card)
    };
    let (on, anew) = (of(&[0, 1, 2, 3]), of(&[1, 3]));
    assert!(on.optimisation.learning_rate < 0.1 * anew.optimisation.learning_rate);
    assert_eq!(on.outputs, anew.outputs, "all classes, whatever there was");
}
