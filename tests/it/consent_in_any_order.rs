//! Consent over random histories: people agree and withdraw at two shops, with and without dates, and leave at the account,
//! while runs go on in between. Whatever was read when, nobody is opted in at the account who has not agreed after their last
//! withdrawal; and who agrees last, with a date, is opted in.

use crate::support::canonical::pipeline;
use crate::support::fake_target::FakeTarget;
use crate::support::staged::{StagedShop, customer, with};
use crate::support::world::Dice;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use wharf::progress::Progress;
use wharf::stage::Context;
use wharf::stage::load::{self, Patience};
use wharf::store::{Outcome, Run};

const PEOPLE: usize = 40;
const ROUNDS: usize = 8;
const SHOPS: [&str; 2] = ["shop", "other"];

/// What a record of a person says now.
#[derive(Debug, Clone, Default)]
struct Record {
    exists: bool,
    word: Option<&'static str>,
    said_at: Option<Timestamp>,
    name: u64,
    /// When the word was given, dated or not.
    truly_at: Option<Timestamp>,
    has_landed: bool,
    /// The word that was read last.
    read: Option<&'static str>,
}

/// What has truly happened to a person.
#[derive(Debug, Clone, Default)]
struct Person {
    records: [Record; 2],
    /// Times at which they agreed.
    agreed: Vec<Timestamp>,
    /// Withdrawals that Wharf has read, or that stand at the account.
    withdrew: Vec<Timestamp>,
    told: Vec<String>,
}

struct Histories {
    shop: StagedShop,
    target: Arc<FakeTarget>,
    people: Vec<Person>,
    dice: Dice,
    /// Whether a run may read one of the shops alone.
    is_late: bool,
}

impl Histories {
    async fn begin(seed: u64, is_late: bool) -> Self {
        let settings = json!({"consent_meta_keys": [{
            "key": "marketing_consent", "channel": "email", "accepted": ["yes"], "refused": ["no"], "date_key": "said_at"
        }]});
        let shop = StagedShop::new(settings.clone()).await;
        shop.connection("other", &settings).await;
        Self {
            shop,
            target: Arc::new(FakeTarget::new()),
            people: vec![Person::default(); PEOPLE],
            dice: Dice::new(seed),
            is_late,
        }
    }

    /// A time later than all before it.
    fn tick() -> Timestamp {
        std::thread::sleep(Duration::from_micros(20));
        Timestamp::now()
    }

    fn email(person: usize) -> String {
        format!("p{person}@example.com")
    }

    fn say(&mut self, person: usize, shop: usize, word: &'static str, is_dated: bool) {
        let at = Self::tick();
        let one = &mut self.people[person];
        let record = &mut one.records[shop];
        *record = Record {
            exists: true,
            word: Some(word),
            said_at: is_dated.then_some(at),
            truly_at: Some(at),
            has_landed: false,
            ..record.clone()
        };
        if word == "yes" {
            one.agreed.push(at);
        }
        one.told.push(format!("{at}: {word} at {}, {}", SHOPS[shop], if is_dated { "dated" } else { "undated" }));
    }

    /// Something happens to a person.
    fn happen(&mut self, person: usize) {
        let shop = self.dice.below(2);
        match self.dice.below(6) {
            0 => self.say(person, shop, "yes", true),
            1 => self.say(person, shop, "yes", false),
            2 => self.say(person, shop, "no", true),
            3 => self.say(person, shop, "no", false),
            4 => {
                let name = self.dice.next();
                let record = &mut self.people[person].records[shop];
                *record = Record { exists: true, name, has_landed: false, ..record.clone() };
            }
            _ => {
                let at = Self::tick();
                let is_late = self.is_late;
                let has_left = self.target.state(|state| {
                    let card = state.cards.get_mut(&Self::email(person))?;
                    // What Wharf writes before it has read all may cover a change of a card that was out already.
                    if card.email_opted_out && is_late {
                        return None;
                    }
                    card.email_opted_out = true;
                    card.modified_at = Some(at);
                    Some(())
                });
                if has_left.is_some() {
                    self.people[person].withdrew.push(at);
                    self.people[person].told.push(format!("{at}: leaves at the account"));
                }
            }
        }
    }

