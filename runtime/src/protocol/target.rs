use warp::Filter;
use warp::filters::BoxedFilter;

use super::ApiError;

/// The model that a path names, and the version where it names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `M` of `/v2/models/M`.
    pub model: String,
    /// `V` of `/v2/models/M/versions/V`.
    pub version: Option<String>,
}

impl Target {
    /// Whether the path names what serves.
    ///
    /// # Errors
    /// 404, naming what serves, for another model or another version.
    pub fn check(&self, model: &str, version: &str) -> Result<(), ApiError> {
        self.check_model(model)?;
        match &self.version {
            Some(wanted) if wanted != version => Err(ApiError::not_found(format!(
                "versions: no version {wanted:?} of {model:?} is in service; {version:?} is"
            ))),
            _ => Ok(()),
        }
    }

    /// The same for the model alone.
    ///
    /// # Errors
    /// 404, naming the model that serves.
    pub fn check_model(&self, model: &str) -> Result<(), ApiError> {
        if self.model == model {
            Ok(())
        } else {
            Err(ApiError::not_found(format!(
                "models: no model is named {:?}; this server has {model:?}",
                self.model
            )))
        }
    }
}

fn open() -> (BoxedFilter<(Target,)>, BoxedFilter<(Target,)>) {
    let model = warp::path!("v2" / "models" / String / ..).map(|model| Target { model, version: None });
    let version =
        warp::path!("v2" / "models" / String / "versions" / String / ..).map(|model, version| Target {
            model,
            version: Some(version),
        });
    (model.boxed(), version.boxed())
}

/// `/v2/models/M` and `/v2/models/M/versions/V`.
#[must_use]
pub fn target() -> BoxedFilter<(Target,)> {
    let (model, version) = open();
    let version = version.and(warp::path::end());
    model.and(warp::path::end()).or(version).unify().boxed()
}

/// The same paths followed by `verb`.
#[must_use]
pub fn target_then(verb: &'static str) -> BoxedFilter<(Target,)> {
    let (model, version) = open();
    let end = move || warp::path(verb).and(warp::path::end());
    let version = version.and(end());
    model.and(end()).or(version).unify().boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(path: &str) -> Option<(String, Option<String>)> {
        let filter = target_then("infer");
        let found = warp::test::request().path(path).filter(&filter).await.ok()?;
        Some((found.model, found.version))
    }

    #[tokio::test]
    async fn a_path_names_a_model_and_perhaps_a_version() {
        let cams = || "cams".to_owned();
        assert_eq!(read("/v2/models/cams/infer").await, Some((cams(), None)));
        assert_eq!(
            read("/v2/models/cams/versions/7/infer").await,
            Some((cams(), Some("7".to_owned())))
        );
        for path in [
            "/v2/models/cams",
            "/v2/models/cams/infer/x",
            "/v2/models/cams/versions/infer",
            "/v2/models/infer",
        ] {
            assert_eq!(read(path).await, None, "{path}");
        }
    }

    #[test]
    fn what_does_not_serve_is_named() {
        let target = Target {
            model: "cams".to_owned(),
            version: Some("7".to_owned()),
        };
        assert_eq!(target.check("cams", "7"), Ok(()));
        assert!(target.check("cams", "8").unwrap_err().message.contains("\"7\""));
        assert!(
            target
                .check("cars", "7")
                .unwrap_err()
                .message
                .contains("\"cams\"")
        );
    }
}
