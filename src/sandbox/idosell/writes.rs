//! The gates that write: clients and their statements on newsletters, tags, the status of orders. May use the state.
//!
//! A batch is never refused whole: every record says for itself how it went, and a 207 says that one of them failed. What
//! the shop would have written to buyers because nobody forbade it is counted as letters.

use super::gate::Refusal;
use super::params::{Params, list, object, text, wrapped};
use super::people::{Channel, Client, Kind, MOST_SHOPS};
use super::reads::{Answer, no_parameters};
use super::shop::Shop;
use super::zone::ZERO_DATE;
use crate::sandbox::php::to_bytes;
use serde_json::{Value, json};

/// A fault of one record.
type Fault = (u32, &'static str);

const UNKNOWN_CLIENT: Fault = (1, "Nie podano loginu lub klient nie istnieje");
const BAD_LOGIN: Fault = (2, "Niepoprawny login");
const TAKEN: Fault = (3, "Login jest już zajęty");
const NO_SHOP: Fault = (13, "Nie podano identyfikatora sklepu");
const BAD_SHOP: Fault = (14, "Niepoprawny identyfikator sklepu");

/// The statuses that an order may be given in version 6.
pub const STATUSES: [&str; 17] = [
    "new",
    "payment_waiting",
    "on_order",
    "packed",
    "packed_fulfillment",
    "packed_ready",
    "ready",
    "delivery_waiting",
    "wait_for_dispatch",
    "suspended",
    "finished",
    "finished_ext",
    "canceled",
    "false",
    "lost",
    "missing",
    "joined",
];

/// Those that came with version 7.
const LATER_STATUSES: [&str; 4] = ["wait_for_packaging", "wait_for_receive", "returned", "complained"];

fn errors_of(faults: &[Fault]) -> Value {
    faults.iter().map(|(code, text)| json!({ "faultCode": code, "faultString": text })).collect()
}

/// All records went well, or not.
fn batch(body: Value, failed: bool) -> Answer {
    if failed { Err(Refusal::partly(body)) } else { Ok(to_bytes(&body)) }
}

/// `PUT /clients/clients`
pub fn edit_clients(shop: &mut Shop, body: &Value) -> Answer {
    let params = wrapped(body).ok_or_else(|| no_parameters("Edycja klientów"))?;
    let records = list(params, "clients")?.ok_or_else(|| no_parameters("Edycja klientów"))?;
    let settings = body.get("clientsSettings").cloned().unwrap_or_default();
    // What is not forbidden is sent.
    let sends = |name: &str| settings[name] != json!(false);
    let mut results = Vec::new();
    let mut failed = false;
    for record in records {
        let record = record.as_object().ok_or_else(|| Refusal::unreadable("clients"))?;
        let (id, faults) = edit_client(shop, record)?;
        if faults.is_empty() {
            let letters = usize::from(sends("clientSettingSendMail")) + usize::from(sends("clientSettingSendSms"));
            shop.letters += letters as u64;
        }
        failed |= !faults.is_empty();
        results.push(json!({
            "resultStatus": faults.is_empty(),
            "clientsResult": {
                "clientId": id,
                "requestReference": record.get("requestReference").cloned().unwrap_or(json!("")),
            },
            "errors": errors_of(&faults),
        }));
    }
    let mut answer = json!({ "results": results });
    if failed {
        answer["errors"] = json!({ "faultCode": 0, "faultString": "" });
    }
    batch(answer, failed)
}

fn edit_client(shop: &mut Shop, record: &Params) -> Result<(u64, Vec<Fault>), Refusal> {
    let Some(login) = text(record, "clientLogin")? else { return Ok((0, vec![UNKNOWN_CLIENT])) };
    if login != login.to_lowercase() {
        return Ok((0, vec![BAD_LOGIN]));
    }
    let Some(mut client) = shop.person_by_login(login) else { return Ok((0, vec![UNKNOWN_CLIENT])) };
    let mut faults = Vec::new();
    let touches = edit_fields(&mut client, record, &mut faults)?;
    let now = shop.now();
    for (channel, all, one, said) in [
        (Channel::Email, "newsletterEmailApproval", "newsletterEmailApprovalsData", "inNewsletterEmailApproval"),
        (Channel::Sms, "newsletterSmsApproval", "newsletterSmsApprovalsData", "inNewsletterSmsApproval"),
    ] {
        if let Some(agreed) = record.get(all).and_then(Value::as_bool) {
            for at in 0..shop.panel.shops {
                client.state(channel, at, agreed, now);
            }
        }
        for entry in list(record, one)?.into_iter().flatten() {
            let agreed = match entry[said].as_str() {
                Some("y") => true,
                Some("n") => false,
                _ => return Err(Refusal::unreadable(said)),
            };
            match entry["shopId"].as_u64() {
                None => faults.push(NO_SHOP),
                Some(id) if id == 0 || id > shop.panel.shops as u64 => faults.push(BAD_SHOP),
                Some(id) => client.state(channel, id as usize - 1, agreed, now),
            }
        }
    }
    let id = client.id;
    if faults.is_empty() {
        shop.save_person(client, touches);
    }
    Ok((if faults.is_empty() { id } else { 0 }, faults))
}

/// Lays the fields of a record over a client; says whether there were any.
fn edit_fields(client: &mut Client, record: &Params, faults: &mut Vec<Fault>) -> Result<bool, Refusal> {
    let given = |name: &str| match record.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
        Some(_) => Err(Refusal::unreadable(name)),
    };
    let mut touches = false;
    if let Some(email) = given("clientEmail")? {
        check(faults, is_email(&email), (12, "Niepoprawny adres e-mail"));
        client.email = email;
        touches = true;
    }
    if let Some(birthday) = given("clientBirthDate")? {
        check(
            faults,
            birthday.parse::<jiff::civil::Date>().is_ok() || birthday == ZERO_DATE,
            (9, "Niepoprawna data urodzenia"),
        );
        client.birthday = birthday;
        touches = true;
    }
    if let Some(country) = given("clientCountryId")? {
        check(faults, country.len() == 2, (17, "Niepoprawny kraj"));
        client.country = country.to_lowercase();
        touches = true;
    }
    if let Some(phone) = given("clientPhone1")? {
        check(faults, phone.bytes().all(|byte| !byte.is_ascii_alphabetic()), (21, "Niepoprawny numer telefonu"));
        client.phone = phone;
        touches = true;
    }
    if let Some(active) = record.get("clientActive") {
        client.active = active.as_bool().ok_or_else(|| Refusal::unreadable("clientActive"))?;
        touches = true;
    }
    let fields: [(&str, &mut String, Option<Fault>); 11] = [
        ("clientFirstName", &mut client.first, Some((10, "Nie podano imienia"))),
        ("clientLastName", &mut client.last, Some((11, "Nie podano nazwiska"))),
        ("clientCity", &mut client.city, Some((18, "Niepoprawne miasto"))),
        ("clientStreet", &mut client.street, Some((19, "Niepoprawny adres"))),
        ("clientZipCode", &mut client.zip, Some((20, "Niepoprawny kod pocztowy"))),
        ("clientFirm", &mut client.company, None),
        ("clientNip", &mut client.nip, None),
        ("langId", &mut client.lang, None),
        ("currencyId", &mut client.currency, None),
        ("clientNote", &mut client.note, None),
        ("clientCodeExternal", &mut client.code, None),
    ];
    for (name, field, needed) in fields {
        let Some(value) = given(name)? else { continue };
        if let Some(fault) = needed {
            check(faults, !value.is_empty(), fault);
        }
        *field = value;
        touches = true;
    }
    Ok(touches)
}

