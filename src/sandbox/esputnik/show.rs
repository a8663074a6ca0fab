//! The JSON faces of a contact, and the habit of the platform's XML-to-JSON conversion: a list with one element is that
//! element, numbers and booleans are texts.

use super::account::{Account, FIRST_GROUP, Group};
use super::card::{CHANNELS, Details, TEXTS, Text};
use serde_json::{Map, Value, json};

/// The number of the address book.
pub const ADDRESS_BOOK: u32 = 7200;

/// The conversion from XML.
pub fn as_from_xml(value: Value) -> Value {
    match value {
        Value::Array(list) if list.len() == 1 => list.into_iter().next().map_or(Value::Null, as_from_xml),
        Value::Array(list) => list.into_iter().map(as_from_xml).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, as_from_xml(value))).collect())
        }
        Value::Number(number) => number.to_string().into(),
        Value::Bool(truth) => truth.to_string().into(),
        other => other,
    }
}

/// The answer as from XML where its list has one element, else as it is.
pub fn collapsed(answer: Value, list: &str, wanted: bool) -> Value {
    let has_one = answer.get(list).and_then(Value::as_array).is_some_and(|list| list.len() == 1);
    if wanted && has_one { as_from_xml(answer) } else { answer }
}

fn channels(details: &Details) -> Value {
    let shown =
        details.channels.iter().map(|(kind, value)| json!({"type": CHANNELS.get(usize::from(*kind)), "value": value}));
    shown.collect()
}

fn fields(details: &Details) -> Value {
    details.fields.iter().map(|(id, value)| json!({"id": id, "value": value})).collect()
}

/// As a search shows it.
pub fn basic(account: &Account, number: u32) -> Value {
    let details = account.card(number).details();
    let mut shown = Map::new();
    for (text, name) in [(Text::FirstName, "firstName"), (Text::LastName, "lastName")] {
        if let Some(value) = details.text(text) {
            shown.insert(name.into(), value.into());
        }
    }
    shown.insert("channels".into(), channels(&details));
    shown.insert("fields".into(), fields(&details));
    shown.insert("addressBookId".into(), ADDRESS_BOOK.into());
    shown.insert("id".into(), Account::contact_id(number).into());
    shown.into()
}

/// As `GET /v1/contact/{id}` shows it.
pub fn full(account: &Account, number: u32) -> Value {
    let card = account.card(number);
    let details = card.details();
    let mut shown = basic(account, number);
    let mut address = Map::new();
    for (text, name) in TEXTS {
        let value = details.text(text).unwrap_or_default();
        match text {
            Text::Region | Text::Town | Text::Address | Text::Postcode => {
                if !value.is_empty() {
                    address.insert(name.into(), value.into());
                }
            }
            Text::ContactKey => shown[name] = value.into(),
            _ if value.is_empty() => {}
            _ => shown[name] = value.into(),
        }
    }
    shown["address"] = address.into();
    let groups =
        card.groups.iter().filter_map(|place| account.groups.get(usize::from(*place)).map(|group| (*place, group)));
    shown["groups"] = groups.map(|(place, one)| group(place, one)).collect();
    shown
}

/// As the control endpoints show it: everything, and what the platform does not tell.
pub fn inspected(account: &Account, number: u32) -> Value {
    let card = account.card(number);
    let mut shown = full(account, number);
    let emails: Vec<String> = card.details().values(super::card::EMAIL).map(str::to_lowercase).collect();
    shown["unsubscribed"] = emails.iter().any(|email| account.unsubscribed.contains_key(email.as_str())).into();
    shown["confirmed"] = card.confirmed.into();
    shown["deleted"] = card.deleted.into();
    shown["mailable"] = account.is_mailable(number).into();
    shown["madeBy"] = json!(card.made_by);
    shown["createdAtCall"] = card.created.into();
    shown["groupNames"] = card
        .groups
        .iter()
        .filter_map(|place| account.groups.get(usize::from(*place)))
        .map(|group| group.name.clone())
        .collect();
    shown["subscriptions"] = subscriptions(account, number).into();
    shown
}

/// The keys of a contact's subscription categories.
pub fn subscriptions(account: &Account, number: u32) -> Vec<String> {
    let bits = account.card(number).subscriptions;
    let keys = account.options.subscriptions.iter().take(64).enumerate();
    keys.filter(|(place, _)| bits & (1 << place) != 0).map(|(_, key)| key.clone()).collect()
}

/// As the list of segments shows it.
pub fn group(place: u16, group: &Group) -> Value {
    let kind = if group.is_static { "Static" } else { "Dynamic" };
    json!({"id": FIRST_GROUP + u64::from(place), "name": group.name, "type": kind})
}

/// The additional fields as `GET /v1/addressbooks` gives them.
pub fn address_books(account: &Account) -> Value {
    let mut groups: Vec<(&str, Vec<Value>)> = Vec::new();
    for field in &account.options.fields {
        let mut description = json!({"type": field.kind, "required": false, "readonly": false});
        if !field.values.is_empty() {
            description["allowedValues"] = json!({"possibleValues": field.values});
        }
        let shown = json!({"id": field.id, "name": field.name, "fieldKey": field.key, "description": description});
        match groups.iter_mut().find(|(name, _)| *name == field.group) {
            Some((_, fields)) => fields.push(shown),
            None => groups.push((&field.group, vec![shown])),
        }
    }
    let groups = groups.into_iter().map(
        |(name, fields)| json!({"name": name, "profileKey": name.to_uppercase().replace(' ', "_"), "fields": fields}),
    );
    let book = json!({"addressBookId": ADDRESS_BOOK, "name": "Main", "fieldGroups": groups.collect::<Vec<Value>>()});
    collapsed(json!({"addressBook": [book]}), "addressBook", account.options.collapse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_one_element_is_given_as_from_xml_and_with_more_as_it_is() {
        let one = json!({"id": 0, "results": [{"id": 0, "delivered": true, "channels": [{"type": "sms"}]}]});
        let expected = json!({"id": "0", "results": {"id": "0", "delivered": "true", "channels": {"type": "sms"}}});
        assert_eq!(collapsed(one.clone(), "results", true), expected);
        assert_eq!(collapsed(one.clone(), "results", false), one);
        let two = json!({"results": [{"id": 0}, {"id": 1}]});
        assert_eq!(collapsed(two.clone(), "results", true), two);
    }
}
