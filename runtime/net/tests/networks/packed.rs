//! What is done to blobs before they are shipped.

use super::*;

/// Of main block and extension, image by image.
fn logits(network: &EdgeNetwork, batch: &ImageBatch) -> [Vec<f32>; 2] {
    let pass = network.main(batch).unwrap();
    let all: Vec<usize> = (0..batch.len()).collect();
    let extended = network.extension(&pass, batch, &all).unwrap();
    [pass.logits, extended].map(|rows| rows.concat())
}

#[test]
fn a_calibrated_model_runs_in_8_bits_and_is_the_same_in_floats() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = model(folder.path());
    let load = |blobs: EdgeBlobs<'_>, precision| EdgeNetwork::load_as(blobs, precision, Compute::default());
    let error = load(blobs.edge(), Precision::Int8).err().unwrap().to_string();
    assert!(
        error.contains("main block carries no ranges") && error.contains("meanet train calibrate"),
        "{error}"
    );

    let data = images(24).0;
    let made = calibrate(blobs.edge(), &data, Calibrated::All).unwrap();
    let again = calibrate(blobs.edge(), &data, Calibrated::All).unwrap();
    assert_eq!(made, again, "the same images give the same bytes");
    let edge = EdgeBlobs {
        main: &made.main,
        adaptive: &made.adaptive,
        extension: &made.extension,
    };
    let (floats, coarse) = (
        load(edge, Precision::Float32).unwrap(),
        load(edge, Precision::Int8).unwrap(),
    );
    let before = load(blobs.edge(), Precision::Float32).unwrap();
    let batch = ImageBatch::from_bytes(data.height, data.width, data.pixels.clone()).unwrap();
    let logits = |network: &EdgeNetwork| logits(network, &batch).concat();
    assert_eq!(logits(&floats), logits(&before));
    let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
    let (exact, near) = (logits(&floats), logits(&coarse));
    let off = squares(&mut exact.iter().zip(&near).map(|(a, b)| a - b)) / squares(&mut exact.iter().copied());
    assert!(off > 0.0 && off.sqrt() < 0.1, "off by {}", off.sqrt());

    // A main block that stays keeps its bytes; without ranges of its own there is no 8-bit plan.
    let kept = calibrate(blobs.edge(), &data, Calibrated::Retrained).unwrap();
    assert_eq!(kept.main, blobs.main);
    assert!(read_card(&kept.extension).unwrap().ranges.len() > 1);
    let over = calibrate(edge, &data, Calibrated::Retrained).unwrap();
    assert_eq!(over, made);
    let none = calibrate(blobs.edge(), &Images::empty(8, 8), Calibrated::All);
    assert!(none.is_err_and(|e| e.to_string().contains("training images")));
}

#[test]
fn logits_are_divided_and_answers_stay() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = model(folder.path());
    let cooled = blobs
        .at(Temperatures {
            main: 0.5,
            extension: 0.25,
            cloud: 2.0,
        })
        .unwrap();
    let data = images(24).0;
    let batch = ImageBatch::from_bytes(data.height, data.width, data.pixels.clone()).unwrap();
    let of = |blobs: &ModelBlobs| logits(&EdgeNetwork::load(blobs.edge()).unwrap(), &batch);
    let ([main, extension], [cooled_main, cooled_extension]) = (of(&blobs), of(&cooled));
    // Its own logits and those of the main block that they are added to.
    let card = read_card(&cooled.extension).unwrap();
    assert!(
        card.adds_to_main && (card.main_weight - 2.0).abs() < 1e-6,
        "{card:?}"
    );
    for (before, after, times) in [(main, cooled_main, 2.0), (extension, cooled_extension, 4.0)] {
        for (before, after) in before.into_iter().zip(after) {
            assert!(
                (before * times - after).abs() <= 1e-5 * after.abs().max(1.0),
                "{before} {after}"
            );
        }
    }
    assert_eq!(
        blobs
            .at(Temperatures {
                main: 1.0,
                extension: 1.0,
                cloud: 1.0
            })
            .unwrap(),
        blobs
    );
}
