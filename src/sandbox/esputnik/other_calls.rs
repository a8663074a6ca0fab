//! Calls about segments, categories, additional fields, orders, events, feeds and letters.

use super::account::{Account, By, MadeBy};
use super::api::{Answer, Call, Refusal, Reply};
use super::card::{Details, EMAIL, SMS, Text};
use super::events::Via;
use super::orders::ORDERS;
use super::rules;
use super::show::{collapsed, full, group};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// The most past events of one call.
const PAST_EVENTS: usize = 500;
/// The most ids of one call about a segment.
const IDS: usize = 500;
/// The most recipients of one call.
const RECIPIENTS: usize = 1000;

/// `GET /v1/account/info`
pub fn account_info(call: &mut Call<'_>) -> Answer {
    let options = &call.account.options;
    Ok(Reply::Json(json!({"userEmail": options.user_email, "organisationName": options.organisation})))
}

/// `GET /v1/groups`
pub fn groups(call: &mut Call<'_>) -> Answer {
    let (start, rows) = call.page()?;
    let wanted = call.asked("name").map(str::to_lowercase);
    let found: Vec<Value> = (0_u16..)
        .zip(&call.account.groups)
        .filter(|(_, one)| wanted.as_deref().is_none_or(|wanted| one.name.to_lowercase().contains(wanted)))
        .map(|(place, one)| group(place, one))
        .collect();
    let total = found.len();
    Ok(Reply::Page(found.into_iter().skip(start).take(rows).collect(), total))
}

fn named_group(call: &Call<'_>) -> Result<u16, Refusal> {
    call.account.group_by_id(call.id()?).ok_or_else(Refusal::missing)
}

/// `GET /v1/group/{id}/contacts`
pub fn members(call: &mut Call<'_>) -> Answer {
    let place = named_group(call)?;
    let (start, rows) = call.page()?;
    let account = &*call.account;
    let found: Vec<u32> = (0_u32..)
        .zip(&account.cards)
        .filter(|(_, card)| card.is_present() && card.groups.contains(&place))
        .map(|(number, _)| number)
        .collect();
    let shown = found.iter().skip(start).take(rows).map(|number| full(account, *number)).collect();
    Ok(Reply::Page(shown, found.len()))
}

/// The contacts that a call about a segment names; none named is `None`.
fn listed(call: &mut Call<'_>) -> Result<Option<Vec<u32>>, Refusal> {
    let list = |name: &str| call.body.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (ids, external) = (list("contactIds"), list("externalCustomerIds"));
    if ids.len() + external.len() > IDS {
        return Err(Refusal::bad(format!("More than {IDS} ids")));
    }
    if !ids.is_empty() && !external.is_empty() {
        call.account.note("two-kinds-of-ids", "contactIds and externalCustomerIds together");
    }
    if ids.is_empty() && external.is_empty() {
        return Ok(None);
    }
    let account = &*call.account;
    let own = ids.iter().filter_map(|id| account.find_id(id.as_u64()?)).filter(|number| !account.card(*number).deleted);
    let others = external.iter().filter_map(|id| account.find_present(By::ExternalId, id.as_str()?));
    Ok(Some(own.chain(others).collect()))
}

/// `POST /v1/group/{id}/contacts/attach`
pub fn attach(call: &mut Call<'_>) -> Answer {
    let place = static_group(call)?;
    let numbers = listed(call)?.ok_or_else(|| Refusal::bad("No ids"))?;
    for number in numbers {
        call.account.regroup(number, &[place], &[]);
    }
    Ok(Reply::Nothing)
}

/// `POST /v1/group/{id}/contacts/detach`: without ids, everybody is taken out.
pub fn detach(call: &mut Call<'_>) -> Answer {
    let place = static_group(call)?;
    let numbers = match listed(call)? {
        Some(numbers) => numbers,
        None => {
            call.account.note("segment-emptied", "detach without ids takes everybody out");
            (0_u32..).take(call.account.cards.len()).collect()
        }
    };
    for number in numbers {
        call.account.regroup(number, &[], &[place]);
    }
    Ok(Reply::Nothing)
}