fn check(faults: &mut Vec<Fault>, holds: bool, fault: Fault) {
    if !holds {
        faults.push(fault);
    }
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !text.contains(' '))
}

/// `POST /clients/clients`
pub fn create_clients(shop: &mut Shop, body: &Value) -> Answer {
    let params = wrapped(body).ok_or_else(|| no_parameters("Dodawanie klientów"))?;
    let records = list(params, "clients")?.ok_or_else(|| no_parameters("Dodawanie klientów"))?;
    let settings = body.get("settings").cloned().unwrap_or_default();
    let sends = |name: &str| settings[name] != json!(false);
    let mut results = Vec::new();
    let mut failed = false;
    for record in records {
        let record = record.as_object().ok_or_else(|| Refusal::unreadable("clients"))?;
        let (id, faults) = create_client(shop, record)?;
        if faults.is_empty() {
            shop.letters += u64::from(sends("send_mail")) + u64::from(sends("send_sms"));
        }
        failed |= !faults.is_empty();
        results.push(json!({
            "status": faults.is_empty(),
            "params": {
                "id": id,
                "login": record.get("login").cloned().unwrap_or(json!("")),
                "request_reference": record.get("request_reference").cloned().unwrap_or(json!("")),
            },
            "errors": errors_of(&faults),
        }));
    }
    let mut answer = json!({ "clients": results });
    if failed {
        answer["errors"] = json!({ "faultCode": 0, "faultString": "" });
    }
    batch(answer, failed)
}

