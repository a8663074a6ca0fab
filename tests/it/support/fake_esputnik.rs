//! An eSputnik account in a test's memory that does what the test tells it to: holds jobs back, loses answers, refuses.

use super::canonical::Shop;
use super::web;
use axum::response::Response;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use wharf::config::pipeline::{Account as AccountSettings, Load, PlatformSettings};
use wharf::stage::load::{self, Summary};
use wharf::store::Outcome;
use wharf::target::{Target, registry};

/// What becomes of one call that writes. Without a script every call is done and answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Do,
    /// Done, and the answer is lost.
    LoseAfter,
    /// Answered with this status and body; nothing is done.
    Answer(u16, String),
}

#[derive(Default)]
pub struct State {
    /// By externalCustomerId, else by the first channel.
    pub contacts: BTreeMap<String, Value>,
    pub unsubscribed: BTreeSet<String>,
    /// Method and path with its query, and the body, of every call.
    pub calls: Vec<(String, Value)>,
    /// Names of the contacts of each job that is at work, by its number.
    pub at_work: BTreeMap<usize, Vec<String>>,
    pub jobs: usize,
    /// Jobs end when this is false.
    pub holds_jobs: bool,
    pub ends_in_error: bool,
    pub orders: BTreeMap<String, Value>,
    pub events: Vec<Value>,
    pub activity: Vec<Value>,
    pub fields: Value,
    /// By the beginning of the path.
    pub script: BTreeMap<&'static str, VecDeque<Act>>,
    /// Contacts that carry one of these are refused at once.
    pub spoiled: Vec<String>,
    /// What the account would never forgive.
    pub violations: Vec<String>,
}

/// The account.
pub struct FakeESputnik {
    pub url: String,
    state: Arc<Mutex<State>>,
    heard: watch::Receiver<usize>,
}

impl FakeESputnik {
    pub async fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let (sender, heard) = watch::channel(0);
        let sender = Arc::new(sender);
        let shared = Arc::clone(&state);
        let (url, _) = web::server(move |_, seen| {
            let (state, sender) = (Arc::clone(&shared), Arc::clone(&sender));
            async move {
                let answer = answer(&mut state.lock().unwrap(), &seen);
                sender.send_modify(|n| *n += 1);
                answer
            }
        })
        .await;
        Self { url: format!("{url}api"), state, heard }
    }

    pub fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.state.lock().unwrap())
    }

    /// Waits until what was heard by now is as a test wants it.
    pub async fn until(&self, is_it: impl Fn(&State) -> bool) {
        let mut heard = self.heard.clone();
        while !self.state(|state| is_it(state)) {
            heard.changed().await.unwrap();
        }
    }

    /// The bodies of the calls to a path since the last time calls were asked for.
    pub fn take(&self, path: &str) -> Vec<Value> {
        let calls = self.state(|state| std::mem::take(&mut state.calls));
        calls.into_iter().filter(|(called, _)| called.contains(path)).map(|(_, body)| body).collect()
    }

    /// The paths called since the last time calls were asked for.
    pub fn take_paths(&self) -> Vec<String> {
        let calls = self.state(|state| std::mem::take(&mut state.calls));
        calls.into_iter().map(|(path, _)| path).collect()
    }

    /// The target of this account. Waits are short.
    pub fn target(&self, more: Value) -> Arc<dyn Target> {
        let mut settings = json!({"api_key": "K3Y-EXAMPLE-0123456789", "job_poll": "PT0.005S", "job_poll_max": "PT0.02S",
            "job_grace": "PT0.05S", "read_opt_outs_back": "1d", "time_zone": "Europe/Kyiv",
            "item_url": "https://shop.example/", "item_image_url": "https://shop.example/logo.png",
            "rates": {"PLN": 10}, "convert_to": "UAH"});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let Value::Object(settings) = settings else { unreachable!() };
        let account = AccountSettings {
            account: "crm".into(),
            platform: "esputnik".into(),
            base_url: self.url.clone(),
            allow_http: false,
            settings: PlatformSettings(settings.into_iter().collect()),
        };
        registry::build(&account, &Load::default()).unwrap()
    }

    /// Loads a shop into this account.
    pub async fn load(&self, shop: &Shop, more: Value) -> wharf::Result<Summary> {
        let mut pipeline = shop.pipeline.clone();
        pipeline.target.platform = "esputnik".into();
        let context = shop.context().await;
        let result = load::load_with(&context, &pipeline, self.target(more), shop.patience).await;
        let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Stopped };
        context.run.finish(outcome, result.as_ref().err()).await.unwrap();
        let violations = self.state(|state| state.violations.clone());
        assert!(violations.is_empty(), "{violations:?}");
        result
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn name_of(contact: &Value) -> String {
    let channel = || contact["channels"][0]["value"].as_str();
    contact["externalCustomerId"].as_str().or_else(channel).unwrap_or_default().to_owned()
}