fn static_group(call: &Call<'_>) -> Result<u16, Refusal> {
    let place = named_group(call)?;
    match call.account.groups[usize::from(place)].is_static {
        true => Ok(place),
        false => Err(Refusal::bad("The segment is not static")),
    }
}

/// All subscription categories.
pub fn categories(account: &Account) -> Vec<Value> {
    const MADE: &str = "2025-01-01T10:00:00.000+02:00";
    let keys = account.options.subscriptions.iter().take(64).enumerate();
    let shown = keys.map(|(place, key)| {
        let count =
            account.cards.iter().filter(|card| card.is_present() && card.subscriptions & (1 << place) != 0).count();
        json!({
            "id": 11 + place,
            "key": key,
            "groupId": 300_401 + place,
            "contactsCount": count,
            "createdDate": MADE,
            "updatedDate": MADE,
            "name": key,
        })
    });
    shown.collect()
}

/// `GET /v1/subscriptions`
pub fn subscriptions(call: &mut Call<'_>) -> Answer {
    Ok(Reply::Json(categories(call.account).into()))
}

/// `GET /v1/addressbooks`
pub fn address_books(call: &mut Call<'_>) -> Answer {
    Ok(Reply::Json(super::show::address_books(call.account)))
}

/// `POST /v1/orders`: empty when all were taken.
pub fn orders(call: &mut Call<'_>) -> Answer {
    let Some(Value::Array(orders)) = call.body.remove("orders") else {
        return Err(Refusal::bad("orders is required"));
    };
    if orders.is_empty() || orders.len() > ORDERS {
        return Err(Refusal::bad(format!("orders must have 1 to {ORDERS} elements")));
    }
    let failed = call.account.add_orders(&orders);
    if failed.is_empty() {
        let is_null = call.account.options.null_when_no_order_failed;
        return Ok(if is_null { Reply::Json(json!({"failedOrders": null})) } else { Reply::Nothing });
    }
    let failed: Vec<Value> = failed.into_iter().map(|(order, error)| json!({"order": order, "error": error})).collect();
    let answer = json!({"failedOrders": failed});
    Ok(Reply::Json(collapsed(answer, "failedOrders", call.account.options.collapse)))
}

/// `DELETE /v1/orders?externalOrderId=`
pub fn delete_orders(call: &mut Call<'_>) -> Answer {
    let id = call.asked("externalOrderId").map(str::to_owned);
    let id = id.ok_or_else(|| Refusal::bad("externalOrderId is required"))?;
    call.account.delete_order(&id);
    Ok(Reply::Nothing)
}

/// `POST /vN/event`
pub fn event(call: &mut Call<'_>) -> Answer {
    let via = match call.holes.first() {
        Some(&"v1") => Via::V1,
        Some(&"v2") => Via::V2,
        Some(&"v3") => Via::V3,
        _ => return Err(Refusal::missing()),
    };
    let event = Value::Object(std::mem::take(&mut call.body));
    call.account.take_event(&event, call.raw, via)?;
    Ok(Reply::Nothing)
}

/// `POST /vN/past_events`
pub fn past_events(call: &mut Call<'_>) -> Answer {
    let via = match call.holes.first() {
        Some(&"v1") => Via::PastV1,
        Some(&"v2") => Via::PastV2,
        _ => return Err(Refusal::missing()),
    };
    let Some(Value::Array(events)) = call.body.remove("events") else {
        return Err(Refusal::bad("events is required"));
    };
    if events.is_empty() || events.len() > PAST_EVENTS {
        return Err(Refusal::bad(format!("events must have 1 to {PAST_EVENTS} elements")));
    }
    let now = call.account.now();
    let mut statuses = Vec::with_capacity(events.len());
    for event in &events {
        statuses.push(call.account.take_past_event(event, via, now)?);
    }
    let accepted = statuses.iter().filter(|status| **status == "ACCEPTED").count();
    let results: Vec<Value> = statuses.iter().map(|status| json!({"status": status})).collect();
    let answer = json!({"results": results, "successCount": accepted, "errorCount": statuses.len() - accepted});
    Ok(Reply::Json(collapsed(answer, "results", call.account.options.collapse)))
}

