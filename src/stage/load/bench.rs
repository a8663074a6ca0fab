//! Rendering: what the target should hold, and the calls that bring it there, worked out by the SQL files in
//! `sql/deliver` over a slice of keys at a time.
//!
//! One session of its own with temporary tables; everything that reads canonical rows runs in a read-only transaction. A
//! load and a plan render by the same statements: a load over `delivery.pending`, a plan over a temporary copy of it to
//! which the plan adds what a load would have written. Nothing here calls a target or writes a table that stays.

mod notes;

use super::fields;
use super::fingerprints::{self, Fingerprints};
use super::planned;
use super::settings::Settings;
use crate::json::Json;
use crate::store::Database;
use crate::target::ContactState;
use crate::{Error, Kind, Result, sql};
use tokio_postgres::{Client, IsolationLevel, Row};
use uuid::Uuid;

/// How many keys are rendered at a time.
const SLICE: i64 = 2000;
/// How many at first: calls begin when these are ready, and a slice twice as large is rendered while they go.
const FIRST_SLICE: i64 = 125;

/// Which pending keys are rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Those in `delivery.pending`.
    Load,
    /// The same, only weighed: those too that the guard holds back.
    Guard,
    /// A copy of those, and those that a load would take over first.
    Plan,
}

/// What is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// Contacts.
    Contact,
    /// Orders.
    Order,
}

impl Object {
    /// As `delivery.pending` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Order => "order",
        }
    }
}

/// What becomes of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A request says what to send.
    Send,
    /// The target holds just that.
    Same,
    /// Nothing is called for, or a filter leaves it out.
    Skip,
    /// It cannot be sent.
    Reject,
    /// A person has to look first.
    Hold,
    /// Something else has to happen first; it stays pending.
    Wait,
}

impl Verdict {
    fn read(text: &str) -> Result<Self> {
        Ok(match text {
            "send" => Self::Send,
            "same" => Self::Same,
            "skip" => Self::Skip,
            "reject" => Self::Reject,
            "hold" => Self::Hold,
            "wait" => Self::Wait,
            other => {
                return Err(Error::new(Kind::Internal, format!("sql/deliver gives the unknown verdict `{other}`")));
            }
        })
    }
}

/// One rendered record.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// `contact_id` or `order_id`.
    pub key: Uuid,
    /// The contact it hangs on.
    pub contact_id: Uuid,
    /// The run whose change made it pending, as it was when rendering began.
    pub run_id: i64,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What the ledger calls it: `contact`, `purchase`, `cancellation`, `return`; `order` where no event is called for.
    pub object: String,
    /// The operation for contacts; events are found by their object.
    pub operation: Option<String>,
    /// What kind of sending it is, for counts: `contacts new`, `purchase`, …
    pub kind: String,
    /// How the target addresses the contact.
    pub address: String,
    /// What the call says once for all its records; records go together where it is the same.
    pub envelope: Json,
    /// The request.
    pub request: Json,
    /// Whether the record takes another call after this one has been acknowledged.
    pub has_next: bool,
    /// What the ledger will say.
    pub payload: Json,
    /// What the ledger says now.
    pub before: Option<Json>,
    /// The contact whose card is renamed.
    pub former_id: Option<Uuid>,
    /// Whether the card is to be looked at before this opt-in.
    pub needs_check: bool,
    /// Whether orders of this contact are looked at again once it is there.
    pub wakes_orders: bool,
    /// Whether the target has been seen to hold the contact.
    pub is_confirmed: bool,
    /// For which channels an opt-out at the target was kept.
    pub kept: Option<String>,
    /// Code of a skip, hold, wait or reject.
    pub code: Option<String>,
    /// Why it is rejected.
    pub reason: Option<String>,
    /// What plans compare by, where that was asked for ([`Bench::with_hashes`]).
    pub hashes: Option<Hashes>,
    /// What an audit knows it by, in a load of a platform and fields that have fingerprints.
    pub fingerprint: Option<i64>,
}

/// Hashes of a rendered record, equal for equal values however they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// Of what the ledger will say, without what only the card at the target can tell.
    pub payload: Option<Uuid>,
    /// Of what the ledger says now.
    pub before: Option<Uuid>,
    /// Of the request.
    pub request: Option<Uuid>,
}

