use meanet_method::{EvaluateError, Outputs};

use crate::evaluate::top;

/// A class is routed to the extension where it gets at least one more image right in so many: it costs its time.
const WORTH: f64 = 1.0 / 200.0;
/// Fewest images of the average class that a class's own images are weighed against.
const PRIOR: f64 = 8.0;

/// The classes that the main block predicts least precisely: the worst `share` of them, ascending, ranked on held-out
/// logits `[n][classes]` (Long et al. 2021, §III). Precision is taken towards the mean precision by one pseudo-image, so that
/// a class predicted once or never is ranked near the middle, not at an end by accident.
#[must_use]
pub fn select_hard_classes(logits: &[Vec<f32>], labels: &[u32], classes: usize, share: f64) -> Vec<u32> {
    let mut predicted = vec![0_usize; classes];
    let mut right = vec![0_usize; classes];
    for (row, &label) in logits.iter().zip(labels) {
        let class = top(row);
        predicted[class] += 1;
        right[class] += usize::from(class == label as usize);
    }
    let mean = right.iter().sum::<usize>() as f64 / labels.len().max(1) as f64;
    let mut ranked: Vec<(f64, u32)> = (0..classes)
        .map(|c| ((right[c] as f64 + mean) / (predicted[c] as f64 + 1.0), c as u32))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let count = ((classes as f64 * share.clamp(0.0, 1.0)).round() as usize).clamp(1, classes.max(1));
    let mut hard: Vec<u32> = ranked.into_iter().take(count).map(|(_, class)| class).collect();
    hard.sort_unstable();
    hard
}

/// The classes for which asking the extension pays, ascending: of the images that the main block takes for them, it gets
/// more right than the main block does. Measured on held-out `outputs` of a trained extension, whatever classes were hard
/// before: when the input changes, the main block errs about other classes, and may not even name those that were hard.
/// A class's gain is taken towards the mean gain as far as chance alone explains that classes differ. Never empty: the
/// most promising class is there at least.
pub fn select_by_gain(outputs: &Outputs) -> Result<Vec<u32>, EvaluateError> {
    let extension = &outputs.extension_classes;
    outputs.check()?;
    let mut gains = vec![Gains::default(); outputs.classes()];
    let rows = outputs.main.iter().zip(&outputs.extension).zip(&outputs.labels);
    for ((main, answer), &label) in rows {
        let class = top(main);
        let answer = extension.get(top(answer)).copied();
        gains[class]
            .add(f64::from(u8::from(answer == Some(label))) - f64::from(u8::from(class == label as usize)));
    }
    let answered: Vec<Gains> = extension.iter().map(|&class| gains[class as usize]).collect();
    let (mean, prior) = (Gains::of(&answered).mean(), prior(&answered));
    let gain = |class: u32| gains[class as usize].towards(mean, prior);
    let worth: Vec<u32> = extension
        .iter()
        .copied()
        .filter(|&class| gain(class) >= WORTH)
        .collect();
    if worth.is_empty() {
        let best = extension
            .iter()
            .copied()
            .max_by(|&a, &b| gain(a).total_cmp(&gain(b)));
        return Ok(best.into_iter().collect());
    }
    Ok(worth)
}

/// What the extension gains on images that the main block takes for one class: 1 for an answer mended, -1 for one spoiled.
#[derive(Clone, Copy, Default)]
struct Gains {
    images: f64,
    sum: f64,
    squares: f64,
}

impl Gains {
    fn add(&mut self, gain: f64) {
        self.images += 1.0;
        self.sum += gain;
        self.squares += gain * gain;
    }

    fn of(parts: &[Self]) -> Self {
        parts.iter().fold(Self::default(), |sum, part| Self {
            images: sum.images + part.images,
            sum: sum.sum + part.sum,
            squares: sum.squares + part.squares,
        })
    }

    fn mean(&self) -> f64 {
        self.sum / self.images.max(1.0)
    }

    /// Sum of squared differences from the mean.
    fn scatter(&self) -> f64 {
        self.squares - self.sum * self.mean()
    }

    /// The mean with `prior` more images of gain `mean`; an infinite prior leaves nothing else.
    fn towards(&self, mean: f64, prior: f64) -> f64 {
        let own = self.images / (self.images + prior);
        (self.mean() - mean).mul_add(own, mean)
    }
}

