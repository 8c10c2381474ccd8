use serde_json::{Value, json};

/// Pixels of an image, `[3, 32, 32]`: soft blobs of colour that differ with `seed`, so that scores differ, too.
pub fn image(seed: u32) -> Vec<u8> {
    let wave = |seed: u32, channel: usize, y: usize, x: usize| {
        let (a, b) = (f64::from(seed % 7 + 1), f64::from(seed % 11 + 1));
        let phase = f64::from(seed) * 0.7 + channel as f64;
        let value = (x as f64 * a / 16.0 + phase).sin() + (y as f64 * b / 16.0 - phase).cos();
        ((value + 2.0) * 63.0) as u8
    };
    (0..3 * 32 * 32)
        .map(|i| wave(seed, i / 1024, i / 32 % 32, i % 32))
        .collect()
}

/// A request with this one image.
pub fn infer_json(pixels: &[u8]) -> Value {
    json!({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 3, 32, 32], "data": pixels}]})
}

/// A request that takes a server a while: so many images.
pub fn large(images: u32) -> Value {
    let data: Vec<u8> = (0..images).flat_map(image).collect();
    json!({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [images, 3, 32, 32], "data": data}]})
}

/// The image as a PNG file.
pub fn png(pixels: &[u8]) -> Vec<u8> {
    meanet_data::encode_png(pixels, 32, 32).unwrap()
}
