//! Revisions, thresholds and precision change under load: no request fails, and every answer is of exactly one revision.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use meanet_crds::deployment::{LearnedScore, Precision, Score};
use meanet_crds::revision::MEANetRevisionSpec;

use crate::support::{CloudServer, EdgeServer, Model, Said, image, infer_json, revision, said};

/// Images of each exit of the edge.
const EACH: usize = 4;
const CLIENTS: usize = 4;
/// Times that each revision comes into service under load.
const ROUNDS: usize = 6;

fn revisions(model: &Model) -> Vec<(String, MEANetRevisionSpec)> {
    let stubborn = model.stubborn_extension();
    let extensions = [&model.manifest.weights.extension, &stubborn];
    let mut all = Vec::new();
    for (name, extension) in ["own", "stubborn"].into_iter().zip(extensions) {
        for offload_above in [0.5, 1.5, 10.0] {
            let mut spec = revision(&model.manifest, extension, offload_above);
            // No answer here is to be late, however loaded the machine is.
            spec.routing.cloud_timeout = "10s".parse().unwrap();
            all.push((format!("{name}-{offload_above}"), spec));
        }
    }
    let (_, mut sparing) = all[2].clone();
    sparing.routing.extend_above = Some(10.0);
    all.push(("sparing-10".to_owned(), sparing));
    let (_, mut learned) = all[2].clone();
    let routing = &mut learned.routing;
    // Half of what a softmax may say.
    let mut weights = [0.0; 12];
    (weights[0], weights[10]) = (-4.0, 4.0);
    (routing.score, routing.learned) = (Score::Learned, Some(LearnedScore { weights, bias: 0.0 }));
    routing.offload_above = 0.5;
    all.push(("learned-0.5".to_owned(), learned));
    let (_, mut rounded) = all[2].clone();
    rounded.model.precision = Precision::Int8;
    all.push(("int8-10".to_owned(), rounded));
    all
}

/// Seeds of images, as many that the main block answers as the extension does.
async fn images_of_both_exits(edge: &mut EdgeServer, model: &Model) -> Vec<u32> {
    edge.service.bring("own", &model.revision(10.0)).await.unwrap();
    let (mut main, mut extension) = (Vec::new(), Vec::new());
    for seed in 0..2000 {
        let answer = said(&edge.infer(&infer_json(&image(seed))).await.json().await.unwrap());
        let of_exit = if answer.exit == "main" {
            &mut main
        } else {
            &mut extension
        };
        if of_exit.len() < EACH {
            of_exit.push(seed);
        }
        if main.len() == EACH && extension.len() == EACH {
            break;
        }
    }
    assert!(
        extension.len() == EACH,
        "the extension is asked for {extension:?} only"
    );
    [main, extension].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_mixes_two_revisions() {
    let model = Model::new();
    let cloud = CloudServer::start(&model).await;
    let mut edge = EdgeServer::start(&cloud.store_url(), &cloud.model_url()).await;
    let revisions = revisions(&model);

    let images = images_of_both_exits(&mut edge, &model).await;

    // What each revision says of each image when nothing changes.
    let mut expected: HashMap<(String, u32), Said> = HashMap::new();
    for (name, spec) in &revisions {
        edge.service.bring(name, spec).await.unwrap();
        for &seed in &images {
            let answer = said(&edge.infer(&infer_json(&image(seed))).await.json().await.unwrap());
            let above = answer.score > spec.routing.offload_above;
            assert_eq!(above, answer.exit == "cloud", "{answer:?}");
            let extend_above = spec.routing.extend_above;
            assert!(
                answer.exit != "extension" || extend_above.is_none_or(|t| answer.score > t),
                "{answer:?}"
            );
            expected.insert((name.clone(), seed), answer);
        }
    }
    let differ = |a: &str, b: &str| {
        images.iter().any(|&seed| {
            let of = |name: &str| &expected[&(name.to_owned(), seed)];
            (of(a).label, &of(a).exit) != (of(b).label, &of(b).exit)
        })
    };
    assert!(
        differ("own-10", "stubborn-10")
            && differ("own-0.5", "own-10")
            && differ("own-10", "sparing-10")
            && differ("own-10", "learned-0.5"),
        "nothing to mix up"
    );
    let score = |name: &str, seed: u32| expected[&(name.to_owned(), seed)].score;
    assert!(
        images
            .iter()
            .any(|&seed| score("own-10", seed) != score("int8-10", seed)),
        "nothing was rounded"
    );

    let images = Arc::new(images);
    let (expected, stop) = (Arc::new(expected), Arc::new(AtomicBool::new(false)));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (client, url) = (edge.client.clone(), edge.url("/v2/models/cams/infer"));
            let (expected, stop, answered) =
                (Arc::clone(&expected), Arc::clone(&stop), Arc::clone(&answered));
            let images = Arc::clone(&images);
            tokio::spawn(async move {
                for &seed in images.iter().cycle().skip(number) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let sent = client
                        .post(&url)
                        .json(&infer_json(&image(seed)))
                        .send()
                        .await
                        .unwrap();
                    assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
                    let answer = said(&sent.json().await.unwrap());
                    let alone = &expected[&(answer.revision.clone(), seed)];
                    assert_eq!(
                        (&answer.exit, answer.score, answer.degraded),
                        (&alone.exit, alone.score, false),
                        "{answer:?}"
                    );
                    // The cloud computes in batches, whose sums may differ in the last digits.
                    if answer.exit != "cloud" {
                        assert_eq!(answer.label, alone.label, "{answer:?}");
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        for (name, spec) in &revisions {
            let before = answered.load(Ordering::Relaxed);
            edge.service.bring(name, spec).await.unwrap();
            while answered.load(Ordering::Relaxed) < before + CLIENTS
                && clients.iter().all(|c| !c.is_finished())
            {
                tokio::task::yield_now().await;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client met a failed or mixed answer");
    }
}