fn create_client(shop: &mut Shop, record: &Params) -> Result<(u64, Vec<Fault>), Refusal> {
    let mut faults = Vec::new();
    let field = |name: &str| text(record, name).map(Option::unwrap_or_default);
    let (login, password, email) = (field("login")?, field("password")?, field("email")?);
    match login {
        "" => faults.push((1, "Nie podano loginu")),
        login if login != login.to_lowercase() => faults.push(BAD_LOGIN),
        login if shop.person_by_login(login).is_some() => faults.push(TAKEN),
        _ => {}
    }
    match password.chars().count() {
        0 => faults.push((4, "Nie podano hasła")),
        1..8 => faults.push((5, "Hasło jest za krótkie")),
        31.. => faults.push((6, "Hasło jest za długie")),
        _ => check(&mut faults, password != login, (7, "Hasło musi różnić się od loginu")),
    }
    let company = field("company")?;
    check(&mut faults, is_email(email), (12, "Niepoprawny adres e-mail"));
    check(&mut faults, !field("firstname")?.is_empty() || !company.is_empty(), (10, "Nie podano imienia"));
    check(&mut faults, !field("lastname")?.is_empty() || !company.is_empty(), (11, "Nie podano nazwiska"));
    if !faults.is_empty() {
        return Ok((0, faults));
    }
    let now = shop.now();
    let mut client = blank_client(shop.next_client(), Kind::Account, now);
    for (name, into) in [
        ("login", &mut client.login),
        ("email", &mut client.email),
        ("firstname", &mut client.first),
        ("lastname", &mut client.last),
        ("street", &mut client.street),
        ("zipcode", &mut client.zip),
        ("city", &mut client.city),
        ("country_code", &mut client.country),
        ("phone", &mut client.phone),
        ("company", &mut client.company),
        ("vat_number", &mut client.nip),
        ("birth_date", &mut client.birthday),
        ("language", &mut client.lang),
        ("code_extern", &mut client.code),
    ] {
        if let Some(value) = text(record, name)? {
            *into = value.to_owned();
        }
    }
    for (channel, all, one) in [
        (Channel::Email, "email_newsletter", "newsletter_email_approvals"),
        (Channel::Sms, "sms_newsletter", "newsletter_sms_approvals"),
    ] {
        if record.get(all).and_then(Value::as_bool) == Some(true) {
            (0..shop.panel.shops).for_each(|at| client.state(channel, at, true, now));
        }
        for entry in list(record, one)?.into_iter().flatten() {
            let at = entry["shop_id"].as_u64().unwrap_or_default();
            if (1..=shop.panel.shops as u64).contains(&at) {
                client.state(channel, at as usize - 1, entry["approval"] == json!("y"), now);
            }
        }
    }
    let id = client.id;
    shop.save_person(client, true);
    Ok((id, faults))
}

