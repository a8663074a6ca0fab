//! The Parquet schema of an Arrow schema, with UUIDs called what they are.
//!
//! The crate names the logical type only with a feature that most builds do without; DuckDB and others know a UUID by it.

use crate::error::{Error, Kind, Result};
use arrow::datatypes::Schema;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{LogicalType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use std::sync::Arc;

/// Converts the schema.
///
/// # Errors
/// [`Kind::Internal`] if a type has no counterpart, which no column of ours is given.
pub(super) fn of(schema: &Schema) -> Result<SchemaDescriptor> {
    let named = || -> std::result::Result<SchemaDescriptor, ParquetError> {
        let plain = ArrowSchemaConverter::new().convert(schema)?;
        Ok(SchemaDescriptor::new(with_uuids(&plain.root_schema_ptr())?))
    };
    named().map_err(|error| Error::new(Kind::Internal, "the archive's columns have no Parquet schema").because(error))
}

fn with_uuids(node: &TypePtr) -> std::result::Result<TypePtr, ParquetError> {
    let info = node.get_basic_info();
    if node.is_group() {
        let fields = node.get_fields().iter().map(with_uuids).collect::<std::result::Result<Vec<_>, _>>()?;
        let mut group = Type::group_type_builder(node.name())
            .with_converted_type(info.converted_type())
            .with_logical_type(info.logical_type_ref().cloned())
            .with_fields(fields);
        if info.has_repetition() {
            group = group.with_repetition(info.repetition());
        }
        return Ok(Arc::new(group.build()?));
    }
    // Decimals, the only other values of fixed length, carry their own logical type.
    let is_uuid = matches!(
        node.as_ref(),
        Type::PrimitiveType { physical_type: PhysicalType::FIXED_LEN_BYTE_ARRAY, type_length: 16, .. }
    ) && info.logical_type_ref().is_none();
    if !is_uuid {
        return Ok(node.clone());
    }
    Ok(Arc::new(
        Type::primitive_type_builder(node.name(), PhysicalType::FIXED_LEN_BYTE_ARRAY)
            .with_length(16)
            .with_repetition(info.repetition())
            .with_logical_type(Some(LogicalType::Uuid))
            .build()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::super::column::{CatalogType, Column};
    use super::*;

    #[test]
    fn uuids_and_lists_of_them_carry_the_logical_type_and_decimals_keep_theirs() {
        let column = |name: &str, type_name: &str, is_array| {
            let catalog =
                CatalogType { name: type_name, is_enum: false, is_array, modifier: ((38 << 16) | 4) + 4, oid: 0 };
            Column::new(name.into(), type_name.into(), &catalog).field()
        };
        let schema = Schema::new(vec![
            column("id", "uuid", false),
            column("ids", "uuid", true),
            column("sum", "numeric", false),
        ]);
        let descriptor = of(&schema).unwrap();
        let logical: Vec<_> = descriptor.columns().iter().map(|c| c.logical_type_ref().cloned()).collect();
        assert_eq!(logical, [Some(LogicalType::Uuid), Some(LogicalType::Uuid), Some(LogicalType::decimal(4, 38)),]);
    }
}
