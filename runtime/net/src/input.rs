use burn::tensor::{Device, Tensor, TensorData};
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
