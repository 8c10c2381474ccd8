//! The elements of one tensor, read into their own type as they come, without a value in between.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use crate::protocol::{Data, Datatype};

/// Lists within lists at most.
const MAX_DEPTH: usize = 8;
/// Elements for which room is made before they are there.
const AHEAD: usize = 1 << 16;

/// Reads the elements of the tensor `place[index]`.
pub(super) struct Elements<'a> {
    place: &'static str,
    index: usize,
    sink: Sink,
    /// Elements of each list, by depth, where they are nested; all of one depth are equally long.
    lengths: &'a mut Vec<Option<usize>>,
    /// Depth at which elements stand.
    depth: Option<usize>,
    count: usize,
}

enum Sink {
    Bool(Vec<bool>),
    U8(Vec<u8>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    Text(Vec<String>),
    /// Numbers of a tensor that has not said its type yet.
    Loose(Vec<f64>),
}

/// What was read.
pub(super) enum Read {
    /// Elements of the type that the tensor says.
    Typed(Data),
    /// Numbers, or nothing, of a tensor that has not said its type yet.
    Loose(Vec<f64>),
}

impl<'a> Elements<'a> {
    /// For elements of this type, where it is known, and about so many. `lengths` takes how they are nested.
    pub(super) fn new(
        place: &'static str,
        index: usize,
        datatype: Option<Datatype>,
        expected: usize,
        lengths: &'a mut Vec<Option<usize>>,
    ) -> Self {
        let room = expected.min(AHEAD);
        let sink = match datatype {
            None => Sink::Loose(Vec::new()),
            Some(Datatype::Bool) => Sink::Bool(Vec::with_capacity(room)),
            Some(Datatype::Uint8) => Sink::U8(Vec::with_capacity(room)),
            Some(Datatype::Fp16 | Datatype::Fp32 | Datatype::Fp64) => Sink::F32(Vec::with_capacity(room)),
            Some(Datatype::Bytes) => Sink::Text(Vec::new()),
            Some(_) => Sink::I64(Vec::with_capacity(room)),
        };
        lengths.clear();
        Self {
            place,
            index,
            sink,
            lengths,
            depth: None,
            count: 0,
        }
    }

    fn wrong<E: Error>(&self, found: &str, wanted: &str) -> E {
        let brief: String = found.chars().take(40).collect();
        E::custom(format!(
            "{}[{}].data[{}]: {brief} is not {wanted}",
            self.place, self.index, self.count
        ))
    }

    fn wanted(&self) -> &'static str {
        match self.sink {
            Sink::Bool(_) => "true or false",
            Sink::U8(_) => "a whole number from 0 to 255",
            Sink::I64(_) => "a whole number",
            Sink::F32(_) => "a number",
            Sink::Text(_) => "text",
            Sink::Loose(_) => "a number, as those before it are",
        }
    }

    fn unsigned<E: Error>(&mut self, value: u64) -> Result<(), E> {
        let taken = match &mut self.sink {
            Sink::F32(v) => {
                v.push(value as f32);
                true
            }
            Sink::U8(v) => u8::try_from(value).map(|value| v.push(value)).is_ok(),
            Sink::I64(v) => i64::try_from(value).map(|value| v.push(value)).is_ok(),
            Sink::Loose(v) => {
                v.push(value as f64);
                true
            }
            Sink::Bool(_) | Sink::Text(_) => false,
        };
        self.taken(taken, &value)
    }

    fn signed<E: Error>(&mut self, value: i64) -> Result<(), E> {
        if let Ok(value) = u64::try_from(value) {
            return self.unsigned(value);
        }
        let taken = match &mut self.sink {
            Sink::F32(v) => {
                v.push(value as f32);
                true
            }
            Sink::I64(v) => {
                v.push(value);
                true
            }
            Sink::Loose(v) => {
                v.push(value as f64);
                true
            }
            Sink::U8(_) | Sink::Bool(_) | Sink::Text(_) => false,
        };
        self.taken(taken, &value)
    }

