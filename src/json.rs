//! JSON that is handed on, not looked into: from a row to a body and back into a row, as the text it is.
//!
//! A tree of values costs ten times what the text does, in time and in memory; whoever has to look asks for one. What may
//! enter: what PostgreSQL gives as `jsonb`, and values written here. So the text is always JSON.
//!
//! Wrong answers avoided here: a number that a tree of values would have rounded.

use bytes::{BufMut, BytesMut};
use serde_json::Value;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// A JSON text. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

/// The only version of the binary format of `jsonb` there is.
const JSONB: u8 = 1;

impl Json {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The values.
    pub fn value(&self) -> Value {
        // It came from PostgreSQL or from a value.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// The object with one more member, whose value is written as JSON already; what is no object stays as it is.
    pub fn with_member(&self, name: &str, value: &str) -> Self {
        let Some(members) = self.0.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            return self.clone();
        };
        let separator = if members.trim().is_empty() { "" } else { ", " };
        Self(format!("{{{members}{separator}{}: {value}}}", Value::from(name)).into())
    }
}

impl Default for Json {
    fn default() -> Self {
        Self("null".into())
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string().into())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> FromSql<'a> for Json {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        let text = match raw.split_first() {
            Some((&JSONB, text)) if *ty == Type::JSONB => text,
            _ if *ty == Type::JSONB => return Err("jsonb in an unknown format".into()),
            _ => raw,
        };
        Ok(Self(std::str::from_utf8(text)?.into()))
    }

    accepts!(JSON, JSONB);
}

impl ToSql for Json {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        if *ty == Type::JSONB {
            out.put_u8(JSONB);
        }
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    accepts!(JSON, JSONB);
    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_member_is_added_to_objects_alone() {
        let with = |value: Value| Json::from(value).with_member("a \"b\"", "[1]").value();
        assert_eq!(with(json!({})), json!({"a \"b\"": [1]}));
        assert_eq!(with(json!({"x": {}})), json!({"x": {}, "a \"b\"": [1]}));
        assert_eq!(with(json!([1])), json!([1]));
        assert_eq!(with(Value::Null), Value::Null);
    }

    #[test]
    fn jsonb_is_read_and_written_with_its_version() {
        let mut bytes = BytesMut::new();
        Json::from(json!({"a": 1})).to_sql(&Type::JSONB, &mut bytes).unwrap();
        assert_eq!(&bytes[..], b"\x01{\"a\":1}");
        assert_eq!(Json::from_sql(&Type::JSONB, &bytes).unwrap().value(), json!({"a": 1}));
        assert!(Json::from_sql(&Type::JSONB, b"\x02{}").is_err());
    }
}
