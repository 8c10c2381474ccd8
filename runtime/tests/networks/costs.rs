//! What blocks cost is what was published of them.

use std::path::Path;

use meanet_net::{
    Backbone, Block, Blueprint, CloudGraph, EdgeGraph, Fusion, InputSpec, Manifest, Variant, read_card,
};
use meanet_runtime::describe::{costs, describe, scaled};

fn input(height: usize, width: usize) -> InputSpec {
    InputSpec {
        height,
        width,
        ..InputSpec::cifar100()
    }
}

/// Multiply-accumulates and parameters of main block, adaptive block and extension, for 100 classes of which 50 are hard.
fn blocks(backbone: &str, variant: Variant) -> Vec<(String, String)> {
    let blueprint = Blueprint {
        variant,
        ..Blueprint::whole(backbone.parse().unwrap())
    };
    let edge = EdgeGraph::untrained(&blueprint, 100, 50, &input(32, 32)).unwrap();
    let described = describe(&blueprint, 100, &edge, None).unwrap();
    described
        .blocks
        .iter()
        .map(|b| (scaled(b.macs), scaled(b.parameters)))
        .collect()
}

fn pairs(expected: [(&str, &str); 3]) -> Vec<(String, String)> {
    expected.map(|(m, p)| (m.to_owned(), p.to_owned())).into()
}

#[test]
fn edges_cost_what_the_paper_says() {
    assert_eq!(
        blocks("ResNet32", Variant::Split),
        pairs([("46.7M", "193k"), ("8.8M", "20k"), ("23.9M", "377k")])
    );
    assert_eq!(
        blocks("ResNet32", Variant::Extend),
        pairs([("69.1M", "473k"), ("12.5M", "77k"), ("21.8M", "344k")])
    );
}

/// CIFAR networks as of chenyaofo/pytorch-cifar-models, large ones as of torchvision.
#[test]
fn whole_networks_cost_what_others_say() {
    for (backbone, side, classes, macs, parameters) in [
        ("ResNet20", 32, 100, "40.8M", "278k"),
        ("ResNet56", 32, 100, "125.8M", "862k"),
        ("MobileNetV2x0.5Cifar", 32, 100, "28.1M", "816k"),
        ("MobileNetV2Cifar", 32, 100, "88.1M", "2.4M"),
        ("MobileNetV2", 224, 1000, "300.8M", "3.5M"),
        ("ResNet18", 224, 1000, "1.8G", "11.7M"),
        ("ResNet34", 224, 1000, "3.7G", "21.8M"),
        ("ResNet101", 224, 1000, "7.8G", "44.5M"),
    ] {
        let backbone: Backbone = backbone.parse().unwrap();
        let cloud = CloudGraph::untrained(backbone, classes, &input(side, side)).unwrap();
        let cost = &costs(&cloud.graph, &[(Block::Cloud, cloud.network)]).unwrap()[0];
        let found = (scaled(cost.macs), scaled(cost.parameters));
        assert_eq!(found, (macs.to_owned(), parameters.to_owned()), "{backbone}");
    }
}

#[test]
fn networks_are_there_for_every_size_they_allow() {
    for variant in [Variant::Split, Variant::Extend] {
        for fusion in [Fusion::Concat, Fusion::Sum] {
            for backbone in ["ResNet20", "ResNet18Cifar", "MobileNetV2x0.25Cifar", "MicroNet"] {
                let blueprint = Blueprint {
                    backbone: backbone.parse().unwrap(),
                    variant,
                    fusion,
                };
                for (height, width) in [(33, 36), (57, 40)] {
                    let edge = EdgeGraph::untrained(&blueprint, 7, 3, &input(height, width)).unwrap();
                    assert_eq!(describe(&blueprint, 7, &edge, None).unwrap().blocks.len(), 3);
                }
            }
        }
    }
    let tiny = Blueprint {
        variant: Variant::Split,
        ..Blueprint::whole("ResNet20".parse().unwrap())
    };
    let error = EdgeGraph::untrained(&tiny, 7, 3, &input(4, 7))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("images of 4×7 are too small for a ResNet20 in variant Split"),
        "{error}"
    );
}

#[test]
fn blobs_are_as_large_as_is_said() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cifar100");
    let (_, _, blobs) = Manifest::open(&folder).unwrap();
    let cloud = blobs.cloud.as_deref().unwrap();
    let backbone = read_card(cloud).unwrap().backbone;
    let described = describe(
        &read_card(&blobs.extension).unwrap().blueprint(),
        100,
        &EdgeGraph::of_blobs(blobs.edge()).unwrap(),
        Some((backbone, CloudGraph::of_blob(cloud).unwrap())),
    )
    .unwrap();
    let stored = [&blobs.main[..], &blobs.adaptive, &blobs.extension, cloud].map(|blob| {
        let file = safetensors::SafeTensors::deserialize(blob).unwrap();
        file.iter().map(|(_, tensor)| tensor.data().len()).sum::<usize>()
    });
    let said: Vec<usize> = described.blocks.iter().map(|block| block.bytes).collect();
    assert_eq!(said, stored);
}
