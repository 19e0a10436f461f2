//! Reading JSON that others have written: as serde_json does, but an object is an object.
//!
//! What serde derives takes a list for a struct, its elements for the members in the order in which they are declared: `"root": []` or
//! `"root": ["/", false]` would be a root. All that is read from a file, a socket or a registry goes through here, where each struct, at
//! whatever depth, has a visitor around it that takes an object alone, and says which members that may have.

use std::fmt;

use serde::Deserialize;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor,
};

/// Reads a document; nothing may come after it.
///
/// # Errors
/// It is no JSON, or not of this type.
pub fn from_slice<'de, T: Deserialize<'de>>(text: &'de [u8]) -> serde_json::Result<T> {
    let mut document = serde_json::Deserializer::from_slice(text);
    let value = T::deserialize(Strict(&mut document))?;
    document.end()?;
    Ok(value)
}

/// [`from_slice`] of a text.
///
/// # Errors
/// As there.
pub fn from_str<'de, T: Deserialize<'de>>(text: &'de str) -> serde_json::Result<T> {
    from_slice(text.as_bytes())
}

/// Takes what has been read as anything, a `Value` or a `Map`, for one of a type.
///
/// # Errors
/// It is not of this type.
pub fn from_value<'de, T, D>(value: D) -> serde_json::Result<T>
where
    T: Deserialize<'de>,
    D: Deserializer<'de, Error = serde_json::Error>,
{
    T::deserialize(Strict(value))
}

/// A value that is read by [`from_slice`] although it is a part of something else, as in `StreamDeserializer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(Strict(deserializer)).map(Self)
    }
}

/// Around a deserializer, and around all that it hands on: visitors, seeds, and what gives them their values.
struct Strict<T>(T);

/// Calls that hand on nothing but a plain value.
macro_rules! plain {
    ($($name:ident)*) => { $(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$name(visitor)
        }
    )* };
}

/// Calls that may come to a struct.
macro_rules! deep {
    ($($name:ident($($argument:ident: $type:ty),*))*) => { $(
        fn $name<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$name($($argument,)* Strict(visitor))
        }
    )* };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    plain! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier deserialize_ignored_any
    }

    deep! {
        deserialize_any()
        deserialize_option()
        deserialize_newtype_struct(name: &'static str)
        deserialize_seq()
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_map()
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, Object { visitor, fields })
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Takes an object for a struct, and nothing else.
struct Object<V> {
    visitor: V,
    fields: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with {}", self.fields.join(", "))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Strict(map))
    }

    /// All of it is read, so that the error is at its end: there the list is what is wrong, not its first element.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<V::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Err(de::Error::invalid_type(Unexpected::Seq, &self))
    }
}

/// Plain values for a visitor.
macro_rules! values {
    ($($name:ident($type:ty))*) => { $(
        fn $name<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$name(value)
        }
    )* };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }

    values! {
        visit_bool(bool) visit_i64(i64) visit_i128(i128) visit_u64(u64) visit_u128(u128) visit_f64(f64) visit_str(&str)
        visit_borrowed_str(&'de str) visit_string(String)
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(inner))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, choice: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Strict(choice))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Strict<A> {
    type Error = A::Error;
    type Variant = Strict<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        self.0.variant_seed(seed).map(|(name, variant)| (name, Strict(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Strict(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(length, Strict(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Object { visitor, fields })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Inner {
        number: i32,
        text: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        Unit,
        New(Inner),
        Pair(u8, Inner),
        Members { number: i32, inner: Inner },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(Inner);

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Outer {
        inner: Inner,
        optional: Option<Inner>,
        boxed: Option<Box<Inner>>,
        list: Vec<Inner>,
        named: BTreeMap<String, Inner>,
        pair: Option<(i32, Inner)>,
        wrapped: Option<Wrapped>,
        choices: Vec<Choice>,
        anything: Value,
    }

    #[test]
    fn a_list_is_no_struct_at_any_place() {
        for text in [
            r#"[]"#,
            r#"[{"number":1}]"#,
            r#"{"inner":[]}"#,
            r#"{"inner":[7,"x"]}"#,
            r#"{"optional":[7,"x"]}"#,
            r#"{"boxed":[7,"x"]}"#,
            r#"{"list":[[7,"x"]]}"#,
            r#"{"named":{"a":[7,"x"]}}"#,
            r#"{"pair":[1,[7,"x"]]}"#,
            r#"{"wrapped":[7,"x"]}"#,
            r#"{"choices":[{"new":[7,"x"]}]}"#,
            r#"{"choices":[{"pair":[1,[7,"x"]]}]}"#,
            r#"{"choices":[{"members":[1,{}]}]}"#,
            r#"{"choices":[{"members":{"number":1,"inner":[]}}]}"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            let whole = from_str::<Outer>(text).unwrap_err().to_string();
            assert!(whole.contains("invalid type: sequence, expected an object with "), "{text}: {whole}");
            let value = from_value::<Outer, _>(value).unwrap_err().to_string();
            assert!(value.contains("invalid type: sequence, expected "), "{text}: {value}");
            let part = from_str::<Vec<Part<Outer>>>(&format!("[{text}]")).unwrap_err().to_string();
            assert!(part.contains("expected an object with "), "{text}: {part}");
        }
        let error = from_str::<Outer>(r#"{"inner":7}"#).unwrap_err().to_string();
        assert!(error.contains("invalid type: integer `7`, expected an object with number, text"), "{error}");
    }

    #[test]
    fn what_is_no_struct_may_be_a_list() {
        let text = json!({
            "inner": {"number": 1, "text": "a"}, "optional": null, "boxed": {}, "list": [{}, {"number": 2}],
            "named": {"a": {}}, "pair": [1, {}], "wrapped": {}, "anything": [[], [1, {"a": []}]],
            "choices": ["unit", {"new": {}}, {"pair": [1, {}]}, {"members": {"number": 1, "inner": {}}}],
            "unknown": [[[]]],
        });
        let expected: Outer = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(from_str::<Outer>(&text.to_string()).unwrap(), expected);
        assert_eq!(from_value::<Outer, _>(text).unwrap(), expected);
        assert!(from_str::<Outer>("{} {}").is_err());
        assert!(from_str::<Outer>("").is_err());
    }

    proptest! {
        /// Whatever is written can be read, and what serde_json refuses is refused.
        #[test]
        fn agrees_with_serde_json(number: i32, text: String, junk in "[\\[\\]{}\":,a-z0-9]{0,40}") {
            let inner = || Inner { number, text: text.clone() };
            let outer = Outer {
                inner: inner(), optional: Some(inner()), list: vec![inner(), inner()], pair: Some((number, inner())),
                named: [(text.clone(), inner())].into(), wrapped: Some(Wrapped(inner())), boxed: None,
                choices: vec![Choice::Unit, Choice::New(inner()), Choice::Members { number, inner: inner() }],
                anything: json!([number, {&text: [1.5, null, true]}]),
            };
            prop_assert_eq!(&from_slice::<Outer>(&serde_json::to_vec(&outer).unwrap()).unwrap(), &outer);
            if serde_json::from_str::<Outer>(&junk).is_err() {
                prop_assert!(from_str::<Outer>(&junk).is_err());
            }
            prop_assert_eq!(from_str::<Value>(&junk).ok(), serde_json::from_str::<Value>(&junk).ok());
        }
    }
}
