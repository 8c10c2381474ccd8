//! What the public interface promises of a training run: that it learns, repeats, and goes on where it stopped.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use meanet_data::{Augmentation, Training, procedural};
use meanet_net::train::{
    Classifier, Distillation, EpochLine, Examples, ExtensionRecipe, Lessons, METRICS, Optimisation, Recipe,
    Run, Stage, Teacher, TrainError, train_classifier, train_extension,
};
use meanet_net::{Backend, Block, InputSpec, Processor, digest};

const CLASSES: usize = 4;

fn images(count: usize, seed: u64) -> Training {
    Training(procedural(CLASSES, count, seed))
}

fn recipe(epochs: usize) -> Recipe {
    let input = InputSpec::cifar100();
    Recipe {
        stages: vec![Stage { side: 8, epochs }],
        optimisation: Optimisation {
            batch_size: 8,
            learning_rate: 0.05,
            average: Some(0.9),
            ..Optimisation::default()
        },
        augmentation: Augmentation {
            cutout: 8,
            colour: 0.2,
            noise: 8.0,
            ..Augmentation::default()
        },
        seed: 5,
        ..Recipe::new("ResNet20".parse().unwrap(), CLASSES, input)
    }
}

fn run(recipe: &Recipe, teacher: Option<&Teacher>, folder: &Path) -> Result<Classifier, TrainError> {
    let (training, holdout) = (images(64, 1), images(40, 2));
    let lessons = Lessons {
        training: &training,
        holdout: &holdout,
        start: None,
        teacher,
    };
    let run = Run::open(folder, recipe)?;
    train_classifier(recipe, &lessons, &run, &Backend::Engine.processor().unwrap())
}

fn blob(classifier: &Classifier) -> String {
    digest(&classifier.blob(Block::Main).unwrap())
}

fn lines(folder: &Path) -> Vec<EpochLine> {
    let text = fs::read_to_string(folder.join(METRICS)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Copies the files of a run that lie in its folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// The states of a run's folder after each epoch, numbered from 1, as a watcher may see them.
fn keep_state(folder: &Path) {
    let states = folder.with_extension("states");
    let count = fs::read_dir(&states).map_or(0, Iterator::count);
    copy(folder, &states.join(format!("{}", count + 1)));
}

#[test]
fn a_run_repeats_and_a_stopped_one_ends_as_an_unbroken_one() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(3);
    let path = |name: &str| folder.path().join(name);
    let (training, holdout) = (images(64, 1), images(40, 2));
    let lessons = Lessons {
        training: &training,
        holdout: &holdout,
        start: None,
        teacher: None,
    };
    let watched = Run::open(&path("whole"), &recipe).unwrap().watched(keep_state);
    let processor = Backend::Engine.processor().unwrap();
    let whole = blob(&train_classifier(&recipe, &lessons, &watched, &processor).unwrap());
    let wanted: Vec<f64> = lines(&path("whole")).iter().map(|line| line.loss).collect();
    assert_eq!(wanted.len(), 3);

    // The same settings and seed give the same bytes; opening a finished run changes nothing.
    assert_eq!(blob(&run(&recipe, None, &path("again")).unwrap()), whole);
    assert_eq!(blob(&run(&recipe, None, &path("again")).unwrap()), whole);
    assert_eq!(blob(&Classifier::from_run(&path("again")).unwrap()), whole);

    // From the state after each epoch, it ends the same: weights, momentum and average were all kept.
    for epoch in ["1", "2"] {
        let state = path("whole.states").join(epoch);
        // Stopped after an epoch was told of and before its checkpoint: the line is not there twice.
        let extra = fs::read_to_string(path("whole").join(METRICS)).unwrap();
        fs::write(state.join(METRICS), extra).unwrap();
        assert_eq!(
            blob(&run(&recipe, None, &state).unwrap()),
            whole,
            "resumed after epoch {epoch}"
        );
        let found: Vec<f64> = lines(&state).iter().map(|line| line.loss).collect();
        assert_eq!(found, wanted);
    }
}

/// The recipe of a run as folders had it when the optimiser's settings were fields of their own, in this order.
const WRITTEN_BEFORE: &str = r#"{
  "backbone": "ResNet20",
  "classes": 4,
  "input": {
    "height": 32,
    "width": 32,
    "mean": [0.5071, 0.4867, 0.4408],
    "std": [0.2675, 0.2565, 0.2761]
  },
  "stages": [{"side": 8, "epochs": 0}],
  "batch_size": 8,
  "learning_rate": 0.05,
  "warm_up": 0.2,
  "decay": "cosine",
  "weight_decay": 0.0005,
  "label_smoothing": 0.1,
  "augmentation": {"padding": 4, "flip": true, "cutout": 8, "colour": 0.2, "noise": 8.0},
  "average": 0.9,
  "seed": 5
}"#;

#[test]
fn a_run_whose_recipe_was_written_before_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(serde_json::from_str::<Recipe>(WRITTEN_BEFORE).unwrap(), recipe(0));
    fs::write(folder.path().join("recipe.json"), WRITTEN_BEFORE).unwrap();
    run(&recipe(0), None, folder.path()).unwrap();
}

