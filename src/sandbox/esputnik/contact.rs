//! A contact of a request: read and checked, matched with those that are there, written.

use super::account::{Account, By, MadeBy};
use super::card::{CHANNELS, Details, Draft, EMAIL, MOBILE_PUSH, SMS, Scope, TEXTS, Text, VIBER, WEB_PUSH};
use super::rules;
use serde_json::{Map, Value};

/// The most channels of one kind.
const OF_A_KIND: usize = 2;

/// What contacts are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedupe {
    /// `email`
    Email,
    /// `sms`
    Sms,
    /// `email_or_sms`
    EmailOrSms,
    /// `push`
    Push,
    /// `id`
    Id,
    /// `externalCustomerId`
    ExternalId,
    /// `fieldId`
    Field(u32),
}

impl Dedupe {
    /// The field by its name in a request.
    pub fn read(name: &str, field: Option<u32>) -> Option<Self> {
        Some(match name {
            "email" => Self::Email,
            "sms" => Self::Sms,
            "email_or_sms" => Self::EmailOrSms,
            "push" => Self::Push,
            "id" => Self::Id,
            "externalCustomerId" => Self::ExternalId,
            "fieldId" => Self::Field(field?),
            _ => return None,
        })
    }

    /// Fields that an update leaves alone, because they were what was looked for.
    pub fn spared(self) -> &'static [&'static str] {
        match self {
            Self::Email => &["email"],
            Self::Sms => &["sms"],
            Self::EmailOrSms => &["email", "sms"],
            Self::Push => &["mobilepush", "webpush"],
            Self::ExternalId => &["externalCustomerId"],
            Self::Id | Self::Field(_) => &[],
        }
    }

    /// The value of a contact that is looked for, for a job's mapping.
    pub fn value(self, draft: &Draft) -> Option<String> {
        let text = match self {
            Self::Email => draft.first(EMAIL).map(str::to_owned),
            Self::Sms => draft.first(SMS).map(str::to_owned),
            Self::EmailOrSms => draft.first(EMAIL).or_else(|| draft.first(SMS)).map(str::to_owned),
            Self::Push => draft.first(MOBILE_PUSH).or_else(|| draft.first(WEB_PUSH)).map(str::to_owned),
            Self::Id => draft.id.map(|id| id.to_string()),
            Self::ExternalId => None,
            Self::Field(id) => draft.details.fields.get(&id).cloned(),
        };
        draft.external_id().map(str::to_owned).or(text)
    }
}

/// Who a contact of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// This one.
    Found(u32),
    /// Nobody who is there.
    New,
    /// A deleted one, which stays deleted.
    Skipped,
}

/// What writing a contact did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Made.
    New(u32),
    /// Changed.
    Changed(u32),
    /// Left out.
    Skipped,
}

impl Account {
    /// Reads a contact; the error is the platform's text about this one. Only an update of a known one may have no channel.
    pub fn read_contact(&mut self, contact: &Value, needs_channel: bool) -> Result<Draft, String> {
        let fields = contact.as_object().ok_or("Contact is not an object")?;
        let mut draft = Draft::default();
        for (name, value) in fields {
            if value.is_null() {
                self.note("null-field", format!("contact: {name} is null"));
            } else if !self.read_contact_field(&mut draft, name, value)? {
                self.note("unknown-field", format!("contact: {name} is not a field"));
            }
        }
        if needs_channel && draft.details.channels.is_empty() {
            return Err("Contact has no channels".into());
        }
        let limits = [("firstName", Text::FirstName, true), ("lastName", Text::LastName, false)];
        for (name, text, limited) in limits {
            if let Some(value) = draft.details.text(text).filter(|value| !rules::is_name(value, limited)) {
                return Err(format!("'{value}' is not valid {name}"));
            }
        }
        let checked = [
            ("languageCode", Text::Language, rules::is_language as fn(&str) -> bool),
            ("timeZone", Text::Zone, rules::is_zone),
        ];
        for (name, text, is_right) in checked {
            if let Some(value) = draft.details.text(text).filter(|value| !is_right(value)) {
                return Err(format!("'{value}' is not valid {name}"));
            }
        }
        if draft.details.texts.get(&Text::ExternalId).is_some_and(|id| id.trim().is_empty()) {
            self.note("empty-external-id", "externalCustomerId is empty");
            draft.details.texts.remove(&Text::ExternalId);
        }
        let mut keys: Vec<&str> = draft.details.channels.iter().map(|(_, value)| value.as_str()).collect();
        keys.extend(draft.external_id());
        match keys.into_iter().find_map(|key| self.refused.get(key)) {
            Some(reason) => Err(reason.clone()),
            None => Ok(draft),
        }
    }