impl Rendered {
    /// What `delivery.pending` calls it: `contact` or `order`.
    pub fn pending_object(&self) -> &'static str {
        if self.object == Object::Contact.name() { Object::Contact.name() } else { Object::Order.name() }
    }
}

/// The session and its tables.
pub struct Bench {
    client: Client,
    settings: Settings,
    contacts: &'static str,
    /// Works out contacts.fields.
    fields_role: Option<String>,
    contact_checks: &'static str,
    contact_requests: &'static str,
    events: &'static str,
    queued: i64,
    /// From this position on, contacts are no more.
    gone_from: i64,
    taken: i64,
    slice: i64,
    has_rfm: bool,
    has_hashes: bool,
    has_plan: bool,
    fingerprints: Option<Fingerprints>,
}

impl Bench {
    /// A bench for one load or plan.
    ///
    /// # Errors
    /// Those of the database; [`Kind::Internal`] if the platform has no `sql/deliver` folder.
    pub async fn open(db: &Database, settings: &Settings, purpose: Purpose) -> Result<Self> {
        let client = db.dedicated().await?;
        client.batch_execute(sql::file("deliver/bench.sql")?).await?;
        client.batch_execute(sql::file("deliver/common.sql")?).await?;
        client.execute("insert into pg_temp.deliver_settings (value) values ($1)", &[&settings.value]).await?;
        let pending = match purpose {
            Purpose::Load | Purpose::Guard => {
                // A view takes no parameters, so the two names are quoted by Postgres itself.
                let row = client
                    .query_one(
                        "select format(
                            'create temporary view deliver_pending as
                             select object, key, run_id from delivery.pending where target = %L and pipeline = %L',
                            $1::text, $2::text)",
                        &[&settings.target, &settings.pipeline],
                    )
                    .await?;
                row.get::<_, String>(0)
            }
            Purpose::Plan => "create temporary table deliver_pending (
                    object text,
                    key uuid,
                    run_id bigint not null,
                    -- Whether it would be looked at without being asked for.
                    is_expected boolean not null default true,
                    primary key (object, key))"
                .to_owned(),
        };
        client.batch_execute(&pending).await?;
        let guarded = match purpose {
            Purpose::Load => {
                let row = client
                    .query_one(
                        "select format(
                            'create temporary view deliver_guarded as
                             select key from delivery.guarded where target = %L and pipeline = %L',
                            $1::text, $2::text)",
                        &[&settings.target, &settings.pipeline],
                    )
                    .await?;
                row.get::<_, String>(0)
            }
            Purpose::Guard | Purpose::Plan => {
                "create temporary table deliver_guarded (key uuid primary key)".to_owned()
            }
        };
        client.batch_execute(&guarded).await?;
        let fingerprints = match purpose {
            Purpose::Load => Fingerprints::new(&client, settings).await?,
            Purpose::Guard | Purpose::Plan => None,
        };
        let file = |name: &str| sql::file(&format!("deliver/{}/{name}.sql", settings.platform));
        Ok(Self {
            contacts: file("contacts")?,
            fields_role: if settings.fields.is_empty() { None } else { fields::role(&client).await? },
            contact_checks: file("contact_checks")?,
            contact_requests: file("contact_requests")?,
            events: file("events")?,
            client,
            settings: settings.clone(),
            queued: 0,
            gone_from: i64::MAX,
            taken: 0,
            slice: FIRST_SLICE,
            has_rfm: false,
            has_hashes: false,
            has_plan: false,
            fingerprints,
        })
    }

    /// Lets every record carry the hashes that plans compare by.
    pub fn with_hashes(&mut self) {
        self.has_hashes = true;
    }

    /// Keeps a load to the records of the plan in `pg_temp.deliver_plan`, and to what the plan says of them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keep_to_plan(&mut self) -> Result<()> {
        self.with_hashes();
        self.has_plan = true;
        let row = self
            .client
            .query_one(
                "select format(
                    'create or replace temporary view deliver_pending as
                     select pending.object, pending.key, pending.run_id
                     from delivery.pending
                     join pg_temp.deliver_plan_keys as planned
                         on planned.object = pending.object and planned.key = pending.key
                     where pending.target = %L and pending.pipeline = %L',
                    $1::text, $2::text)",
                &[&self.settings.target, &self.settings.pipeline],
            )
            .await?;
        self.client.batch_execute(&row.get::<_, String>(0)).await?;
        // Whoever saved the plan has seen what it does.
        let nothing = "create or replace temporary view deliver_guarded as select null::uuid as key where false";
        Ok(self.client.batch_execute(nothing).await?)
    }

    /// Its session, for a plan to fill `deliver_pending`.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Puts everything pending of `object` into the queue; how many that is. Contacts that are no more come last, because
    /// what becomes of them depends on the others; orders come oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn queue(&mut self, object: Object) -> Result<u64> {
        self.fill(object, "").await
    }

    /// As [`Bench::queue`], without what is pending only because everything is compared.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn queue_changed(&mut self, object: Object) -> Result<u64> {
        self.fill(object, sql::file("deliver/queue_changed.sql")?).await
    }

    /// As [`Bench::queue`], of contacts that the account holds, under whatever identity.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn queue_held(&mut self) -> Result<u64> {
        self.fill(Object::Contact, sql::file("deliver/queue_held.sql")?).await
    }

    async fn fill(&mut self, object: Object, condition: &str) -> Result<u64> {
        self.score(object).await?;
        self.client.batch_execute("truncate pg_temp.deliver_queue").await?;
        let file = match object {
            Object::Contact => "deliver/queue_contacts.sql",
            Object::Order => "deliver/queue_orders.sql",
        };
        let text = format!("{}\n{condition}", sql::file(file)?);
        let queued = if condition.is_empty() {
            self.client.execute(&text, &[]).await?
        } else {
            self.client.execute(&text, &[&self.settings.target, &self.settings.pipeline]).await?
        };
        self.client.batch_execute("analyze pg_temp.deliver_queue").await?;
        self.gone_from = match object {
            Object::Contact => self.client.query_one(sql::file("deliver/queue_gone_from.sql")?, &[]).await?.get(0),
            Object::Order => i64::MAX,
        };
        self.queued = i64::try_from(queued).unwrap_or(i64::MAX);
        self.taken = 0;
        Ok(queued)
    }

    /// Lets the next slice be a small one, because nothing is being sent that it could be rendered beside.
    pub fn begin_small(&mut self) {
        self.slice = FIRST_SLICE;
    }

    /// Whether the next slice holds contacts that are no more: what becomes of them depends on those before.
    pub fn is_next_gone(&self) -> bool {
        self.taken < self.queued && self.gone_from <= self.taken + self.slice
    }

    /// Whether so many slices are left that another bench is worth its session.
    pub fn has_many(&self) -> bool {
        self.queued - self.taken > 2 * SLICE
    }

    /// The next slice of contacts, rendered; `None` at the end of the queue. Render it again after [`Bench::note_seen`].
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] for a field expression that fails; those of the database.
    pub async fn next_contacts(&mut self) -> Result<Option<Vec<Rendered>>> {
        if !self.take().await? {
            return Ok(None);
        }
        self.work_out_contacts().await?;
        let rendered = self.render_contacts().await?;
        self.stay_true(&rendered).await?;
        Ok(Some(rendered))
    }

    /// Stops a load where a slice is not rendered as the saved plan says, if it keeps to one.
    ///
    /// # Errors
    /// [`Kind::Plan`]; those of the database.
    pub async fn stay_true(&self, rendered: &[Rendered]) -> Result<()> {
        if self.has_plan { planned::stay_true(&self.client, rendered).await } else { Ok(()) }
    }

    /// Works out what the target should hold of the contacts in hand; [`Bench::render_contacts`] gives the requests.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] for a field expression that fails; those of the database.
    pub async fn work_out_contacts(&mut self) -> Result<()> {
        // Fingerprints must be of the very rows that are rendered.
        let level = match self.fingerprints {
            Some(_) => IsolationLevel::RepeatableRead,
            None => IsolationLevel::ReadCommitted,
        };
        let transaction = self.client.build_transaction().read_only(true).isolation_level(level).start().await?;
        if let Some(fingerprints) = &self.fingerprints {
            fingerprints.take(&transaction).await?;
        }
        // First, and in a statement of its own: whoever waits must not be rendered by what is settled meanwhile.
        transaction
            .batch_execute("insert into pg_temp.deliver_unsettled (key) select key from pg_temp.deliver_unsettled_now")
            .await?;
        let text = format!(
            "insert into pg_temp.deliver_desired (key, verdict, code, reason, former_id, payload)\n{}",
            self.contacts
        );
        let rendered = match self.settings.fields.work_out(&transaction, self.fields_role.as_deref()).await {
            Ok(()) => transaction.execute(&text, &[&self.settings.value]).await.map(drop).map_err(Error::from),
            Err(error) => Err(error),
        };
        match rendered {
            Ok(()) => transaction.commit().await?,
            Err(error) => {
                transaction.rollback().await?;
                let among = "c.contact_id in (select key from pg_temp.deliver_candidates)";
                self.settings.fields.try_each(&mut self.client, self.fields_role.as_deref(), among).await?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The addresses of the slice in hand whose cards are to be looked at before an opt-in.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn addresses_to_check(&self) -> Result<Vec<String>> {
        let rows = self.client.query(self.contact_checks, &[&self.settings.value]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The slice in hand, rendered with what has been seen at the target.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn render_contacts(&mut self) -> Result<Vec<Rendered>> {
        let transaction = self.client.build_transaction().read_only(true).start().await?;
        let mut text = in_hand(self.contact_requests, self.has_hashes, "rendered.before");
        if self.fingerprints.is_some() {
            text = with_fingerprint(&text);
        }
        let rows = transaction.query(&text, &[&self.settings.value]).await?;
        transaction.commit().await?;
        rows.iter().map(contact).collect()
    }

    /// Notes what contacts were rendered from, so that an audit need not render them again.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_fingerprints(&self, rendered: &[Rendered]) -> Result<()> {
        if self.fingerprints.is_none() {
            return Ok(());
        }
        fingerprints::note(&self.client, &self.settings, rendered).await
    }

    /// Notes what the target said of `addresses`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_seen(&self, addresses: &[String], states: &[Option<ContactState>]) -> Result<()> {
        let seen: Vec<(&String, &ContactState)> =
            addresses.iter().zip(states).filter_map(|(address, state)| Some((address, state.as_ref()?))).collect();
        let column = |take: fn(&ContactState) -> bool| seen.iter().map(|(_, state)| take(state)).collect::<Vec<_>>();
        let names: Vec<String> = seen.iter().map(|(address, _)| address.to_lowercase()).collect();
        let time = |take: fn(&ContactState) -> Option<jiff::Timestamp>| {
            seen.iter().map(|(_, state)| take(state)).collect::<Vec<_>>()
        };
        self.client
            .execute(
                "insert into pg_temp.deliver_seen (address, email_opted_out, sms_opted_out, created_at, modified_at)
                 select * from unnest($1::text[], $2::boolean[], $3::boolean[], $4::timestamptz[], $5::timestamptz[])
                 on conflict do nothing",
                &[
                    &names,
                    &column(|state| state.email_opted_out),
                    &column(|state| state.sms_opted_out),
                    &time(|state| state.created_at),
                    &time(|state| state.modified_at),
                ],
            )
            .await?;
        Ok(())
    }

    /// The next slice of orders, rendered; `None` at the end of the queue.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn next_events(&mut self) -> Result<Option<Vec<Rendered>>> {
        if !self.take().await? {
            return Ok(None);
        }
        self.render_events().await.map(Some)
    }

    /// The orders in hand, rendered, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn render_events(&mut self) -> Result<Vec<Rendered>> {
        let transaction = self.client.build_transaction().read_only(true).start().await?;
        let text =
            format!("{}\norder by placed_at nulls last, key", in_hand(self.events, self.has_hashes, "null::jsonb"));
        let rows = transaction.query(&text, &[&self.settings.value]).await?;
        transaction.commit().await?;
        let mut rendered: Vec<Rendered> = rows.iter().map(event).collect::<Result<_>>()?;
        self.stay_true(&rendered).await?;
        // Orders that are no more have nothing to say.
        let found: std::collections::HashSet<Uuid> = rendered.iter().map(|row| row.key).collect();
        for row in self.client.query("select key, run_id from pg_temp.deliver_candidates", &[]).await? {
            let key: Uuid = row.get(0);
            if !found.contains(&key) {
                rendered.push(gone_order(key, row.get(1)));
            }
        }
        Ok(rendered)
    }

    /// Takes the next slice of the queue in hand; false at its end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take(&mut self) -> Result<bool> {
        if self.taken >= self.queued {
            return Ok(false);
        }
        self.clear_hands().await?;
        self.client
            .execute(
                "insert into pg_temp.deliver_candidates (key, run_id)
                 select key, run_id from pg_temp.deliver_queue where position > $1 and position <= $2
                    -- The guard may have spoken again since the queue was filled.
                    and not exists (
                        select from pg_temp.deliver_guarded as guarded where guarded.key = deliver_queue.key)",
                &[&self.taken, &(self.taken + self.slice)],
            )
            .await?;
        self.client.batch_execute("analyze pg_temp.deliver_candidates").await?;
        self.taken += self.slice;
        self.slice = (self.slice * 2).min(SLICE);
        Ok(true)
    }

    /// Hands the next slice of the queue to another bench; false at its end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn hand_over(&mut self, object: Object, other: &mut Self) -> Result<bool> {
        if self.taken >= self.queued {
            return Ok(false);
        }
        let rows = self
            .client
            .query(
                "select key, run_id from pg_temp.deliver_queue where position > $1 and position <= $2
                    and not exists (
                        select from pg_temp.deliver_guarded as guarded where guarded.key = deliver_queue.key)",
                &[&self.taken, &(self.taken + self.slice)],
            )
            .await?;
        self.taken += self.slice;
        let keys: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        let runs: Vec<i64> = rows.iter().map(|row| row.get(1)).collect();
        other.score(object).await?;
        other.clear_hands().await?;
        other
            .client
            .execute(
                "insert into pg_temp.deliver_candidates (key, run_id) select * from unnest($1::uuid[], $2::bigint[])",
                &[&keys, &runs],
            )
            .await?;
        other.client.batch_execute("analyze pg_temp.deliver_candidates").await?;
        Ok(true)
    }

    async fn clear_hands(&self) -> Result<()> {
        let text = "truncate pg_temp.deliver_candidates, pg_temp.deliver_unsettled, pg_temp.deliver_desired,
            pg_temp.deliver_inputs, pg_temp.deliver_properties, pg_temp.deliver_seen";
        Ok(self.client.batch_execute(text).await?)
    }

    /// Fills in scores where fields use them: they are relative to all buyers, so the whole view is computed, but once for
    /// all slices.
    async fn score(&mut self, object: Object) -> Result<()> {
        if object == Object::Contact && self.settings.fields.use_rfm() && !self.has_rfm {
            self.client.batch_execute(sql::file("deliver/rfm.sql")?).await?;
            self.has_rfm = true;
        }
        Ok(())
    }
}