/// How many images of the average class a class's own are to be weighed against: the variance between images by the variance
/// between classes, which is what is left of the differences between classes once that of chance is taken off (an empirical
/// Bayes estimate, by the analysis of variance). Infinite where nothing is left.
fn prior(classes: &[Gains]) -> f64 {
    let named: Vec<Gains> = classes.iter().copied().filter(|c| c.images > 0.0).collect();
    let all = Gains::of(&named);
    let (groups, images) = (named.len() as f64, all.images);
    if groups < 2.0 || images <= groups {
        return f64::INFINITY;
    }
    let inside: f64 = named.iter().map(Gains::scatter).sum();
    let within = inside / (images - groups);
    let between = (all.scatter() - inside) / (groups - 1.0);
    let squares: f64 = named.iter().map(|c| c.images * c.images).sum();
    let size = (images - squares / images) / (groups - 1.0);
    let spread = (between - within) / size;
    if spread > 0.0 {
        (within / spread).max(PRIOR)
    } else {
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images that the main block takes for `main`, the extension for `extension`, and that are of class `label`.
    fn outputs(images: &[(usize, usize, u32)]) -> Outputs {
        Outputs {
            labels: images.iter().map(|image| image.2).collect(),
            main: images.iter().map(|image| one_hot(image.0)).collect(),
            extension: images.iter().map(|image| one_hot(image.1)).collect(),
            cloud: Vec::new(),
            extension_classes: vec![0, 1, 2, 3],
            hard_classes: vec![3],
        }
    }

    #[test]
    fn classes_are_routed_where_the_extension_knows_better() {
        // Of what the main block takes for 0 the extension mends half, of 1 it spoils half, of 2 it changes nothing.
        let images = [(0, 3, 3), (0, 0, 0), (1, 2, 1), (1, 1, 1), (2, 2, 2), (2, 1, 3)].repeat(20);
        assert_eq!(select_by_gain(&outputs(&images)).unwrap(), [0]);
    }

    #[test]
    fn few_images_decide_little_and_something_is_always_routed() {
        let mut images = [(0, 3, 3), (0, 0, 0)].repeat(50);
        // One bad image of class 1 against a good mean; class 2 was never predicted.
        images.push((1, 2, 1));
        assert_eq!(select_by_gain(&outputs(&images)).unwrap(), [0, 1, 2, 3]);
        let spoiled = [(0, 3, 0), (1, 1, 1)].repeat(50);
        assert_eq!(select_by_gain(&outputs(&spoiled)).unwrap().len(), 1);
    }

    #[test]
    fn classes_that_differ_by_chance_alone_are_not_told_apart() {
        // Each class has 25 images; the extension mends and spoils a few of them.
        let of = |class, mended, spoiled| {
            let other = (class + 1) % 4;
            let same = vec![(class, class, class as u32); 25 - mended - spoiled];
            let mended = vec![(class, other, other as u32); mended];
            [same, mended, vec![(class, other, class as u32); spoiled]].concat()
        };
        let images = [of(0, 3, 1), of(1, 2, 2), of(2, 1, 2), of(3, 4, 1)].concat();
        assert_eq!(select_by_gain(&outputs(&images)).unwrap(), [0, 1, 2, 3]);
        // With a hundred times the images, the same shares are no chance any more.
        let many = [of(0, 3, 1), of(2, 1, 2), of(3, 4, 1)].concat().repeat(100);
        assert_eq!(select_by_gain(&outputs(&many)).unwrap(), [0, 1, 3]);
    }

    fn one_hot(class: usize) -> Vec<f32> {
        (0..4).map(|c| if c == class { 1.0 } else { 0.0 }).collect()
    }

    #[test]
    fn imprecise_classes_are_hard_and_absent_ones_are_not_extreme() {
        // Class 0 is always right, 1 right half of the time, 2 never, 3 is never predicted.
        let logits: Vec<_> = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2].map(one_hot).to_vec();
        let labels = [0, 0, 0, 0, 1, 1, 0, 0, 3, 3, 3, 3];
        assert_eq!(select_hard_classes(&logits, &labels, 4, 0.5), [1, 2]);
        assert_eq!(select_hard_classes(&logits, &labels, 4, 0.25), [2]);
        assert_eq!(select_hard_classes(&logits, &labels, 4, 1.0), [0, 1, 2, 3]);
    }

    #[test]
    fn nothing_to_rank_still_gives_the_share() {
        assert_eq!(select_hard_classes(&[], &[], 4, 0.5).len(), 2);
    }
}