/// `DELETE /v1/past_events`: off until support turns it on.
pub fn delete_past_events(call: &mut Call<'_>) -> Answer {
    if !call.account.options.past_delete {
        return Err(Refusal(StatusCode::FORBIDDEN, "The method is not available".into()));
    }
    call.account.events.forget_past();
    Ok(Reply::Nothing)
}

/// `GET /v1/products/config`
pub fn feeds(call: &mut Call<'_>) -> Answer {
    Ok(Reply::Json(call.account.feeds.clone()))
}

/// `POST /v1/products/config`
pub fn set_feeds(call: &mut Call<'_>) -> Answer {
    let feeds = call.body.get("feeds").and_then(Value::as_array).ok_or_else(|| Refusal::bad("feeds is required"))?;
    if feeds.iter().any(|feed| feed.get("url").and_then(Value::as_str).is_none_or(str::is_empty)) {
        return Err(Refusal::bad("A feed has no url"));
    }
    call.account.feeds = json!({"feeds": feeds});
    Ok(Reply::Nothing)
}

/// `POST /v1/message/{id}/smartsend`: an unknown address becomes a contact.
pub fn send(call: &mut Call<'_>) -> Answer {
    call.id()?;
    let Some(Value::Array(recipients)) = call.body.remove("recipients") else {
        return Err(Refusal::bad("recipients is required"));
    };
    if recipients.is_empty() || recipients.len() > RECIPIENTS {
        return Err(Refusal::bad(format!("recipients must have 1 to {RECIPIENTS} elements")));
    }
    let mut results = Vec::with_capacity(recipients.len());
    for recipient in &recipients {
        results.push(send_one(call.account, recipient));
    }
    Ok(Reply::Json(collapsed(json!({"id": 0, "results": results}), "results", call.account.options.collapse)))
}

fn send_one(account: &mut Account, recipient: &Value) -> Value {
    let text = |name: &str| recipient.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut result = Map::from_iter([("id".to_owned(), json!(0))]);
    result.extend(text("locator").map(|locator| ("locator".to_owned(), locator.into())));
    let known = match (recipient.get("contactId").and_then(Value::as_u64), text("externalCustomerId")) {
        (Some(id), _) => account.find_id(id),
        (None, Some(id)) => account.find_present(By::ExternalId, id),
        (None, None) => None,
    };
    let error = match (known, text("locator")) {
        (Some(_), _) => None,
        (None, Some(address)) if rules::is_email(address) || rules::is_phone(address) => {
            let (kind, by) = if rules::is_email(address) { (EMAIL, By::Email) } else { (SMS, By::Sms) };
            if account.find_present(by, address).is_none() {
                let mut details = Details { channels: vec![(kind, address.to_owned())], ..Details::default() };
                details.texts.extend(text("languageCode").map(|code| (Text::Language, code.to_owned())));
                account.create(&details, MadeBy::Message, true);
            }
            None
        }
        (None, Some(address)) => Some(format!("'{address}' is not valid email")),
        (None, None) => Some("No recipient".to_owned()),
    };
    match error {
        Some(error) => {
            result.insert("status".into(), "ERROR".into());
            result.insert("message".into(), error.into());
        }
        None => {
            let request = format!("3ff28330-f8ef-4636-92ac-{:012x}", account.messages.len());
            account.messages.push((request.as_str().into(), true));
            result.insert("status".into(), "OK".into());
            result.insert("requestId".into(), request.into());
        }
    }
    result.into()
}

/// `GET /v1/message/status`
pub fn message_status(call: &mut Call<'_>) -> Answer {
    let ids = call.asked("ids").ok_or_else(|| Refusal::bad("ids is required"))?;
    let results = ids.split(',').map(str::trim).map(|id| {
        let went = call.account.messages.iter().find(|(request, _)| **request == *id).map(|(_, went)| *went);
        let status = match went {
            Some(true) => "DELIVERED",
            Some(false) => "UNDELIVERED",
            None => "ERROR",
        };
        json!({"status": status, "requestId": id, "failed": went != Some(true), "delivered": went == Some(true)})
    });
    let answer = json!({"results": results.collect::<Vec<Value>>()});
    Ok(Reply::Json(collapsed(answer, "results", call.account.options.collapse)))
}
