//! The platform's own calls under `/api/`: a POST with a JSON body that carries the credentials, answered with HTTP 200
//! and `success` true or false.

use super::account::{Account, Manner, email_of};
use super::event::{self, event_id};
use super::show::{basic, contact_id, full};
use super::{SalesManago, now};
use crate::sandbox::requests::Route;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use std::sync::Arc;

/// Fields beside the ones of an upsert that a body may carry.
pub const ROOT_FIELDS: [&str; 9] = [
    "clientId",
    "apiKey",
    "requestTime",
    "sha",
    "owner",
    "async",
    "upsertDetails",
    "fireEvents",
    "internalIntegration",
];

/// The most elements of a batch, of either kind.
const BATCH: usize = 1000;
/// The most addresses or ids of one reading call.
const LIST: usize = 50;
/// The largest body taken.
const BODY_BYTES: usize = 64 << 20;

/// What a call gives: fields beside `success` and `message`, or the text of refusal.
type Answer = Result<Value, String>;

/// The routes.
pub fn router(platform: Arc<SalesManago>) -> Router {
    Router::new().route("/api/{*call}", post(answer)).layer(DefaultBodyLimit::max(BODY_BYTES)).with_state(platform)
}

/// One call, as it arrived and passed the door.
struct Call<'a> {
    account: &'a mut Account,
    path: &'a str,
    body: Map<String, Value>,
    owner: u16,
    host: &'a str,
    now: i64,
}

async fn answer(
    State(platform): State<Arc<SalesManago>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(Value::Object(body)) = serde_json::from_slice(&body) else {
        return refused(StatusCode::BAD_REQUEST, "Request body is not JSON");
    };
    let mut response = answer_to(&platform, &path, &headers, body);
    if response.status() != StatusCode::NOT_FOUND {
        response.extensions_mut().insert(Route(format!("/api/{path}")));
    }
    response
}

fn answer_to(platform: &SalesManago, path: &str, headers: &HeaderMap, body: Map<String, Value>) -> Response {
    let text_of = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut account = platform.account();
    let now = now();
    account.pass(now, true);
    *account.calls.entry(path.to_owned()).or_default() += 1;
    if !text_of(header::CONTENT_TYPE).starts_with("application/json") {
        account.note(path, "content-type", "Content-Type is not application/json", None);
    }
    let owner = match door(&account, path, &body) {
        Ok(owner) => owner,
        Err(text) => return refused(StatusCode::OK, &text),
    };
    if let Some(text) = poisoned(&account, &body) {
        return refused(StatusCode::OK, &text);
    }
    let call = Call { account: &mut account, path, body, owner, host: text_of(header::HOST), now };
    let Some(answer) = call.route() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match answer {
        Ok(fields) => {
            let mut whole = json!({"success": true, "message": []});
            if let (Some(whole), Value::Object(mut fields)) = (whole.as_object_mut(), fields) {
                whole.append(&mut fields);
            }
            Json(whole).into_response()
        }
        Err(text) => refused(StatusCode::OK, &text),
    }
}

fn refused(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({"success": false, "message": [text]}))).into_response()
}

/// Credentials and owner (sheet, sections 2 and 3). `sha` = lower-case hex sha1(apiKey + clientId + apiSecret).
fn door(account: &Account, path: &str, body: &Map<String, Value>) -> Result<u16, String> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let options = &account.options;
    let expected = Sha1::new()
        .chain_update(text("apiKey"))
        .chain_update(text("clientId"))
        .chain_update(&options.api_secret)
        .finalize();
    let is_known = text("clientId") == options.client_id && text("sha") == hex::encode(expected);
    if !is_known || text("apiKey").is_empty() {
        return Err("User not authenticated".into());
    }
    if !options.active {
        return Err("Not authenticated".into());
    }
    if matches!(path, "user/listByClient" | "job/status") {
        return Ok(0);
    }
    if text("owner").is_empty() {
        return Err("User cannot be empty".into());
    }
    let owner = options.users.iter().position(|user| user.eq_ignore_ascii_case(text("owner")));
    owner.and_then(|place| u16::try_from(place).ok()).ok_or_else(|| "User not found".into())
}

/// The text with which a call is refused as a whole because of one address in it, where a test has asked for that.
fn poisoned(account: &Account, body: &Map<String, Value>) -> Option<String> {
    if account.refused.is_empty() {
        return None;
    }
    let elements = ["upsertDetails", "events"].iter().filter_map(|list| body.get(*list)?.as_array()).flatten();
    let mut addresses = elements
        .filter_map(Value::as_object)
        .chain([body])
        .filter_map(|element| email_of(element).or_else(|| element.get("email")?.as_str()));
    addresses.find_map(|email| account.refused.get(&email.trim().to_lowercase()).cloned())
}