    /// Whether the field is known.
    fn read_contact_field(&mut self, draft: &mut Draft, name: &str, value: &Value) -> Result<bool, String> {
        match name {
            "channels" => read_channels(&mut draft.details, value)?,
            "fields" => self.read_fields(&mut draft.details, value)?,
            "address" => {
                let address = value.as_object().ok_or("address is not an object")?;
                for (part, value) in address {
                    if value.is_null() {
                        self.note("null-field", format!("contact: address.{part} is null"));
                    } else if !["region", "town", "address", "postcode"].contains(&part.as_str()) {
                        self.note("unknown-field", format!("contact: address.{part} is not a field"));
                    } else {
                        read_text(&mut draft.details, part, value)?;
                    }
                }
            }
            "id" => draft.id = Some(value.as_u64().ok_or("id is not a number")?),
            "addressBookId" => drop(value.as_u64().ok_or("addressBookId is not a number")?),
            "groups" => self.note("groups-in-contact", "groups of a contact are for reading only"),
            "region" | "town" | "postcode" => return Ok(false),
            _ => return read_text(&mut draft.details, name, value),
        }
        Ok(true)
    }

    fn read_fields(&mut self, details: &mut Details, value: &Value) -> Result<(), String> {
        for field in value.as_array().ok_or("fields is not an array")? {
            let id = field.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or("A field has no id")?;
            let text = match field.get("value") {
                Some(Value::String(text)) => text.clone(),
                None | Some(Value::Null) => String::new(),
                Some(other) => {
                    self.note("field-not-a-text", format!("the value of field {id} is not a text"));
                    other.to_string()
                }
            };
            let known = self.options.fields.iter().find(|known| known.id == id);
            let known = known.ok_or_else(|| format!("Field {id} not found"))?;
            if !rules::is_field_value(known, &text) {
                return Err(format!("'{text}' is not valid value of field {id}"));
            }
            details.fields.insert(id, text);
        }
        Ok(())
    }

    /// Who a contact is (sheet, section 5.1): the caller's own number beats whatever it is told apart by.
    pub fn matched(&self, draft: &Draft, dedupe: Dedupe, restore: bool) -> Match {
        let own = draft.external_id();
        if let Some(number) = own.and_then(|id| self.find(By::ExternalId, id).into_iter().next()) {
            return self.unless_deleted(number, restore);
        }
        let candidates = match (own, dedupe) {
            (Some(_), Dedupe::Sms | Dedupe::EmailOrSms) => self.by_email_or_sms(draft),
            (Some(_), _) => self.by_channel(draft, EMAIL),
            (None, Dedupe::Email) => self.by_channel(draft, EMAIL),
            (None, Dedupe::Sms) => self.by_channel(draft, SMS),
            (None, Dedupe::EmailOrSms) => self.by_email_or_sms(draft),
            (None, Dedupe::Push) => [self.by_channel(draft, MOBILE_PUSH), self.by_channel(draft, WEB_PUSH)].concat(),
            (None, Dedupe::Id) => draft.id.and_then(|id| self.find_id(id)).into_iter().collect(),
            (None, Dedupe::ExternalId) => Vec::new(),
            (None, Dedupe::Field(id)) => {
                draft.details.fields.get(&id).map(|value| self.find(By::Field(id), value)).unwrap_or_default()
            }
        };
        // The one without a number of its own is preferred; those who have another number are other people.
        let is_free = |number: &u32| self.card(*number).details().text(Text::ExternalId).is_none();
        let mut wanted = candidates.into_iter().filter(|number| own.is_none() || is_free(number));
        let all: Vec<u32> = wanted.by_ref().collect();
        match all.iter().find(|number| !self.card(**number).deleted).or(all.first()) {
            Some(number) => self.unless_deleted(*number, restore),
            None => Match::New,
        }
    }

