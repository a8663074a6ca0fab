//! SALESmanago (API v2): contacts upserted in batches that take effect later, renamed one by one, and events that the
//! platform never deduplicates.
//!
//! The model: every call is a POST whose JSON body carries the credentials; HTTP 200 says nothing, `success` does (sheet,
//! section 3). An upsert is accepted, not done: the load stage looks at [`Target::contacts`] before it sends events. An
//! event batch answers how many were created and whom it does not know; whatever does not add up there is unknown, and an
//! event of unknown fate is looked up by its `externalId` and kind, never sent again blindly (sheet, section 8).
//!
//! What may enter: `http`, the requests that `sql/deliver/salesmanago/` renders, the account's settings. No business rule.
//!
//! Wrong answers avoided here: taking `success: true` of an event batch for "all created"; leaving `useApiDoubleOptIn` out
//! (it defaults to true and writes to everybody); repeating a batch whose answer got lost; renaming a card onto a person
//! who has one already; sending 100,000 records for an owner who does not exist.

mod read_back;

use super::address::base_url;
use super::registry::TargetPlatform;
use super::{BatchOutcome, ContactState, Found, Held, Item, Operation, Outcome, Shown, Target};
use crate::config::formats::Secret;
use crate::config::pipeline::{Account, Load, PlatformSettings, Span};
use crate::http::{Auth, Budget, Client, ClientOptions, Failure, Fate, Idempotency};
use crate::source::Finding;
use crate::source::registry::Remark;
use crate::tenant::{Credential, Tenant};
use crate::{Error, Kind, Result, clock};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The registry's row.
pub const PLATFORM: TargetPlatform = TargetPlatform {
    name: "salesmanago",
    title: "SALESmanago",
    about: "marketing automation, also sold as Manago AI, written through its API v2",
    credentials: "in SALESmanago: Settings > Integration > API v2 shows client id and API secret; the address is the one \
                  the panel is opened under, such as https://app2.salesmanago.com",
    schema: || schemars::schema_for!(Settings),
    example: include_str!("salesmanago.example.yaml"),
    inspect,
    build,
};

/// SALESmanago's own keys (sheet, section 2).
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The account's client id.
    #[schemars(length(min = 1))]
    pub client_id: String,
    /// Any text of your own choice; keep it stable.
    #[schemars(with = "Secret")]
    pub api_key: SecretString,
    /// The account's API secret; it is never sent.
    #[schemars(with = "Secret")]
    pub api_secret: SecretString,
    /// E-mail address of the SALESmanago user who owns the contacts; must exist there.
    #[schemars(length(min = 1))]
    pub owner: String,
    /// The shop's constant on events; equal to the location of its product feed: a-z 0-9 / _ - . and at most 36 of them.
    #[serde(default)]
    pub location: Option<String>,
    /// The shop's domain on events.
    #[serde(default)]
    pub shop_domain: Option<String>,
    /// Language of contacts whose own is not known, for example `PL`.
    #[serde(default)]
    pub lang: Option<String>,
    /// The name of the consent that is recorded with its date on the card; it must exist in SALESmanago already. Left out,
    /// only the opt-in and opt-out flags are sent.
    #[serde(default)]
    pub consent_name: Option<String>,
    /// Which of a product's names goes into an event's `products`; it must equal the ids of the product feed.
    #[serde(default)]
    pub product_id: ProductId,
    /// Whether cards that somebody may have opted out there are looked at before an opt-in is sent, so that an
    /// unsubscription that the shop knows nothing of stands.
    #[serde(default = "yes")]
    pub check_existing: bool,
    /// How long events wait for their contact to appear after its upsert was accepted; what has not appeared by then waits
    /// for the next run.
    #[serde(default = "two_minutes")]
    pub confirm_timeout: Span,
    /// Contacts per call. SALESmanago takes 1000; its own plugin sends 400: choose less where calls time out.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 1000))]
    pub contact_batch: usize,
    /// Events per call, at most 1000.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 1000))]
    pub event_batch: usize,
}

/// Which of a product's names goes into an event's `products`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProductId {
    /// The stock keeping unit; where a product has none, the shop's own key.
    #[default]
    Sku,
    /// The shop's own key.
    ProductKey,
}

fn yes() -> bool {
    true
}

fn two_minutes() -> Span {
    Span(SignedDuration::from_secs(120))
}

fn thousand() -> usize {
    BATCH_MAX
}

