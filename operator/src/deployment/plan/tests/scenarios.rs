use super::*;

#[test]
fn first_weights_reach_all_nodes_at_once() {
    let mut world = World::new(&["a", "b", "c"]);
    let plan = world.step();
    assert_eq!(plan.import.as_deref(), Some("cams-import-00000000"));
    assert!(plan.in_cloud.is_none(), "the cloud has nothing to serve yet");
    assert_eq!(verdict(&plan, condition::READY).reason, "Importing");
    world.ends(Component::Import, success('a', None));
    let plan = world.step();
    assert_eq!(plan.drafts.len(), 1);
    let first = plan.drafts[0].name_any();
    assert!(
        plan.twins
            .values()
            .all(|twin| twin.revision.as_ref() == Some(&first))
    );
    let plan = world.settle();
    assert_eq!(verdict(&plan, condition::READY).status, Some(true));
    assert_eq!((plan.current.as_ref(), plan.drafts.len()), (Some(&first), 0));
}

#[test]
fn the_same_observation_gives_the_same_plan() {
    let world = World::running(&["a", "b"]);
    let (one, two) = (world.plan(), world.plan());
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
}

#[test]
fn a_failed_import_is_tried_again_after_a_pause() {
    let mut world = World::new(&["a"]);
    world.step();
    let (at, ran) = (world.now, Duration::from_secs(40));
    world.ends(
        Component::Import,
        Outcome::Failed {
            at,
            ran,
            message: "no manifest".to_owned(),
        },
    );
    let plan = world.step();
    assert_eq!(verdict(&plan, condition::WEIGHTS_READY).message, "no manifest");
    assert_eq!((plan.look_again, plan.delete_jobs.len()), (Some(ran), 0));
    world.pass(40);
    assert_eq!(world.step().delete_jobs, ["cams-import-00000000"]);
    assert!(world.step().import.is_some());
}

#[test]
fn another_digest_is_imported_at_once_while_the_old_weights_serve() {
    let mut world = World::running(&["a"]);
    let old = world.wants("a");
    world.patch(&json!({"model": {"weights": {"digest": format!("sha256:{}", "9".repeat(64))}}}));
    let plan = world.step();
    assert_eq!(plan.import.as_deref(), Some("cams-import-99999999"));
    assert_eq!(plan.delete_jobs, ["cams-import-00000000"]);
    assert_eq!(
        (plan.target.clone(), world.wants("a")),
        (old.clone(), old.clone())
    );
    world.patch(&json!({"routing": {"offloadAbove": 3.0}}));
    world.settle();
    assert_ne!(world.wants("a"), old, "routing is live meanwhile");
    world.ends(Component::Import, success('e', None));
    let plan = world.settle();
    let target = world
        .observed
        .revisions
        .iter()
        .find(|r| Some(r.name_any()) == plan.target)
        .unwrap();
    assert!(target.spec.weights.adaptive.contains('e'));
    assert_eq!(verdict(&plan, condition::READY).status, Some(true));
}

#[test]
fn routing_reaches_every_node_at_once_and_back_again_makes_nothing_new() {
    let mut world = World::running(&["a", "b", "c"]);
    let first = world.wants("a");
    world.patch(&json!({"routing": {"offloadAbove": 2.0}}));
    let plan = world.step();
    assert!(
        plan.twins
            .values()
            .all(|twin| twin.revision == plan.target && twin.revision != first)
    );
    world.settle();
    world.patch(&json!({"routing": {"offloadAbove": 0.9}}));
    let plan = world.step();
    assert_eq!((plan.target, plan.drafts.len()), (first, 0));
}

#[test]
fn another_precision_goes_node_by_node_on_the_same_weights_and_back() {
    let mut world = World::running(&["a", "b"]);
    let first = world.wants("a");
    world.patch(&json!({"model": {"precision": "Int8"}}));
    let plan = world.step();
    let draft = &plan.drafts[0].spec;
    assert_eq!((plan.drafts.len(), draft.cause), (1, Cause::PrecisionChanged));
    assert_eq!(
        (draft.parent.clone(), draft.evaluation.clone()),
        (first.clone(), None)
    );
    assert_eq!(draft.weights, world.observed.revisions[0].spec.weights);
    assert_eq!(
        (world.wants("a"), world.wants("b")),
        (plan.target.clone(), first.clone())
    );
    world.live("a");
    world.step();
    assert_eq!(world.wants("b"), plan.target);
    world.settle();
    assert_eq!(world.step().target, plan.target);
    world.patch(&json!({"model": {"precision": "Float32"}}));
    let plan = world.step();
    assert_eq!((plan.target, plan.drafts.len()), (first, 0));
}

