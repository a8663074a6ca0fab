//! Consent from end to end, by the real program: what the account books of people who agree and withdraw at the shop and at the
//! account, in both orders, at both targets.

use crate::support::crm::Crm;
use crate::support::seller::Seller;
use crate::support::world::{Kind, World, ended};
use serde_json::{Value, json};
use wharf::sandbox::esputnik::account::By;
use wharf::sandbox::woocommerce::Entity;

/// A customer of the shop: key and address.
struct Customer {
    id: u64,
    email: String,
}

async fn world(crm: Crm, seller: Seller) -> World {
    let world = World::new(Kind { seller, crm, ..Kind::default() }).await;
    // Events of a card would do what only a look can otherwise.
    world.write_pipeline(
        &world.seller.url(&world.sandbox),
        &world.crm.url(&world.sandbox),
        &json!({"archive": null, "orders": {"placed_after": "2100-01-01"}}),
    );
    world
}

fn crms() -> [Crm; 2] {
    [Crm::SalesManago, Crm::esputnik()]
}

impl World {
    /// Customers of whom nobody knows anything yet, and whose addresses nobody else has.
    fn strangers(&self, n: usize) -> Vec<Customer> {
        (0..n)
            .map(|number| {
                let email = format!("stranger{number}@consent.example");
                let made = self.change(json!({"create": {"entity": "customers", "fields": {"email": email,
                    "first_name": "Anna", "last_name": "Nowak", "billing": {"email": email}}}}));
                let id = made["id"].as_u64().or_else(|| made["created"]["id"].as_u64());
                Customer { id: id.unwrap_or_else(|| panic!("{made}")), email }
            })
            .collect()
    }

    /// A plug-in writes what the customer says, with a time or none.
    fn says(&self, customer: &Customer, word: &str, at: Option<jiff::Timestamp>) {
        let row = self.shop().row(Entity::Users, customer.id).unwrap();
        let old = row["meta_data"].as_array().cloned().unwrap_or_default();
        let mut meta: Vec<Value> = old
            .into_iter()
            .filter(|entry| !entry["key"].as_str().unwrap_or_default().starts_with("marketing_consent"))
            .collect();
        meta.push(json!({"key": "marketing_consent", "value": word}));
        meta.extend(at.map(|at| json!({"key": "marketing_consent_date", "value": at.to_string()})));
        self.change(json!({"update": {"entity": "customers", "id": customer.id, "fields": {"meta_data": meta}}}));
    }

    fn is_called(&self, customer: &Customer, name: &str) {
        let fields = json!({"last_name": name});
        self.change(json!({"update": {"entity": "customers", "id": customer.id, "fields": fields}}));
    }

    /// The person leaves at the account, whether they were opted in there or not.
    fn leaves(&self, email: &str) {
        let now = jiff::Timestamp::now().as_millisecond();
        match &self.crm {
            Crm::SalesManago => {
                let mut account = self.account().account();
                let number = account.find(email).unwrap();
                account.set_opted_out(number, Some(true), None, now);
            }
            Crm::ESputnik(_) => self.sandbox.esputnik().unwrap().account().unsubscribe(email, true),
        }
    }

    /// Whether mails go to an address.
    fn is_in(&self, email: &str) -> bool {
        self.crm.settle(&self.sandbox);
        match &self.crm {
            Crm::SalesManago => {
                let account = self.account().account();
                account
                    .find(email)
                    .is_some_and(|number| !account.card(number).opted_out && !account.card(number).deleted)
            }
            Crm::ESputnik(_) => {
                let account = self.sandbox.esputnik().unwrap().account();
                account.find_present(By::Email, email).is_some() && !account.unsubscribed.contains_key(email)
            }
        }
    }

    async fn runs(&self) {
        self.run_until_done().await.unwrap();
    }

    async fn wharf_says(&self, arguments: &[&str]) -> String {
        let ran = ended(self.wharf(arguments, "").spawn().unwrap()).await;
        assert!(ran.is_done(), "{ran:?}");
        ran.stdout
    }
}

