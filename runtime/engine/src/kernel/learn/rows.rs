//! Batch norms in training, a block of an image at a time: what they count, what they make of it, and the way back.

use crate::kernel::simd::Simd;

/// Rows of one block of one image. Strides are in floats.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) rows: usize,
    pub(crate) pixels: usize,
}

/// Lane 0 of the first pixel, and from row to row.
#[derive(Clone, Copy)]
pub(crate) struct Plane {
    pub(crate) at: *mut f32,
    pub(crate) row: usize,
}

impl Plane {
    /// # Safety
    /// The row is one of the plane's.
    #[inline(always)]
    unsafe fn row(self, y: usize) -> *mut f32 {
        // SAFETY: as promised.
        unsafe { self.at.add(y * self.row) }
    }

    #[inline(always)]
    fn is_null(self) -> bool {
        self.at.is_null()
    }
}

/// Adds to `to` the sums of `z - around`, and behind them, `step` on, those of its squares. Near the mean, squares lose nothing.
pub(crate) struct Moments {
    pub(crate) extent: Extent,
    pub(crate) z: Plane,
    pub(crate) around: *const f32,
    pub(crate) to: *mut f32,
    pub(crate) step: usize,
}

impl Moments {
    /// # Safety
    /// The machine has the instruction set; the fields describe readable memory, `to` writable vectors.
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd>(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            let around = V::load(self.around);
            let mut sums = [V::splat(0.0); 2];
            let mut squares = [V::splat(0.0); 2];
            for y in 0..self.extent.rows {
                let row = self.z.row(y);
                for x in 0..self.extent.pixels {
                    let value = V::sub(V::load(row.add(x * V::LANES)), around);
                    sums[x % 2] = V::add(sums[x % 2], value);
                    squares[x % 2] = V::fma(value, value, squares[x % 2]);
                }
            }
            add_to::<V>(self.to, sums);
            add_to::<V>(self.to.add(self.step), squares);
        }
    }
}

#[inline(always)]
unsafe fn add_to<V: Simd>(to: *mut f32, sums: [V::V; 2]) {
    // SAFETY: the caller has a writable vector.
    unsafe { V::store(to, V::add(V::load(to), V::add(sums[0], sums[1]))) }
}

/// `clamp(z·scale + shift + residual)`
pub(crate) struct Apply {
    pub(crate) extent: Extent,
    pub(crate) z: Plane,
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
    /// Null for nothing.
    pub(crate) residual: Plane,
    pub(crate) to: Plane,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Apply {
    /// # Safety
    /// As for [`Moments::compute`].
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd>(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            let (scale, shift) = (V::load(self.scale), V::load(self.shift));
            let (low, high) = (V::splat(self.low), V::splat(self.high));
            for y in 0..self.extent.rows {
                let (from, to) = (self.z.row(y), self.to.row(y));
                for x in 0..self.extent.pixels {
                    let at = x * V::LANES;
                    let mut value = V::fma(V::load(from.add(at)), scale, shift);
                    if !self.residual.is_null() {
                        value = V::add(value, V::load(self.residual.row(y).add(at)));
                    }
                    V::store(to.add(at), V::min(V::max(value, low), high));
                }
            }
        }
    }
}

/// The gradient that comes back to a norm: that of its result, where the clamp has let it through. With a residual the result
/// says where; without, it is computed again, which reads less.
#[derive(Clone, Copy)]
pub(crate) struct Incoming {
    pub(crate) extent: Extent,
    pub(crate) gradient: Plane,
    pub(crate) z: Plane,
    /// Null where there is no residual.
    pub(crate) result: Plane,
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Incoming {
    /// The gradient at `at` of row `y`, and `z`. `[scale, shift, low, high]` are the fields as vectors.
    #[inline(always)]
    unsafe fn pixel<V: Simd>(&self, y: usize, at: usize, [scale, shift, low, high]: [V::V; 4]) -> [V::V; 2] {
        // SAFETY: as promised by the caller of `compute`.
        unsafe {
            let z = V::load(self.z.row(y).add(at));
            let result = if self.result.is_null() {
                V::fma(z, scale, shift)
            } else {
                V::load(self.result.row(y).add(at))
            };
            let gradient = V::load(self.gradient.row(y).add(at));
            [V::between(gradient, result, low, high), z]
        }
    }

    #[inline(always)]
    unsafe fn vectors<V: Simd>(&self) -> [V::V; 4] {
        // SAFETY: as promised by the caller of `compute`.
        unsafe {
            [
                V::load(self.scale),
                V::load(self.shift),
                V::splat(self.low),
                V::splat(self.high),
            ]
        }
    }
}

/// Adds to `to` the sums of the gradient, and behind them those of the gradient times `z - mean`.
pub(crate) struct Slopes {
    pub(crate) incoming: Incoming,
    pub(crate) mean: *const f32,
    pub(crate) to: *mut f32,
    pub(crate) step: usize,
}

impl Slopes {
    /// # Safety
    /// As for [`Moments::compute`].
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd>(&self) {
        // SAFETY: as promised by the caller.
        unsafe {
            let mean = V::load(self.mean);
            let mut sums = [V::splat(0.0); 2];
            let mut products = [V::splat(0.0); 2];
            let vectors = self.incoming.vectors::<V>();
            for y in 0..self.incoming.extent.rows {
                for x in 0..self.incoming.extent.pixels {
                    let [gradient, z] = self.incoming.pixel::<V>(y, x * V::LANES, vectors);
                    sums[x % 2] = V::add(sums[x % 2], gradient);
                    products[x % 2] = V::fma(gradient, V::sub(z, mean), products[x % 2]);
                }
            }
            add_to::<V>(self.to, sums);
            add_to::<V>(self.to.add(self.step), products);
        }
    }
}

/// The gradient of `z`, `a·g + b·z + c`, in the place of that of the result; and `g`, to the residual's.
pub(crate) struct Through {
    pub(crate) incoming: Incoming,
    /// `a`, `b` and `c`, each `step` behind the one before.
    pub(crate) factors: *const f32,
    pub(crate) step: usize,
    /// Null for nothing.
    pub(crate) residual: Plane,
    /// Whether the residual has a gradient already.
    pub(crate) add: bool,
}

impl Through {
    /// # Safety
    /// As for [`Moments::compute`].
    #[inline(always)]
    pub(crate) unsafe fn compute<V: Simd>(&self) {
        // SAFETY: as promised by the caller; a gradient is read before its place is written.
        unsafe {
            let a = V::load(self.factors);
            let b = V::load(self.factors.add(self.step));
            let c = V::load(self.factors.add(2 * self.step));
            let vectors = self.incoming.vectors::<V>();
            for y in 0..self.incoming.extent.rows {
                for x in 0..self.incoming.extent.pixels {
                    let at = x * V::LANES;
                    let [gradient, z] = self.incoming.pixel::<V>(y, at, vectors);
                    if !self.residual.is_null() {
                        let to = self.residual.row(y).add(at);
                        let sum = if self.add {
                            V::add(V::load(to), gradient)
                        } else {
                            gradient
                        };
                        V::store(to, sum);
                    }
                    let through = V::fma(a, gradient, V::fma(b, z, c));
                    V::store(self.incoming.gradient.row(y).add(at), through);
                }
            }
        }
    }
}