/// The most contacts or events of a call (sheet, section 3).
const BATCH_MAX: usize = 1000;
/// The most addresses of a reading call (sheet, section 3).
const READ_MAX: usize = 50;
/// A card that lists so many events may not list all of them: no such bound is known, nor is there none.
const TRUSTED_LIST: usize = 50;
/// Calls in flight at once: "a few" (sheet, section 3).
const CONCURRENCY: usize = 4;
/// How long an answer is waited for: an event batch whose answer is not waited for has an unknown fate.
const PATIENCE: Duration = Duration::from_secs(120);

/// How people should write the address.
const ADDRESS: &str = "the address under which the panel is opened, such as https://app2.salesmanago.com";

const UPSERT: &str = "upsert contacts";
const RENAME: &str = "rename contact";

fn inspect(settings: &PlatformSettings) -> Vec<Remark> {
    let text = |key: &str| settings.0.get(key).and_then(Value::as_str);
    let mut remarks = Vec::new();
    let mut mistake = |key, message: &str, hint: &str| {
        remarks.push(Remark { key, warning: false, message: message.into(), hint: Some(hint.into()) });
    };
    if text("owner").is_some_and(|owner| !owner.contains('@')) {
        mistake(
            "owner",
            "`owner` is no e-mail address",
            "write the e-mail address of a SALESmanago user, the one who owns the contacts",
        );
    }
    if text("location").is_some_and(|location| !is_location(location)) {
        mistake(
            "location",
            "`location` is not one that SALESmanago takes",
            "at most 36 of a-z 0-9 / _ - . and no blanks",
        );
    }
    remarks
}

/// Sheet, section 3.
fn is_location(location: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/_-.".contains(&byte);
    !location.is_empty() && location.len() <= 36 && location.bytes().all(allowed)
}

fn build(account: &Account, load: &Load) -> Result<Arc<dyn Target>> {
    Ok(Arc::new(SalesManago::new(account, load)?))
}

/// `lowercase_hex(sha1(apiKey + clientId + apiSecret))` (sheet, section 2): constant, and as good as a password.
fn sha(api_key: &SecretString, client_id: &str, api_secret: &SecretString) -> SecretString {
    let digest = Sha1::new()
        .chain_update(api_key.expose_secret())
        .chain_update(client_id)
        .chain_update(api_secret.expose_secret())
        .finalize();
    hex::encode(digest).into()
}

/// One account.
pub struct SalesManago {
    client: Client,
    settings: Settings,
    /// Set once the account was seen to have the owner.
    owner_seen: OnceCell<()>,
}

/// An answer whose `success` is true: the fields beside it.
type Fields = Map<String, Value>;

/// Why a call did not succeed.
enum Trouble {
    /// The platform says `success: false`, in these words. It did nothing.
    Refused(Vec<String>),
    /// The call itself failed.
    Failed(Failure),
    /// The answer is JSON, but none of this platform's; nobody knows what was done.
    Strange,
}

impl SalesManago {
    /// The target of an account. Makes no call.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] for settings that are not the platform's, [`Kind::Address`] for the address.
    pub fn new(account: &Account, load: &Load) -> Result<Self> {
        let settings: Settings = account.settings.typed()?;
        if settings.location.as_deref().is_some_and(|location| !is_location(location)) {
            return Err(Error::new(Kind::PipelineFile, "`location` is not one that SALESmanago takes")
                .hint("at most 36 of a-z 0-9 / _ - . and no blanks"));
        }
        if [settings.contact_batch, settings.event_batch].iter().any(|size| *size == 0 || *size > BATCH_MAX) {
            return Err(Error::new(Kind::PipelineFile, "`contact_batch` or `event_batch` is not between 1 and 1000")
                .hint("leave it out for 1000"));
        }
        let mut options = ClientOptions::new(base_url(account, ADDRESS)?);
        options.auth = Auth::Body(vec![
            ("clientId", settings.client_id.clone().into()),
            ("apiKey", settings.api_key.clone()),
            ("sha", sha(&settings.api_key, &settings.client_id, &settings.api_secret)),
        ]);
        options.rate = load.rate;
        options.concurrency = load.parallel.map_or(CONCURRENCY, |calls| calls as usize);
        options.timeouts.answer = PATIENCE;
        Ok(Self { client: Client::new(options)?, settings, owner_seen: OnceCell::new() })
    }

