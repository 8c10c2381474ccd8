use super::*;

#[test]
fn the_gate_decides() {
    for (gate, gain, phase) in [
        (0.0, 0.1, RetrainingPhase::Accepted),
        (0.0, 0.0, RetrainingPhase::Accepted),
        (0.0, -0.01, RetrainingPhase::Rejected),
        (0.1, 0.1, RetrainingPhase::Accepted),
        (0.1, 0.09, RetrainingPhase::Rejected),
        (-0.05, -0.05, RetrainingPhase::Accepted),
    ] {
        let mut world = World::running(&["a"]);
        world.patch(&json!({"retraining": {"gate": {"minAccuracyGain": gate}}}));
        let status = world.retrained('b', gain).retraining.unwrap();
        assert_eq!(
            (status.phase, status.revision.is_some()),
            (phase, phase == RetrainingPhase::Accepted),
            "{gate} {gain}"
        );
        assert!(status.evaluation.is_some());
    }
}

/// The network of the cloud follows the input as the edges do, and goes back with them.
#[test]
fn the_cloud_serves_what_the_retraining_reports() {
    let mut world = World::running(&["a"]);
    let serves = |plan: &Plan| plan.in_cloud.as_ref().unwrap().spec.weights.cloud.clone();
    let before = world.plan();
    world.ask("one");
    world.step();
    let mut outcome = success('b', Some(0.1));
    if let Outcome::Reported {
        report: JobReport::Succeeded { weights, .. },
    } = &mut outcome
    {
        weights.cloud = Some(digest('c'));
    }
    world.ends(Component::Train, outcome);
    world.step();
    assert_eq!(serves(&world.settle()), Some(digest('c')));
    let old = before.in_cloud.as_ref().unwrap().name_any();
    world.patch(&json!({"rollout": {"pinnedRevision": old}}));
    assert_eq!(serves(&world.settle()), serves(&before));
    assert_ne!(serves(&before), Some(digest('c')));
}

#[test]
fn chance_is_no_gain() {
    for (gate, margin, phase) in [
        (json!({}), Some(0.09), RetrainingPhase::Accepted),
        (json!({}), Some(0.11), RetrainingPhase::Rejected),
        (
            json!({"minAccuracyGain": 0.05}),
            Some(0.06),
            RetrainingPhase::Rejected,
        ),
        (
            json!({"minAccuracyGain": -0.05}),
            Some(0.11),
            RetrainingPhase::Accepted,
        ),
        (
            json!({"minAccuracyGain": -1}),
            Some(2.0),
            RetrainingPhase::Accepted,
        ),
        (
            json!({"beyondChance": false}),
            Some(0.11),
            RetrainingPhase::Accepted,
        ),
        (json!({"beyondChance": false}), None, RetrainingPhase::Accepted),
        (json!({}), None, RetrainingPhase::Failed),
    ] {
        let mut world = World::running(&["a"]);
        world.patch(&json!({"retraining": {"gate": gate}}));
        world.ask("one");
        world.step();
        let mut outcome = success('b', Some(0.1));
        if let Outcome::Reported {
            report:
                JobReport::Succeeded {
                    evaluation: Some(evaluation),
                    ..
                },
        } = &mut outcome
        {
            evaluation.margin_of_error = margin;
        }
        world.ends(Component::Train, outcome);
        let status = world.step().retraining.unwrap();
        assert_eq!(status.phase, phase, "{gate} {margin:?}: {:?}", status.message);
    }
}

#[test]
fn one_request_at_a_time_and_none_twice() {
    let mut world = World::running(&["a"]);
    world.ask("one");
    let first = world.step().train.unwrap().0;
    world.ask("two");
    let plan = world.step();
    assert_eq!(
        plan.retraining.unwrap().request,
        "one",
        "it is followed to its end"
    );
    world.ends(
        Component::Train,
        Outcome::Failed {
            at: world.now,
            ran: Duration::ZERO,
            message: "oom".to_owned(),
        },
    );
    assert_eq!(world.step().retraining.unwrap().phase, RetrainingPhase::Failed);
    let second = world.step().train.unwrap().0;
    assert_eq!((second.request.as_str(), second.job == first.job), ("two", false));
    world.ends(Component::Train, success('b', Some(0.1)));
    world.step();
    world.observed.jobs.clear();
    let plan = world.step();
    assert!(plan.train.is_none(), "answered, though its job is gone");
    assert_eq!(plan.retraining.unwrap().phase, RetrainingPhase::Accepted);
}

#[test]
fn a_job_without_last_words_is_given_a_moment() {
    let mut world = World::running(&["a"]);
    world.ask("one");
    world.step();
    world.ends(
        Component::Train,
        Outcome::Silent {
            at: world.now,
            message: "its pod is gone".to_owned(),
        },
    );
    let plan = world.step();
    assert_eq!(
        (plan.retraining.unwrap().phase, plan.look_again.is_some()),
        (RetrainingPhase::Running, true)
    );
    world.pass(10);
    assert_eq!(world.step().retraining.unwrap().phase, RetrainingPhase::Failed);
}

#[test]
fn a_run_for_another_model_is_held_back() {
    let mut world = World::running(&["a"]);
    world.ask("one");
    world.step();
    world.patch(&json!({"model": {"weights": {"digest": format!("sha256:{}", "9".repeat(64))}}}));
    world.ends(Component::Train, success('b', Some(0.1)));
    assert_eq!(world.step().retraining.unwrap().phase, RetrainingPhase::Rejected);
}
