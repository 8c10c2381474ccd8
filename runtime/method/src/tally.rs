//! How many images left where, and how many of the answers were right: what every figure is made of.

use serde::{Deserialize, Serialize};

use crate::judge::Judged;
use crate::outputs::share;
use crate::route::Exit;

/// Images that left by one exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitCount {
    /// How many.
    pub images: usize,
    /// Answered rightly here.
    pub right: usize,
    /// What the main block alone would have got right of them.
    pub main_right: usize,
}

/// What thresholds make of judged images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// All images.
    pub images: usize,
    /// Those for which the extension ran, whoever answered in the end.
    pub extended: usize,
    /// Answered wrongly at the edge where the cloud would have been right.
    pub missed: usize,
    exits: [ExitCount; 3],
}

impl Tally {
    /// Routes every image by the two thresholds, both strictly greater.
    #[must_use]
    pub fn of(judged: &[Judged], offload_above: f32, extension_offload_above: Option<f32>) -> Self {
        let mut tally = Self::default();
        for one in judged {
            tally.add(one, offload_above, extension_offload_above);
        }
        tally
    }

    /// Adds one image.
    pub(crate) fn add(&mut self, one: &Judged, offload_above: f32, extension_offload_above: Option<f32>) {
        let exit = one.exit(offload_above, extension_offload_above);
        let right = one.right(offload_above, extension_offload_above);
        self.images += 1;
        self.extended += usize::from(one.extends(offload_above));
        self.missed += usize::from(exit != Exit::Cloud && !right && one.cloud_right == Some(true));
        let count = &mut self.exits[exit as usize];
        count.images += 1;
        count.right += usize::from(right);
        count.main_right += usize::from(one.main_right);
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.images += other.images;
        self.extended += other.extended;
        self.missed += other.missed;
        for (mine, theirs) in self.exits.iter_mut().zip(&other.exits) {
            mine.images += theirs.images;
            mine.right += theirs.right;
            mine.main_right += theirs.main_right;
        }
        self
    }

    /// This without `part`, which must be a part of it.
    pub(crate) fn minus(mut self, part: &Self) -> Self {
        self.images -= part.images;
        self.extended -= part.extended;
        self.missed -= part.missed;
        for (mine, theirs) in self.exits.iter_mut().zip(&part.exits) {
            mine.images -= theirs.images;
            mine.right -= theirs.right;
            mine.main_right -= theirs.main_right;
        }
        self
    }

    /// Counts of one exit.
    #[must_use]
    pub const fn exit(&self, exit: Exit) -> ExitCount {
        self.exits[exit as usize]
    }

    /// Right answers of all exits.
    #[must_use]
    pub fn right(&self) -> usize {
        self.exits.iter().map(|e| e.right).sum()
    }

    /// Share of right answers, 0..=1.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        share(self.right(), self.images)
    }

    /// Share of images that left by `exit`, 0..=1.
    #[must_use]
    pub fn share(&self, exit: Exit) -> f64 {
        share(self.exit(exit).images, self.images)
    }

    /// Share of images sent to the cloud, 0..=1.
    #[must_use]
    pub fn offload(&self) -> f64 {
        self.share(Exit::Cloud)
    }

    /// Share of images for which the extension ran, 0..=1.
    #[must_use]
    pub fn extended_share(&self) -> f64 {
        share(self.extended, self.images)
    }
}
