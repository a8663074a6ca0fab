//! Contacts: jobs that end later, what an import names, and who may be written to.

use super::{Act, Value, counts, json, pair};
use crate::support::canonical::{Shop, contact_id};
use crate::support::fake_esputnik::FakeESputnik;
use proptest::strategy::{Strategy, ValueTree};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use wharf::Kind;
use wharf::error::Exit;
use wharf::progress::Progress;
use wharf::stage::{load, plan};

/// The settings of a contact in no segment but those that a test names.
fn no_tags() -> Value {
    json!({"contacts": {"consent": "all", "tags": {"registered": null, "newsletter": null}}})
}

#[tokio::test]
async fn an_import_names_what_it_carries_and_is_waited_for() {
    let (shop, account) = pair(json!({"contacts": {"tags": {"always": ["Shop"]}}})).await;
    shop.contact(
        "anna@shop.example",
        json!({"first_name": "Анна", "last_name": "О’Ніл-Ґудзь", "phone": "+380501112233", "city": "Київ",
            "language": "uk_UA"}),
    )
    .await;
    shop.tags("anna@shop.example", "registered", &["rejestracja"]).await;
    let summary = account.load(&shop, json!({})).await.unwrap();
    assert_eq!(summary.tally.sent, counts(&[("contacts new", 1)]));
    assert_eq!(
        account.take("v1/contacts")[0],
        json!({
            "dedupeOn": "externalCustomerId",
            "contactFields": ["firstName", "lastName", "email", "sms", "languageCode", "town", "externalCustomerId"],
            "groupNames": ["Shop", "rejestracja"],
            "restoreDeleted": false,
            "contacts": [{
                "channels": [{"type": "email", "value": "anna@shop.example"}, {"type": "sms", "value": "380501112233"}],
                "externalCustomerId": "anna@shop.example",
                "firstName": "Анна", "lastName": "О’Ніл-Ґудзь", "address": {"town": "Київ"}, "languageCode": "uk-UA",
            }],
        })
    );
    let ledger = shop.value("select target_id || ' ' || (confirmed_at is not null) from delivery.ledger").await;
    assert_eq!(ledger, "1 true");
    let batch = "select state || ' ' || target_reference from delivery.batches";
    assert_eq!(shop.value(batch).await, "acknowledged job-1");
    account.take("");
    assert_eq!(account.load(&shop, json!({})).await.unwrap().tally.all_sent(), 0);
    assert_eq!(account.take("v1/contacts"), [] as [Value; 0]);
}

#[tokio::test]
async fn what_others_wrote_stays_and_what_vanished_at_the_shop_is_emptied() {
    let (shop, account) = pair(no_tags()).await;
    shop.contact("a@shop.example", json!({"first_name": "Анна", "city": "Київ"})).await;
    account.load(&shop, json!({})).await.unwrap();
    account.state(|state| state.contacts.get_mut("a@shop.example").unwrap()["lastName"] = json!("by hand"));
    shop.contact("a@shop.example", json!({"first_name": "ТОВ <12345>", "city": "Київ"})).await;
    account.load(&shop, json!({})).await.unwrap();
    let card = account.state(|state| state.contacts["a@shop.example"].clone());
    assert_eq!((&card["lastName"], &card["firstName"]), (&json!("by hand"), &Value::Null));
    assert_eq!(card["address"]["town"], "Київ");
}

#[tokio::test]
async fn contacts_without_an_id_are_recognised_by_what_they_have() {
    let (shop, account) = pair(no_tags()).await;
    shop.contact("guest@shop.example", json!({})).await;
    shop.contact("phone", json!({"email": null, "phone": "+380501112233", "sms_consent": "opt_in"})).await;
    shop.contact("nothing", json!({"email": null, "sms_consent": "opt_in"})).await;
    shop.change("update canonical.contact_sources set kind = 'guest'").await;
    let tally = account.load(&shop, json!({})).await.unwrap().tally;
    assert_eq!((tally.sent["contacts new"], tally.rejected), (2, counts(&[("no-channel", 1)])));
    let mut by: Vec<Value> = account.take("v1/contacts").iter().map(|body| body["dedupeOn"].clone()).collect();
    by.retain(|by| !by.is_null());
    by.sort_by_key(Value::to_string);
    assert_eq!(by, ["email", "sms"]);
}

