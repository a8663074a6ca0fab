//! Calls about contacts: search, import, one contact, subscriptions, the list of the unsubscribed, activity.

use super::account::{Account, By, MadeBy, NONE};
use super::api::{Answer, Call, Refusal, Reply};
use super::card::{Draft, EMAIL, SMS, Scope, Text};
use super::contact::{Dedupe, Match, Written};
use super::events::{Event, NO_STATUS, Outcome, Via};
use super::show::{basic, collapsed, full, subscriptions as keys_of};
use super::{other_calls, rules};
use jiff::civil::DateTime;
use serde_json::{Map, Value, json};

/// The longest stretch of the activity list.
const ACTIVITY_DAYS: i64 = 93;
/// So many rows of the activity list come unless asked otherwise.
const ACTIVITY_ROWS: usize = 25_000;

/// `GET /v1/contacts`
pub fn search(call: &mut Call<'_>) -> Answer {
    const CONDITIONS: [&str; 5] = ["externalCustomerId", "email", "sms", "firstname", "lastname"];
    let given: Vec<(&str, String)> =
        CONDITIONS.iter().filter_map(|name| Some((*name, call.asked(name)?.to_owned()))).collect();
    if given.len() > 1 && given.iter().any(|(name, _)| *name == "externalCustomerId") {
        return Err(Refusal::bad("externalCustomerId allows no other condition"));
    }
    let (start, rows) = call.page()?;
    let by_id = given.is_empty() && call.asked("sortBy") == Some("contactId");
    let account = &*call.account;
    let indexed = given.iter().find_map(|(name, value)| {
        let by = match *name {
            "externalCustomerId" => By::ExternalId,
            "email" => By::Email,
            "sms" => By::Sms,
            _ => return None,
        };
        Some(account.find(by, value))
    });
    let all = || (0_u32..).take(account.cards.len()).collect();
    let mut found: Vec<u32> = indexed.unwrap_or_else(all);
    found.retain(|number| account.card(*number).is_present());
    for (name, value) in &given {
        let by = match *name {
            "email" => By::Email,
            "sms" => By::Sms,
            "firstname" | "lastname" => {
                let text = if *name == "firstname" { Text::FirstName } else { Text::LastName };
                found.retain(|number| {
                    let details = account.card(*number).details();
                    details.text(text).is_some_and(|there| there.to_lowercase() == value.to_lowercase())
                });
                continue;
            }
            _ => continue,
        };
        let holders = account.find(by, value);
        found.retain(|number| holders.contains(number));
    }
    if by_id {
        found.sort_unstable();
    } else {
        found.sort_by_key(|number| std::cmp::Reverse(account.card(*number).updated));
    }
    let shown = found.iter().skip(start).take(rows).map(|number| basic(account, *number)).collect();
    Ok(Reply::Page(shown, found.len()))
}

/// `POST /v1/contacts`
pub fn import(call: &mut Call<'_>) -> Answer {
    let answer = call.account.accept_import(&call.body)?;
    Ok(Reply::Json(collapsed(answer, "failedContacts", call.account.options.collapse)))
}

/// `GET /v1/importstatus/{sessionId}`
pub fn import_status(call: &mut Call<'_>) -> Answer {
    let session = call.holes.first().copied().unwrap_or_default();
    let answer = call.account.import_status(session).ok_or_else(Refusal::missing)?;
    Ok(Reply::Json(collapsed(answer, "mapping", call.account.options.collapse)))
}

/// `GET /v1/contacts/email`
pub fn emails(call: &mut Call<'_>) -> Answer {
    let ids = call.asked("ids").ok_or_else(|| Refusal::bad("ids is required"))?;
    let account = &*call.account;
    let found = ids.split(',').filter_map(|id| account.find_id(id.trim().parse().ok()?));
    let results = found.filter_map(|number| {
        let details = account.card(number).details();
        let email = details.values(EMAIL).next()?;
        Some(json!({"contactId": Account::contact_id(number), "email": email}))
    });
    let answer = json!({"results": results.collect::<Vec<Value>>()});
    Ok(Reply::Json(collapsed(answer, "results", account.options.collapse)))
}

/// The contact that the path names, deleted ones included.
fn named(call: &Call<'_>) -> Result<u32, Refusal> {
    call.account.find_id(call.id()?).ok_or_else(Refusal::missing)
}

/// What a single call may change: what it gives.
fn given_only() -> Scope {
    Scope { listed: None, fields: None, spared: &[], given_only: true }
}

fn read(call: &mut Call<'_>, needs_channel: bool) -> Result<Draft, Refusal> {
    let contact = Value::Object(call.body.clone());
    Ok(call.account.read_contact(&contact, needs_channel)?)
}