#[test]
fn new_weights_go_node_by_node_in_order() {
    let mut world = World::running(&["a", "b", "c"]);
    let old = world.wants("a");
    let plan = world.retrained('b', 0.1);
    let new = plan.target.clone();
    let want = |world: &World| ["a", "b", "c"].map(|node| world.wants(node) == new);
    assert_eq!(want(&world), [true, false, false]);
    world.step();
    assert_eq!(want(&world), [true, false, false], "b waits for a");
    world.live("a");
    assert_eq!(world.step().current, old, "not every node has it");
    assert_eq!(want(&world), [true, true, false]);
    world.live("b");
    world.step();
    world.live("c");
    assert_eq!(world.step().current, new);
}

#[test]
fn max_in_flight_nodes_load_together() {
    let mut world = World::running(&["a", "b", "c", "d"]);
    world.patch(&json!({"rollout": {"maxInFlight": 3}}));
    let new = world.retrained('b', 0.1).target;
    assert_eq!(
        ["a", "b", "c", "d"].map(|node| world.wants(node) == new),
        [true, true, true, false]
    );
}

#[test]
fn a_failed_node_stops_the_rollout_and_a_rollback_gets_past_it() {
    let mut world = World::running(&["a", "b"]);
    let old = world.wants("a").unwrap();
    let new = world.retrained('b', 0.1).target;
    world.fails("a");
    let plan = world.step();
    assert_eq!(verdict(&plan, condition::PROGRESSING).reason, "NodeFailed");
    assert_eq!(plan.twins["a"].state, NodeState::Failed);
    assert_eq!((world.wants("a"), world.wants("b")), (new, Some(old.clone())));
    world.patch(&json!({"rollout": {"pinnedRevision": old}}));
    world.step();
    assert_eq!(
        (world.wants("a"), world.wants("b")),
        (Some(old.clone()), Some(old)),
        "both still run it"
    );
}

#[test]
fn the_deadline_runs_only_while_a_node_can_be_reached() {
    let mut world = World::running(&["a", "b"]);
    world.retrained('b', 0.1);
    world.pass(60);
    assert_eq!(
        verdict(&world.step(), condition::PROGRESSING).reason,
        "RollingOut"
    );
    world.reachable("a", false);
    world.pass(600);
    let plan = world.step();
    assert_eq!(plan.twins["b"].revision, plan.target, "the next one has its turn");
    world.live("b");
    world.reachable("a", true);
    assert_eq!(
        verdict(&world.step(), condition::PROGRESSING).reason,
        "RollingOut"
    );
    world.pass(120);
    assert_eq!(
        verdict(&world.step(), condition::PROGRESSING).reason,
        "ProgressDeadlineExceeded"
    );
    world.live("a");
    assert_eq!(verdict(&world.step(), condition::PROGRESSING).reason, "Complete");
}

#[test]
fn nodes_out_of_reach_are_skipped_and_caught_up() {
    let mut world = World::running(&["a", "b"]);
    let old = world.wants("a");
    world.reachable("a", false);
    let new = world.retrained('b', 0.1).target;
    let plan = world.settle();
    assert_eq!((world.wants("a"), world.wants("b")), (old, new.clone()));
    assert_eq!((plan.current.as_ref(), plan.nodes.offline), (new.as_ref(), 1));
    assert_eq!(verdict(&plan, condition::READY).status, Some(true));
    world.reachable("a", true);
    world.settle();
    assert_eq!(world.wants("a"), new);
}

#[test]
fn a_node_that_joins_during_a_rollout_gets_what_is_proven() {
    let mut world = World::running(&["a", "b"]);
    let old = world.wants("a");
    world.retrained('b', 0.1);
    world.fails("a");
    world.observed.edge_nodes.insert(
        "c".to_owned(),
        EdgeNode {
            ready: true,
            since: None,
        },
    );
    world.step();
    assert_eq!(world.wants("c"), old);
}

