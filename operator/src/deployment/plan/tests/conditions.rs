use super::*;

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