/// `POST /v1/contact`: a known contact is updated, a deleted one restored.
pub fn add(call: &mut Call<'_>) -> Answer {
    let draft = read(call, true)?;
    let matched = call.account.matched(&draft, Dedupe::EmailOrSms, true);
    match call.account.write(&draft, matched, &given_only(), MadeBy::Single) {
        Written::New(number) | Written::Changed(number) => Ok(Reply::Json(json!({"id": Account::contact_id(number)}))),
        Written::Skipped => Err(Refusal::bad("The contact is deleted")),
    }
}

/// `PUT /v1/contact/{id}`
pub fn update(call: &mut Call<'_>) -> Answer {
    let number = named(call)?;
    let draft = read(call, false)?;
    let holder = draft.external_id().and_then(|id| call.account.find(By::ExternalId, id).first().copied());
    if holder.is_some_and(|holder| holder != number) {
        return Err(Refusal::bad("externalCustomerId belongs to another contact"));
    }
    call.account.write(&draft, Match::Found(number), &given_only(), MadeBy::Single);
    Ok(Reply::Nothing)
}

/// `GET /v1/contact/{id}`
pub fn get(call: &mut Call<'_>) -> Answer {
    let number = named(call)?;
    if call.account.card(number).deleted {
        return Err(Refusal::missing());
    }
    Ok(Reply::Json(full(call.account, number)))
}

/// `DELETE /v1/contact/{id}`
pub fn delete(call: &mut Call<'_>) -> Answer {
    let number = named(call)?;
    call.account.delete(number, call.query.get("erase").is_some_and(|erase| erase == "true"));
    Ok(Reply::Nothing)
}

/// `DELETE /v1/contact?externalCustomerId=`
pub fn delete_external(call: &mut Call<'_>) -> Answer {
    let id = call.asked("externalCustomerId").ok_or_else(|| Refusal::bad("externalCustomerId is required"))?;
    let number = call.account.find(By::ExternalId, id).first().copied().ok_or_else(Refusal::missing)?;
    call.account.delete(number, call.query.get("erase").is_some_and(|erase| erase == "true"));
    Ok(Reply::Nothing)
}

/// `POST /v1/contact/subscribe`: double opt-in. A new contact is not confirmed; the channels of a known one stay.
pub fn subscribe(call: &mut Call<'_>) -> Answer {
    let contact = call.body.get("contact").cloned().ok_or_else(|| Refusal::bad("contact is required"))?;
    let mut draft = call.account.read_contact(&contact, true)?;
    let form = match call.body.get("formType") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(form)) if rules::is_key(form, 100) => format!("-{form}"),
        Some(_) => return Err(Refusal::bad("formType has forbidden characters")),
    };
    let texts = |name: &str| -> Vec<String> {
        let list = call.body.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (groups, wanted) = (texts("groups"), texts("subscriptions"));
    let bits = subscription_bits(call.account, &wanted)?;
    let account = &mut *call.account;
    let matched = account.matched(&draft, Dedupe::EmailOrSms, true);
    if matches!(matched, Match::Found(_)) {
        draft.details.channels.clear();
    }
    let written = account.write(&draft, matched, &given_only(), MadeBy::Subscribe);
    let (number, is_new) = match written {
        Written::New(number) => (number, true),
        Written::Changed(number) => (number, false),
        Written::Skipped => return Err(Refusal::missing()),
    };
    let into: Vec<u16> = groups.iter().filter_map(|name| account.group_or_new(name)).collect();
    account.regroup(number, &into, &[]);
    account.card_mut(number).subscriptions |= bits;
    let details = account.card(number).details();
    let is_black = details.values(EMAIL).any(|email| account.blacklist.contains_key(&email.to_lowercase()));
    let status = match (is_black, account.card(number).confirmed) {
        (true, _) => "BLACKLISTED",
        (false, true) if account.is_mailable(number) => "ALREADY_SUBSCRIBED",
        _ => "NEED_CONFIRMATION",
    };
    let name = if is_new { "subscribeFromApi" } else { "subscribeUpdateFromApi" };
    let event = Event {
        kind: account.events.kind(&format!("{name}{form}")),
        order: NONE,
        contact: number,
        via: Via::Subscribe,
        outcome: Outcome::Accepted,
        status: NO_STATUS,
        unchanged: false,
    };
    account.events.push(event, call.raw, account.options.kept_bodies);
    Ok(Reply::Json(json!({"id": Account::contact_id(number), "emailStatus": status, "new": is_new})))
}

/// The bits of subscription categories; one that is unknown is refused.
fn subscription_bits(account: &Account, keys: &[String]) -> Result<u64, Refusal> {
    let mut bits = 0;
    for key in keys {
        let place = account.options.subscriptions.iter().take(64).position(|known| known == key);
        bits |= 1 << place.ok_or_else(|| Refusal::bad(format!("Subscription category {key} not found")))?;
    }
    Ok(bits)
}