/// A file's rows with the run that made each candidate pending, and their fingerprints where those are asked for.
fn in_hand(text: &str, has_hashes: bool, before: &str) -> String {
    let hashes = if has_hashes {
        format!(
            "delivery.planned_hash(rendered.payload) as payload_hash,
             delivery.payload_hash({before}) as before_hash,
             delivery.payload_hash(rendered.request) as request_hash,
             true as has_hashes"
        )
    } else {
        "null::uuid as payload_hash, null::uuid as before_hash, null::uuid as request_hash, false as has_hashes"
            .to_owned()
    };
    format!(
        "select rendered.*, candidate.run_id, {hashes}
         from (\n{text}\n) as rendered
         join pg_temp.deliver_candidates as candidate using (key)"
    )
}

/// The rows of contacts in hand with their fingerprints.
fn with_fingerprint(text: &str) -> String {
    format!(
        "select
            of_hand.*,
            taken.inputs
            # jsonb_hash_extended(case of_hand.verdict when 'same' then of_hand.before else of_hand.payload end, 4)
                as fingerprint
         from (\n{text}\n) as of_hand
         left join pg_temp.deliver_inputs as taken on taken.contact_id = of_hand.key"
    )
}

fn hashes(row: &Row) -> Result<Option<Hashes>> {
    if !row.try_get::<_, bool>("has_hashes")? {
        return Ok(None);
    }
    Ok(Some(Hashes {
        payload: row.try_get("payload_hash")?,
        before: row.try_get("before_hash")?,
        request: row.try_get("request_hash")?,
    }))
}

