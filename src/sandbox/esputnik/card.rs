//! A contact as it is kept, packed into a few bytes, and as a request describes it. No account in here.

use std::collections::BTreeMap;

/// A text of a contact, in the order of packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Text {
    /// `firstName`
    FirstName = 0,
    /// `lastName`
    LastName,
    /// `address.region`
    Region,
    /// `address.town`
    Town,
    /// `address.address`
    Address,
    /// `address.postcode`
    Postcode,
    /// `externalCustomerId`
    ExternalId,
    /// `contactKey`
    ContactKey,
    /// `languageCode`
    Language,
    /// `timeZone`
    Zone,
}

/// All texts, with the name that `contactFields` has for each.
pub const TEXTS: [(Text, &str); 10] = [
    (Text::FirstName, "firstName"),
    (Text::LastName, "lastName"),
    (Text::Region, "region"),
    (Text::Town, "town"),
    (Text::Address, "address"),
    (Text::Postcode, "postcode"),
    (Text::ExternalId, "externalCustomerId"),
    (Text::ContactKey, "contactKey"),
    (Text::Language, "languageCode"),
    (Text::Zone, "timeZone"),
];

/// All kinds of channels.
pub const CHANNELS: [&str; 8] = ["email", "sms", "viber", "mobilepush", "webpush", "appinbox", "widget", "inapp"];
/// Place of `email` in [`CHANNELS`].
pub const EMAIL: u8 = 0;
/// Place of `sms` in [`CHANNELS`].
pub const SMS: u8 = 1;
/// Place of `viber` in [`CHANNELS`].
pub const VIBER: u8 = 2;
/// Place of `mobilepush` in [`CHANNELS`].
pub const MOBILE_PUSH: u8 = 3;
/// Place of `webpush` in [`CHANNELS`].
pub const WEB_PUSH: u8 = 4;

/// Channels begin here among the tags of packing.
const CHANNEL_TAG: u8 = 32;
/// An additional field; its number follows.
const FIELD_TAG: u8 = 64;

/// What is known of a contact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Texts that have a value.
    pub texts: BTreeMap<Text, String>,
    /// Channels: kind, value.
    pub channels: Vec<(u8, String)>,
    /// Additional fields that have a value.
    pub fields: BTreeMap<u32, String>,
}

impl Details {
    /// A text, if it has a value.
    pub fn text(&self, text: Text) -> Option<&str> {
        self.texts.get(&text).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The values of a kind of channel.
    pub fn values(&self, kind: u8) -> impl Iterator<Item = &str> {
        self.channels.iter().filter(move |(there, _)| *there == kind).map(|(_, value)| value.as_str())
    }

    /// Packed: per entry a tag, a field's number where it is one, the length, the text.
    pub fn pack(&self) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(160);
        for (text, value) in self.texts.iter().filter(|(_, value)| !value.is_empty()) {
            bytes.push(*text as u8);
            push_text(&mut bytes, value);
        }
        for (kind, value) in &self.channels {
            bytes.push(CHANNEL_TAG + kind);
            push_text(&mut bytes, value);
        }
        for (id, value) in self.fields.iter().filter(|(_, value)| !value.is_empty()) {
            bytes.push(FIELD_TAG);
            bytes.extend_from_slice(&id.to_le_bytes());
            push_text(&mut bytes, value);
        }
        bytes.into()
    }

    /// The opposite of [`Details::pack`].
    pub fn unpack(mut bytes: &[u8]) -> Self {
        let mut details = Self::default();
        while let Some(entry) = take_entry(&mut bytes) {
            match entry {
                (tag, None, value) if tag < CHANNEL_TAG => {
                    if let Some((text, _)) = TEXTS.get(usize::from(tag)) {
                        details.texts.insert(*text, value.to_owned());
                    }
                }
                (tag, None, value) => details.channels.push((tag - CHANNEL_TAG, value.to_owned())),
                (_, Some(id), value) => drop(details.fields.insert(id, value.to_owned())),
            }
        }
        details
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    // Two bytes are enough: the longest text of a contact has 5000 characters.
    let cut = text.floor_char_boundary(usize::from(u16::MAX));
    let length = u16::try_from(cut).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&text.as_bytes()[..cut]);
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn take_entry<'a>(bytes: &mut &'a [u8]) -> Option<(u8, Option<u32>, &'a str)> {
    let tag = *take(bytes, 1)?.first()?;
    let field = match tag {
        FIELD_TAG => Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?)),
        _ => None,
    };
    let length = u16::from_le_bytes(take(bytes, 2)?.try_into().ok()?);
    Some((tag, field, std::str::from_utf8(take(bytes, usize::from(length))?).ok()?))
}

/// A contact as a request describes it, its values already found good.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// What it says; an empty text means "no value".
    pub details: Details,
    /// The platform's own number, where it is given.
    pub id: Option<u64>,
}

impl Draft {
    /// The caller's own number, if it has a value.
    pub fn external_id(&self) -> Option<&str> {
        self.details.text(Text::ExternalId)
    }

    /// The first value of a kind of channel.
    pub fn first(&self, kind: u8) -> Option<&str> {
        self.details.values(kind).next()
    }
}

