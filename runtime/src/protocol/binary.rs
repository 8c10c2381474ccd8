//! Elements in binary: little endian, row-major, without gaps; `BYTES` each with its length in four bytes before it.
//! The binary tensor extension and gRPC's raw contents share this form.

use bytes::Bytes;

use super::{Data, Datatype, Tensor};

/// Elements of this type; the error says what does not fit.
pub fn decode(datatype: Datatype, bytes: &[u8]) -> Result<Data, String> {
    Ok(match datatype {
        Datatype::Bool => Data::Bool(
            bytes
                .iter()
                .map(|&byte| match byte {
                    0 => Ok(false),
                    1 => Ok(true),
                    other => Err(format!("{other} is neither 0 nor 1, which are false and true")),
                })
                .collect::<Result<_, _>>()?,
        ),
        Datatype::Uint8 => Data::U8(bytes.to_vec()),
        Datatype::Int8 => whole(bytes, |[v]: [u8; 1]| Some(i64::from(v as i8)))?,
        Datatype::Uint16 => whole(bytes, |v| Some(i64::from(u16::from_le_bytes(v))))?,
        Datatype::Int16 => whole(bytes, |v| Some(i64::from(i16::from_le_bytes(v))))?,
        Datatype::Uint32 => whole(bytes, |v| Some(i64::from(u32::from_le_bytes(v))))?,
        Datatype::Int32 => whole(bytes, |v| Some(i64::from(i32::from_le_bytes(v))))?,
        Datatype::Uint64 => whole(bytes, |v| i64::try_from(u64::from_le_bytes(v)).ok())?,
        Datatype::Int64 => whole(bytes, |v| Some(i64::from_le_bytes(v)))?,
        Datatype::Fp32 => Data::F32(each(bytes, f32::from_le_bytes)?),
        Datatype::Fp64 => Data::F32(each(bytes, |v| f64::from_le_bytes(v) as f32)?),
        Datatype::Fp16 => return Err("FP16 is not taken; give FP32".to_owned()),
        Datatype::Bytes => Data::Bytes(lengths(bytes)?),
    })
}

fn whole<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> Option<i64>) -> Result<Data, String> {
    let values: Option<Vec<i64>> = each(bytes, read)?.into_iter().collect();
    values
        .map(Data::I64)
        .ok_or_else(|| "a number is larger than 64 bits with a sign hold".to_owned())
}

fn each<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (elements, rest) = bytes.as_chunks::<N>();
    if rest.is_empty() {
        Ok(elements.iter().copied().map(read).collect())
    } else {
        Err(format!(
            "{} bytes are no whole number of elements of {N} bytes",
            bytes.len()
        ))
    }
}

fn lengths(mut bytes: &[u8]) -> Result<Vec<Bytes>, String> {
    let mut elements = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (element, rest) = rest.split_at_checked(length).ok_or_else(|| {
            format!(
                "element {} says {length} bytes, and {} are left",
                elements.len(),
                rest.len()
            )
        })?;
        elements.push(Bytes::copy_from_slice(element));
        bytes = rest;
    }
    if bytes.is_empty() {
        Ok(elements)
    } else {
        Err(format!("{} bytes are left where four say a length", bytes.len()))
    }
}

/// Appends the elements of a tensor; the error says what has no such form.
pub fn encode(tensor: &Tensor, to: &mut Vec<u8>) -> Result<(), String> {
    match (&tensor.data, tensor.datatype) {
        (Data::Bool(v), _) => to.extend(v.iter().map(|&v| u8::from(v))),
        (Data::U8(v), _) => to.extend_from_slice(v),
        (Data::I64(v), Datatype::Int64) => to.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        (Data::F32(v), Datatype::Fp32) => {
            to.reserve(4 * v.len());
            to.extend(v.iter().flat_map(|v| v.to_le_bytes()));
        }
        (Data::Bytes(v), _) => {
            for element in v {
                prefixed(element, to);
            }
        }
        (Data::Text(v), _) => {
            for element in v {
                prefixed(element.as_bytes(), to);
            }
        }
        (Data::I64(_) | Data::F32(_), other) => {
            return Err(format!("{} is not written in binary", other.as_str()));
        }
    }
    Ok(())
}

fn prefixed(element: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(&(element.len() as u32).to_le_bytes());
    to.extend_from_slice(element);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_reads_the_same() {
        for data in [
            Data::Bool(vec![true, false]),
            Data::U8(vec![0, 255]),
            Data::I64(vec![-1, i64::MAX]),
            Data::F32(vec![0.5, -3.0]),
            Data::Bytes(vec![Bytes::from_static(b"main"), Bytes::new()]),
        ] {
            let tensor = Tensor::new("x", vec![2], data.clone());
            let mut bytes = Vec::new();
            encode(&tensor, &mut bytes).unwrap();
            assert_eq!(decode(tensor.datatype, &bytes), Ok(data));
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (datatype, bytes, part) in [
            (Datatype::Fp32, &[0_u8; 5][..], "no whole number of elements"),
            (Datatype::Bool, &[2], "neither 0 nor 1"),
            (Datatype::Bytes, &[9, 0, 0, 0, 1], "says 9 bytes"),
            (Datatype::Bytes, &[9, 0], "where four say a length"),
            (Datatype::Uint64, &[255; 8], "larger than 64 bits"),
            (Datatype::Fp16, &[0; 2], "FP16"),
        ] {
            let error = decode(datatype, bytes).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_crash_a_decoder(name in 0_usize..13, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let names = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"];
            if let Some(datatype) = Datatype::named(names[name]) {
                let _ = decode(datatype, &bytes);
            }
        }
    }
}
