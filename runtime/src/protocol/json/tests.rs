use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::protocol::{Data, Datatype, InferRequest, InferResponse, Requested, Tensor};

/// Reads the request with its fields in both orders: data before its type, and after it.
fn read(value: &Value) -> Result<InferRequest, String> {
    let sorted = value.to_string();
    let read = |text: &str| read_request(text.as_bytes(), None).map_err(|e| e.message);
    let Some((data, rest)) = sorted
        .strip_prefix("{\"inputs\":[{")
        .and_then(|text| text.split_once(",\"datatype\""))
    else {
        return read(&sorted);
    };
    let (rest, end) = rest.split_once('}').unwrap();
    let late = read(&format!("{{\"inputs\":[{{\"datatype\"{rest},{data}}}{end}"));
    let early = read(&sorted);
    let without_place = |read: &Result<InferRequest, String>| {
        read.clone().map_err(|e| e.split(" at line").next().unwrap_or_default().to_owned())
    };
    let (a, b) = (without_place(&early), without_place(&late));
    assert!(a == b || (a.is_err() && b.is_err()), "{a:?} and {b:?}");
    late
}

fn tensor(datatype: &str, shape: &Value, data: &Value) -> Value {
    json!({"inputs": [{"name": "image", "datatype": datatype, "shape": shape, "data": data}]})
}

#[test]
fn elements_are_read_into_their_type() {
    for (datatype, data, expected) in [
        ("UINT8", json!([0, 255]), Data::U8(vec![0, 255])),
        ("FP32", json!([0, -1.5]), Data::F32(vec![0.0, -1.5])),
        ("FP64", json!([1e3, 2]), Data::F32(vec![1000.0, 2.0])),
        ("INT64", json!([-1, 7]), Data::I64(vec![-1, 7])),
        ("BOOL", json!([true, false]), Data::Bool(vec![true, false])),
        ("BYTES", json!(["a", "é"]), Data::Text(vec!["a".to_owned(), "é".to_owned()])),
        ("FP32", json!([[1.0], [2.0]]), Data::F32(vec![1.0, 2.0])),
    ] {
        let shape = if data[0].is_array() { json!([2, 1]) } else { json!([2]) };
        let request = read(&tensor(datatype, &shape, &data)).unwrap();
        assert_eq!(request.inputs[0].data, expected, "{datatype}");
    }
}

#[test]
fn fields_may_come_in_any_order() {
    let text = r#"{"outputs": [{"name": "label", "parameters": {"binary_data": true}}], "id": "7", "inputs":
        [{"data": [1, 2], "parameters": null, "extra": {"x": [1]}, "shape": [2], "name": "image", "datatype": "UINT8"}]}"#;
    let request = read_request(text.as_bytes(), None).unwrap();
    assert_eq!(request.id.as_deref(), Some("7"));
    assert_eq!(request.inputs[0].data, Data::U8(vec![1, 2]));
    assert_eq!(
        request.outputs,
        [Requested {
            name: "label".to_owned(),
            binary: Some(true)
        }]
    );
    let early = r#"{"inputs": [{"data": [1, 256], "shape": [2], "name": "image", "datatype": "UINT8"}]}"#;
    let error = read_request(early.as_bytes(), None).unwrap_err();
    assert!(error.message.contains("inputs[0].data[1]: 256 is not a whole number"), "{}", error.message);
    for (numbers, datatype) in [("[0.5]", "UINT8"), ("[300]", "UINT8"), ("[1]", "BYTES"), ("[true]", "FP32x")] {
        let text = format!(
            r#"{{"inputs": [{{"data": {numbers}, "shape": [1], "name": "image", "datatype": "{datatype}"}}]}}"#
        );
        assert!(read_request(text.as_bytes(), None).is_err(), "{text}");
    }
}