impl Call<'_> {
    fn route(mut self) -> Option<Answer> {
        Some(match self.path {
            "user/listByClient" => self.users(),
            "contact/upsert" => self.upsert(),
            "contact/batchupsertv2" => self.batch_upsert(),
            "contact/hasContact" => self.has_contact(),
            "contact/basic" => self.cards("email", false, false),
            "contact/basicById" => self.cards("id", false, false),
            "contact/list" => self.cards("email", true, true),
            "contact/listAll" => self.cards("email", true, false),
            "contact/listById" => self.cards("contactId", true, true),
            "contact/listAllById" => self.cards("contactId", true, false),
            "contact/createdContacts" => self.within("createdContacts", |card| card.created),
            "contact/modifiedContacts" => self.within("modifiedContacts", |card| card.modified),
            "contact/paginatedModifiedContacts" => self.modified_page(),
            "contact/paginatedContactList/export" => self.export(),
            "contact/tags" => self.tags(),
            "contact/managetags" => self.manage_tags(),
            "contact/addTag" => self.one_tag("tags"),
            "contact/deleteTag" => self.one_tag("removeTags"),
            "contact/optin" => self.opt(Some(false), None),
            "contact/optout" => self.opt(Some(true), None),
            "contact/phoneoptin" => self.opt(None, Some(false)),
            "contact/phoneoptout" => self.opt(None, Some(true)),
            "contact/batchoptin" => self.batch_opt(false),
            "contact/batchoptout" => self.batch_opt(true),
            "contact/delete" => self.delete(),
            "contact/batchDelete" => self.batch_delete(),
            "v2/contact/addContactExtEvent" => self.add_event(false),
            "contact/addContactExtEvent" => self.add_event(true),
            "v2/contact/addBatchContactExtEvent" | "contact/batchAddContactExtEvent" => self.add_events(),
            "v2/contact/updateContactExtEvent" | "contact/updateContactExtEvent" => self.update_event(),
            "contact/deleteContactExtEvent" => self.delete_event(),
            "job/status" => self.job(),
            _ => return None,
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.body.get(name).and_then(Value::as_i64)
    }

    fn take_list(&mut self, name: &str) -> Vec<Value> {
        match self.body.remove(name) {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        }
    }

    /// The card that `email` or `contactId` of an object names; the deleted are not found.
    fn addressee(&mut self, holder: &Map<String, Value>) -> Option<u32> {
        let text = |name: &str| holder.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (email, id) = (text("email"), text("contactId"));
        if email.is_some() && id.is_some() {
            self.account.note(self.path, "two-addresses", "email and contactId together", email);
        }
        let number = match id {
            Some(id) => self.account.find_id(id),
            None => self.account.find(email.unwrap_or_default()),
        };
        number.filter(|number| !self.account.card(*number).deleted)
    }

    /// The card that the body itself names.
    fn own_addressee(&mut self) -> Result<u32, String> {
        let body = std::mem::take(&mut self.body);
        let number = self.addressee(&body);
        self.body = body;
        number.ok_or_else(|| "Contact not found".into())
    }

    fn users(&self) -> Answer {
        let options = &self.account.options;
        let users = options.users.iter().map(|user| {
            if options.users_as_objects { json!({"email": user, "name": null}) } else { user.as_str().into() }
        });
        Ok(json!({"users": users.collect::<Vec<Value>>()}))
    }

    fn upsert(&mut self) -> Answer {
        // The sheet speaks of a default of true for the batch calls only.
        let double_opt_in = self.body.get("useApiDoubleOptIn").and_then(Value::as_bool).unwrap_or(false);
        let manner = Manner { single: true, double_opt_in, fire_events: true, owner: self.owner };
        let number = self.account.upsert(&self.body, manner, self.now)?;
        let external_id = self.account.card(number).details().remove("externalId");
        Ok(json!({"contactId": contact_id(number), "externalId": external_id}))
    }

    fn batch_upsert(&mut self) -> Answer {
        let elements = self.take_list("upsertDetails");
        check_size("upsertDetails", elements.len())?;
        let given = self.body.get("useApiDoubleOptIn").and_then(Value::as_bool);
        if given.is_none() {
            self.account.note(self.path, "double-opt-in-left-out", "useApiDoubleOptIn defaults to true", None);
        }
        let fire_events = self.body.get("fireEvents").and_then(Value::as_bool).unwrap_or(true);
        let manner = Manner { single: false, double_opt_in: given.unwrap_or(true), fire_events, owner: self.owner };
        let mut kept = Vec::with_capacity(elements.len());
        for element in elements {
            match element {
                Value::Object(element) if email_of(&element).is_some() => kept.push(element),
                _ => return Err("No email specified".into()),
            }
        }
        Ok(json!({"requestId": self.account.accept(kept, manner, self.now)}))
    }

    fn has_contact(&self) -> Answer {
        let number = self.account.find(self.text("email").ok_or("No email specified")?);
        let number = number.filter(|number| !self.account.card(*number).deleted);
        Ok(json!({"result": number.is_some(), "contactId": number.map(contact_id)}))
    }

    fn cards(&mut self, field: &str, whole: bool, own_only: bool) -> Answer {
        let wanted = self.take_list(field);
        if wanted.len() > LIST {
            if whole {
                return Err(format!("Too many elements, at most {LIST}"));
            }
            self.account.note(self.path, "more-than-50", "the most that is known to be safe is 50", None);
        }
        let account = &*self.account;
        let numbers = wanted.iter().filter_map(Value::as_str).filter_map(|name| match field {
            "email" => account.find(name),
            _ => account.find_id(name),
        });
        let numbers = numbers.filter(|number| !own_only || account.card(*number).owner == self.owner);
        let face = if whole { full } else { basic };
        Ok(json!({"contacts": numbers.map(|number| face(account, number)).collect::<Vec<_>>()}))
    }

    /// Cards by a moment between `from` and `to`, both inclusive, oldest first.
    fn between(&self, moment: impl Fn(&super::account::Card) -> i64) -> Vec<(i64, u32)> {
        let from = self.number("from").unwrap_or(i64::MIN);
        let to = self.number("to").unwrap_or(i64::MAX);
        let cards = (0_u32..).zip(&self.account.cards).filter(|(_, card)| !card.gone);
        let mut found: Vec<(i64, u32)> =
            cards.map(|(number, card)| (moment(card), number)).filter(|(at, _)| (from..=to).contains(at)).collect();
        found.sort_unstable();
        found
    }

    fn short(&self, number: u32) -> Value {
        json!({"id": contact_id(number), "email": &*self.account.card(number).email})
    }

    fn within(&self, name: &str, moment: impl Fn(&super::account::Card) -> i64) -> Answer {
        let found = self.between(moment);
        Ok(json!({name: found.iter().map(|(_, number)| self.short(*number)).collect::<Vec<_>>()}))
    }

    fn modified_page(&self) -> Answer {
        let (page, size) = self.paging()?;
        let found = self.between(|card| card.modified);
        let rest = found.get(page.saturating_mul(size)..).unwrap_or_default();
        let shown = rest.iter().take(size).map(|(_, number)| self.short(*number));
        Ok(json!({"modifiedContacts": shown.collect::<Vec<_>>(), "hasMore": rest.len() > size}))
    }

    /// Page (from zero) and size.
    fn paging(&self) -> Result<(usize, usize), String> {
        let page = self.number("page").and_then(|page| usize::try_from(page).ok()).filter(|page| *page > 0);
        let size = self.number("size").and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
        match (page, size.unwrap_or(BATCH)) {
            (Some(page), size) if size <= BATCH => Ok((page - 1, size)),
            _ => Err("Incorrect page or size".into()),
        }
    }

    fn export(&mut self) -> Answer {
        let (page, size) = self.paging()?;
        let request = self.account.request_number();
        self.account.exports.insert(request, (page, size, false));
        Ok(json!({"requestId": request}))
    }

    fn job(&mut self) -> Answer {
        let request = self.number("requestId").and_then(|number| u64::try_from(number).ok()).ok_or("No requestId")?;
        let Some((_, _, asked)) = self.account.exports.get_mut(&request) else {
            return Err("Unknown requestId".into());
        };
        if !std::mem::replace(asked, true) {
            return Ok(json!({"message": ["Job in progress"], "fileUrl": null}));
        }
        Ok(json!({"fileUrl": format!("http://{}/_sandbox/salesmanago/files/{request}", self.host)}))
    }

    fn tags(&self) -> Answer {
        let tags = self.account.tag_counts().into_iter().filter(|(_, count)| *count > 0);
        Ok(json!({"tags": tags.map(|(tag, count)| json!({"tag": tag, "numberOfTagged": count})).collect::<Vec<_>>()}))
    }

    fn manage_tags(&mut self) -> Answer {
        let number = self.own_addressee()?;
        self.account.manage_tags(number, &self.body, self.now);
        Ok(json!({"contactId": contact_id(number)}))
    }

    fn one_tag(&mut self, list: &str) -> Answer {
        let number = self.own_addressee()?;
        let tag = self.text("tag").ok_or("No tag specified")?;
        let request = Map::from_iter([(list.to_owned(), json!([tag]))]);
        self.account.manage_tags(number, &request, self.now);
        Ok(json!({"contactId": contact_id(number)}))
    }

    fn opt(&mut self, mail: Option<bool>, phone: Option<bool>) -> Answer {
        let number = self.own_addressee()?;
        self.account.set_opted_out(number, mail, phone, self.now);
        Ok(json!({"contactId": contact_id(number)}))
    }

    fn batch_opt(&mut self, out: bool) -> Answer {
        let mut ids = Map::new();
        for email in self.take_list("emails").iter().filter_map(Value::as_str) {
            if let Some(number) = self.account.find(email) {
                self.account.set_opted_out(number, Some(out), None, self.now);
                ids.insert(email.to_owned(), contact_id(number).into());
            }
        }
        Ok(json!({"contactIds": ids}))
    }

    fn delete(&mut self) -> Answer {
        let number = self.own_addressee()?;
        let permanently = self.body.get("permanently").and_then(Value::as_bool).unwrap_or(false);
        self.account.delete(number, permanently, self.now);
        Ok(json!({"contactId": contact_id(number), "result": "deleted"}))
    }

    fn batch_delete(&mut self) -> Answer {
        for contact in self.take_list("contacts") {
            let text = |name: &str| contact.get(name).and_then(Value::as_str).unwrap_or_default();
            let number = match text("addresseeType") {
                "EMAIL" => self.account.find(text("value")),
                "CONTACT_ID" => self.account.find_id(text("value")),
                other => return Err(format!("Incorrect addresseeType: {other}")),
            };
            if let Some(number) = number {
                self.account.delete(number, false, self.now);
            }
        }
        Ok(json!({}))
    }

    fn add_event(&mut self, iso_date: bool) -> Answer {
        let Some(Value::Object(event)) = self.body.remove("contactEvent") else {
            return Err("No contactEvent specified".into());
        };
        let draft = event::read(&event, iso_date)?;
        let number = self.own_addressee()?;
        let email = self.account.card(number).email.clone();
        self.account.note_event(self.path, &event, Some(&email));
        self.opt_in_by_event(number);
        Ok(json!({"eventId": event_id(self.account.add_event(number, draft, self.now))}))
    }

    fn opt_in_by_event(&mut self, number: u32) {
        if self.body.get("forceOptIn").and_then(Value::as_bool).unwrap_or(false) {
            self.account.note(self.path, "opt-in-by-event", "an event opts a contact in", None);
            self.account.set_opted_out(number, Some(false), None, self.now);
        }
    }

    fn add_events(&mut self) -> Answer {
        let elements = self.take_list("events");
        check_size("events", elements.len())?;
        let mut drafts = Vec::with_capacity(elements.len());
        for element in &elements {
            let event = element.get("contactEvent").and_then(Value::as_object).ok_or("No contactEvent specified")?;
            drafts.push(event::read(event, false)?);
        }
        let (mut created, mut failed) = (0_usize, 0_usize);
        let mut failed_contacts: Vec<String> = Vec::new();
        for (element, draft) in elements.iter().filter_map(Value::as_object).zip(drafts) {
            let named = element.get("email").or_else(|| element.get("contactId")).and_then(Value::as_str);
            if let Some(event) = element.get("contactEvent").and_then(Value::as_object) {
                self.account.note_event(self.path, event, named);
            }
            if let Some(number) = self.addressee(element) {
                self.account.add_event(number, draft, self.now);
                created += 1;
                continue;
            }
            failed += 1;
            let named = named.unwrap_or_default();
            if !failed_contacts.iter().any(|there| there == named) {
                failed_contacts.push(named.to_owned());
            }
        }
        Ok(json!({"failedContacts": failed_contacts, "createdAmount": created, "failedAmount": failed}))
    }

    fn update_event(&mut self) -> Answer {
        let Some(Value::Object(event)) = self.body.remove("contactEvent") else {
            return Err("No contactEvent specified".into());
        };
        let id = event.get("eventId").and_then(Value::as_str).ok_or("No eventId specified")?;
        let number = self.account.find_event(id).ok_or("Event not found")?;
        let draft = event::read(&event, false)?;
        self.account.note_event(self.path, &event, None);
        self.account.replace_event(number, draft);
        Ok(json!({"eventId": id}))
    }

    fn delete_event(&mut self) -> Answer {
        let number = self.text("eventId").and_then(|id| self.account.find_event(id)).ok_or("Event not found")?;
        self.account.delete_event(number);
        Ok(json!({"result": "deleted"}))
    }
}

fn check_size(list: &str, size: usize) -> Result<(), String> {
    match size {
        0 => Err(format!("{list} cannot be empty")),
        size if size > BATCH => Err(format!("{list} has more than {BATCH} elements")),
        _ => Ok(()),
    }
}