/// A column that not every platform's file gives.
fn optional<T: for<'a> tokio_postgres::types::FromSql<'a>>(row: &Row, name: &str) -> Result<Option<T>> {
    match row.columns().iter().position(|column| column.name() == name) {
        Some(at) => Ok(row.try_get(at)?),
        None => Ok(None),
    }
}

fn contact(row: &Row) -> Result<Rendered> {
    let key: Uuid = row.try_get("key")?;
    let kind: Option<String> = row.try_get("kind")?;
    Ok(Rendered {
        key,
        contact_id: key,
        run_id: row.try_get("run_id")?,
        verdict: Verdict::read(row.try_get("verdict")?)?,
        object: "contact".to_owned(),
        operation: row.try_get("operation")?,
        kind: format!("contacts {}", kind.unwrap_or_default()),
        address: row.try_get::<_, Option<String>>("address")?.unwrap_or_default(),
        envelope: optional::<Json>(row, "envelope")?.unwrap_or_default(),
        request: row.try_get::<_, Option<Json>>("request")?.unwrap_or_default(),
        has_next: optional(row, "has_next")?.unwrap_or(false),
        payload: row.try_get::<_, Option<Json>>("payload")?.unwrap_or_default(),
        before: row.try_get("before")?,
        former_id: row.try_get("former_id")?,
        needs_check: row.try_get("needs_check")?,
        wakes_orders: row.try_get("wakes_orders")?,
        is_confirmed: false,
        kept: row.try_get("kept")?,
        code: row.try_get("code")?,
        reason: row.try_get("reason")?,
        hashes: hashes(row)?,
        fingerprint: optional(row, "fingerprint")?,
    })
}

