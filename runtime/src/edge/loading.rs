//! From a revision to a network in memory: blobs fetched, checked, tried; and what survives a restart.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use meanet_crds::revision::MEANetRevisionSpec;
use meanet_method::{HardClasses, HardClassesError};
use meanet_net::{Compute, EdgeBlobs, EdgeNetwork, WeightsError};
use meanet_store::{BlobError, Blobs, Digest, ParseDigestError};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu, ensure};
use tokio::sync::Semaphore;
use tracing::warn;

use super::active::{Active, Loaded, RoutingError, Slot, precision};

/// Largest blob of an edge network in bytes.
const MAX_BLOB: u64 = 256 << 20;
/// Tries for one blob; each goes on where the one before broke off.
const TRIES: u32 = 3;
/// Longest silence of the store while it sends.
const SILENCE: Duration = Duration::from_secs(10);
/// What served last.
const ACTIVE: &str = "active.json";

/// Why a revision could not be brought into service.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub(super) enum LoadError {
    #[snafu(display("failed to read the revision: {source}"))]
    Name { source: ParseDigestError },
    #[snafu(display("{source}"))]
    Cache { source: BlobError },
    #[snafu(display("failed to fetch blob {digest} from {url}: {reason}"))]
    Fetch {
        digest: Digest,
        url: String,
        reason: String,
    },
    #[snafu(display("{source}"))]
    Weights { source: WeightsError },
    #[snafu(display("{source}"))]
    Table { source: HardClassesError },
    #[snafu(display("{source}"))]
    Routing { source: RoutingError },
    #[snafu(display("failed to take the weights: {reason}"))]
    Unlike { reason: String },
    #[snafu(display("failed to use {}: {source}", path.display()))]
    State { path: PathBuf, source: io::Error },
    #[snafu(display("failed to load: the loading thread ended"))]
    Thread,
}

/// The cache of one edge, and where its content comes from.
#[derive(Clone)]
pub(super) struct Loader {
    folder: PathBuf,
    blobs: Blobs,
    store_url: String,
    client: reqwest::Client,
    /// What a network may use.
    compute: Compute,
    /// Whoever adds or forgets blobs holds this, so that nobody forgets what another just fetched.
    changing: Arc<Semaphore>,
    /// Whoever decodes weights holds this: a wish that was superseded may still be decoding.
    decoding: Arc<Semaphore>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    name: String,
    spec: MEANetRevisionSpec,
}

