use burn::tensor::{Device, Tensor, TensorData};
use meanet_data::Images;
use serde::{Deserialize, Serialize};

/// What the network takes: RGB pixels, normalised by channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputSpec {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Mean of each channel, in 0..1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, in 0..1.
    pub std: [f32; 3],
}

impl InputSpec {
    /// CIFAR-100: 32×32, statistics of the training images.
    #[must_use]
    pub fn cifar100() -> Self {
        Self {
            height: 32,
            width: 32,
            mean: [0.5071, 0.4867, 0.4408],
            std: [0.2675, 0.2565, 0.2761],
        }
    }

    /// Least standard deviation that [`Self::of`] gives: one of 255 levels. What differs by less is rounding.
    const LEAST_STD: f32 = 1.0 / 255.0;

    /// The same size, normalised by what `images` are like: light of another colour, less of it, and less contrast are gone afterwards.
    /// Of no images, as it is.
    #[must_use]
    pub fn of(&self, images: &Images) -> Self {
        let plane = (images.height * images.width).max(1);
        let count = (images.len() * plane) as f64;
        if count == 0.0 {
            return self.clone();
        }
        // Whole numbers: the sums are exact for any set of images that fits into memory.
        let mut sums = [(0_u64, 0_u64); 3];
        for (at, pixels) in images.pixels.chunks_exact(plane).enumerate() {
            let (sum, squares) = &mut sums[at % 3];
            for &value in pixels {
                *sum += u64::from(value);
                *squares += u64::from(value) * u64::from(value);
            }
        }
        let moments = sums.map(|(sum, squares)| {
            let mean = sum as f64 / count;
            let variance = (squares as f64 / count - mean * mean).max(0.0);
            ((mean / 255.0) as f32, (variance.sqrt() / 255.0) as f32)
        });
        Self {
            mean: moments.map(|(mean, _)| mean),
            std: moments.map(|(_, std)| std.max(Self::LEAST_STD)),
            ..self.clone()
        }
    }

    /// Whether both take images of the same size.
    #[must_use]
    pub fn is_sized_as(&self, other: &Self) -> bool {
        (self.height, self.width) == (other.height, other.width)
    }

    /// Values of one image: `3·height·width`.
    #[must_use]
    pub fn values(&self) -> usize {
        3 * self.height * self.width
    }

    /// The mean colour in 0..255, which is 0 after normalisation.
    #[must_use]
    pub fn fill(&self) -> [f32; 3] {
        self.mean.map(|m| m * 255.0)
    }

    /// Values in 0..255, `[n, 3, side, side]` → the same, normalised, on `device`.
    pub(crate) fn tensor(&self, values: Vec<f32>, [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
        let mut values = values;
        let plane = height * width;
        for image in values.chunks_exact_mut(3 * plane) {
            for (channel, pixels) in image.chunks_exact_mut(plane).enumerate() {
                let scale = 1.0 / (255.0 * self.std[channel]);
                let shift = self.mean[channel] / self.std[channel];
                for value in pixels {
                    *value = value.mul_add(scale, -shift);
                }
            }
        }
        let n = values.len() / (3 * plane);
        Tensor::from_data(TensorData::new(values, [n, 3, height, width]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meanet_data::procedural;

    #[test]
    fn a_colour_cast_is_gone_once_normalised_by_the_images_that_have_it() {
        let images = procedural(3, 20, 1);
        let mut cast = images.clone();
        cast.pixels.iter_mut().for_each(|value| *value = *value / 2 + 20);
        let values = |images: &Images| {
            let spec = InputSpec::cifar100().of(images);
            let pixels = images.pixels.iter().map(|&v| f32::from(v)).collect();
            let tensor = spec.tensor(pixels, [images.height, images.width], &Device::flex());
            tensor.into_data().try_to_vec::<f32>().unwrap()
        };
        let [plain, cast] = [&images, &cast].map(values);
        let farthest = plain.iter().zip(&cast).map(|(a, b)| (a - b).abs());
        // Half a level is lost to rounding.
        assert!(farthest.fold(0.0, f32::max) < 0.05);
        let mean = plain.iter().sum::<f32>() / plain.len() as f32;
        assert!(mean.abs() < 1e-3, "{mean}");
    }

    #[test]
    fn images_of_one_colour_or_none_have_statistics_that_can_be_divided_by() {
        let spec = InputSpec::cifar100();
        assert_eq!(spec.of(&Images::empty(32, 32)), spec);
        let mut grey = Images::empty(32, 32);
        grey.push(&[51; 3 * 32 * 32], 0);
        let found = spec.of(&grey);
        assert_eq!((found.mean, found.std), ([0.2; 3], [1.0 / 255.0; 3]));
    }
}