fn event(row: &Row) -> Result<Rendered> {
    let object: Option<String> = row.try_get("object")?;
    let object = object.unwrap_or_else(|| "order".to_owned());
    Ok(Rendered {
        key: row.try_get("key")?,
        contact_id: row.try_get("contact_id")?,
        run_id: row.try_get("run_id")?,
        verdict: Verdict::read(row.try_get("verdict")?)?,
        kind: optional(row, "kind")?.unwrap_or_else(|| object.clone()),
        object,
        operation: None,
        address: row.try_get::<_, Option<String>>("address")?.unwrap_or_default(),
        envelope: optional::<Json>(row, "envelope")?.unwrap_or_default(),
        request: row.try_get::<_, Option<Json>>("request")?.unwrap_or_default(),
        has_next: optional(row, "has_next")?.unwrap_or(false),
        payload: row.try_get::<_, Option<Json>>("payload")?.unwrap_or_default(),
        before: optional(row, "before")?,
        former_id: None,
        needs_check: false,
        wakes_orders: false,
        is_confirmed: row.try_get("is_confirmed")?,
        kept: None,
        code: row.try_get("code")?,
        reason: row.try_get("reason")?,
        hashes: hashes(row)?,
        fingerprint: None,
    })
}

fn gone_order(key: Uuid, run_id: i64) -> Rendered {
    Rendered {
        key,
        contact_id: Uuid::nil(),
        run_id,
        verdict: Verdict::Skip,
        object: "order".to_owned(),
        operation: None,
        kind: "order".to_owned(),
        address: String::new(),
        envelope: Json::default(),
        request: Json::default(),
        has_next: false,
        payload: Json::default(),
        before: None,
        former_id: None,
        needs_check: false,
        wakes_orders: false,
        is_confirmed: false,
        kept: None,
        code: Some("gone".to_owned()),
        reason: None,
        hashes: None,
        fingerprint: None,
    }
}
