//! Blocks that are trained anew in service.

use std::error::Error;

use super::*;

#[test]
fn a_retraining_starts_from_what_is_in_service() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = model(folder.path());
    let routing = by_entropy(None, ExtensionRule::Extension);
    let processor = Backend::Engine.processor().unwrap();
    let mut recipe = extension_recipe(vec![1, 3]);
    recipe.epochs = 0;
    let material = |collected: Training| Material {
        labelled: images(40),
        confidences: vec![0.5; collected.0.len()],
        collected,
    };
    let run_as = |precision, recipe: &ExtensionRecipe, table: &[u32], material: &Material| {
        let service = InService {
            blobs: blobs.edge(),
            hard_classes: table,
            routing: &routing,
            precision,
        };
        retrain(recipe, &service, material, &processor)
    };
    let run = |recipe: &ExtensionRecipe, table: &[u32], material: &Material| {
        run_as(Precision::Float32, recipe, table, material)
    };
    let table = run(&recipe, &[1, 3], &material(images(0))).unwrap().hard_classes;
    assert!(!table.is_empty() && table.iter().all(|class| [1, 3].contains(class)));
    let same = run(&recipe, &table, &material(images(0))).unwrap();
    assert_eq!(
        same.report, same.baseline,
        "nothing was trained, so nothing is better or worse"
    );
    recipe.epochs = 1;
    let trained = run(&recipe, &table, &material(images(8))).unwrap();
    let candidate = &trained.candidate;
    EdgeNetwork::load(EdgeBlobs {
        main: &blobs.main,
        adaptive: &candidate.adaptive,
        extension: &candidate.extension,
    })
    .unwrap();
    assert_ne!(candidate.adaptive, blobs.adaptive);
    let few = Material {
        labelled: images(5),
        collected: images(5),
        confidences: vec![1.0; 5],
    };
    let error = run(&recipe, &table, &few).unwrap_err().to_string();
    assert!(error.contains("10 images are too few"), "{error}");
    // Judged as it is served: this model has no ranges.
    let error = run_as(Precision::Int8, &recipe, &table, &material(images(0)));
    let error = error.unwrap_err();
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("carries no ranges"), "{error}: {cause}");
}

#[test]
fn an_edge_takes_the_statistics_that_come_with_its_adaptive_block() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = model(folder.path());
    let processor = Backend::Engine.processor().unwrap();
    let Training(mut dark) = images(32);
    dark.pixels.iter_mut().for_each(|value| *value /= 4);
    let trained = Domain::trained(&blobs.main).unwrap();
    let norms = reestimate_norms(&blobs.main, &trained.input, &dark, 0, &processor).unwrap();
    let domain = Domain { norms, ..trained };
    let training = Training(dark);
    let examples = Examples {
        domain: Some(&domain),
        ..Examples::of(&training)
    };
    let trained = train_extension(
        &extension_recipe(vec![1, 3]),
        &blobs.main,
        &examples,
        None,
        &processor,
    )
    .unwrap();
    assert_eq!(Domain::of(&trained.adaptive).unwrap(), domain);
    let edge = EdgeNetwork::load(EdgeBlobs {
        main: &blobs.main,
        adaptive: &trained.adaptive,
        extension: &trained.extension,
    })
    .unwrap();
    let alone = |main: &[u8]| CloudNetwork::load(&classifier_of(main).unwrap()).unwrap();
    let batch = ImageBatch::from_bytes(8, 8, images(6).0.pixels).unwrap();
    let found = edge.main(&batch).unwrap().logits;
    let farthest = |main: &[u8]| {
        let wanted = alone(main).logits(&batch).unwrap();
        let pairs = found.iter().flatten().zip(wanted.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(farthest(&domain.onto(&blobs.main).unwrap()) < 1e-4);
    assert!(farthest(&blobs.main) > 1e-2);

    // A later retraining goes on from them, where it finds none that are better.
    let recipe = ExtensionRecipe {
        epochs: 0,
        ..extension_recipe(vec![1, 3])
    };
    let service = EdgeBlobs {
        main: &blobs.main,
        adaptive: &trained.adaptive,
        extension: &trained.extension,
    };
    let material = Material::of_people(images(40).0);
    let routing = by_entropy(None, ExtensionRule::Extension);
    let service = InService {
        blobs: service,
        hard_classes: &[1, 3],
        routing: &routing,
        precision: Precision::Float32,
    };
    let again = retrain(&recipe, &service, &material, &processor).unwrap();
    let kept = Domain::of(&again.candidate.adaptive).unwrap() == domain;
    assert_ne!(kept, again.moved);
}
