//! What the cloud says of images once it knows their domain. A network is wrong about input unlike what it was trained on, which is what a
//! retraining is for; who learns from its labels then learns its mistakes. Its colours and batch norms can follow the input as an
//! edge's do, without any label, and it labels the images anew. In that domain it then serves as well.

use meanet_data::{Images, Training};
use meanet_method::{best, information, softmax};
use tracing::info;

use crate::backend::Processor;
use crate::domain::Domain;
use crate::train::domain::{candidates, choose, logits};
use crate::train::retrain::Material;
use crate::train::run::TrainError;

/// Fewer images than this have no statistics to go by.
const FEWEST: usize = 100;

impl Material {
    /// Images of which the cloud's network said `logits`, `[n][classes]`.
    pub fn of_cloud(images: Images, logits: &[Vec<f32>]) -> Result<Self, TrainError> {
        let mut material = Self {
            labelled: Training(Images::empty(images.height, images.width)),
            collected: Training(images),
            confidences: Vec::new(),
        };
        material.take(&probabilities(logits)?);
        Ok(material)
    }

    /// Lets `cloud`, the network that labelled what was collected, label it anew in the domain of those images, where its answers tell them
    /// apart better there than in the domain that it is in, beyond chance. Gives the new one, where it did.
    pub fn relabel(
        &mut self,
        cloud: &[u8],
        seed: u64,
        processor: &Processor,
    ) -> Result<Option<Domain>, TrainError> {
        let images = &self.collected.0;
        if images.len() < FEWEST {
            return Ok(None);
        }
        let [trained, others @ ..] = candidates(cloud, images, seed, processor)?;
        let told = |domain: &Domain| {
            let said = probabilities(&logits(cloud, domain, images)?)?;
            Ok((information(&said), said))
        };
        let (domain, said) = choose(trained.clone(), others, told)?;
        if domain == trained {
            return Ok(None);
        }
        let before = images.labels.clone();
        self.take(&said);
        let pairs = before.iter().zip(&self.collected.0.labels);
        info!(
            colours = domain.input != trained.input,
            norms = domain.norms != trained.norms,
            changed = pairs.filter(|(old, new)| old != new).count(),
            images = before.len(),
            "the cloud labelled anew what it collected"
        );
        Ok(Some(domain))
    }

    /// Takes labels of what was collected, and how sure they are, from probabilities.
    fn take(&mut self, said: &[Vec<f32>]) {
        let answers = said.iter().map(|row| best(row));
        (self.collected.0.labels, self.confidences) = answers
            .map(|(class, confidence)| (class as u32, confidence))
            .unzip();
    }
}

fn probabilities(logits: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, TrainError> {
    let all = logits.iter().map(|row| softmax(row));
    all.collect::<Result<_, _>>().map_err(|e| TrainError::Data {
        reason: format!("the cloud's network answers what is no probability: {e}"),
    })
}

#[cfg(test)]
mod tests {
    use meanet_data::procedural;

    use super::*;
    use crate::batch::ImageBatch;
    use crate::cloud::CloudNetwork;
    use crate::train::adapt::classifier_of;
    use crate::train::domain::tests::{dark, knowing};

    fn right(labels: &[u32], images: &Images) -> usize {
        let pairs = labels.iter().zip(&images.labels);
        pairs.filter(|(said, label)| said == label).count()
    }

    #[test]
    fn a_cloud_in_the_dark_labels_anew_what_it_collected() {
        let images = procedural(4, 240, 1);
        let cloud = classifier_of(&knowing(&images)).unwrap();
        let trained = Domain::of_card(&crate::read_card(&cloud).unwrap());
        let ask = |images: &Images| {
            let said = logits(&cloud, &trained, images).unwrap();
            let mut material = Material::of_cloud(images.clone(), &said).unwrap();
            let before = material.clone();
            let anew = material.relabel(&cloud, 0, &Processor::Engine).unwrap();
            (before, anew, material)
        };
        let (before, _, after) = ask(&images);
        let counts = [&before, &after].map(|material| right(&material.collected.0.labels, &images));
        let known = counts[0];
        assert!(
            counts[1] + known / 20 >= known,
            "{counts:?} where nothing has changed"
        );

        let dark = dark(&images);
        let (before, domain, after) = ask(&dark);
        let counts = [&before, &after].map(|material| right(&material.collected.0.labels, &dark));
        assert_eq!(after.collected.0.pixels, dark.pixels);
        let moved = CloudNetwork::load(&domain.unwrap().onto(&cloud).unwrap()).unwrap();
        let batch = ImageBatch::from_bytes(dark.height, dark.width, dark.pixels.clone()).unwrap();
        let said: Vec<u32> = moved
            .logits(&batch)
            .unwrap()
            .iter()
            .map(|row| best(row).0 as u32)
            .collect();
        assert_eq!(
            said, after.collected.0.labels,
            "what serves says what it labelled"
        );
        assert!(
            counts[1] >= counts[0] + (known - counts[0]) / 3,
            "{counts:?} of the {known} that it knew"
        );
        assert_eq!(after.confidences.len(), dark.len());

        let few = dark.select(&(0..FEWEST - 1).collect::<Vec<_>>());
        assert_eq!(ask(&few).1, None, "too few to have statistics");
    }
}