fn answer(state: &mut State, seen: &web::Seen) -> Response {
    let uri = seen.uri.trim_start_matches("/api/").to_owned();
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    // Everybody knows the user name and the key of this account.
    if seen.header("authorization") != Some("Basic d2hhcmY6SzNZLUVYQU1QTEUtMDEyMzQ1Njc4OQ==") {
        return web::respond(401, &[], "");
    }
    state.calls.push((uri.clone(), body.clone()));
    let path = uri.split('?').next().unwrap_or_default();
    let act = state
        .script
        .iter_mut()
        .find(|(known, acts)| path.starts_with(**known) && !acts.is_empty())
        .and_then(|(_, acts)| acts.pop_front())
        .unwrap_or(Act::Do);
    if let Act::Answer(status, body) = act {
        return web::respond(status, &[("content-type", "text/plain")], body);
    }
    let done = perform(state, path, &uri, &body, !seen.body.is_empty());
    // A gateway that gave up: nobody knows what was done.
    if act == Act::LoseAfter { web::respond(504, &[], "") } else { done }
}

fn perform(state: &mut State, path: &str, uri: &str, body: &Value, is_write: bool) -> Response {
    let json = |value: Value| web::respond(200, &[], value.to_string());
    let empty = || web::respond(200, &[], "");
    match path {
        "v1/account/info" => json(json!({"userEmail": "api-user", "organisationName": "Example"})),
        "v1/groups" => json(json!([])),
        "v1/addressbooks" => json(state.fields.clone()),
        "v2/contacts/activity" => {
            let is_wanted = uri.contains("activityStatus=UNSUBSCRIBED") && !uri.contains("offset=");
            json(json!(if is_wanted { state.activity.clone() } else { Vec::new() }))
        }
        "v1/contacts" if is_write => import(state, body),
        "v1/contacts" => {
            let wanted = uri.split("email=").nth(1).unwrap_or_default().split('&').next().unwrap_or_default();
            let wanted = wanted.replace("%40", "@");
            let is_it = |contact: &&Value| list(&contact["channels"]).iter().any(|channel| channel["value"] == wanted);
            json(json!(state.contacts.values().filter(is_it).collect::<Vec<_>>()))
        }
        "v1/emails/unsubscribed/add" | "v1/emails/unsubscribed/delete" => {
            for email in list(&body["emails"]) {
                let email = email.as_str().unwrap().to_owned();
                if path.ends_with("add") {
                    state.unsubscribed.insert(email);
                } else {
                    state.unsubscribed.remove(&email);
                }
            }
            empty()
        }
        "v1/orders" => {
            for order in list(&body["orders"]) {
                state.orders.insert(order["externalOrderId"].as_str().unwrap().to_owned(), order);
            }
            empty()
        }
        "v1/event" | "v2/event" | "v3/event" => {
            state.events.push(body.clone());
            empty()
        }
        "v1/past_events" | "v2/past_events" => {
            let events = list(&body["events"]);
            let results = vec![json!({"status": "ACCEPTED"}); events.len()];
            state.events.extend(events);
            // One result comes without its list.
            let results = if let [one] = results.as_slice() { one.clone() } else { json!(results) };
            json(json!({"results": results, "errorCount": "0"}))
        }
        "v1/contact/subscribe" => {
            let mut contact = body["contact"].clone();
            contact["id"] = json!(state.contacts.len() + 1);
            contact["unconfirmed"] = json!(true);
            state.contacts.insert(name_of(&contact), contact.clone());
            json(json!({"id": contact["id"], "emailStatus": "NEED_CONFIRMATION", "new": true}))
        }
        _ if path.starts_with("v1/importstatus/") => status(state, path),
        _ if path.starts_with("v1/contact/") => {
            let id = path.rsplit('/').next().unwrap_or_default();
            match state.contacts.values().find(|contact| contact["id"].as_u64() == id.parse().ok()) {
                Some(contact) => json(contact.clone()),
                None => web::respond(404, &[], "no such contact"),
            }
        }
        _ => web::respond(404, &[], "no such method"),
    }
}

