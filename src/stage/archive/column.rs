//! A column's way from the catalog to Parquet: which type it gets, and how it is asked for. Nothing enters but the
//! catalog's description of it.
//!
//! | PostgreSQL | Arrow | Parquet | pyarrow | DuckDB |
//! |---|---|---|---|---|
//! | `text`, `varchar`, enums | Utf8 | STRING | string | VARCHAR |
//! | `json`, `jsonb` | Utf8 (JSON text) | STRING | string | VARCHAR |
//! | `uuid` | FixedSizeBinary(16), `arrow.uuid` | UUID | uuid | UUID |
//! | `numeric(p, s)`, p ≤ 38 | Decimal128(p, s) | DECIMAL | decimal128 | DECIMAL |
//! | `numeric` | Decimal128(38, 18) | DECIMAL | decimal128 | DECIMAL |
//! | `timestamptz` | Timestamp(µs, UTC) | TIMESTAMP, adjusted to UTC | timestamp[us, UTC] | TIMESTAMPTZ |
//! | `timestamp` | Timestamp(µs) | TIMESTAMP | timestamp[us] | TIMESTAMP |
//! | `date` | Date32 | DATE | date32 | DATE |
//! | `boolean`, `int2/4/8`, `float4/8`, `bytea` | as named | as named | as named | as named |
//! | an array of any of these | List | LIST | list | list |
//! | anything else | Utf8 (PostgreSQL's text) | STRING | string | VARCHAR |

use arrow::datatypes::{DataType, Field, TimeUnit};
use std::sync::Arc;

/// Digits and decimal places of a `numeric` that declares none: 20 digits before the point and 18 behind hold every sum
/// of money and PostgreSQL's averages.
const UNDECLARED_NUMERIC: Kind = Kind::Decimal { precision: 38, scale: 18 };

/// One column of an archived table or view.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// The column's name.
    pub name: String,
    /// The type as PostgreSQL writes it, for the manifest.
    pub postgres_type: String,
    /// What it becomes.
    pub kind: Kind,
    /// Whether PostgreSQL has to cast it to text first.
    pub as_text: bool,
    /// `pg_type.typname` of it, or of an array's elements.
    pub type_name: String,
    /// Number of that type in this database.
    pub type_oid: u32,
}

/// What a column becomes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Text,
    Json,
    Uuid,
    Decimal { precision: u8, scale: i8 },
    TimestampUtc,
    Timestamp,
    Date,
    Boolean,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Binary,
    List(Box<Kind>),
}

/// The catalog's words for a type: `pg_type.typname` of it, or, for an array, of its elements; domains resolved.
#[derive(Debug, Clone)]
pub(super) struct CatalogType<'a> {
    pub name: &'a str,
    pub is_enum: bool,
    pub is_array: bool,
    /// `pg_attribute.atttypmod`; -1 for none.
    pub modifier: i32,
    /// The type's number in this database.
    pub oid: u32,
}

impl Column {
    /// The column as the catalog describes it.
    pub(super) fn new(name: String, postgres_type: String, catalog: &CatalogType<'_>) -> Self {
        let element = if catalog.is_enum { Some(Kind::Text) } else { scalar(catalog.name, catalog.modifier) };
        let (kind, as_text) = match element {
            Some(kind) if catalog.is_array => (Kind::List(Box::new(kind)), false),
            Some(kind) => (kind, false),
            None => (Kind::Text, true),
        };
        Self { name, postgres_type, kind, as_text, type_name: catalog.name.to_owned(), type_oid: catalog.oid }
    }

    /// The column in a select list.
    pub(super) fn expression(&self) -> String {
        let name = quoted(&self.name);
        if self.as_text { format!("{name}::text as {name}") } else { name }
    }

    /// The Arrow field. Every field may be null: a value that the type has no place for becomes null and is listed.
    pub(super) fn field(&self) -> Field {
        self.kind.field(&self.name)
    }
}