/// A person of whom nothing is known yet.
pub fn blank_client(id: u64, kind: Kind, now: i64) -> Client {
    Client {
        id,
        kind,
        created: now,
        modified: now,
        login: String::new(),
        email: String::new(),
        first: String::new(),
        last: String::new(),
        company: String::new(),
        nip: String::new(),
        street: String::new(),
        zip: String::new(),
        city: String::new(),
        country: "pl".to_owned(),
        phone: String::new(),
        phone_2: String::new(),
        birthday: ZERO_DATE.to_owned(),
        sex: "private",
        lang: "pol".to_owned(),
        currency: "PLN".to_owned(),
        code: String::new(),
        note: String::new(),
        active: true,
        email_news: [None; MOST_SHOPS],
        sms_news: [None; MOST_SHOPS],
    }
}

/// `POST /clients/tags`
pub fn add_tags(shop: &mut Shop, body: &Value) -> Answer {
    let records = tag_records(body)?;
    let mut results = Vec::new();
    for record in records {
        let client = known_client(shop, record)?;
        let name = record["tagName"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Refusal::unreadable("tagName"))?.to_owned();
        let value = record["tagValue"].as_i64().ok_or_else(|| Refusal::unreadable("tagValue"))?;
        let known = shop.tags.values().flatten().find(|tag| tag.1 == name).map(|tag| tag.0);
        let next = shop.tags.values().flatten().map(|tag| tag.0).max().unwrap_or(6) + 1;
        let id = known.unwrap_or(next);
        let tags = shop.tags.entry(client).or_default();
        match tags.iter_mut().find(|tag| tag.0 == id) {
            Some(tag) => tag.2 = value,
            None => tags.push((id, name.clone(), value)),
        }
        results.push(json!({ "tagName": name, "tagId": id, "tagValue": value, "clientId": client }));
    }
    Ok(to_bytes(&json!({ "results": results })))
}

/// `PUT /clients/tags`
pub fn edit_tags(shop: &mut Shop, body: &Value) -> Answer {
    let params = wrapped(body).ok_or_else(|| no_parameters("Tagi"))?;
    let client = known_client(shop, &Value::Object(params.clone()))?;
    let mut results = Vec::new();
    for change in list(params, "clientTags")?.into_iter().flatten() {
        let id = change["tagId"].as_u64().ok_or_else(|| Refusal::unreadable("tagId"))?;
        let value = change["tagValue"].as_i64().ok_or_else(|| Refusal::unreadable("tagValue"))?;
        let name = shop.tags.values().flatten().find(|tag| tag.0 == id).map(|tag| tag.1.clone());
        let name = name.ok_or_else(|| Refusal::fault(2, "Nie znaleziono tagu"))?;
        let tags = shop.tags.entry(client).or_default();
        let old = tags.iter().find(|tag| tag.0 == id).map_or(0, |tag| tag.2);
        let new = match change["operation"].as_str() {
            Some("add") => old + value,
            Some("subtract") => old - value,
            Some("set") => value,
            _ => return Err(Refusal::unreadable("operation")),
        };
        tags.retain(|tag| tag.0 != id);
        if new != 0 {
            tags.push((id, name, new));
        }
        results.push(json!({ "tagId": id, "tagValue": new, "clientId": client }));
    }
    Ok(to_bytes(&json!({ "results": results })))
}

/// `POST /clients/tags/delete`
pub fn delete_tags(shop: &mut Shop, body: &Value) -> Answer {
    let mut results = Vec::new();
    for record in tag_records(body)? {
        let client = known_client(shop, record)?;
        let id = record["tagId"].as_u64().ok_or_else(|| Refusal::unreadable("tagId"))?;
        if let Some(tags) = shop.tags.get_mut(&client) {
            tags.retain(|tag| tag.0 != id);
        }
        results.push(json!({ "tagId": id, "clientId": client }));
    }
    Ok(to_bytes(&json!({ "results": results })))
}

/// `POST /clients/tags/clear/delete`
pub fn clear_tags(shop: &mut Shop, body: &Value) -> Answer {
    let params = wrapped(body).ok_or_else(|| no_parameters("Tagi"))?;
    let client = known_client(shop, &Value::Object(params.clone()))?;
    shop.tags.remove(&client);
    Ok(to_bytes(&json!({})))
}