fn import(state: &mut State, body: &Value) -> Response {
    if list(&body["contactFields"]).is_empty() {
        state.violations.push("an import without contactFields".into());
    }
    let mut names = Vec::new();
    let mut failed = Vec::new();
    for mut contact in list(&body["contacts"]) {
        let name = name_of(&contact);
        if state.spoiled.contains(&name) {
            contact["error"] = json!("not to my taste");
            failed.push(contact);
            continue;
        }
        if state.at_work.values().flatten().any(|other| *other == name) {
            state.violations.push(format!("{name} is in two jobs"));
        }
        if list(&contact["channels"]).is_empty() {
            state.violations.push(format!("{name} has no channel"));
        }
        let id = state.contacts.get(&name).map_or(json!(state.contacts.len() + 1), |known| known["id"].clone());
        let mut card = state.contacts.get(&name).cloned().unwrap_or(json!({}));
        // What is named is replaced, by nothing too.
        for field in list(&body["contactFields"]) {
            let field = field.as_str().unwrap();
            match field {
                "email" | "sms" => card["channels"] = contact["channels"].clone(),
                "address" | "town" | "region" | "postcode" => {
                    card["address"][field] = contact["address"][field].clone()
                }
                _ => card[field] = contact[field].clone(),
            }
        }
        card["id"] = id;
        card["externalCustomerId"] = contact["externalCustomerId"].clone();
        card["fields"] = contact["fields"].clone();
        card["groups"] = json!(list(&body["groupNames"]).iter().map(|name| json!({"name": name})).collect::<Vec<_>>());
        state.contacts.insert(name.clone(), card);
        names.push(name);
    }
    let failed = if let [one] = failed.as_slice() { one.clone() } else { json!(failed) };
    if names.is_empty() {
        return web::respond(200, &[], json!({"failedContacts": failed, "id": "0"}).to_string());
    }
    state.jobs += 1;
    state.at_work.insert(state.jobs, names);
    let job = format!("job-{}", state.jobs);
    web::respond(200, &[], json!({"asyncSessionId": job, "failedContacts": failed, "id": "0"}).to_string())
}

fn status(state: &mut State, path: &str) -> Response {
    let number: usize = path.rsplit('-').next().unwrap_or_default().parse().unwrap_or_default();
    if state.holds_jobs {
        return web::respond(200, &[], json!({"status": "IMPORTING"}).to_string());
    }
    let names = state.at_work.remove(&number).unwrap_or_default();
    if state.ends_in_error {
        return web::respond(200, &[], json!({"status": "ERROR", "description": "Internal error"}).to_string());
    }
    let mapping: Vec<Value> = names
        .iter()
        .map(|name| json!({"dedupeValue": name, "contactId": state.contacts[name]["id"].to_string()}))
        .collect();
    let mapping = if let [one] = mapping.as_slice() { one.clone() } else { json!(mapping) };
    web::respond(200, &[], json!({"status": "FINISHED", "mapping": mapping}).to_string())
}