#[test]
fn routing_edited_during_a_rollout_reaches_waiting_nodes_with_their_own_weights() {
    let mut world = World::running(&["a", "b"]);
    world.retrained('b', 0.1);
    world.patch(&json!({"routing": {"offloadAbove": 2.0}}));
    let plan = world.step();
    let spec = |node: &str| {
        let name = world.wants(node);
        world
            .observed
            .revisions
            .iter()
            .find(|r| Some(r.name_any()) == name)
            .unwrap()
            .spec
            .clone()
    };
    let (a, b) = (spec("a"), spec("b"));
    assert_eq!((a.routing.clone(), &plan.target), (b.routing, &world.wants("a")));
    assert!(a.weights.adaptive.contains('b') && b.weights.adaptive.contains('a'));
    assert_eq!(world.settle().nodes.synced, 2);
}

#[test]
fn paused_leaves_every_node_as_it_is() {
    let mut world = World::running(&["a", "b"]);
    let old = world.wants("a");
    world.patch(&json!({"rollout": {"paused": true}, "routing": {"offloadAbove": 2.0}}));
    let plan = world.retrained('b', 0.1);
    assert_eq!(verdict(&plan, condition::PROGRESSING).reason, "Paused");
    assert_eq!((world.wants("a"), world.wants("b")), (old.clone(), old));
}

#[test]
fn a_pinned_revision_that_is_not_there_moves_nothing() {
    let mut world = World::running(&["a"]);
    let old = world.wants("a");
    world.patch(&json!({"rollout": {"pinnedRevision": "cams-none"}}));
    let plan = world.step();
    assert_eq!(
        verdict(&plan, condition::PROGRESSING).reason,
        "PinnedRevisionMissing"
    );
    assert_eq!(
        (verdict(&plan, condition::READY).status, world.wants("a")),
        (Some(false), old.clone())
    );
    assert_eq!(
        plan.in_cloud.map(|revision| revision.name_any()),
        old,
        "the cloud goes on"
    );
}

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

#[test]
fn history_keeps_what_is_in_use_and_the_newest_of_the_rest() {
    let mut world = World::running(&["a"]);
    world.patch(&json!({"rollout": {"revisionHistoryLimit": 2}}));
    for step in 1..=8 {
        world.patch(&json!({"routing": {"offloadAbove": f64::from(step)}}));
        world.settle();
    }
    let numbers: Vec<_> = world
        .observed
        .revisions
        .iter()
        .map(|revision| revision.spec.number)
        .collect();
    assert_eq!(
        numbers,
        [1, 7, 8, 9],
        "the first brought the weights, the last is live, two more are kept"
    );
}

type Break = fn(&mut Observed);

#[test]
fn preflight_says_what_is_missing() {
    let cases: [(&str, Break); 6] = [
        ("NoEdgeNode", |o| o.edge_nodes.clear()),
        ("NoCloudNode", |o| o.cloud_nodes.clear()),
        ("NoAccelerator", |o| o.cloud_nodes[0].extended.clear()),
        ("ClaimMissing", |o| o.claim = StoreClaim::Missing),
        ("ClaimLost", |o| o.claim = StoreClaim::Lost),
        ("ClaimNotBound", |o| {
            o.claim = StoreClaim::Pending("no class".to_owned());
        }),
    ];
    for (reason, break_it) in cases {
        let mut world = World::running(&["a"]);
        let before = world.plan();
        break_it(&mut world.observed);
        let plan = world.plan();
        let verdict = verdict(&plan, condition::PREFLIGHT_PASSED);
        assert_eq!((verdict.status, verdict.reason), (Some(false), reason));
        if reason != "NoEdgeNode" {
            assert_eq!(plan.twins, before.twins, "running edges are left alone");
        }
        assert!(plan.in_cloud.is_some());
    }
}