/// Which fields an update may change.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Names from `contactFields`; `None`: all of them, and those without a value are wiped.
    pub listed: Option<Vec<String>>,
    /// Additional fields that are updated; `None`: those that are given.
    pub fields: Option<Vec<u32>>,
    /// What the contact was looked for by, which is not updated itself.
    pub spared: &'static [&'static str],
    /// Whether what is not given stays as it is (single calls).
    pub given_only: bool,
}

impl Scope {
    fn covers(&self, name: &str) -> bool {
        !self.spared.contains(&name)
            && self.listed.as_ref().is_none_or(|listed| listed.iter().any(|there| there == name))
    }

    /// Changes `details` as `draft` says.
    pub fn apply(&self, details: &mut Details, draft: &Details) {
        for (text, name) in TEXTS {
            if !self.covers(name) {
                continue;
            }
            match draft.texts.get(&text).filter(|value| !value.is_empty()) {
                Some(value) => drop(details.texts.insert(text, value.clone())),
                None if self.given_only && !draft.texts.contains_key(&text) => {}
                None => drop(details.texts.remove(&text)),
            }
        }
        for (kind, name) in [(EMAIL, "email"), (SMS, "sms"), (MOBILE_PUSH, "mobilepush"), (WEB_PUSH, "webpush")] {
            let given: Vec<(u8, String)> = draft.channels.iter().filter(|(there, _)| *there == kind).cloned().collect();
            if self.covers(name) && !(self.given_only && given.is_empty()) {
                details.channels.retain(|(there, _)| *there != kind);
                details.channels.extend(given);
            }
        }
        // No list names the other channels: what is given replaces what is there.
        for kind in draft.channels.iter().map(|(kind, _)| *kind).filter(|kind| *kind == VIBER || *kind > WEB_PUSH) {
            details.channels.retain(|there| there.0 != kind || draft.channels.contains(there));
        }
        let others = draft.channels.iter().filter(|(kind, _)| *kind == VIBER || *kind > WEB_PUSH);
        for channel in others {
            if !details.channels.contains(channel) {
                details.channels.push(channel.clone());
            }
        }
        match &self.fields {
            Some(ids) => {
                for id in ids {
                    set_field(&mut details.fields, *id, draft.fields.get(id));
                }
            }
            None => {
                for (id, value) in &draft.fields {
                    set_field(&mut details.fields, *id, Some(value));
                }
            }
        }
    }
}

fn set_field(fields: &mut BTreeMap<u32, String>, id: u32, value: Option<&String>) {
    match value.filter(|value| !value.is_empty()) {
        Some(value) => drop(fields.insert(id, value.clone())),
        None => drop(fields.remove(&id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(texts: &[(Text, &str)], channels: &[(u8, &str)], fields: &[(u32, &str)]) -> Details {
        Details {
            texts: texts.iter().map(|(text, value)| (*text, (*value).to_owned())).collect(),
            channels: channels.iter().map(|(kind, value)| (*kind, (*value).to_owned())).collect(),
            fields: fields.iter().map(|(id, value)| (*id, (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let whole = details(
            &[(Text::FirstName, "Олена"), (Text::Zone, "Europe/Kyiv")],
            &[(EMAIL, "a@example.com"), (SMS, "380500000001")],
            &[(15_867, "1990-04-12")],
        );
        assert_eq!(Details::unpack(&whole.pack()), whole);
        assert_eq!(Details::unpack(&Details::default().pack()), Details::default());
    }

    #[test]
    fn without_a_list_of_fields_everything_unsent_is_wiped_and_with_it_the_rest_stays() {
        let before = details(
            &[(Text::FirstName, "Olena"), (Text::Town, "Kyiv"), (Text::ExternalId, "801")],
            &[(EMAIL, "a@example.com"), (SMS, "380500000001")],
            &[(1, "x"), (2, "y")],
        );
        let draft = details(&[(Text::FirstName, "Olha")], &[(EMAIL, "b@example.com")], &[(1, "z")]);
        let scope = |listed: Option<&[&str]>, fields: &[u32]| Scope {
            listed: listed.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            fields: Some(fields.to_vec()),
            spared: &["externalCustomerId"],
            given_only: false,
        };
        let mut wiped = before.clone();
        scope(None, &[]).apply(&mut wiped, &draft);
        let expected = details(
            &[(Text::FirstName, "Olha"), (Text::ExternalId, "801")],
            &[(EMAIL, "b@example.com")],
            &[(1, "x"), (2, "y")],
        );
        assert_eq!(wiped, expected, "fields are left alone when no field is named");

        let mut kept = before.clone();
        scope(Some(&["firstName", "sms"]), &[1]).apply(&mut kept, &draft);
        assert_eq!(kept.text(Text::FirstName), Some("Olha"));
        assert_eq!(kept.text(Text::Town), Some("Kyiv"));
        assert_eq!(kept.channels, [(EMAIL, "a@example.com".to_owned())], "a listed channel without a value is cleared");
        assert_eq!(kept.fields.get(&1).map(String::as_str), Some("z"));
        assert_eq!(kept.fields.get(&2).map(String::as_str), Some("y"));
    }
}
