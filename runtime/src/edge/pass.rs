//! What the edge finds out by itself: main block, score, and the extension where it is to be asked.

use std::sync::Arc;

use meanet_method::{AfterMain, Answer, LocalAnswer, after_main, local_answer};
use meanet_net::{ImageBatch, MainPass};

use super::active::Active;
use crate::protocol::images::{self, Pixels};
use crate::protocol::{ApiError, Tensor};
use crate::report::words;

/// The part of a run that is one request's.
pub(super) struct Pass {
    active: Arc<Active>,
    run: Arc<Run>,
    /// Of all images of the run, the first that is this request's.
    start: usize,
    pub(super) rows: Vec<Row>,
}

/// The main block over the images of one or several requests.
struct Run {
    images: ImageBatch,
    main: MainPass,
}

pub(super) struct Row {
    pub(super) main: LocalAnswer,
    /// The edge's own answer; absent where the extension would give it, but the cloud was to answer.
    pub(super) local: Option<Answer>,
    pub(super) offload: bool,
}

fn internal(error: &dyn std::error::Error) -> ApiError {
    ApiError::internal(words(error))
}

/// One run over the images of all requests; what is wrong with one of them costs the others nothing.
pub(super) fn first(active: &Arc<Active>, requests: Vec<Vec<Tensor>>) -> Vec<Result<Pass, ApiError>> {
    let input = active.network.edge.input();
    let stride = input.values();
    let mut all = Vec::with_capacity(requests.len());
    // Of each request, how many images it has, or what is wrong with it.
    let counts: Vec<Result<usize, ApiError>> = requests
        .into_iter()
        .map(|inputs| {
            let pixels = images::pixels(inputs, input)?;
            let values = match &pixels {
                Pixels::Bytes(v) => v.len(),
                Pixels::Floats(v) => v.len(),
            };
            all.push(pixels);
            Ok(values / stride)
        })
        .collect();
    if all.is_empty() {
        return counts
            .into_iter()
            .map(|count| Err(count.err().unwrap_or_else(none)))
            .collect();
    }
    let run = Pixels::joined(all)
        .batch(input)
        .map_err(|e| internal(&e))
        .and_then(|images| {
            let main = active.network.edge.main(&images).map_err(|e| internal(&e))?;
            Ok(Arc::new(Run { images, main }))
        });
    let mut start = 0;
    let mut passes: Vec<Result<Pass, ApiError>> = counts
        .into_iter()
        .map(|count| {
            let count = count?;
            let own = start..start + count;
            start = own.end;
            let run = Arc::clone(run.as_ref().map_err(Clone::clone)?);
            let rows = rows(active, run.main.logits.get(own.clone()).ok_or_else(none)?)?;
            Ok(Pass {
                active: Arc::clone(active),
                run,
                start: own.start,
                rows,
            })
        })
        .collect();
    let extended = extend_all(&mut passes);
    if let Err(error) = extended {
        return passes
            .into_iter()
            .map(|pass| pass.and(Err(error.clone())))
            .collect();
    }
    passes
}

fn none() -> ApiError {
    ApiError::internal("the network left an image without an answer")
}

fn rows(active: &Active, logits: &[Vec<f32>]) -> Result<Vec<Row>, ApiError> {
    logits
        .iter()
        .map(|logits| {
            let read = after_main(logits, &active.routing, &active.network.hard).map_err(|e| internal(&e))?;
            Ok(Row {
                offload: read.next == AfterMain::Offload,
                local: (!read.extends).then(|| read.main.clone()),
                main: read,
            })
        })
        .collect()
}

/// The extension over all rows of a run that need it. Its own doubt sends a row on to the cloud.
fn extend_all(passes: &mut [Result<Pass, ApiError>]) -> Result<(), ApiError> {
    let mut chosen = Vec::new();
    let mut run = None;
    for (number, pass) in passes.iter().enumerate() {
        let Ok(pass) = pass else { continue };
        for (row, found) in pass.rows.iter().enumerate() {
            if found.main.next == AfterMain::Extend {
                chosen.push((number, row, pass.start + row));
            }
        }
        run.get_or_insert_with(|| (Arc::clone(&pass.active), Arc::clone(&pass.run)));
    }
    let Some((active, run)) = run.filter(|_| !chosen.is_empty()) else {
        return Ok(());
    };
    let of_run: Vec<usize> = chosen.iter().map(|&(_, _, row)| row).collect();
    let logits = active
        .network
        .edge
        .extension(&run.main, &run.images, &of_run)
        .map_err(|e| internal(&e))?;
    for (&(number, row, _), logits) in chosen.iter().zip(&logits) {
        if let Ok(pass) = &mut passes[number] {
            pass.take(row, logits, true)?;
        }
    }
    Ok(())
}

impl Pass {
    /// The extension's answers for these rows, which the cloud was to answer.
    pub(super) fn extend(&mut self, rows: &[usize]) -> Result<(), ApiError> {
        let of_run: Vec<usize> = rows.iter().map(|row| self.start + row).collect();
        let logits = self
            .active
            .network
            .edge
            .extension(&self.run.main, &self.run.images, &of_run)
            .map_err(|e| internal(&e))?;
        for (&row, logits) in rows.iter().zip(&logits) {
            self.take(row, logits, false)?;
        }
        Ok(())
    }

    fn take(&mut self, row: usize, logits: &[f32], may_offload: bool) -> Result<(), ApiError> {
        let row = &mut self.rows[row];
        let (answer, unsure) = local_answer(
            &row.main.main,
            logits,
            &self.active.routing,
            &self.active.network.hard,
        )
        .map_err(|e| internal(&e))?;
        row.local = Some(answer);
        row.offload |= may_offload && unsure;
        Ok(())
    }

    /// Pixels of one image, `[3, height, width]`.
    pub(super) fn pixels(&self, row: usize) -> Option<Vec<u8>> {
        self.run.images.bytes(self.start + row)
    }
}