#[test]
fn pods_that_do_not_serve_are_told_in_the_words_of_kubernetes() {
    let mut world = World::running(&["a"]);
    world
        .observed
        .troubles
        .say(Component::Edge, "pod e on a: OOMKilled");
    assert_eq!(
        verdict(&world.plan(), condition::READY).status,
        Some(true),
        "what serves is in no trouble"
    );
    world.observed.edge_pods_ready = Some(0);
    let plan = world.plan();
    let ready = verdict(&plan, condition::READY);
    assert_eq!(
        (ready.reason, ready.message.as_str()),
        (
            "EdgePodsNotReady",
            "0 edge pods are ready on 1 reachable nodes; pod e on a: OOMKilled"
        )
    );
    world.observed.cloud = Some(CloudSeen {
        wanted: 1,
        available: 0,
        since: Some(world.now),
        updated: true,
    });
    let plan = world.plan();
    let starting = verdict(&plan, condition::CLOUD_AVAILABLE).reason;
    assert_eq!(
        (starting, plan.look_again),
        ("Starting", Some(super::super::START))
    );
    world.pass(60);
    assert_eq!(
        verdict(&world.plan(), condition::CLOUD_AVAILABLE).reason,
        "Unavailable"
    );
    world.pass(-60);
    let troubles = &mut world.observed.troubles;
    troubles.say(Component::Cloud, "pod c: 1 Insufficient nvidia.com/gpu");
    let plan = world.plan();
    let cloud = verdict(&plan, condition::CLOUD_AVAILABLE);
    assert!(
        cloud
            .message
            .contains("; pod c: 1 Insufficient nvidia.com/gpu: see"),
        "{}",
        cloud.message
    );
}

#[test]
fn nobody_is_sent_to_a_store_that_nobody_serves() {
    let serves = |world: &mut World, available: i32| {
        world.observed.cloud = Some(CloudSeen {
            wanted: 1,
            available,
            since: Some(world.now),
            updated: true,
        });
    };
    let mut world = World::new(&["a", "b"]);
    serves(&mut world, 0);
    world.imported();
    assert_eq!((world.wants("a"), world.wants("b")), (None, None));
    assert_eq!(verdict(&world.plan(), condition::READY).reason, "Starting");
    let plan = world.plan();
    let progressing = &verdict(&plan, condition::PROGRESSING).message;
    assert!(progressing.contains("wait for the store"), "{progressing}");
    serves(&mut world, 1);
    world.settle();
    let old = world.wants("a").unwrap();

    serves(&mut world, 0);
    world.retrained('b', 0.1);
    assert_eq!(world.wants("a").as_ref(), Some(&old), "new weights wait");
    world.patch(&json!({"routing": {"offloadAbove": 2.0}}));
    world.step();
    assert_ne!(world.wants("a").as_ref(), Some(&old), "routing does not");
    serves(&mut world, 1);
    world.settle();
    let new = world.wants("a");
    serves(&mut world, 0);
    world.patch(&json!({"rollout": {"pinnedRevision": old}}));
    world.step();
    assert!(
        world.wants("a") == Some(old) && new != world.wants("a"),
        "nor does a rollback"
    );
}

#[test]
fn a_node_that_could_not_reach_a_store_just_served_has_not_failed_yet() {
    let mut world = World::running(&["a", "b"]);
    world.patch(&json!({"rollout": {"maxInFlight": 2}}));
    world.retrained('b', 0.1);
    world.fails("a");
    world.live("b");
    if let Some(cloud) = &mut world.observed.cloud {
        cloud.since = Some(world.now);
    }
    let plan = world.step();
    assert_eq!(plan.twins["a"].state, NodeState::Pending);
    assert_eq!(verdict(&plan, condition::PROGRESSING).reason, "RollingOut");
    assert_eq!(plan.look_again, Some(Duration::from_secs(10)));
    world.pass(10);
    let plan = world.step();
    assert_eq!(plan.twins["a"].state, NodeState::Failed);
    assert_eq!(verdict(&plan, condition::PROGRESSING).reason, "NodeFailed");
}

#[test]
fn names_of_revisions_are_those_of_their_content() {
    let world = World::running(&["a"]);
    let revision = &world.observed.revisions[0];
    // `sha256sum` of the content as JSON without white space, members by name, says the same.
    assert_eq!(revision.name_any(), "cams-88e32527df");
}