impl Kind {
    /// The Arrow type.
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Kind::Text | Kind::Json => DataType::Utf8,
            Kind::Uuid => DataType::FixedSizeBinary(16),
            Kind::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Kind::TimestampUtc => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Kind::Date => DataType::Date32,
            Kind::Boolean => DataType::Boolean,
            Kind::Int16 => DataType::Int16,
            Kind::Int32 => DataType::Int32,
            Kind::Int64 => DataType::Int64,
            Kind::Float32 => DataType::Float32,
            Kind::Float64 => DataType::Float64,
            Kind::Binary => DataType::Binary,
            Kind::List(element) => DataType::List(Arc::new(element.field("element"))),
        }
    }

    fn field(&self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), true);
        match self {
            // Readers of the Arrow schema take the extension type's name, all others Parquet's logical type.
            Kind::Uuid => field.with_metadata([("ARROW:extension:name", "arrow.uuid")]),
            _ => field,
        }
    }
}

/// An SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn scalar(name: &str, modifier: i32) -> Option<Kind> {
    Some(match name {
        "text" | "varchar" | "bpchar" | "name" | "citext" => Kind::Text,
        "json" | "jsonb" => Kind::Json,
        "uuid" => Kind::Uuid,
        "numeric" => return decimal(modifier),
        "timestamptz" => Kind::TimestampUtc,
        "timestamp" => Kind::Timestamp,
        "date" => Kind::Date,
        "bool" => Kind::Boolean,
        "int2" => Kind::Int16,
        "int4" => Kind::Int32,
        "int8" => Kind::Int64,
        "float4" => Kind::Float32,
        "float8" => Kind::Float64,
        "bytea" => Kind::Binary,
        _ => return None,
    })
}

/// The decimal for a numeric's type modifier (`numerictypmodin`: precision in the upper half, scale in 11 signed bits,
/// all shifted by the header's 4 bytes); `None` if 38 digits do not hold it.
fn decimal(modifier: i32) -> Option<Kind> {
    if modifier < 4 {
        return Some(UNDECLARED_NUMERIC);
    }
    let packed = modifier - 4;
    let declared_precision = (packed >> 16) & 0xffff;
    let declared_scale = ((packed & 0x7ff) ^ 1024) - 1024;
    // PostgreSQL allows a scale below zero (rounded to hundreds) and above the precision (0.00123 as numeric(3, 5)).
    let scale = declared_scale.max(0);
    let precision = (declared_precision - declared_scale.min(0)).max(scale);
    if precision > 38 {
        return None;
    }
    Some(Kind::Decimal { precision: u8::try_from(precision).ok()?, scale: i8::try_from(scale).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, modifier: i32) -> (Kind, bool) {
        let catalog = CatalogType { name, is_enum: false, is_array: false, modifier, oid: 0 };
        let column = Column::new("c".into(), name.into(), &catalog);
        (column.kind, column.as_text)
    }

    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn a_declared_numeric_keeps_its_precision_and_scale() {
        assert_eq!(kind("numeric", modifier(18, 4)), (Kind::Decimal { precision: 18, scale: 4 }, false));
        assert_eq!(kind("numeric", modifier(38, 38)), (Kind::Decimal { precision: 38, scale: 38 }, false));
    }

    #[test]
    fn odd_declarations_of_numeric_get_a_decimal_that_holds_them() {
        assert_eq!(kind("numeric", modifier(3, -2)), (Kind::Decimal { precision: 5, scale: 0 }, false));
        assert_eq!(kind("numeric", modifier(3, 5)), (Kind::Decimal { precision: 5, scale: 5 }, false));
        assert_eq!(kind("numeric", -1), (Kind::Decimal { precision: 38, scale: 18 }, false));
    }

    #[test]
    fn what_has_no_type_of_its_own_is_asked_for_as_text() {
        assert_eq!(kind("numeric", modifier(50, 2)), (Kind::Text, true));
        assert_eq!(kind("interval", -1), (Kind::Text, true));
        let column = Column::new(
            "how \"long\"".into(),
            "interval".into(),
            &CatalogType { name: "interval", is_enum: false, is_array: false, modifier: -1, oid: 0 },
        );
        assert_eq!(column.expression(), "\"how \"\"long\"\"\"::text as \"how \"\"long\"\"\"");
    }

    #[test]
    fn an_array_becomes_a_list_of_its_elements_type() {
        let catalog = CatalogType { name: "uuid", is_enum: false, is_array: true, modifier: -1, oid: 0 };
        assert_eq!(Column::new("c".into(), "uuid[]".into(), &catalog).kind, Kind::List(Box::new(Kind::Uuid)));
    }
}