#[test]
fn another_recipe_does_not_go_on_in_the_same_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(0);
    run(&recipe, None, folder.path()).unwrap();
    recipe.seed += 1;
    let error = run(&recipe, None, folder.path()).err().unwrap().to_string();
    assert!(error.contains("other settings"), "{error}");
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let whole = recipe(1);
    let moved = |change: fn(&mut Optimisation)| {
        let mut recipe = whole.clone();
        change(&mut recipe.optimisation);
        recipe
    };
    let faults = [
        (moved(|how| how.batch_size = 65), "batch"),
        (moved(|how| how.average = Some(1.0)), "average"),
        (moved(|how| how.label_smoothing = 2.0), "smoothing"),
        (
            Recipe {
                stages: vec![Stage { side: 9, epochs: 1 }],
                ..whole.clone()
            },
            "multiple of 4",
        ),
    ];
    for (number, (recipe, word)) in faults.iter().enumerate() {
        let error = run(recipe, None, &folder.path().join(number.to_string()))
            .err()
            .unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_teacher_is_learned_from_and_bound_to_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let plain = recipe(2);
    let older = run(&plain, None, &folder.path().join("teacher")).unwrap();
    let bytes = older.blob(Block::Cloud).unwrap();
    let teacher = Teacher::load(&bytes, CLASSES, &Processor::Engine).unwrap();
    assert_eq!(teacher.digest(), digest(&bytes));
    let taught = Recipe {
        distillation: Some(Distillation {
            teacher: teacher.digest().to_owned(),
            temperature: 4.0,
            share: 1.0,
            views: None,
        }),
        ..plain.clone()
    };
    let student = run(&taught, Some(&teacher), &folder.path().join("student")).unwrap();
    assert_ne!(
        blob(&student),
        blob(&older),
        "the labels alone would have given the same"
    );
    // Asked once about one version of each image, it is another training.
    let mut few = taught.clone();
    if let Some(how) = &mut few.distillation {
        how.views = Some(1);
    }
    let whole = run(&few, Some(&teacher), &folder.path().join("few")).unwrap();
    assert_ne!(blob(&whole), blob(&student));
    let error = run(&taught, None, &folder.path().join("none"))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("another teacher"), "{error}");
    let error = Teacher::load(&bytes, CLASSES + 1, &Processor::Engine)
        .unwrap_err()
        .to_string();
    assert!(error.contains("classes"), "{error}");
    assert!(Teacher::load(b"nothing", CLASSES, &Processor::Engine).is_err());
}

fn extension_recipe(teacher: &Teacher) -> ExtensionRecipe {
    ExtensionRecipe {
        epochs: 2,
        optimisation: Optimisation {
            batch_size: 16,
            average: Some(0.9),
            ..Optimisation::default()
        },
        ghost_batch: Some(8),
        distillation: Some(Distillation {
            teacher: teacher.digest().to_owned(),
            temperature: 4.0,
            share: 0.5,
            views: None,
        }),
        ..ExtensionRecipe::new((0..).take(CLASSES).collect())
    }
}

#[test]
fn an_extension_repeats_and_a_stopped_one_ends_as_an_unbroken_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let main = run(&recipe(0), None, &path("main"))
        .unwrap()
        .blob(Block::Main)
        .unwrap();
    let teacher = Teacher::load(&main, CLASSES, &Processor::Engine).unwrap();
    let recipe = extension_recipe(&teacher);
    let (training, holdout) = (images(32, 1), images(16, 2));
    let examples = Examples {
        holdout: Some(&holdout),
        teacher: Some(&teacher),
        ..Examples::of(&training)
    };
    let processor = Backend::Engine.processor().unwrap();
    let train = |examples: &Examples<'_>, run: Option<&Run>| {
        let trained = train_extension(&recipe, &main, examples, run, &processor).unwrap();
        [digest(&trained.adaptive), digest(&trained.extension)]
    };
    let watched = Run::open(&path("whole"), &recipe).unwrap().watched(keep_state);
    let whole = train(&examples, Some(&watched));
    assert!(
        lines(&path("whole"))
            .iter()
            .all(|line| line.holdout_accuracy.is_some())
    );
    assert_eq!(
        train(&examples, None),
        whole,
        "a run keeps it, it changes nothing"
    );
    let stopped = Run::open(&path("whole.states/1"), &recipe).unwrap();
    assert_eq!(train(&examples, Some(&stopped)), whole);
    assert_eq!(lines(&path("whole.states/1")).len(), 2);

    // Nothing to measure on is measured as nothing, and no reason to stop.
    let none = images(0, 3);
    let unmeasured = Examples {
        holdout: Some(&none),
        ..examples
    };
    assert_eq!(train(&unmeasured, None), whole);

    // A label that is half certain teaches something else.
    let unsure = Examples {
        confidences: &[0.5; 32],
        ..examples
    };
    assert_ne!(train(&unsure, None), whole);
    let nobody = Examples {
        teacher: None,
        ..examples
    };
    let error = train_extension(&recipe, &main, &nobody, None, &processor)
        .unwrap_err()
        .to_string();
    assert!(error.contains("another teacher"), "{error}");
}