/// Longer than any clock of a platform is coarse.
async fn a_moment() {
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_in_without_a_time_lifts_what_came_before_the_last_sight_of_the_refusal_and_nothing_else() {
    for crm in crms() {
        let world = world(crm.clone(), Seller::WooCommerce).await;
        let people = world.strangers(4);
        let [before, after, plain, refused_first] = &people[..] else { unreachable!() };
        for person in [before, after, plain] {
            world.says(person, "yes", None);
        }
        world.runs().await;
        for person in [before, after, plain] {
            assert!(world.is_in(&person.email), "{crm:?}: nothing else is known");
            world.says(person, "no", None);
        }
        world.says(refused_first, "no", None);
        world.runs().await;
        assert!(people.iter().all(|person| !world.is_in(&person.email)), "{crm:?}");

        a_moment().await;
        world.leaves(&before.email);
        a_moment().await;
        // Still "no" at the shop, as this run sees.
        world.runs().await;
        a_moment().await;
        for person in &people {
            world.says(person, "yes", None);
        }
        a_moment().await;
        world.leaves(&after.email);
        world.runs().await;
        assert!(world.is_in(&before.email), "{crm:?}: it came after the last sight of the refusal");
        assert!(!world.is_in(&after.email), "{crm:?}: which was first is not known");
        assert!(
            world.is_in(&plain.email) && world.is_in(&refused_first.email),
            "{crm:?}: they took it back themselves"
        );
        let listed = world.wharf_says(&["rejects", "list", "--code", "opt-out-kept"]).await;
        assert!(listed.contains("not known to be later"), "{listed}");

        // A later word with a time of its own.
        a_moment().await;
        world.says(after, "yes", Some(jiff::Timestamp::now()));
        world.runs().await;
        assert!(world.is_in(&after.email), "{crm:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undated_agreement_at_the_panel_lifts_nothing() {
    const UNDATED: &str = "0000-00-00 00:00:00";
    for crm in crms() {
        let mut world = world(crm.clone(), Seller::IdoSell).await;
        let agreed = world.seller.agreed(&world.sandbox);
        let shown = world.seller.shown(&world.sandbox);
        let client = |email: &str| {
            let is_it = |row: &&Value| row["clientEmail"].as_str().is_some_and(|at| at.eq_ignore_ascii_case(email));
            let row = shown["customers"].values().find(is_it)?;
            (row["isUnregistered"] == "n").then(|| row["clientId"].as_u64()).flatten()
        };
        // Not those whom the account has met before.
        let people: Vec<(u64, String)> = agreed
            .iter()
            .skip(3)
            .filter_map(|email| Some((client(email)?, email.trim().to_lowercase())))
            .take(2)
            .collect();
        let [(first, before), (second, after)] = &people[..] else { panic!("{people:?}") };
        for id in [first, second] {
            world.change(json!({"consent": {"client": id, "shop": 1, "agreed": true, "at": UNDATED}}));
        }
        // One has left at the account before anything was read, the other leaves after having been opted in.
        world.crm.meet(&world.sandbox, before).unwrap();
        world.runs().await;
        assert!(!world.is_in(before), "{crm:?}: the withdrawal there has a date");
        assert!(world.is_in(after), "{crm:?}: nothing else is known");
        a_moment().await;
        world.leaves(after);
        world.advance(600);
        world.change(json!({"consent": {"client": second, "channel": "sms", "shop": 1, "agreed": true}}));
        world.runs().await;
        assert!(!world.is_in(before) && !world.is_in(after), "{crm:?}");
        world.opted_out.clear();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_never_opted_in_shows_no_withdrawal_and_a_person_decides_what_nothing_tells() {
    let world = world(Crm::SalesManago, Seller::WooCommerce).await;
    let people = world.strangers(3);
    let [ours, touched, deleted] = &people[..] else { unreachable!() };
    world.runs().await;
    assert!(people.iter().all(|person| !world.is_in(&person.email)));
    a_moment().await;
    let agreed_at = jiff::Timestamp::now();
    a_moment().await;
    for person in &people {
        world.is_called(person, "Kowalska");
    }
    // Writes take effect by and by there, and the cards' last change is ours all the same.
    world.runs().await;
    world.leaves(&touched.email);
    {
        let mut account = world.account().account();
        let number = account.find(&deleted.email).unwrap();
        account.delete(number, false, jiff::Timestamp::now().as_millisecond());
    }
    for person in &people {
        world.says(person, "yes", Some(agreed_at));
    }
    world.runs().await;
    assert!(world.is_in(&ours.email), "made by Wharf, changed by Wharf alone, never opted in");
    assert!(!world.is_in(&touched.email) && !world.is_in(&deleted.email), "somebody has changed it since");

    let told = world.wharf_says(&["rejects", "retry", "--opt-in", "--code", "opt-out-kept"]).await;
    // Among them those whom the account has met before.
    assert!(told.contains("contacts will be opted in"), "{told}");
    world.runs().await;
    assert!(world.is_in(&touched.email) && world.is_in(&deleted.email));
    assert!(!world.wharf_says(&["rejects", "list"]).await.contains("opt-out-kept"));
}
