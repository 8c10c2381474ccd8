//! The generated code is what the protocol's definition says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

/// `MEANET_GENERATE=1 cargo test -p meanet-oip --test drift` writes the file anew.
#[test]
fn the_generated_code_is_that_of_the_definition() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let definition = protox::compile(["open_inference_grpc.proto"], [root.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        // Pixels stay where the transport put them.
        .bytes(".inference")
        .compile_fds(definition)
        .unwrap();
    let generated = fs::read_to_string(out.path().join("inference.rs")).unwrap();
    let kept = root.join("src/inference.rs");
    if std::env::var_os("MEANET_GENERATE").is_some() {
        fs::write(&kept, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&kept).unwrap_or_default() == generated,
        "src/inference.rs is not what proto/open_inference_grpc.proto says: run this test with MEANET_GENERATE=1"
    );
}
