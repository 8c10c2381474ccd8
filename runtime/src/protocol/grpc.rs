//! A model over gRPC: the same requests and answers as messages.

mod convert;

use std::time::Instant;

use meanet_oip as oip;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Response, Status};
use warp::http::StatusCode;

use super::{ApiError, BINARY_EXTENSION, Caller, MAX_BODY, Model, Port, Target};

pub use convert::{message, response};

/// The service, for a server that gets requests of any kind.
#[must_use]
pub fn service<M: Model>(port: Port<M>) -> oip::GrpcInferenceServiceServer<Service<M>> {
    oip::GrpcInferenceServiceServer::new(Service(port)).max_decoding_message_size(MAX_BODY as usize)
}

/// A model behind the messages.
#[derive(Debug)]
pub struct Service<M>(Port<M>);

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let code = match error.status {
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
            StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            status if status.is_client_error() => Code::InvalidArgument,
            _ => Code::Internal,
        };
        let mut status = Status::new(code, error.message);
        if let Some(pause) = error.retry_after {
            // The name that gRPC's retry design gives it.
            let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            let value = MetadataValue::<Ascii>::from(millis);
            status.metadata_mut().insert("grpc-retry-pushback-ms", value);
        }
        status
    }
}

fn target(name: String, version: String) -> Target {
    Target {
        model: name,
        version: (!version.is_empty()).then_some(version),
    }
}

#[tonic::async_trait]
impl<M: Model> oip::GrpcInferenceService for Service<M> {
    async fn server_live(
        &self,
        _: Request<oip::ServerLiveRequest>,
    ) -> Result<Response<oip::ServerLiveResponse>, Status> {
        Ok(Response::new(oip::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<oip::ServerReadyRequest>,
    ) -> Result<Response<oip::ServerReadyResponse>, Status> {
        let ready = self.0.model.ready().is_ok();
        Ok(Response::new(oip::ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<oip::ModelReadyRequest>,
    ) -> Result<Response<oip::ModelReadyResponse>, Status> {
        let asked = request.into_inner();
        let ready = match self.0.model.check(&target(asked.name, asked.version)) {
            Ok(()) => true,
            Err(error) if error.status == StatusCode::SERVICE_UNAVAILABLE => false,
            Err(error) => return Err(error.into()),
        };
        Ok(Response::new(oip::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<oip::ServerMetadataRequest>,
    ) -> Result<Response<oip::ServerMetadataResponse>, Status> {
        Ok(Response::new(oip::ServerMetadataResponse {
            name: "meanet".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: vec![BINARY_EXTENSION.to_owned()],
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<oip::ModelMetadataRequest>,
    ) -> Result<Response<oip::ModelMetadataResponse>, Status> {
        let asked = request.into_inner();
        let described = self.0.model.describe(&target(asked.name, asked.version))?;
        Ok(Response::new(convert::description(described)))
    }

    async fn model_infer(
        &self,
        request: Request<oip::ModelInferRequest>,
    ) -> Result<Response<oip::ModelInferResponse>, Status> {
        let result = self.infer(request).await;
        if let Err(error) = &result {
            self.0.model.refused(error);
        }
        Ok(Response::new(result?))
    }
}

impl<M: Model> Service<M> {
    async fn infer(
        &self,
        request: Request<oip::ModelInferRequest>,
    ) -> Result<oip::ModelInferResponse, ApiError> {
        let (metadata, _, mut message) = request.into_parts();
        let caller = Caller::read(&metadata.into_headers(), Instant::now());
        let target = target(
            std::mem::take(&mut message.model_name),
            std::mem::take(&mut message.model_version),
        );
        self.0.model.check(&target)?;
        self.0.model.admits(&caller)?;
        let size = prost_size(&message);
        let _room = self.0.intake.room(size)?;
        let raw = !message.raw_input_contents.is_empty();
        let request = self
            .0
            .intake
            .reading(size, move || convert::request(message))
            .await?;
        let answer = self.0.model.infer(&target, request, caller).await?;
        convert::answer(answer, raw)
    }
}

fn prost_size(message: &oip::ModelInferRequest) -> usize {
    use prost::Message as _;
    message.encoded_len()
}