impl Loader {
    pub(super) fn open(
        folder: &Path,
        store_url: &str,
        client: reqwest::Client,
        compute: Compute,
    ) -> Result<Self, BlobError> {
        let blobs = Blobs::open(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            blobs,
            store_url: store_url.trim_end_matches('/').to_owned(),
            client,
            compute,
            changing: Arc::new(Semaphore::new(1)),
            decoding: Arc::new(Semaphore::new(1)),
        })
    }

    /// What served before the process was restarted, from the cache alone.
    pub(super) fn restore(&self) -> Result<Option<Active>, LoadError> {
        let path = self.folder.join(ACTIVE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::State { path, source }),
        };
        let saved: Saved = serde_json::from_slice(&bytes).map_err(|e| LoadError::State {
            path,
            source: io::Error::new(io::ErrorKind::InvalidData, e),
        })?;
        let network = load(&self.blobs, &saved.spec, self.compute)?;
        let active = Active::new(saved.name, saved.spec, Arc::new(network));
        active.context(RoutingSnafu).map(Some)
    }

    /// Fetches what is missing, checks everything, and tries the network once.
    pub(super) async fn load(&self, name: &str, spec: &MEANetRevisionSpec) -> Result<Active, LoadError> {
        let _changing = self.changing.acquire().await.map_err(|_| LoadError::Thread)?;
        for digest in digests(spec)? {
            let blobs = self.blobs.clone();
            // A blob that was damaged in the cache is fetched again.
            let there = tokio::task::spawn_blocking(move || match blobs.get(&digest, MAX_BLOB) {
                Ok(_) => Ok(true),
                Err(BlobError::Mismatch { .. }) => blobs.remove(&digest).map(|()| false),
                Err(BlobError::Missing { .. }) => Ok(false),
                Err(error) => Err(error),
            });
            if !there.await.map_err(|_| LoadError::Thread)?.context(CacheSnafu)? {
                self.fetch(digest).await?;
            }
        }
        let (blobs, wanted, compute) = (self.blobs.clone(), spec.clone(), self.compute);
        let decoding = Arc::clone(&self.decoding)
            .acquire_owned()
            .await
            .map_err(|_| LoadError::Thread)?;
        let decode = move || {
            let _decoding = decoding;
            load(&blobs, &wanted, compute)
        };
        let network = tokio::task::spawn_blocking(decode)
            .await
            .map_err(|_| LoadError::Thread)??;
        Active::new(name.to_owned(), spec.clone(), Arc::new(network)).context(RoutingSnafu)
    }

    async fn fetch(&self, digest: Digest) -> Result<(), LoadError> {
        let mut bytes = Vec::new();
        for attempt in 1.. {
            match self.receive(digest, &mut bytes).await {
                Ok(()) => break,
                Err(reason) if attempt >= TRIES => {
                    return FetchSnafu {
                        digest,
                        url: &self.store_url,
                        reason,
                    }
                    .fail();
                }
                Err(reason) => {
                    warn!(%digest, reason, "the blob is fetched again");
                    tokio::time::sleep(Duration::from_millis(200) * attempt).await;
                }
            }
        }
        let blobs = self.blobs.clone();
        tokio::task::spawn_blocking(move || blobs.put(&digest, bytes.as_slice(), MAX_BLOB))
            .await
            .map_err(|_| LoadError::Thread)?
            .context(CacheSnafu)?;
        Ok(())
    }

    /// Appends what `bytes` lacks of the blob.
    async fn receive(&self, digest: Digest, bytes: &mut Vec<u8>) -> Result<(), String> {
        let late = |_| format!("the store was silent for {SILENCE:?}");
        let mut request = self.client.get(format!("{}/v1/blobs/{digest}", self.store_url));
        if !bytes.is_empty() {
            request = request.header("Range", format!("bytes={}-", bytes.len()));
        }
        let response = tokio::time::timeout(SILENCE, request.send())
            .await
            .map_err(late)?;
        let mut response = response.map_err(|e| crate::report::words(&e))?;
        match response.status().as_u16() {
            206 => {}
            200 => bytes.clear(),
            // Nothing is left to send.
            416 => return Ok(()),
            status => {
                let text = response.text().await.unwrap_or_default();
                return Err(format!(
                    "status {status}: {}",
                    text.chars().take(200).collect::<String>()
                ));
            }
        }
        while let Some(chunk) = tokio::time::timeout(SILENCE, response.chunk())
            .await
            .map_err(late)?
            .map_err(|e| crate::report::words(&e))?
        {
            if (bytes.len() + chunk.len()) as u64 > MAX_BLOB {
                return Err(format!("it has more than {MAX_BLOB} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    }

    /// Remembers what is in `slot` when its turn comes, and forgets blobs that neither it nor `spare` needs. Goes on when
    /// it is dropped.
    pub(super) async fn remember(
        &self,
        slot: Slot,
        spare: Option<MEANetRevisionSpec>,
    ) -> Result<(), LoadError> {
        let (folder, blobs) = (self.folder.clone(), self.blobs.clone());
        let changing = Arc::clone(&self.changing);
        tokio::spawn(async move {
            let _changing = changing.acquire_owned().await.map_err(|_| LoadError::Thread)?;
            tokio::task::spawn_blocking(move || match slot.get() {
                Some(active) => remember(&folder, &blobs, &active, spare.as_ref()),
                None => Ok(()),
            })
            .await
            .map_err(|_| LoadError::Thread)?
        })
        .await
        .map_err(|_| LoadError::Thread)?
    }
}

fn remember(
    folder: &Path,
    blobs: &Blobs,
    active: &Active,
    spare: Option<&MEANetRevisionSpec>,
) -> Result<(), LoadError> {
    let path = folder.join(ACTIVE);
    let saved = Saved {
        name: active.name.clone(),
        spec: active.spec.clone(),
    };
    let state = |source: io::Error| LoadError::State {
        path: path.clone(),
        source,
    };
    let text = serde_json::to_vec(&saved).map_err(|e| state(e.into()))?;
    let unfinished = folder.join(format!("{ACTIVE}.new"));
    fs::write(&unfinished, text).map_err(state)?;
    fs::File::open(&unfinished)
        .and_then(|file| file.sync_all())
        .map_err(state)?;
    fs::rename(&unfinished, &path).map_err(state)?;
    let mut keep = BTreeSet::from(digests(&active.spec)?);
    if let Some(spare) = spare {
        keep.extend(digests(spare)?);
    }
    blobs.retain(&keep).context(CacheSnafu)?;
    Ok(())
}

fn digests(spec: &MEANetRevisionSpec) -> Result<[Digest; 3], LoadError> {
    let parse = |text: &str| text.parse().context(NameSnafu);
    Ok([
        parse(&spec.weights.main)?,
        parse(&spec.weights.adaptive)?,
        parse(&spec.weights.extension)?,
    ])
}

fn load(blobs: &Blobs, spec: &MEANetRevisionSpec, compute: Compute) -> Result<Loaded, LoadError> {
    let [main, adaptive, extension] =
        digests(spec)?.map(|digest| blobs.get(&digest, MAX_BLOB).context(CacheSnafu));
    let (main, adaptive, extension) = (main?, adaptive?, extension?);
    let blobs = EdgeBlobs {
        main: &main,
        adaptive: &adaptive,
        extension: &extension,
    };
    let edge = EdgeNetwork::load_as(blobs, precision(spec.model.precision), compute).context(WeightsSnafu)?;
    let (model, card) = (&spec.model, edge.card());
    ensure!(
        card.backbone.to_string() == model.backbone.as_str(),
        UnlikeSnafu {
            reason: format!(
                "they are of {}, the revision says {}",
                card.backbone,
                model.backbone.as_str()
            )
        }
    );
    ensure!(
        usize::try_from(model.classes) == Ok(edge.classes()),
        UnlikeSnafu {
            reason: format!(
                "they tell {} classes apart, the revision says {}",
                edge.classes(),
                model.classes
            )
        }
    );
    // A negative class is none of the model's, and is refused as such.
    let table: Vec<u32> = spec
        .hard_classes
        .iter()
        .map(|&class| u32::try_from(class).unwrap_or(u32::MAX))
        .collect();
    let hard = HardClasses::new(&table, edge.outputs(), edge.classes()).context(TableSnafu)?;
    Ok(Loaded { edge, hard })
}