    fn float<E: Error>(&mut self, value: f64) -> Result<(), E> {
        let taken = match &mut self.sink {
            Sink::F32(v) => {
                v.push(value as f32);
                true
            }
            Sink::Loose(v) => {
                v.push(value);
                true
            }
            _ => false,
        };
        self.taken(taken, &value)
    }

    fn truth<E: Error>(&mut self, value: bool) -> Result<(), E> {
        if matches!(&self.sink, Sink::Loose(v) if v.is_empty()) {
            self.sink = Sink::Bool(Vec::new());
        }
        let taken = if let Sink::Bool(v) = &mut self.sink {
            v.push(value);
            true
        } else {
            false
        };
        self.taken(taken, &value)
    }

    fn text<E: Error>(&mut self, value: &str) -> Result<(), E> {
        if matches!(&self.sink, Sink::Loose(v) if v.is_empty()) {
            self.sink = Sink::Text(Vec::new());
        }
        if let Sink::Text(v) = &mut self.sink {
            v.push(value.to_owned());
            self.count += 1;
            Ok(())
        } else {
            Err(self.wrong(&format!("{value:?}"), self.wanted()))
        }
    }

    fn taken<E: Error>(&mut self, taken: bool, value: &dyn fmt::Display) -> Result<(), E> {
        if taken {
            self.count += 1;
            Ok(())
        } else {
            Err(self.wrong(&value.to_string(), self.wanted()))
        }
    }

    /// Reads one list, which stands at `depth`.
    fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A, depth: usize) -> Result<(), A::Error> {
        if depth >= MAX_DEPTH {
            return Err(A::Error::custom(format!(
                "{}[{}].data: lists are nested more than {MAX_DEPTH} times",
                self.place, self.index
            )));
        }
        let mut length = 0;
        while list
            .next_element_seed(Element {
                elements: self,
                depth: depth + 1,
            })?
            .is_some()
        {
            length += 1;
        }
        if self.lengths.len() <= depth {
            self.lengths.resize(depth + 1, None);
        }
        match self.lengths[depth] {
            Some(other) if other != length => Err(A::Error::custom(format!(
                "{}[{}].data: lists of {other} and of {length} elements stand side by side",
                self.place, self.index
            ))),
            _ => {
                self.lengths[depth] = Some(length);
                Ok(())
            }
        }
    }

    /// Notes that an element stands at `depth`; all do.
    fn level<E: Error>(&mut self, depth: usize) -> Result<(), E> {
        match self.depth {
            Some(other) if other != depth => Err(E::custom(format!(
                "{}[{}].data: values and lists stand side by side",
                self.place, self.index
            ))),
            _ => {
                self.depth = Some(depth);
                Ok(())
            }
        }
    }

    fn finish(self) -> Read {
        match self.sink {
            Sink::Bool(v) => Read::Typed(Data::Bool(v)),
            Sink::U8(v) => Read::Typed(Data::U8(v)),
            Sink::I64(v) => Read::Typed(Data::I64(v)),
            Sink::F32(v) => Read::Typed(Data::F32(v)),
            Sink::Text(v) => Read::Typed(Data::Text(v)),
            Sink::Loose(v) => Read::Loose(v),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Read, D::Error> {
        struct Outer<'a>(Elements<'a>);
        impl<'de> Visitor<'de> for Outer<'_> {
            type Value = Read;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list in {}[{}].data", self.0.place, self.0.index)
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, list: A) -> Result<Read, A::Error> {
                self.0.list(list, 0)?;
                Ok(self.0.finish())
            }
        }
        from.deserialize_seq(Outer(self))
    }
}

/// An element, or a list of them, that stands at `depth`.
struct Element<'a, 'b> {
    elements: &'a mut Elements<'b>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.elements.wanted())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.elements.level(self.depth)?;
        self.elements.unsigned(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.elements.level(self.depth)?;
        self.elements.signed(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.elements.level(self.depth)?;
        self.elements.float(value)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.elements.level(self.depth)?;
        self.elements.truth(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.elements.level(self.depth)?;
        self.elements.text(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(self.elements.wrong("null", self.elements.wanted()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.elements.wrong("an object", self.elements.wanted()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.elements.list(list, self.depth)
    }
}