    /// Reads a shop whole.
    async fn read(&mut self, shop: usize) {
        let connection = SHOPS[shop];
        let began = "insert into ops.cursors (connection, stream, full_at) values ($1, 'customers', clock_timestamp())
            on conflict (connection, stream) do update set full_at = excluded.full_at";
        self.shop.client().await.execute(began, &[&connection]).await.unwrap();
        let mut rows = Vec::new();
        for (number, person) in self.people.iter_mut().enumerate() {
            let record = &mut person.records[shop];
            if !record.exists || record.has_landed {
                continue;
            }
            record.has_landed = true;
            // The same refusal once more, without a time, looks as if nothing had happened.
            if record.word == Some("no") && (record.said_at.is_some() || record.read != Some("no")) {
                person.withdrew.extend(record.truly_at);
            }
            record.read = record.word;
            let mut meta: Vec<Value> = Vec::new();
            meta.extend(record.word.map(|word| json!({"key": "marketing_consent", "value": word})));
            meta.extend(record.said_at.map(|at| json!({"key": "said_at", "value": at.to_string()})));
            let id = u32::try_from(1000 + number).unwrap();
            let mut more = json!({"meta_data": meta, "first_name": format!("N{}", record.name)});
            // What dates a refusal without a date that is there at first sight.
            more["date_modified_gmt"] = json!(record.truly_at.map(|at| at.to_string()));
            rows.push(with(customer(id, &Self::email(number)), more));
        }
        self.shop.stage(connection, "customers", &rows).await;
    }

    /// A run: reads one shop or both, and does all the rest.
    async fn run(&mut self) {
        let alone = if self.is_late { self.dice.below(3) } else { 2 };
        for shop in 0..2 {
            if alone == 2 || alone == shop {
                self.read(shop).await;
            }
        }
        self.shop.transform_all(&SHOPS, false).await;
        let run = Run::begin(&self.shop.test.db, "test", "load").await.unwrap();
        let context = Context {
            db: self.shop.test.db.clone(),
            run: run.clone(),
            progress: Progress::silent(),
            stop: Default::default(),
        };
        let source = |connection: &str| json!({"connection": connection, "platform": "woocommerce", "base_url": "https://shop.example"});
        let more = json!({
            "sources": SHOPS.map(source), "contacts": {"consent": "all"},
            "load": {"guard": {"max_removed_share": 1.0, "max_changed_share": 1.0}},
        });
        let patience = Patience { pause: Duration::from_millis(2), grace: Duration::ZERO, ..Patience::default() };
        load::load_with(&context, &pipeline(&more), self.target.clone(), patience).await.unwrap();
        run.finish(Outcome::Done, None).await.unwrap();
    }

    /// Whoever is opted in at the account has agreed after each withdrawal.
    fn check(&self, seed: u64) {
        for (number, person) in self.people.iter().enumerate() {
            let card = self.target.state(|state| state.cards.get(&Self::email(number)).cloned());
            if card.is_none_or(|card| card.email_opted_out) {
                continue;
            }
            let last = person.withdrew.iter().max();
            let is_right = !person.agreed.is_empty() && person.agreed.iter().max() > last;
            assert!(is_right, "seed {seed}: p{number} is opted in:\n{}", person.told.join("\n"));
        }
    }
}

async fn nobody_is_opted_in_against_their_last_word(is_late: bool) {
    for seed in 1..=3 {
        let mut histories = Histories::begin(seed, is_late).await;
        let mut opted_in = 0;
        for _ in 0..ROUNDS {
            for person in 0..PEOPLE {
                for _ in 0..histories.dice.below(3) {
                    histories.happen(person);
                }
            }
            histories.run().await;
            histories.check(seed);
            opted_in +=
                histories.target.state(|state| state.cards.values().filter(|card| !card.email_opted_out).count());
        }
        assert!(opted_in > PEOPLE, "{opted_in}: a rule that opts in nobody proves nothing");

        // In the end, when all has been read, everybody agrees and says when.
        histories.is_late = false;
        histories.run().await;
        histories.check(seed);
        for person in 0..PEOPLE {
            let shop = histories.dice.below(2);
            histories.say(person, shop, "yes", true);
        }
        histories.run().await;
        let out: Vec<String> = histories.target.state(|state| {
            state.cards.iter().filter(|(_, card)| card.email_opted_out).map(|(email, _)| email.clone()).collect()
        });
        assert!(out.is_empty(), "seed {seed}: {out:?}");
        assert_eq!(histories.target.state(|state| state.cards.len()), PEOPLE);
    }
}

#[tokio::test]
async fn read_whole_each_time() {
    nobody_is_opted_in_against_their_last_word(false).await;
}

#[tokio::test]
async fn read_one_shop_at_a_time() {
    nobody_is_opted_in_against_their_last_word(true).await;
}
