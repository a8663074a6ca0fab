//! Additional fields: found by id or name in the account's catalogs (sheet, section 5.6). The API cannot create them.
//!
//! The answer comes through a habit of the platform: lists of one element as objects, numbers and truth as texts, types now
//! in capitals and now in small letters.

use super::ESputnik;
use super::calls::{list, text, word};
use super::settings::FieldName;
use crate::{Error, Kind, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What goes into a field without an expression of `contacts.fields`.
pub(super) const BUILT_IN: [&str; 5] = ["company", "birthday", "country", "registered_at", "consent_at"];

/// One additional field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    id: i64,
    name: String,
    key: Option<String>,
    kind: String,
    values: Vec<String>,
    is_readonly: bool,
}

impl ESputnik {
    /// Which fields are named, by what goes into them.
    fn wanted<'s>(&'s self, properties: &[&'s str]) -> Vec<(&'s str, FieldName)> {
        let mapped = self.settings.field_map.iter().map(|(name, field)| (name.as_str(), field.clone()));
        let own: BTreeSet<&str> = properties.iter().copied().collect();
        let unmapped = own.into_iter().filter(|name| !self.settings.field_map.contains_key(*name));
        mapped.chain(unmapped.map(|name| (name, FieldName::Name(name.to_owned())))).collect()
    }

    /// What rendering has to know of the fields: id, type and values, by what goes into them.
    pub(super) async fn find_fields(&self, properties: &[&str]) -> Result<Value> {
        let wanted = self.wanted(properties);
        if wanted.is_empty() {
            return Ok(Value::Null);
        }
        if let Some((name, _)) = wanted.iter().find(|(name, _)| !BUILT_IN.contains(name) && !properties.contains(name))
        {
            return Err(Error::new(
                Kind::PipelineFile,
                format!("target.field_map.{name}: nothing is called `{name}` that could go into a field"),
            )
            .hint(format!("write an expression for it under contacts.fields, or use one of {}", BUILT_IN.join(", "))));
        }
        let fields = fields_in(self.read("v1/addressbooks", &[]).await?);
        let mut found = Map::new();
        for (name, wanted) in wanted {
            let field = find(&fields, &wanted).ok_or_else(|| missing(name, &wanted))?;
            if field.is_readonly {
                return Err(Error::new(Kind::PipelineFile, format!("the additional field for `{name}` is read-only"))
                    .hint(
                        "map another one in target.field_map, or change it in eSputnik: Settings > Additional fields",
                    ));
            }
            found.insert(name.to_owned(), json!({ "id": field.id, "type": field.kind, "values": field.values }));
        }
        Ok(json!({ "fields": found }))
    }
}

fn missing(name: &str, wanted: &FieldName) -> Error {
    let what = match wanted {
        FieldName::Id(id) => format!("the id {id}"),
        FieldName::Name(field) => format!("the name `{field}`"),
    };
    Error::new(Kind::PipelineFile, format!("eSputnik has no additional field with {what} (for `{name}`)")).hint(
        "the API cannot create fields: in eSputnik open Settings > Additional fields > New field, or name an existing one \
         in target.field_map",
    )
}

fn find<'f>(fields: &'f [Field], wanted: &FieldName) -> Option<&'f Field> {
    match wanted {
        FieldName::Id(id) => fields.iter().find(|field| field.id == *id),
        FieldName::Name(name) => {
            let is_it = |text: &str| text.trim().to_lowercase() == name.trim().to_lowercase();
            let by_name = fields.iter().find(|field| is_it(&field.name));
            by_name
                .or_else(|| fields.iter().find(|field| field.key.as_deref().is_some_and(is_it)))
                .or_else(|| fields.iter().find(|field| field.id.to_string() == name.trim()))
        }
    }
}

/// All fields of all catalogs.
fn fields_in(mut answer: Value) -> Vec<Field> {
    let take = |value: &mut Value, name: &str| list(value.get_mut(name).map(Value::take));
    let mut fields = Vec::new();
    for mut book in take(&mut answer, "addressBook") {
        for mut group in take(&mut book, "fieldGroups") {
            for field in take(&mut group, "fields") {
                fields.extend(field_of(&field));
            }
        }
    }
    fields
}

fn field_of(field: &Value) -> Option<Field> {
    let description = field.get("description").cloned().unwrap_or_default();
    let allowed = description.get("allowedValues").cloned().unwrap_or_default();
    Some(Field {
        id: text(field, "id")?.parse().ok()?,
        name: text(field, "name").unwrap_or_default(),
        key: text(field, "fieldKey"),
        kind: text(&description, "type").unwrap_or_default().to_ascii_lowercase(),
        values: list(allowed.get("possibleValues").cloned()).iter().filter_map(word).collect(),
        is_readonly: text(&description, "readonly").is_some_and(|said| said.eq_ignore_ascii_case("true")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_of_one_group_of_one_catalog_is_found_by_id_name_and_key() {
        let collapsed = json!({"addressBook": {"addressBookId": "7", "fieldGroups": {"name": "g", "fields":
            {"id": "15", "name": "Birth day", "fieldKey": "BIRTHDAY", "description":
                {"type": "COMBOBOX", "readonly": "false", "allowedValues": {"possibleValues": "M"}}}}}});
        let fields = fields_in(collapsed);
        let field = Field {
            id: 15,
            name: "Birth day".into(),
            key: Some("BIRTHDAY".into()),
            kind: "combobox".into(),
            values: vec!["M".into()],
            is_readonly: false,
        };
        assert_eq!(fields, [field]);
        for wanted in [FieldName::Id(15), FieldName::Name("birth DAY".into()), FieldName::Name("birthday".into())] {
            assert!(find(&fields, &wanted).is_some(), "{wanted:?}");
        }
        assert!(find(&fields, &FieldName::Name("other".into())).is_none());
    }

    #[test]
    fn full_lists_and_plain_numbers_are_read_as_well() {
        let full = json!({"addressBook": [{"fieldGroups": [{"fields": [
            {"id": 1, "name": "a", "description": {"type": "date", "readonly": true}},
            {"id": 2, "name": "b"}, {"name": "without id"}]}, {}]}, {"fieldGroups": null}]});
        let fields = fields_in(full);
        assert_eq!(
            fields.iter().map(|field| (field.id, field.is_readonly)).collect::<Vec<_>>(),
            [(1, true), (2, false)]
        );
        assert!(fields_in(Value::Null).is_empty());
    }
}
