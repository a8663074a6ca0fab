//! Contacts in bulk: accepted at once, applied later by jobs whose progress is counted, in whatever order is set.

use super::account::NONE;
use super::account::{Account, By, MadeBy};
use super::card::{Draft, EMAIL, SMS, Scope};
use super::contact::{Dedupe, Written, failed};
use super::events::{Event, NO_STATUS, Outcome, TYPE_KEY, Via};
use super::options::{Counted, JobOrder};
use super::rules;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The most contacts of one call.
pub const CONTACTS: usize = 3000;
/// Names that `contactFields` may have.
const LISTED: [&str; 15] = [
    "firstName",
    "lastName",
    "email",
    "sms",
    "mobilepush",
    "webpush",
    "address",
    "town",
    "region",
    "postcode",
    "externalCustomerId",
    "contactKey",
    "languageCode",
    "timeZone",
    "ordersInfo",
];
/// Keys of a bulk request.
const KNOWN: [&str; 9] = [
    "contacts",
    "dedupeOn",
    "fieldId",
    "contactFields",
    "customFieldsIDs",
    "groupNames",
    "groupNamesExclude",
    "restoreDeleted",
    "eventKeyForNewContacts",
];
/// So many finished jobs keep their mapping.
const KEPT_MAPPINGS: usize = 50;
/// The session id of a job; its number follows.
const SESSION: &str = "7e0f4c0e-6a51-4a10-9f43-";

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Queued.
    Started,
    /// Being worked on.
    Importing,
    /// Applied.
    Finished,
    /// Given up; some of it may be applied.
    Error,
}

/// What a bulk request asks for beside its contacts.
#[derive(Debug)]
struct Plan {
    dedupe: Dedupe,
    scope: Scope,
    into: Vec<u16>,
    out_of: Vec<u16>,
    restore: bool,
    event: Option<u32>,
}

/// One job.
#[derive(Debug)]
pub struct Job {
    /// Where it is.
    pub state: State,
    /// How many contacts it had.
    pub size: usize,
    /// How many of them became new, were changed, were skipped.
    pub counts: [usize; 3],
    waiting: VecDeque<Draft>,
    plan: Arc<Plan>,
    steps: u32,
    fails: bool,
    sticks: bool,
    keys: Vec<u64>,
    mapping: Vec<(Box<str>, u32)>,
    changed_at: i64,
}

/// All jobs.
#[derive(Debug, Default)]
pub struct Imports {
    /// In order of acceptance.
    pub jobs: Vec<Job>,
    /// So many of the next jobs end in ERROR when half of their contacts are applied.
    pub failing: u32,
    /// So many of the next jobs never end, and apply nothing.
    pub sticking: u32,
    running: Vec<usize>,
    finished: VecDeque<usize>,
    in_flight: HashMap<u64, u32>,
}

impl Imports {
    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

/// What a bulk request is answered, or the text of a 400.
pub type Accepted = Result<Value, String>;

impl Account {
    /// Takes a bulk request: refused contacts are named at once, the others wait in a job.
    pub fn accept_import(&mut self, body: &Map<String, Value>) -> Accepted {
        for name in body.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
            self.note("unknown-field", format!("{name} is not a field of a bulk request"));
        }
        let contacts = body.get("contacts").and_then(Value::as_array).ok_or("contacts is required")?;
        if contacts.is_empty() || contacts.len() > CONTACTS {
            return Err(format!("contacts must have 1 to {CONTACTS} elements"));
        }
        let plan = self.read_plan(body)?;
        let mut waiting = VecDeque::with_capacity(contacts.len());
        let mut refused = Vec::new();
        for contact in contacts {
            match self.read_contact(contact, true) {
                Ok(draft) => waiting.push_back(draft),
                Err(reason) => refused.push(failed(contact, &reason)),
            }
        }
        let mut answer = Map::new();
        if waiting.is_empty() {
            answer.insert("errorMessage".into(), "No contact can be imported".into());
        } else {
            let number = self.enqueue(waiting, plan);
            answer.insert("asyncSessionId".into(), session_id(number).into());
        }
        if !refused.is_empty() {
            answer.insert("failedContacts".into(), refused.into());
        }
        Ok(answer.into())
    }

