//! Values read from JSON, and shown as JSON.
//!
//! A whole number that fits 64 bits stays exact, any other becomes the nearest `f64`. Of a name
//! that occurs twice the last value counts. Nesting is bounded.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Fields, Value};

/// How deep JSON from outside may be nested.
const JSON_DEPTH_MAX: usize = 64;

/// Reads a value that may hold so many more levels.
#[derive(Clone, Copy)]
struct Levels(usize);

impl Value {
    /// Reads one JSON value with nothing behind it; the error quotes none of its content.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = Levels(JSON_DEPTH_MAX).deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => number
                .as_i64()
                .map(Self::Int)
                .or_else(|| number.as_u64().map(Self::Uint))
                .or_else(|| number.as_f64().map(Self::Float))
                .unwrap_or(Self::Null),
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Array(items) => {
                Self::List(items.into_iter().map(Self::from).collect())
            }
            serde_json::Value::Object(map) => Self::Map(Fields::from_pairs(
                map.into_iter()
                    .map(|(name, value)| (name, Self::from(value)))
                    .collect(),
            )),
        }
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::from(*value),
            Value::Int(number) => Self::from(*number),
            Value::Uint(number) => Self::from(*number),
            Value::Float(number) => Self::from(*number),
            Value::Text(text) => Self::from(text.as_str()),
            Value::List(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Map(fields) => Self::Object(
                fields
                    .iter()
                    .map(|(name, value)| (name.to_owned(), Self::from(value)))
                    .collect(),
            ),
        }
    }
}

impl Levels {
    fn inner<E: Error>(self) -> Result<Self, E> {
        self.0
            .checked_sub(1)
            .map(Self)
            .ok_or_else(|| E::custom(format_args!("nested deeper than {JSON_DEPTH_MAX} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Uint(number), Value::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(if number.is_finite() {
            Value::Float(number)
        } else {
            Value::Null
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut pairs = Vec::new();
        while let Some(name) = entries.next_key::<String>()? {
            pairs.push((name, entries.next_value_seed(inner)?));
        }
        Ok(Value::Map(Fields::from_pairs(pairs)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &Value) {
        assert_eq!(
            Value::from_json(json.as_bytes()).ok().as_ref(),
            Some(expected),
            "{json}"
        );
    }

    #[test]
    fn numbers_stay_exact_while_they_fit() {
        check("9223372036854775807", &Value::Int(i64::MAX));
        check("-9223372036854775808", &Value::Int(i64::MIN));
        check("18446744073709551615", &Value::Uint(u64::MAX));
        check(
            "18446744073709551616",
            &Value::Float(18_446_744_073_709_551_616.0),
        );
        check("0.1", &Value::Float(0.1));
        check("1e3", &Value::Float(1000.0));
    }

    /// The shortest text of a number, and any longer one, is read as that number and no other.
    #[test]
    fn a_float_keeps_its_last_bit() {
        check("31.245270191439438", &Value::Float(31.245_270_191_439_438));
        check("121.48791951161945", &Value::Float(121.487_919_511_619_45));
        check(
            "2.2250738585072011e-308",
            &Value::Float(2.225_073_858_507_201e-308),
        );
        let mut bits = 1_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = f64::from_bits(bits);
            if number.is_finite() {
                check(&format!("{number:e}"), &Value::Float(number));
            }
        }
    }

    #[test]
    fn the_last_of_a_name_counts() {
        check(
            r#"{"a":1,"b":2,"a":{"c":null}}"#,
            &Value::Map(Fields::from_pairs(vec![
                (
                    "a".to_owned(),
                    Value::Map(Fields::from_pairs(vec![("c".to_owned(), Value::Null)])),
                ),
                ("b".to_owned(), Value::Int(2)),
            ])),
        );
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{} {}", "nul", "1e400", "\"\u{1}\"", "{\"a\" 1}"] {
            assert!(Value::from_json(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Value::from_json(b"\"\xff\"").is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Value::from_json(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        let error = Value::from_json(nested(JSON_DEPTH_MAX + 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("nested deeper"), "{error}");
        assert!(Value::from_json("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn conversion_goes_both_ways() {
        let json = r#"{"a":[1,18446744073709551615,-1.5,"x",true,null,{}]}"#;
        let value = Value::from_json(json.as_bytes()).unwrap();
        let shown = serde_json::Value::from(&value);
        assert_eq!(shown.to_string(), json);
        assert_eq!(Value::from(shown), value);
    }
}