#[tokio::test]
async fn a_contact_is_in_no_job_while_one_of_a_dead_process_may_carry_it() {
    let (shop, account) = pair(no_tags()).await;
    shop.contacts(&[("a@shop.example", json!({})), ("b@shop.example", json!({}))]).await;
    account.state(|state| state.holds_jobs = true);
    let context = shop.context().await;
    let (pipeline, target, patience) = (pipeline_of(&shop), account.target(json!({})), shop.patience);
    let dying = tokio::spawn(async move { load::load_with(&context, &pipeline, target, patience).await });
    account.until(|state| state.calls.iter().any(|(path, _)| path.contains("importstatus"))).await;
    dying.abort();
    let _ = dying.await;
    assert_eq!(shop.value("select state from delivery.batches").await, "job", "its id was written first");

    account.take("");
    let (shop, account) = (Arc::new(shop), Arc::new(account));
    let next = {
        let (shop, account) = (Arc::clone(&shop), Arc::clone(&account));
        tokio::spawn(async move { account.load(&shop, json!({})).await })
    };
    account.until(|state| state.calls.iter().filter(|(path, _)| path.contains("importstatus")).count() >= 3).await;
    account.state(|state| {
        assert!(state.calls.iter().all(|(path, _)| path != "v1/contacts"), "nothing is sent beside the open job");
        state.holds_jobs = false;
    });
    assert_eq!(next.await.unwrap().unwrap().tally.sent, counts(&[("contacts new", 2)]));
    assert_eq!(account.state(|state| state.jobs), 2);
    let states = shop.value("select string_agg(state, ' ' order by batch_id) from delivery.batches").await;
    assert_eq!(states, "superseded acknowledged");
}

fn pipeline_of(shop: &Shop) -> wharf::config::Pipeline {
    let mut pipeline = shop.pipeline.clone();
    pipeline.target.platform = "esputnik".into();
    pipeline
}

#[tokio::test]
async fn a_job_whose_id_was_never_learned_is_given_its_grace_and_its_contacts_go_again_in_halves() {
    let (shop, account) = pair(no_tags()).await;
    let emails: Vec<String> = (0..4).map(|n| format!("c{n}@shop.example")).collect();
    shop.contacts(&emails.iter().map(|email| (email.as_str(), json!({}))).collect::<Vec<_>>()).await;
    account.state(|state| state.script.insert("v1/contacts", [Act::LoseAfter].into()));
    // The first job ends unseen within the grace.
    let account = Arc::new(account);
    let ender = Arc::clone(&account);
    let ending = tokio::spawn(async move {
        ender.until(|state| state.jobs == 1).await;
        ender.state(|state| state.at_work.clear());
    });
    let tally = account.load(&shop, json!({})).await.unwrap().tally;
    ending.await.unwrap();
    assert_eq!(tally.sent, counts(&[("contacts new", 4)]));
    let sizes: Vec<usize> =
        account.take("v1/contacts").iter().filter_map(|body| body["contacts"].as_array().map(Vec::len)).collect();
    assert_eq!(sizes, [4, 2, 2]);
}