#[test]
fn whatever_is_wrong_is_named() {
    for (body, expected) in [
        (tensor("UINT8", &json!([1]), &json!([256])), "inputs[0].data[0]: 256 is not a whole number"),
        (tensor("UINT8", &json!([2]), &json!([1, "7"])), "inputs[0].data[1]: \"7\" is not"),
        (tensor("UINT8", &json!([1]), &json!([0.5])), "inputs[0].data[0]: 0.5 is not"),
        (tensor("UINT8", &json!([1]), &json!([-1])), "inputs[0].data[0]: -1 is not"),
        (tensor("FP32", &json!([1]), &json!([null])), "inputs[0].data[0]: null is not"),
        (tensor("FP32", &json!([1]), &json!([{}])), "inputs[0].data[0]: an object is not"),
        (tensor("FP32", &json!([1]), &json!("7")), "expected a list in inputs[0].data"),
        (tensor("FP32", &json!([2]), &json!([[1.0, 2.0]])), "nested as [1, 2]"),
        (tensor("FP32", &json!([2, 2]), &json!([[1.0], [1.0, 2.0]])), "side by side"),
        (tensor("FP32", &json!([2]), &json!([1.0, [2.0]])), "side by side"),
        (tensor("FP33", &json!([1]), &json!([1.0])), "inputs[0].datatype: \"FP33\""),
        (tensor("FP32", &json!([-1]), &json!([1.0])), "inputs[0].shape"),
        (tensor("FP32", &json!("1"), &json!([1.0])), "inputs[0].shape"),
        (json!({"inputs": [{"name": "image"}]}), "inputs[0].datatype: it is missing"),
        (json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}), "inputs[0].data: give"),
        (json!({"inputs": [7]}), "inputs[0]"),
        (json!({"inputs": 7}), "inputs"),
        (json!({}), "missing field `inputs`"),
        (json!([]), "body"),
    ] {
        let error = read(&body).unwrap_err();
        assert!(error.contains(expected), "{error:?} has no {expected:?}");
    }
}

#[test]
fn binary_elements_follow_the_json() {
    let request = InferRequest {
        id: Some("a".to_owned()),
        inputs: vec![
            Tensor::new("image", vec![3], Data::U8(vec![1, 2, 3])),
            Tensor::new("image", vec![1], Data::F32(vec![0.5])),
        ],
        ..InferRequest::default()
    };
    for in_binary in [true, false] {
        let written = write_request(&request, in_binary).unwrap();
        assert_eq!(written.json.is_some(), in_binary);
        assert_eq!(read_request(&written.body, written.json), Ok(request.clone()));
    }
    let written = write_request(&request, true).unwrap();
    let json = written.json.unwrap();
    for (body, json, part) in [
        (&written.body[..], written.body.len() + 1, "Inference-Header-Content-Length"),
        (&written.body[..], json - 1, "body"),
        (&written.body[..], 0, "body"),
        (&written.body[..written.body.len() - 1], json, "inputs[1].parameters.binary_data_size"),
    ] {
        let error = read_request(body, Some(json)).unwrap_err();
        assert!(error.message.contains(part), "{}", error.message);
    }
    let longer = [&written.body[..], &[0]].concat();
    assert!(read_request(&longer, Some(json)).unwrap_err().message.contains("1 bytes follow"));
    for size in ["-1", "\"3\"", "1e30", "18446744073709551616"] {
        let text = format!(
            r#"{{"inputs":[{{"name":"image","datatype":"UINT8","shape":[3],"parameters":{{"binary_data_size":{size}}}}}]}}"#
        );
        let error = read_request(text.as_bytes(), Some(text.len())).unwrap_err();
        assert!(error.message.contains("binary_data_size"), "{}", error.message);
    }
}

#[test]
fn each_output_goes_as_it_was_asked_for() {
    let answer = InferResponse {
        model_name: "cams".to_owned(),
        model_version: Some("r1".to_owned()),
        outputs: vec![
            Tensor::new("label", vec![1], Data::I64(vec![7])),
            Tensor::new("exit", vec![1], Data::Text(vec!["main".to_owned()])),
        ],
        ..InferResponse::default()
    };
    let written = write_response(&answer, |name| name == "label").unwrap();
    let text = std::str::from_utf8(&written.body[..written.json.unwrap()]).unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(value["outputs"][0]["parameters"]["binary_data_size"], 8);
    assert_eq!(value["outputs"][1]["data"], json!(["main"]));
    assert_eq!(read_response(&written.body, written.json), Ok(answer));
    let other = r#"{"model_name":"m","outputs":[{"name":"y","shape":[1,2],"datatype":"FP64","data":[[0.5,1]]}]}"#;
    let read = read_response(other.as_bytes(), None).unwrap();
    assert_eq!((read.outputs[0].datatype, read.outputs[0].floats()), (Datatype::Fp64, Some(vec![0.5, 1.0])));
}

proptest! {
    #[test]
    fn no_body_crashes_the_reader(body in prop::collection::vec(any::<u8>(), 0..300), json in prop::option::of(0_usize..400)) {
        let _ = read_request(&body, json);
        let _ = read_response(&body, json);
    }

    #[test]
    fn no_broken_request_crashes_the_reader(at in 0_usize..100, byte in any::<u8>(), cut in 0_usize..200) {
        let mut text = tensor("FP32", &json!([1, 2]), &json!([[1.5, -2e3]])).to_string().into_bytes();
        let length = text.len();
        text[at % length] = byte;
        text.truncate(cut.max(1));
        let _ = read_request(&text, None);
        let _ = read_request(&text, Some(cut / 2));
    }
}