/// `GET /v1/contact/{id}/subscriptions`
pub fn subscriptions(call: &mut Call<'_>) -> Answer {
    let number = named(call)?;
    let own = keys_of(call.account, number);
    let shown: Vec<Value> = other_calls::categories(call.account)
        .into_iter()
        .filter(|category| category["key"].as_str().is_some_and(|key| own.iter().any(|there| there == key)))
        .collect();
    Ok(Reply::Json(shown.into()))
}

/// `PUT /v1/contact/{id}/subscriptions`: the full new list.
pub fn set_subscriptions(call: &mut Call<'_>) -> Answer {
    let number = named(call)?;
    let list = call.body.get("subscriptions").cloned().ok_or_else(|| Refusal::bad("subscriptions is required"))?;
    let keys: Vec<String> = serde_json::from_value(list).map_err(|_| Refusal::bad("subscriptions has wrong format"))?;
    call.account.card_mut(number).subscriptions = subscription_bits(call.account, &keys)?;
    Ok(Reply::Nothing)
}

fn addresses(call: &mut Call<'_>) -> Result<Vec<String>, Refusal> {
    let list = call.body.remove("emails").ok_or_else(|| Refusal::bad("emails is required"))?;
    let emails: Vec<String> = serde_json::from_value(list).map_err(|_| Refusal::bad("emails has wrong format"))?;
    for email in emails.iter().filter(|email| !rules::is_email(email.trim())) {
        call.account.note("not-an-email", format!("`{email}` is no address"));
    }
    Ok(emails)
}

/// `POST /v1/emails/unsubscribed/add`
pub fn unsubscribe(call: &mut Call<'_>) -> Answer {
    for email in addresses(call)? {
        call.account.unsubscribe(&email, false);
    }
    Ok(Reply::Nothing)
}

/// `POST /v1/emails/unsubscribed/delete`
pub fn lift(call: &mut Call<'_>) -> Answer {
    for email in addresses(call)? {
        call.account.lift(&email);
    }
    Ok(Reply::Nothing)
}

/// `GET /v2/contacts/activity`
pub fn activity(call: &mut Call<'_>) -> Answer {
    let account = &*call.account;
    let moment = |name: &str| -> Result<i64, Refusal> {
        let text = call.asked(name).ok_or_else(|| Refusal::bad(format!("{name} is required")))?;
        let forms = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
        let full = if text.len() == 10 { format!("{text}T00:00") } else { text.to_owned() };
        let local = forms.iter().find_map(|form| DateTime::strptime(form, &full).ok());
        let there = local.and_then(|local| local.in_tz(&account.options.zone).ok());
        there.map(|there| there.timestamp().as_second()).ok_or_else(|| Refusal::bad(format!("{name} is not a date")))
    };
    let (from, to) = (moment("dateFrom")?, moment("dateTo")?);
    if to - from > ACTIVITY_DAYS * 86_400 {
        return Err(Refusal::bad("The period is longer than 3 months"));
    }
    let after: usize = match call.asked("offset") {
        None => 0,
        Some(text) => text.parse().map_err(|_| Refusal::bad("offset is not known"))?,
    };
    let rows =
        call.asked("maxrows").and_then(|text| text.parse().ok()).unwrap_or(ACTIVITY_ROWS).clamp(1, ACTIVITY_ROWS);
    let (status, email) = (call.asked("activityStatus"), call.asked("email").map(str::to_lowercase));
    let lines = account.activities.iter().enumerate().skip(after).filter(|(_, line)| {
        (from..=to).contains(&line.at)
            && status.is_none_or(|status| *line.status == *status)
            && email.as_deref().is_none_or(|email| *line.email == *email)
    });
    let shown = lines.take(rows).map(|(place, line)| {
        let mut shown = Map::new();
        shown.insert("iid".into(), format!("99d591ab-e7a5-49ed-8e16-{place:012x}").into());
        if line.contact != NONE {
            shown.insert("contactId".into(), Account::contact_id(line.contact).into());
            let details = account.card(line.contact).details();
            shown.extend(details.text(Text::ExternalId).map(|id| ("externalCustomerId".to_owned(), id.into())));
            shown.extend(details.values(SMS).next().map(|phone| ("sms".to_owned(), phone.into())));
        }
        shown.insert("email".into(), (*line.email).into());
        shown.insert("mediaType".into(), "email".into());
        shown.insert("activityStatus".into(), (*line.status).into());
        let local: String = account.stamp(line.at).chars().take(19).collect();
        shown.insert("activityDateTime".into(), local.into());
        shown.insert("offset".into(), (place + 1).to_string().into());
        Value::Object(shown)
    });
    Ok(Reply::Json(shown.collect()))
}