/// For tags the wrapper holds a list.
fn tag_records(body: &Value) -> Result<&Vec<Value>, Refusal> {
    body.get("params").and_then(Value::as_array).filter(|list| !list.is_empty()).ok_or_else(|| no_parameters("Tagi"))
}

fn known_client(shop: &Shop, record: &Value) -> Result<u64, Refusal> {
    let id = record["clientId"].as_u64().ok_or_else(|| Refusal::unreadable("clientId"))?;
    shop.person(id).map(|client| client.id).ok_or_else(|| Refusal::fault(2, "Nie znaleziono klienta"))
}

/// `PUT /orders/orders`
pub fn edit_orders(shop: &mut Shop, body: &Value, version: u32) -> Answer {
    let params = wrapped(body).ok_or_else(|| no_parameters("Edycja zamówień"))?;
    let records = list(params, "orders")?.ok_or_else(|| no_parameters("Edycja zamówień"))?;
    let mut results = Vec::new();
    let mut failed = false;
    for record in records {
        let record = record.as_object().ok_or_else(|| Refusal::unreadable("orders"))?;
        let (row, (code, said)) = edit_order(shop, record, version)?;
        if code == 0 {
            let settings = object(record, "settings")?;
            let quiet = |name: &str| settings.and_then(|settings| settings.get(name)) == Some(&json!("y"));
            shop.letters += u64::from(!quiet("dontSendMail")) + u64::from(!quiet("dontSendSMS"));
        }
        failed |= code != 0;
        results.push(json!({
            "orderId": row["orderId"],
            "orderSerialNumber": record.get("orderSerialNumber").cloned().unwrap_or(row["orderSerialNumber"].clone()),
            "orderStatus": record.get("orderStatus").cloned().unwrap_or(json!("")),
            "productsResults": [],
            "faultCode": code,
            "faultString": said,
        }));
    }
    let mut answer = json!({ "results": { "ordersResults": results } });
    if failed {
        answer["errors"] = json!({ "faultCode": 0, "faultString": "" });
    }
    batch(answer, failed)
}

fn edit_order(shop: &mut Shop, record: &Params, version: u32) -> Result<(Value, Fault), Refusal> {
    let serial = record.get("orderSerialNumber").and_then(Value::as_u64);
    let by_id = text(record, "orderId")?.and_then(|id| id.rsplit_once('-')?.1.parse().ok());
    let Some(mut row) = serial.or(by_id).and_then(|serial| shop.order(serial)) else {
        return Ok((json!({ "orderId": "" }), (1, "Nie podano identyfikatora zamówienia")));
    };
    if let Some(status) = text(record, "orderStatus")? {
        let is_known = STATUSES.contains(&status) || (version >= 7 && LATER_STATUSES.contains(&status));
        match status {
            "joined" => return Ok((row, (6, "Zamówienia łączy się w panelu"))),
            _ if !is_known => return Ok((row, (5, "Nie ma takiego statusu"))),
            _ => set_status(shop, &mut row, status),
        }
    }
    if let Some(note) = text(record, "orderNote")? {
        row["orderDetails"]["orderNote"] = json!(note);
    }
    let shown = row.clone();
    shop.save_order(row, true);
    Ok((shown, (0, "")))
}

/// Gives an order a status and the times that go with it.
pub fn set_status(shop: &Shop, row: &mut Value, status: &str) {
    let now = shop.panel.zone.time(shop.now());
    let details = &mut row["orderDetails"];
    details["orderStatus"] = json!(status);
    if status.starts_with("finished") {
        details["orderDispatchDate"] = json!(now);
        details["receivedDate"] = json!(now);
        for payment in details["prepaids"].as_array_mut().into_iter().flatten() {
            if payment["paymentStatus"] == json!("n") {
                payment["paymentStatus"] = json!("y");
                payment["paymentModifiedDateByShop"] = json!(now);
            }
        }
    }
}
