//! What the tests start and ask.

mod api;
mod cloud;
mod edge;
mod images;
mod model;
mod requests;

pub use api::{Api, SlowStore};
pub use cloud::CloudServer;
pub use edge::{EdgeServer, ROOM, args};
pub use images::{image, infer_json, large, png};
pub use model::{Model, revision};
pub use requests::{binary, edge, floats, pixels, request};

/// Class, exit, score and whether it is degraded, of an answer for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub revision: String,
    pub label: u64,
    pub exit: String,
    pub score: f64,
    pub degraded: bool,
}

/// Reads an edge's answer for one image.
pub fn said(body: &serde_json::Value) -> Said {
    let first = |name: &str| {
        let outputs = body["outputs"].as_array().expect("outputs");
        let tensor = outputs.iter().find(|t| t["name"] == name).expect("the output");
        tensor["data"][0].clone()
    };
    Said {
        revision: body["parameters"]["revision"]
            .as_str()
            .expect("a revision")
            .to_owned(),
        label: first("label").as_u64().expect("a label"),
        exit: first("exit").as_str().expect("an exit").to_owned(),
        score: first("score").as_f64().expect("a score"),
        degraded: first("degraded").as_bool().expect("a flag"),
    }
}