#[tokio::test]
async fn a_job_that_does_not_end_keeps_nobody_else_waiting_and_counts_as_lost_in_the_end() {
    let (shop, account) = pair(no_tags()).await;
    let patient = json!({"job_timeout": "PT0.03S"});
    shop.contact("known@shop.example", json!({})).await;
    account.load(&shop, json!({})).await.unwrap();

    account.state(|state| state.holds_jobs = true);
    shop.contact("a@shop.example", json!({})).await;
    shop.order("known@shop.example", "1", json!({})).await;
    shop.order("a@shop.example", "2", json!({})).await;
    let summary = account.load(&shop, patient.clone()).await.unwrap();
    assert_eq!(summary.tally.sent, counts(&[("order", 1)]), "{summary:?}");
    assert_eq!(summary.tally.waiting, counts(&[("contact-pending", 1), ("contacts of an import that goes on", 1)]));
    assert_eq!(summary.tally.exit(), Exit::Stopped);
    assert_eq!((summary.left_jobs[0].contacts, summary.left_jobs[0].lost_after), (1, 6 * 3600));
    let job = "delivery.batches where state = 'job' and finished_at is null";
    assert_eq!(shop.count(job).await, 1);

    // The next runs ask for it once and do all else: contacts, orders, and an opt-out of somebody it carries.
    let out = json!({"email_consent": "opt_out", "email_consent_at": "2024-06-01T00:00:00Z"});
    account.state(|state| state.calls.clear());
    shop.contact("a@shop.example", out).await;
    shop.order("known@shop.example", "3", json!({})).await;
    let summary = account.load(&shop, patient.clone()).await.unwrap();
    assert_eq!(summary.tally.sent.get("order"), Some(&1), "{summary:?}");
    assert!(
        account.state(|state| state.unsubscribed.contains("a@shop.example")),
        "a withdrawal does not wait for an import"
    );
    let paths = account.take_paths();
    assert_eq!(paths.iter().filter(|path| path.contains("importstatus")).count(), 1, "{paths:?}");
    assert_eq!(shop.count(job).await, 1);

    // Lost, its contacts go again; the platform forgets it at last.
    account.state(|state| state.at_work.clear());
    account.state(|state| state.holds_jobs = false);
    shop.client()
        .await
        .execute("update delivery.batches set started_at = now() - interval '7 hours' where state = 'job'", &[])
        .await
        .unwrap();
    account.state(|state| {
        state.script.insert("v1/importstatus", [Act::Answer(200, r#"{"status": "IMPORTING"}"#.into())].into())
    });
    account.load(&shop, json!({})).await.unwrap();
    assert_eq!(shop.count(job).await, 0);
    assert_eq!(account.load(&shop, json!({})).await.unwrap().tally.all_sent(), 0);
    assert_eq!(account.state(|state| state.orders.len()), 3);
}

#[tokio::test]
async fn a_rename_in_a_job_that_was_left_is_looked_for_before_the_next_one() {
    let moves: [&[&str]; 2] = [&["b@shop.example", "c@shop.example"], &["b@shop.example", "a@shop.example"]];
    for way in moves {
        let (shop, account) = pair(no_tags()).await;
        shop.contact("a@shop.example", json!({})).await;
        account.load(&shop, json!({})).await.unwrap();
        account.state(|state| state.holds_jobs = true);
        shop.moves("a@shop.example", way[0]).await;
        let summary = account.load(&shop, json!({"job_timeout": "PT0.03S"})).await.unwrap();
        assert_eq!(summary.left_jobs.len(), 1);
        shop.moves(way[0], way[1]).await;
        let back = format!("delete from canonical.contact_moves where contact_id = '{}'", contact_id(way[1]));
        shop.change(&back).await;
        // As long as it goes on, nothing else is sent for that person.
        let summary = account.load(&shop, json!({"job_timeout": "PT0.03S"})).await.unwrap();
        assert_eq!(summary.tally.all_sent(), 0, "{way:?}: {summary:?}");
        account.state(|state| state.holds_jobs = false);
        account.load(&shop, json!({})).await.unwrap();
        let emails: Vec<Value> =
            account.state(|state| state.contacts.values().map(|card| card["channels"][0]["value"].clone()).collect());
        assert_eq!(emails, [json!(way[1])], "{way:?}: one card, at the address of now");
        assert_eq!(shop.value("select string_agg(payload ->> 'email', ' ') from delivery.ledger").await, way[1]);
        assert_eq!(account.load(&shop, json!({})).await.unwrap().tally.all_sent(), 0, "{way:?}");
    }
}

#[tokio::test]
async fn a_load_that_is_stopped_does_not_wait_for_its_jobs() {
    let (shop, account) = pair(no_tags()).await;
    shop.contact("a@shop.example", json!({})).await;
    account.state(|state| state.holds_jobs = true);
    let context = shop.context().await;
    let stop = context.stop.clone();
    let (pipeline, target, patience) = (pipeline_of(&shop), account.target(json!({})), shop.patience);
    let load = tokio::spawn(async move { load::load_with(&context, &pipeline, target, patience).await });
    account.until(|state| state.calls.iter().any(|(path, _)| path.contains("importstatus"))).await;
    stop.cancel();
    assert_eq!(load.await.unwrap().unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(shop.value("select state from delivery.batches").await, "job");
}

#[tokio::test]
async fn whom_the_platform_refuses_is_a_reject_and_the_rest_goes() {
    let (shop, account) = pair(no_tags()).await;
    shop.contacts(&[("good@shop.example", json!({})), ("bad@shop.example", json!({}))]).await;
    account.state(|state| state.spoiled = vec!["bad@shop.example".into()]);
    let tally = account.load(&shop, json!({})).await.unwrap().tally;
    assert_eq!((tally.sent, tally.rejected), (counts(&[("contacts new", 1)]), counts(&[("refused", 1)])));
    assert_eq!(shop.value("select reason from delivery.rejects").await, "not to my taste");
}

#[tokio::test]
async fn of_a_job_that_failed_each_contact_is_found_out() {
    let (shop, account) = pair(no_tags()).await;
    shop.contacts(&[("a@shop.example", json!({})), ("b@shop.example", json!({}))]).await;
    account.state(|state| state.ends_in_error = true);
    let tally = account.load(&shop, json!({})).await.unwrap().tally;
    assert_eq!(tally.rejected, counts(&[("refused", 2)]));
    assert_eq!(account.state(|state| state.jobs), 3, "both together, then each alone");
}

#[tokio::test]
async fn who_opted_out_is_unsubscribed_before_anything_is_imported() {
    let (shop, account) = pair(no_tags()).await;
    let out = json!({"email_consent": "opt_out"});
    shop.contacts(&[("in@shop.example", json!({})), ("out@shop.example", out), ("zz@shop.example", json!({}))]).await;
    shop.contact("unknown@shop.example", json!({"email_consent": "unknown", "email_consent_at": null})).await;
    let tally = account.load(&shop, json!({})).await.unwrap().tally;
    assert_eq!(tally.sent, counts(&[("contacts opt out", 1), ("contacts new", 3)]));
    assert_eq!(tally.skipped, counts(&[("unknown-consent", 1)]));
    let writes: Vec<String> = account
        .take_paths()
        .into_iter()
        .filter(|path| path.starts_with("v1/emails") || path == "v1/contacts")
        .collect();
    assert_eq!(writes[0], "v1/emails/unsubscribed/add");
    assert_eq!(account.state(|state| state.unsubscribed.len()), 1);
    assert!(!account.state(|state| state.contacts.contains_key("unknown@shop.example")));
}

#[tokio::test]
async fn an_opt_out_is_lifted_only_by_a_later_opt_in() {
    let (shop, account) = pair(no_tags()).await;
    let stated =
        |state: &str, day: &str| json!({"email_consent": state, "email_consent_at": format!("{day}T00:00:00Z")});
    shop.contact("a@shop.example", stated("opt_out", "2024-06-10")).await;
    account.load(&shop, json!({})).await.unwrap();
    let is_out = || account.state(|state| state.unsubscribed.contains("a@shop.example"));
    assert!(is_out());
    for (state, day, expected) in [
        ("opt_in", "2024-06-09", true),
        ("unknown", "2024-06-20", true),
        ("opt_in", "2024-06-11", false),
        ("opt_out", "2024-06-12", true),
        ("opt_in", "2024-06-13", false),
    ] {
        shop.contact("a@shop.example", stated(state, day)).await;
        account.load(&shop, json!({})).await.unwrap();
        assert_eq!(is_out(), expected, "{state} of {day}");
        assert_eq!(account.load(&shop, json!({})).await.unwrap().tally.all_sent(), 0, "{state} of {day}: once");
    }
}

#[tokio::test]
async fn an_opt_out_made_there_is_kept_against_an_earlier_opt_in() {
    let (shop, account) = pair(no_tags()).await;
    account.state(|state| {
        state.unsubscribed.insert("a@shop.example".into());
        state.activity = vec![json!({"activityStatus": "UNSUBSCRIBED", "mediaType": "email", "offset": "1",
            "email": "A@shop.example", "activityDateTime": "2024-06-10T08:00:00"})];
    });
    shop.contact("a@shop.example", json!({"email_consent_at": "2024-06-10T04:59:00Z"})).await;
    let tally = account.load(&shop, json!({})).await.unwrap().tally;
    assert_eq!((tally.opt_outs_kept, &tally.sent), (1, &counts(&[("contacts new", 1)])));
    assert!(account.state(|state| state.unsubscribed.contains("a@shop.example")));
    assert_eq!(shop.rejects().await, [("contact".into(), "opt-out-kept".into())]);
    // A second after the moment, in the account's zone, at which they left there.
    shop.contact("a@shop.example", json!({"email_consent_at": "2024-06-10T05:00:01Z"})).await;
    let tally = account.load(&shop, json!({})).await.unwrap().tally;
    assert_eq!(tally.sent["contacts opt in again"], 1);
    assert!(account.state(|state| state.unsubscribed.is_empty()));
    assert!(shop.rejects().await.is_empty());
}

#[tokio::test]
async fn an_audit_renders_whom_somebody_opted_out_there_and_nobody_else_again() {
    let (shop, account) = pair(no_tags()).await;
    let phone =
        |phone: &str| json!({"phone": phone, "sms_consent": "opt_in", "sms_consent_at": "2024-06-01T00:00:00Z"});
    shop.contacts(&[
        ("a@shop.example", phone("+380501112233")),
        ("b@shop.example", phone("+380501112244")),
        ("c@shop.example", json!({"email_consent": "opt_out"})),
    ])
    .await;
    account.load(&shop, json!({})).await.unwrap();
    let mut pipeline = shop.pipeline.clone();
    pipeline.target.platform = "esputnik".into();
    let (target, silent, stop) = (account.target(json!({})), Progress::silent(), CancellationToken::new());
    let full = plan::Options { full: true, ..plan::Options::default() };
    let audit = async || {
        let mut rendered = 0;
        let see = |_| {
            rendered += 1;
            Ok(())
        };
        let report = plan::plan_as(&shop.test.db, &pipeline, &*target, &silent, &stop, &full, see).await.unwrap();
        let audit = report.audit.unwrap();
        assert_eq!((audit.compared, audit.missed), (3, audit.differing));
        (rendered, audit.differing)
    };
    assert_eq!(audit().await, (0, 0));
    shop.change(
        "insert into delivery.opt_outs (target, channel, address, opted_out_at, run_id)
         select target, 'sms', '380501112233', '2024-07-01', 1 from delivery.consumers",
    )
    .await;
    assert_eq!(audit().await, (1, 1), "the phone may not come back");
}

#[tokio::test]
async fn unknown_consent_is_created_unconfirmed_where_that_is_chosen_and_imported_once_given() {
    let (shop, account) = pair(no_tags()).await;
    let unknown = json!({"email_consent": "unknown", "email_consent_at": null});
    shop.contact("a@shop.example", unknown.clone()).await;
    let choice = json!({"unknown_consent": "subscribe"});
    let sent = account.load(&shop, choice.clone()).await.unwrap().tally.sent;
    assert_eq!(sent, counts(&[("contacts unconfirmed", 1)]));
    shop.contact("a@shop.example", json!({"email_consent": "unknown", "email_consent_at": null, "city": "Київ"})).await;
    let tally = account.load(&shop, choice.clone()).await.unwrap().tally;
    assert_eq!((tally.all_sent(), tally.skipped), (0, counts(&[("unconfirmed", 1)])));
    shop.contact("a@shop.example", json!({})).await;
    assert_eq!(account.load(&shop, choice).await.unwrap().tally.all_sent(), 1);
    assert_eq!(account.state(|state| state.jobs), 1);
}

#[tokio::test]
async fn segments_are_joined_and_left_and_lost_with_the_contact() {
    let (shop, account) =
        pair(json!({"contacts": {"tags": {"registered": "Customers", "newsletter": "Readers"}}})).await;
    shop.contact("a@shop.example", json!({"registered": false, "newsletter": true})).await;
    shop.tags("a@shop.example", "newsletter", &["newsletter"]).await;
    let settings = json!({"group_names": ["All"], "group_names_exclude": ["Old"]});
    let groups = |bodies: Vec<Value>| -> Vec<(Value, Value)> {
        let imports = bodies.into_iter().filter(|body| body.is_object());
        imports.map(|body| (body["groupNames"].clone(), body["groupNamesExclude"].clone())).collect()
    };
    account.load(&shop, settings.clone()).await.unwrap();
    assert_eq!(groups(account.take("v1/contacts")), [(json!(["All", "Readers"]), json!(["Old"]))]);
    shop.contact("a@shop.example", json!({})).await;
    shop.tags("a@shop.example", "newsletter", &[]).await;
    shop.tags("a@shop.example", "registered", &["rejestracja"]).await;
    account.load(&shop, settings.clone()).await.unwrap();
    assert_eq!(groups(account.take("v1/contacts")), [(json!(["All", "Customers"]), json!(["Old", "Readers"]))]);
    shop.deletes("a@shop.example").await;
    let sent = account.load(&shop, settings).await.unwrap().tally.sent;
    assert_eq!(sent, counts(&[("contacts untag", 1)]));
    assert_eq!(groups(account.take("v1/contacts")), [(Value::Null, json!(["All", "Customers", "Old"]))]);
    assert!(account.state(|state| state.contacts.contains_key("a@shop.example")));
}

#[tokio::test]
async fn additional_fields_go_by_their_names_and_types_and_what_does_not_fit_is_left_out() {
    let expressions = json!({"size": "extra->>'size'", "count": "extra->>'count'", "note": "extra->>'note'"});
    let (shop, account) = pair(json!({"contacts": {"fields": expressions}})).await;
    let field = |id: &str, name: &str, kind: &str, values: Value| json!({"id": id, "name": name, "description": {"type": kind, "allowedValues": {"possibleValues": values}}});
    account.state(|state| {
        state.fields = json!({"addressBook": {"fieldGroups": {"fields": [
            field("11", "Size", "COMBOBOX", json!(["M", "L"])), field("12", "Count", "number", Value::Null),
            field("13", "note", "textfield", Value::Null), field("14", "Birthday", "date", Value::Null)]}}});
    });
    shop.contact(
        "a@shop.example",
        json!({"birthday": "1990-04-12", "extra": {"size": "l", "count": "7.4", "note": "50% {off}"}}),
    )
    .await;
    shop.contact("b@shop.example", json!({"extra": {"size": "XXL", "count": "many"}})).await;
    account.load(&shop, json!({"field_map": {"birthday": 14}})).await.unwrap();
    let mut imports = account.take("v1/contacts");
    imports.retain(|body| body.is_object());
    imports.sort_by_key(|body| body["customFieldsIDs"].is_null());
    assert_eq!(imports[0]["customFieldsIDs"], json!([11, 12, 13, 14]));
    assert_eq!(
        imports[0]["contacts"][0]["fields"],
        json!([{"id": 11, "value": "L"}, {"id": 12, "value": "7"}, {"id": 13, "value": "50   off}"},
            {"id": 14, "value": "1990-04-12"}])
    );
    assert_eq!((&imports[1]["customFieldsIDs"], &imports[1]["contacts"][0]["fields"]), (&Value::Null, &Value::Null));

    let error = account.load(&shop, json!({"field_map": {"birthday": 99}})).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PipelineFile);
    assert!(error.hint_text().unwrap().contains("New field"), "{error:?}");
}

/// The rule of the sheet, said a second time.
fn is_taken(name: &str, most: usize) -> bool {
    let is_mark = |sign: char| "'’ʼ-".contains(sign);
    let words: Vec<&str> = name.split(' ').collect();
    let is_word = |word: &&str| {
        let bare = word.strip_suffix('.').unwrap_or(word);
        let parts: Vec<&str> = bare.split(is_mark).collect();
        let letters = |part: &&str| !part.is_empty() && part.chars().all(char::is_alphanumeric);
        let last = parts.last().map_or(0, |part| part.chars().count());
        parts.iter().all(letters) && (bare.len() == word.len() || last <= 3)
    };
    let long = |word: &&&str| word.chars().count() > 3;
    let count = words.iter().filter(long).count();
    name.chars().count() <= 40
        && name.chars().any(char::is_alphabetic)
        && words.iter().all(is_word)
        && name.chars().filter(char::is_ascii_digit).count() <= 3
        && count <= most
        && words.len() - count <= most
}

#[test]
fn every_name_that_is_sent_is_one_that_the_platform_takes_and_no_such_name_is_left_out() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let name =
        "[a-zA-Zа-яіїєґА-ЯłżóŁéß0-9'’ʼ.,\\-<>№ ]{1,12}|[А-Яа-яіїє]{2,9}(-[А-Я][а-я]{1,4})?( [a-z]{1,3}\\.?){0,4}";
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = proptest::collection::vec((name, name), 300);
    let names = strategy.new_tree(&mut runner).unwrap().current();
    runtime.block_on(async {
        let (shop, account) = pair(no_tags()).await;
        let emails: Vec<String> = (0..names.len()).map(|n| format!("c{n}@shop.example")).collect();
        let rows: Vec<(&str, Value)> = emails
            .iter()
            .zip(&names)
            .map(|(email, (first, last))| (email.as_str(), json!({"first_name": first, "last_name": last})))
            .collect();
        shop.contacts(&rows).await;
        account.load(&shop, json!({})).await.unwrap();
        let mut sent = 0;
        for (email, (first, last)) in emails.iter().zip(&names) {
            let card = account.state(|state| state.contacts[email].clone());
            for (name, shown, most) in [(first, &card["firstName"], 3), (last, &card["lastName"], usize::MAX)] {
                let plain = name.split_whitespace().collect::<Vec<_>>().join(" ");
                let expected = if is_taken(&plain, most) { json!(plain) } else { Value::Null };
                assert_eq!(*shown, expected, "{name:?}");
                sent += usize::from(!shown.is_null());
            }
        }
        assert!(sent > 50 && sent < 550, "the names are all alike: {sent}");
    });
}

#[tokio::test]
async fn a_contact_that_changed_its_address_is_moved_and_no_second_one_is_made() {
    let (shop, account) = pair(no_tags()).await;
    shop.contact("old@shop.example", json!({})).await;
    shop.change("update canonical.contact_sources set kind = 'guest'").await;
    account.load(&shop, json!({})).await.unwrap();
    account.take("");
    shop.moves("old@shop.example", "new@shop.example").await;
    let sent = account.load(&shop, json!({})).await.unwrap().tally.sent;
    assert_eq!(sent, counts(&[("contacts rename", 1)]));
    let import = account.take("v1/contacts").into_iter().find(Value::is_object).unwrap();
    assert_eq!((&import["dedupeOn"], &import["contacts"][0]["id"]), (&json!("id"), &json!(1)));
    assert!(shop.value("select contact_id from delivery.ledger").await == contact_id("new@shop.example").to_string());
}

#[tokio::test]
async fn jobs_with_other_contacts_run_at_the_same_time() {
    let (shop, account) = pair(no_tags()).await;
    let emails: Vec<String> = (0..6).map(|n| format!("c{n}@shop.example")).collect();
    shop.contacts(&emails.iter().map(|email| (email.as_str(), json!({}))).collect::<Vec<_>>()).await;
    account.state(|state| state.holds_jobs = true);
    let (shop, account): (Arc<Shop>, Arc<FakeESputnik>) = (Arc::new(shop), Arc::new(account));
    let load = {
        let (shop, account) = (Arc::clone(&shop), Arc::clone(&account));
        tokio::spawn(async move { account.load(&shop, json!({"contact_batch": 2, "jobs": 2})).await })
    };
    account.until(|state| state.at_work.len() == 2).await;
    // Whoever would start a third one has had the time of several polls.
    let polls = account.state(|state| state.calls.len());
    account.until(|state| state.calls.len() > polls + 10).await;
    assert_eq!(account.state(|state| state.jobs), 2);
    account.state(|state| state.holds_jobs = false);
    assert_eq!(load.await.unwrap().unwrap().tally.sent, counts(&[("contacts new", 6)]));
    assert_eq!(account.state(|state| state.jobs), 3);
}