    fn read_plan(&mut self, body: &Map<String, Value>) -> Result<Plan, String> {
        let texts = |name: &str| -> Result<Option<Vec<String>>, String> {
            match body.get(name) {
                None | Some(Value::Null) => Ok(None),
                Some(list) => {
                    serde_json::from_value(list.clone()).map(Some).map_err(|_| format!("{name} has wrong format"))
                }
            }
        };
        let numbers = |name: &str| -> Result<Option<Vec<u32>>, String> {
            match body.get(name) {
                None | Some(Value::Null) => Ok(None),
                Some(list) => {
                    serde_json::from_value(list.clone()).map(Some).map_err(|_| format!("{name} has wrong format"))
                }
            }
        };
        let field = body.get("fieldId").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        let wanted = body.get("dedupeOn").and_then(Value::as_str).unwrap_or_default();
        let dedupe = Dedupe::read(wanted, field).ok_or("dedupeOn is missing or unknown")?;
        if let Dedupe::Field(id) = dedupe {
            self.index_field(id);
        }
        // An empty list names nothing, which is read as no list at all.
        let listed = texts("contactFields")?.filter(|names| !names.is_empty());
        if let Some(unknown) = listed.iter().flatten().find(|name| !LISTED.contains(&name.as_str())) {
            return Err(format!("'{unknown}' is not valid contact field"));
        }
        if listed.is_none() {
            self.note("no-contact-fields", "without contactFields everything unsent is wiped");
        }
        let mut fields = numbers("customFieldsIDs")?.unwrap_or_default();
        for id in &fields {
            if !self.options.fields.iter().any(|known| known.id == *id) {
                return Err(format!("Field {id} not found"));
            }
        }
        if let Dedupe::Field(id) = dedupe {
            fields.retain(|there| *there != id);
        }
        let event = match body.get("eventKeyForNewContacts") {
            None | Some(Value::Null) => None,
            Some(Value::String(key)) if rules::is_key(key, TYPE_KEY) => Some(self.events.kind(key)),
            Some(_) => return Err("eventKeyForNewContacts has forbidden characters".into()),
        };
        let restore = match body.get("restoreDeleted") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(restore)) => *restore,
            Some(_) => return Err("restoreDeleted has wrong format".into()),
        };
        let into = texts("groupNames")?.unwrap_or_default();
        let into = into.iter().filter_map(|name| self.group_or_new(name)).collect();
        let out_of = texts("groupNamesExclude")?.unwrap_or_default();
        let out_of = out_of.iter().filter_map(|name| self.group(name)).collect();
        let scope = Scope { listed, fields: Some(fields), spared: dedupe.spared(), given_only: false };
        Ok(Plan { dedupe, scope, into, out_of, restore, event })
    }

    fn enqueue(&mut self, waiting: VecDeque<Draft>, plan: Plan) -> usize {
        let mut keys = Vec::with_capacity(waiting.len());
        for draft in &waiting {
            keys.extend(draft.external_id().map(|id| By::ExternalId.key(id)));
            keys.extend(draft.details.values(EMAIL).map(|email| By::Email.key(email)));
            if draft.external_id().is_none() && plan.dedupe != Dedupe::Email {
                keys.extend(draft.details.values(SMS).map(|phone| By::Sms.key(phone)));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let doubled = keys.iter().filter(|key| self.imports.in_flight.contains_key(key)).count();
        if doubled > 0 {
            self.note("contact-in-two-jobs", format!("{doubled} keys of contacts are in a job that still runs"));
        }
        let sticks = self.imports.sticking > 0;
        self.imports.sticking = self.imports.sticking.saturating_sub(1);
        // What a job that never ends carries is met by nothing.
        for key in keys.iter().filter(|_| !sticks) {
            *self.imports.in_flight.entry(*key).or_default() += 1;
        }
        let fails = self.imports.failing > 0;
        self.imports.failing = self.imports.failing.saturating_sub(1);
        let number = self.imports.jobs.len();
        let changed_at = self.now();
        self.imports.jobs.push(Job {
            state: State::Started,
            size: waiting.len(),
            counts: [0; 3],
            waiting,
            plan: Arc::new(plan),
            steps: 0,
            fails,
            sticks,
            keys: if sticks { Vec::new() } else { keys },
            mapping: Vec::new(),
            changed_at,
        });
        if sticks {
            return number;
        }
        self.imports.running.push(number);
        if self.options.jobs.started + self.options.jobs.importing == 0 && self.options.jobs.counted != Counted::Nothing
        {
            self.finish(number);
        }
        number
    }

    /// One more call came: jobs that count calls go on.
    pub fn pass_jobs(&mut self) {
        if self.options.jobs.counted == Counted::Requests {
            for number in self.imports.running.clone() {
                self.step(number);
            }
        }
    }

    /// Where a job is; asking may move it on. `None`: there is no such job.
    pub fn import_status(&mut self, session: &str) -> Option<Value> {
        let number = session.strip_prefix(SESSION).and_then(|digits| u64::from_str_radix(digits, 16).ok())?;
        let number = usize::try_from(number).ok().filter(|number| *number < self.imports.jobs.len())?;
        let job = &self.imports.jobs[number];
        let (state, at) = (job.state, job.changed_at);
        let mut answer = Map::new();
        answer.insert("status".into(), json!(state));
        answer.insert("timestamp".into(), self.stamp(at).into());
        if state == State::Error {
            answer.insert("description".into(), "Internal error".into());
        }
        let job = &self.imports.jobs[number];
        if state == State::Finished && self.options.jobs.mapping && !job.mapping.is_empty() {
            let pairs = job
                .mapping
                .iter()
                .map(|(value, contact)| json!({"dedupeValue": value, "contactId": Self::contact_id(*contact)}));
            answer.insert("mapping".into(), pairs.collect::<Vec<Value>>().into());
        }
        if self.options.jobs.counted == Counted::Polls {
            self.step(number);
        }
        Some(answer.into())
    }

    /// A moment as the platform writes it: in the account's zone, with its offset.
    pub fn stamp(&self, second: i64) -> String {
        let moment = jiff::Timestamp::from_second(second).unwrap_or_default();
        match moment.in_tz(&self.options.zone) {
            Ok(there) => there.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            Err(_) => moment.to_string(),
        }
    }

    fn step(&mut self, number: usize) {
        let (started, importing) = (self.options.jobs.started, self.options.jobs.importing);
        let now = self.now();
        let job = &mut self.imports.jobs[number];
        if !matches!(job.state, State::Started | State::Importing) {
            return;
        }
        job.steps += 1;
        if job.sticks {
            job.state = State::Importing;
        } else if job.steps >= started + importing {
            self.finish(number);
        } else if job.steps >= started && job.state == State::Started {
            job.state = State::Importing;
            job.changed_at = now;
        }
    }

    /// All jobs are applied now; how many those were.
    pub fn settle_jobs(&mut self) -> usize {
        let mut count = 0;
        while let Some(number) = self.imports.running.first().copied() {
            let before = self.imports.running.len();
            self.finish(number);
            count += before - self.imports.running.len();
        }
        count
    }

    /// The turn of one job has come; it may take others along.
    fn finish(&mut self, number: usize) {
        let mut turn = match self.options.jobs.order {
            JobOrder::Arrival => vec![number],
            JobOrder::NewestFirst | JobOrder::Together => self.imports.running.clone(),
        };
        turn.sort_unstable_by(|one, other| other.cmp(one));
        if self.options.jobs.order == JobOrder::Together {
            while turn.iter().any(|job| self.imports.jobs[*job].is_at_work()) {
                for job in &turn {
                    self.apply_one(*job);
                }
            }
        }
        for job in &turn {
            while self.imports.jobs[*job].is_at_work() {
                self.apply_one(*job);
            }
            self.close(*job);
        }
    }

    fn apply_one(&mut self, number: usize) {
        let job = &mut self.imports.jobs[number];
        if !job.is_at_work() {
            return;
        }
        let Some(draft) = job.waiting.pop_front() else { return };
        let plan = Arc::clone(&job.plan);
        if draft.external_id().is_none() && plan.dedupe.value(&draft).is_none() {
            self.note("no-dedupe-value", "a contact has no value of the field that contacts are told apart by");
        }
        let matched = self.matched(&draft, plan.dedupe, plan.restore);
        let written = self.write(&draft, matched, &plan.scope, MadeBy::Import);
        let (place, contact) = match written {
            Written::New(contact) => (0, Some(contact)),
            Written::Changed(contact) => (1, Some(contact)),
            Written::Skipped => (2, None),
        };
        if let Some(contact) = contact {
            self.regroup(contact, &plan.into, &plan.out_of);
        }
        if let (Written::New(contact), Some(kind)) = (written, plan.event) {
            let event = Event {
                kind,
                order: NONE,
                contact,
                via: Via::Import,
                outcome: Outcome::Accepted,
                status: NO_STATUS,
                unchanged: false,
            };
            self.events.push(event, b"{}", self.options.kept_bodies);
        }
        let keeps_mapping = self.options.jobs.mapping;
        let job = &mut self.imports.jobs[number];
        job.counts[place] += 1;
        if let Some((contact, value)) = contact.zip(plan.dedupe.value(&draft)).filter(|_| keeps_mapping) {
            job.mapping.push((value.into(), contact));
        }
    }

    fn close(&mut self, number: usize) {
        let now = self.now();
        let job = &mut self.imports.jobs[number];
        if !matches!(job.state, State::Started | State::Importing) {
            return;
        }
        job.state = if job.fails { State::Error } else { State::Finished };
        job.changed_at = now;
        job.waiting = VecDeque::new();
        for key in std::mem::take(&mut job.keys) {
            if let Some(count) = self.imports.in_flight.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.imports.in_flight.remove(&key);
                }
            }
        }
        self.imports.running.retain(|there| *there != number);
        self.imports.finished.push_back(number);
        if self.imports.finished.len() > KEPT_MAPPINGS
            && let Some(old) = self.imports.finished.pop_front()
        {
            self.imports.jobs[old].mapping = Vec::new();
        }
    }
}

impl Job {
    /// Whether contacts are still to be applied; a job that fails stops in the middle.
    fn is_at_work(&self) -> bool {
        let end = if self.fails { self.size / 2 } else { 0 };
        matches!(self.state, State::Started | State::Importing) && self.waiting.len() > end
    }
}

/// The session id of a job.
pub fn session_id(number: usize) -> String {
    format!("{SESSION}{number:012x}")
}