    /// One call; `body` is what stands beside credentials, time and owner.
    async fn call(&self, path: &str, body: Fields, idempotency: Idempotency) -> Result<Fields, Trouble> {
        self.call_with(path, body, None, idempotency).await
    }

    /// The same with one more member, a list that is JSON text already.
    async fn call_with(
        &self,
        path: &str,
        mut body: Fields,
        list: Option<(&'static str, String)>,
        idempotency: Idempotency,
    ) -> Result<Fields, Trouble> {
        body.insert("owner".into(), self.settings.owner.as_str().into());
        body.insert("requestTime".into(), clock::wall().as_millisecond().into());
        let mut call = self
            .client
            .post(path, body.into(), idempotency)
            .header("content-type", "application/json;charset=UTF-8")
            .header("accept", "application/json, application/json");
        if let Some((name, list)) = list {
            call = call.member(name, list);
        }
        let response = call.send().await.map_err(Trouble::Failed)?;
        match response.json().await.map_err(Trouble::Failed)? {
            Value::Object(mut fields) => match fields.get("success") {
                Some(Value::Bool(true)) => Ok(fields),
                Some(Value::Bool(false)) => Err(Trouble::Refused(texts(fields.remove("message")))),
                _ => Err(Trouble::Strange),
            },
            _ => Err(Trouble::Strange),
        }
    }

    async fn read(&self, path: &str, body: Fields) -> Result<Fields> {
        self.call(path, body, Idempotency::Safe).await.map_err(|trouble| trouble.into_error(path))
    }

    /// The users of the account, in lower case; they may come as texts or as objects (sheet, section 2).
    async fn users(&self) -> Result<Vec<String>> {
        let answer = self.read("api/user/listByClient", Map::new()).await?;
        let users = answer.get("users").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let names = users.iter().flat_map(|user| match user {
            Value::String(name) => vec![name.to_lowercase()],
            Value::Object(fields) => fields.values().filter_map(Value::as_str).map(str::to_lowercase).collect(),
            _ => Vec::new(),
        });
        Ok(names.collect())
    }

    /// Before the first write: the words in which the platform refuses an unknown owner are not known, and taking them for
    /// a refusal of the record would reject every record there is.
    async fn owner_exists(&self) -> Result<()> {
        let seen = self.owner_seen.get_or_try_init(|| async {
            let users = self.users().await?;
            let owner = self.settings.owner.to_lowercase();
            if users.is_empty() || users.contains(&owner) { Ok(()) } else { Err(no_such_owner()) }
        });
        seen.await.map(|_| ())
    }

    async fn upsert(&self, items: &[Item], first_load: bool) -> Result<BatchOutcome> {
        let mut body = Map::new();
        body.insert("useApiDoubleOptIn".into(), false.into());
        if let Some(lang) = &self.settings.lang {
            body.insert("lang".into(), lang.as_str().into());
        }
        if first_load {
            body.insert("fireEvents".into(), false.into());
        }
        let cards = Some(("upsertDetails", list(items.iter().map(|item| item.request.text()))));
        match self.call_with("api/contact/batchupsertv2", body, cards, Idempotency::Safe).await {
            Ok(answer) => Ok(BatchOutcome {
                outcomes: vec![Outcome::Acknowledged(None); items.len()],
                reference: answer.get("requestId").and_then(word),
            }),
            Err(Trouble::Refused(texts)) => refused(items, &texts),
            Err(trouble) => Err(trouble.into_error("api/contact/batchupsertv2")),
        }
    }

    /// Renames a card, or finds that a former attempt has done so already: the outcome is the same however often it is
    /// called, which `newEmail` alone does not promise.
    async fn rename(&self, item: &Item) -> Result<BatchOutcome> {
        let mut body = match item.request.value() {
            Value::Object(fields) => fields,
            _ => return Err(Error::new(Kind::Internal, "a rename that is no JSON object")),
        };
        let old = body.get("contact").and_then(|contact| contact.get("email")).and_then(word);
        let new = body.get("newEmail").and_then(word);
        let (Some(old), Some(new)) = (old, new) else {
            return Err(Error::new(Kind::Internal, "a rename without both addresses"));
        };
        let there = self.contacts(&[old.clone(), new.clone()]).await?;
        let differ = old.to_lowercase() != new.to_lowercase();
        let is_there =
            |place: usize| there.get(place).is_some_and(|card| card.as_ref().is_some_and(|card| !card.is_deleted));
        match (is_there(0), is_there(1)) {
            (true, true) if differ => {
                return Ok(BatchOutcome::one(Outcome::Refused {
                    code: "address-taken",
                    reason: "SALESmanago has a contact at the new address already, so the old one cannot be renamed; \
                             merge or delete one of the two there"
                        .into(),
                }));
            }
            (true, _) => {}
            (false, _) => {
                body.remove("newEmail");
                if let Some(contact) = body.get_mut("contact").and_then(Value::as_object_mut) {
                    contact.insert("email".into(), new.into());
                }
            }
        }
        body.insert("useApiDoubleOptIn".into(), false.into());
        // Not repeated as it is: a second attempt must look first which address the card has by then.
        match self.call("api/contact/upsert", body, Idempotency::Unsafe).await {
            Ok(answer) => Ok(BatchOutcome::one(Outcome::Acknowledged(answer.get("contactId").and_then(word)))),
            Err(Trouble::Refused(texts)) => refused(std::slice::from_ref(item), &texts),
            Err(Trouble::Failed(failure)) if failure.fate() == Fate::Unknown => {
                Ok(all_unknown(1, failure.error().detail()))
            }
            Err(Trouble::Strange) => Ok(all_unknown(1, "the answer is not one of SALESmanago")),
            Err(trouble) => Err(trouble.into_error("api/contact/upsert")),
        }
    }

    async fn add_events(&self, items: &[Item]) -> Result<BatchOutcome> {
        const PATH: &str = "api/v2/contact/addBatchContactExtEvent";
        // Whoever is addressed is not opted in by it: `forceOptIn` stays out (sheet, section 5.1).
        let address = |item: &Item| Value::from(item.address.as_str());
        let events =
            items.iter().map(|item| format!(r#"{{"email":{},"contactEvent":{}}}"#, address(item), item.request.text()));
        let events = Some(("events", list(events)));
        match self.call_with(PATH, Fields::new(), events, Idempotency::Unsafe).await {
            Ok(answer) => Ok(BatchOutcome { outcomes: judge(items, &answer), reference: None }),
            Err(Trouble::Refused(texts)) => refused(items, &texts),
            Err(Trouble::Failed(failure)) if failure.fate() == Fate::Unknown => {
                Ok(all_unknown(items.len(), failure.error().detail()))
            }
            Err(Trouble::Strange) => Ok(all_unknown(items.len(), "the answer is not one of SALESmanago")),
            Err(trouble) => Err(trouble.into_error(PATH)),
        }
    }

    /// Whether cards stand at the addresses that items were to give them. A rename was done only if nothing is left at the
    /// address of before.
    async fn look_up_cards(&self, items: &[Item]) -> Result<Vec<Found>> {
        let mut addresses = Vec::with_capacity(items.len() * 2);
        for item in items {
            let request = item.request.value();
            let new = request.get("newEmail").and_then(word);
            let old = request.pointer("/contact/email").and_then(word).filter(|_| new.is_some());
            addresses.push((new.unwrap_or_else(|| item.address.clone()), old));
        }
        let asked: Vec<String> =
            addresses.iter().flat_map(|(new, old)| [Some(new.clone()), old.clone()]).flatten().collect();
        let mut states = self.contacts(&asked).await?.into_iter();
        let found = addresses.iter().map(|(_, old)| {
            let there = states.next().flatten();
            let left = old.as_ref().and_then(|_| states.next().flatten());
            match (there, left) {
                (Some(card), None) => Found::Present(card.target_id),
                _ => Found::Absent,
            }
        });
        Ok(found.collect())
    }

    /// Full cards by lower-cased address, with those of all owners.
    async fn cards(&self, addresses: &[&str]) -> Result<HashMap<String, Vec<Fields>>> {
        let mut cards: HashMap<String, Vec<Fields>> = HashMap::new();
        for chunk in addresses.chunks(READ_MAX) {
            let body = Map::from_iter([("email".to_owned(), json!(chunk))]);
            for card in contacts_in(self.read("api/contact/listAll", body).await?)? {
                if let Some(email) = card.get("email").and_then(Value::as_str) {
                    cards.entry(email.trim().to_lowercase()).or_default().push(card);
                }
            }
        }
        Ok(cards)
    }
}

#[async_trait]
impl Target for SalesManago {
    fn operations(&self) -> Vec<Operation> {
        let (contacts, events) = (self.settings.contact_batch, self.settings.event_batch);
        let event =
            |name, object| Operation { name, object, batch: events, needs_contact: true, ..Operation::default() };
        let card = |name, batch| Operation { name, object: "contact", batch, idempotent: true, ..Operation::default() };
        vec![
            // Repeated after the next change of address, it would find no card and create a second one.
            Operation { idempotent: false, ..card(RENAME, 1) },
            card(UPSERT, contacts),
            event("add purchases", "purchase"),
            event("add cancellations", "cancellation"),
            event("add returns", "return"),
        ]
    }

    async fn send(&self, operation: &Operation, items: &[Item], first_load: bool) -> Result<BatchOutcome> {
        self.owner_exists().await?;
        match (operation.name, items) {
            (_, []) => Ok(BatchOutcome { outcomes: Vec::new(), reference: None }),
            (UPSERT, items) => self.upsert(items, first_load).await,
            (RENAME, [item]) => self.rename(item).await,
            (RENAME, _) => Err(Error::new(Kind::Internal, "contacts are renamed one by one")),
            (_, items) => self.add_events(items).await,
        }
    }

    async fn look_up(&self, operation: &Operation, items: &[Item]) -> Result<Vec<Found>> {
        if operation.object == "contact" {
            return self.look_up_cards(items).await;
        }
        let mut seen = HashSet::new();
        let addresses: Vec<&str> = items
            .iter()
            .map(|item| item.address.as_str())
            .filter(|address| seen.insert(address.to_lowercase()))
            .collect();
        let cards = self.cards(&addresses).await?;
        let found = items.iter().map(|item| match cards.get(&item.address.trim().to_lowercase()) {
            Some(cards) => find_event(cards, &item.request.value()),
            None => Found::Absent,
        });
        Ok(found.collect())
    }

    async fn contacts(&self, addresses: &[String]) -> Result<Vec<Option<ContactState>>> {
        let mut states: HashMap<String, ContactState> = HashMap::new();
        for chunk in addresses.chunks(READ_MAX) {
            let body = Map::from_iter([("email".to_owned(), json!(chunk))]);
            for card in contacts_in(self.read("api/contact/basic", body).await?)? {
                let flag = |name: &str| card.get(name).and_then(Value::as_bool).unwrap_or(false);
                let Some(email) = card.get("email").and_then(Value::as_str) else { continue };
                let time = |name: &str| {
                    let at = card.get(name).and_then(Value::as_i64)?;
                    Timestamp::from_millisecond(at).ok()
                };
                states.insert(
                    email.trim().to_lowercase(),
                    ContactState {
                        target_id: card.get("contactId").or_else(|| card.get("id")).and_then(word),
                        email_opted_out: flag("optedOut"),
                        sms_opted_out: flag("optedOutPhone"),
                        created_at: time("createdOn"),
                        modified_at: time("modifiedOn"),
                        is_deleted: flag("deleted"),
                    },
                );
            }
        }
        Ok(addresses.iter().map(|address| states.get(&address.trim().to_lowercase()).cloned()).collect())
    }

    async fn read_back(&self, held: &[Held]) -> Result<Vec<Shown>> {
        self.compare(held).await
    }

    fn not_shown(&self) -> &'static [&'static str] {
        read_back::NOT_SHOWN
    }

    fn first_load(&self) -> String {
        "contacts go with fireEvents: false and start no automation; purchases, cancellations and returns of the past go as \
         events, for which SALESmanago names no such switch: pause automations that begin with an event, or leave old orders \
         out by orders.placed_after"
            .to_owned()
    }

    fn contacts_per_call(&self) -> usize {
        READ_MAX
    }

    fn parallel(&self) -> usize {
        CONCURRENCY
    }

    fn confirm_within(&self) -> Duration {
        self.settings.confirm_timeout.0.unsigned_abs()
    }

    fn keep_to(&self, budget: Arc<dyn Budget>) {
        self.client.keep_to(budget);
    }

    async fn rest(&self) {
        self.client.rest().await;
    }

    fn calls(&self) -> u64 {
        self.client.calls()
    }

    /// No call tells more than the client id, which the account keeps whatever its key and secret become.
    async fn tenant(&self) -> Result<Tenant> {
        Ok(Tenant::known_by(Credential::Public(format!("client {}", self.settings.client_id))))
    }

    async fn check(&self) -> Vec<Finding> {
        let what = "SALESmanago accepts the credentials";
        let users = match self.users().await {
            Ok(users) => users,
            Err(error) => return vec![Finding::failed(what, &error)],
        };
        let credentials = Finding::passed(what, format!("client {}", self.settings.client_id));
        let owner = &self.settings.owner;
        let is_user = match users.contains(&owner.to_lowercase()) {
            true => Ok(owner.clone()),
            false if users.is_empty() => Ok("the account does not list its users; the first load will tell".into()),
            false => Err(no_such_owner()),
        };
        // An address that need not exist: an unknown contact is no error (sheet, section 4).
        let body = Map::from_iter([("email".to_owned(), json!(owner))]);
        let read = self.read("api/contact/hasContact", body).await;
        vec![
            credentials,
            Finding::of("the owner is a user of the account", is_user),
            Finding::of("contacts can be read", read.map(|_| "contact/hasContact answers".into())),
        ]
    }

    fn deliver_settings(&self) -> Value {
        let settings = &self.settings;
        json!({
            "location": settings.location,
            "shop_domain": settings.shop_domain,
            "lang": settings.lang,
            "consent_name": settings.consent_name,
            "product_id": settings.product_id,
            "check_existing": settings.check_existing,
        })
    }
}

impl Trouble {
    /// For calls that were certainly not done, or may be repeated.
    fn into_error(self, path: &str) -> Error {
        match self {
            Trouble::Failed(failure) => failure.into_error(),
            Trouble::Refused(texts) => explain(&texts),
            Trouble::Strange => {
                Error::new(Kind::Protocol, format!("{path}: the answer does not say whether the call succeeded"))
                    .hint("check that base_url is the address of a SALESmanago account")
            }
        }
    }
}

/// `message` is an array, sometimes a plain text (sheet, section 3).
fn texts(message: Option<Value>) -> Vec<String> {
    let texts = match message {
        Some(Value::Array(entries)) => entries,
        Some(Value::Null) | None => Vec::new(),
        Some(other) => vec![other],
    };
    texts.iter().map(|text| word(text).unwrap_or_else(|| text.to_string())).collect()
}

/// A text or a number as text.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What `success: false` means for the whole job (sheet, section 3). Words that hold an address are blanked: they are a
/// person's.
fn explain(texts: &[String]) -> Error {
    let said = |wanted: &str| texts.iter().any(|text| text.trim().eq_ignore_ascii_case(wanted));
    if said("User not authenticated") {
        return Error::new(Kind::Credentials, "SALESmanago does not know these credentials (User not authenticated)")
            .hint(
                "compare client_id and api_secret with Settings > Integration > API v2; base_url is the account's own",
            );
    }
    if said("Not authenticated") {
        return Error::new(Kind::Credentials, "SALESmanago refuses the account (Not authenticated)")
            .hint("the account is probably inactive: open the panel, or ask SALESmanago");
    }
    if said("User cannot be empty") {
        return Error::new(Kind::Credentials, "SALESmanago misses the owner (User cannot be empty)")
            .hint("write the e-mail address of a user of the account into `owner`");
    }
    let words = texts.iter().flat_map(|text| text.split_whitespace());
    let said: Vec<_> = words.map(|word| if word.contains('@') { "…" } else { word }).collect();
    let said: String = said.join(" ").chars().take(300).collect();
    let said = if said.is_empty() { "without a reason".to_owned() } else { said };
    Error::new(Kind::Refused, format!("SALESmanago refused the call: {said}"))
}

/// A JSON list of what is JSON already.
fn list(elements: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut text = String::from("[");
    for (place, element) in elements.enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(element.as_ref());
    }
    text.push(']');
    text
}

fn no_such_owner() -> Error {
    Error::new(Kind::Credentials, "the account has no user with the address given as `owner`")
        .hint("in SALESmanago, Settings > Users lists them; the owner of the contacts must be one of them")
}

/// A call refused as a whole: one record is refused for good; of more, the load stage finds the one by halving. What is
/// wrong with the whole account is an error in both cases.
fn refused(items: &[Item], texts: &[String]) -> Result<BatchOutcome> {
    let error = explain(texts);
    match items {
        [_] if error.kind() == Kind::Refused => {
            let reason: String = texts.join("; ").chars().take(1000).collect();
            let reason = if reason.is_empty() { error.detail().to_owned() } else { reason };
            Ok(BatchOutcome::one(Outcome::Refused { code: "refused", reason }))
        }
        _ => Err(error),
    }
}

fn all_unknown(count: usize, why: &str) -> BatchOutcome {
    BatchOutcome { outcomes: vec![Outcome::Unknown(why.into()); count], reference: None }
}

/// The `contacts` of a reading answer.
fn contacts_in(mut answer: Fields) -> Result<Vec<Fields>> {
    match answer.remove("contacts") {
        Some(Value::Array(contacts)) => Ok(contacts
            .into_iter()
            .filter_map(|contact| match contact {
                Value::Object(fields) => Some(fields),
                _ => None,
            })
            .collect()),
        _ => Err(Error::new(Kind::Protocol, "an answer about contacts that holds no list of contacts")),
    }
}

/// What an event batch says of each event (sheet, section 5.5): two counters and the contacts that failed. They are
/// believed only where they add up.
fn judge(items: &[Item], answer: &Fields) -> Vec<Outcome> {
    let count = |name: &str| answer.get(name).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    let (Some(created), Some(failed)) = (count("createdAmount"), count("failedAmount")) else {
        return all_unknown(items.len(), "the answer does not say how many events were created").outcomes;
    };
    if created.checked_add(failed) != Some(items.len()) {
        return all_unknown(items.len(), "created and failed events do not add up to those sent").outcomes;
    }
    let names = answer.get("failedContacts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names: HashSet<String> = names.iter().filter_map(word).map(|name| name.trim().to_lowercase()).collect();
    let is_named = |item: &Item| names.contains(&item.address.trim().to_lowercase());
    let named = items.iter().filter(|item| is_named(item)).count();
    if named < failed {
        // More failed than can be told apart: any of them may be among those.
        return all_unknown(items.len(), "events failed that the answer does not name").outcomes;
    }
    let verdict = if named == failed {
        Outcome::Later("contact not there yet".into())
    } else {
        Outcome::Unknown("the answer names more contacts than events that failed".into())
    };
    let judged = items.iter().map(|item| if is_named(item) { verdict.clone() } else { Outcome::Acknowledged(None) });
    judged.collect()
}

/// Two times that are no further apart (ms) may be one, cut to seconds.
const SAME_TIME: u64 = 1000;

/// Whether one of the cards at an address shows the event: the same `externalId` and kind. Two shops that feed one account
/// may use one number twice; their purchases then differ in their time.
fn find_event(cards: &[Fields], event: &Value) -> Found {
    let Some(wanted_id) = event.get("externalId").and_then(word) else {
        return Found::CannotTell("the event has no externalId to look for".into());
    };
    let wanted_kind = event.get("contactExtEventType").and_then(Value::as_str).unwrap_or_default();
    let mut doubt = None;
    for card in cards {
        let Some(events) = card.get("contactExtEvents").and_then(Value::as_array) else {
            doubt = Some("the card does not list its events");
            continue;
        };
        for shown in events {
            let kind = ["contactExtEventType", "type", "eventType"].iter().find_map(|name| shown.get(*name)?.as_str());
            let may_be_kind = kind.is_none_or(|kind| kind.eq_ignore_ascii_case(wanted_kind));
            match shown.get("externalId").and_then(word) {
                Some(id) if id == wanted_id && kind.is_some() && may_be_kind => {
                    let times = [shown, event].map(|event| event.get("date").and_then(Value::as_i64));
                    if let [Some(shown), Some(wanted)] = times
                        && wanted_kind == "PURCHASE"
                        && shown.abs_diff(wanted) > SAME_TIME
                    {
                        doubt = Some("the card shows a purchase of this number at another time");
                        continue;
                    }
                    return Found::Present(shown.get("eventId").or_else(|| shown.get("id")).and_then(word));
                }
                Some(id) if id == wanted_id && kind.is_none() => {
                    doubt = Some("the card shows an event of this order without its kind");
                }
                None if may_be_kind => doubt = Some("the card shows events without their externalId"),
                _ => {}
            }
        }
        if events.len() >= TRUSTED_LIST {
            doubt = Some("the card lists so many events that older ones may be left out");
        }
    }
    doubt.map_or(Found::Absent, |doubt| Found::CannotTell(doubt.into()))
}

#[cfg(test)]
#[path = "salesmanago_tests.rs"]
mod tests;