    fn unless_deleted(&self, number: u32, restore: bool) -> Match {
        if self.card(number).deleted && !restore { Match::Skipped } else { Match::Found(number) }
    }

    fn by_channel(&self, draft: &Draft, kind: u8) -> Vec<u32> {
        let by = match kind {
            EMAIL => By::Email,
            SMS => By::Sms,
            _ => By::Push,
        };
        draft.details.values(kind).flat_map(|value| self.find(by, value)).collect()
    }

    fn by_email_or_sms(&self, draft: &Draft) -> Vec<u32> {
        match self.by_channel(draft, EMAIL) {
            found if found.is_empty() => self.by_channel(draft, SMS),
            found => found,
        }
    }

    /// Writes a contact.
    pub fn write(&mut self, draft: &Draft, matched: Match, scope: &Scope, made_by: MadeBy) -> Written {
        match matched {
            Match::Skipped => Written::Skipped,
            Match::New => {
                let mut details = draft.details.clone();
                details.texts.retain(|_, value| !value.is_empty());
                details.fields.retain(|_, value| !value.is_empty());
                Written::New(self.create(&details, made_by, made_by != MadeBy::Subscribe))
            }
            Match::Found(number) => {
                let mut details = self.card(number).details();
                scope.apply(&mut details, &draft.details);
                // Whoever was found by an address gets the number, although it is what was looked for.
                if let (None, Some(id)) = (details.text(Text::ExternalId), draft.external_id()) {
                    details.texts.insert(Text::ExternalId, id.to_owned());
                }
                self.replace(number, &details);
                Written::Changed(number)
            }
        }
    }
}

fn read_text(details: &mut Details, name: &str, value: &Value) -> Result<bool, String> {
    let Some((text, _)) = TEXTS.iter().find(|(_, known)| *known == name) else { return Ok(name == "address") };
    let value = value.as_str().ok_or_else(|| format!("{name} is not a text"))?;
    details.texts.insert(*text, value.to_owned());
    Ok(true)
}

fn read_channels(details: &mut Details, value: &Value) -> Result<(), String> {
    for channel in value.as_array().ok_or("channels is not an array")? {
        let text = |name: &str| channel.get(name).and_then(Value::as_str).unwrap_or_default();
        let kind = CHANNELS.iter().position(|known| *known == text("type")).and_then(|place| u8::try_from(place).ok());
        let kind = kind.ok_or_else(|| format!("'{}' is not valid channel type", text("type")))?;
        let value = text("value");
        match kind {
            EMAIL if !rules::is_email(value) => return Err(format!("'{value}' is not valid email")),
            SMS | VIBER if !rules::is_phone(value) => return Err(format!("'{value}' is not valid phone number")),
            _ if value.trim().is_empty() => return Err("A channel has no value".into()),
            _ => {}
        }
        details.channels.push((kind, value.to_owned()));
        if details.values(kind).count() > OF_A_KIND {
            return Err(format!("More than {OF_A_KIND} channels of type {}", text("type")));
        }
    }
    Ok(())
}

/// A contact of a request with the reason for which it was refused.
pub fn failed(contact: &Value, reason: &str) -> Value {
    let mut failed = contact.as_object().cloned().unwrap_or_else(Map::new);
    failed.insert("error".into(), reason.into());
    failed.into()
}
