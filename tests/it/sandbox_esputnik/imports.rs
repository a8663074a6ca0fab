//! Contacts in bulk: what is refused at once, how a job goes on, who is matched, what is wiped.

use super::{Answer, Caller, bulk, person};
use serde_json::{Value, json};
use wharf::sandbox::esputnik::{Counted, JobOrder, Jobs, Options, Repeat};

impl Caller {
    async fn jobs(jobs: Jobs) -> Self {
        Self::new(Options { jobs, repeat: Repeat::Taken, ..Options::default() }).await
    }

    async fn status(&self, job: &Value) -> Value {
        let session = job["asyncSessionId"].as_str().unwrap();
        self.get(&format!("v1/importstatus/{session}")).await
    }

    async fn raw_import(&self, body: Value) -> Answer {
        self.wrong("v1/contacts", body).await
    }
}

fn named(external_id: &str, email: &str, first: &str) -> Value {
    let mut contact = person(external_id, email);
    contact["firstName"] = json!(first);
    contact
}

#[tokio::test]
async fn a_job_goes_on_by_being_asked_and_applies_when_it_is_finished() {
    let caller = Caller::jobs(Jobs::default()).await;
    let job = caller.import(json!([named("1", "a@example.com", "Anna")])).await;
    assert!(job.get("failedContacts").is_none());
    assert_eq!(caller.status(&job).await["status"], "STARTED");
    assert_eq!(caller.inspect("").await["contacts"], 0, "nothing is there yet");
    let importing = caller.status(&job).await;
    assert_eq!(importing["status"], "IMPORTING");
    assert_eq!(importing["timestamp"].as_str().unwrap().len(), 25, "with an offset: {importing}");
    let finished = caller.status(&job).await;
    assert_eq!(finished["status"], "FINISHED");
    assert_eq!(finished["mapping"]["dedupeValue"], "1", "one pair is an object: {finished}");
    let contact = caller.contact("1").await;
    assert_eq!((&contact["confirmed"], &contact["madeBy"]), (&json!(true), &json!("import")));
    assert_eq!(caller.call(axum::http::Method::GET, "v1/importstatus/none", None, false).await.status, 404);
}

#[tokio::test]
async fn a_job_may_be_moved_on_by_every_later_call() {
    let caller = Caller::jobs(Jobs { counted: Counted::Requests, started: 1, importing: 2, ..Jobs::default() }).await;
    caller.import(json!([person("1", "a@example.com")])).await;
    for expected in [0, 0, 1] {
        caller.get("v1/account/info").await;
        assert_eq!(caller.inspect("").await["contacts"], expected);
    }
}

#[tokio::test]
async fn jobs_that_run_together_are_applied_in_the_order_that_is_set() {
    for (order, winner) in
        [(JobOrder::Arrival, "Third"), (JobOrder::NewestFirst, "First"), (JobOrder::Together, "First")]
    {
        let caller = Caller::jobs(Jobs { order, ..Jobs::default() }).await;
        let mut jobs = Vec::new();
        for name in ["First", "Second", "Third"] {
            jobs.push(caller.import(json!([named("1", "a@example.com", name)])).await);
        }
        for _ in 0..3 {
            for job in &jobs {
                caller.status(job).await;
            }
        }
        assert_eq!(caller.contact("1").await["firstName"], winner, "{order:?}");
        assert_eq!(caller.violations().await, json!({"contact-in-two-jobs": 2}), "which a careful caller avoids");
    }
}

#[tokio::test]
async fn a_job_that_sticks_never_ends_and_meets_nothing() {
    let caller = Caller::jobs(Jobs::default()).await;
    caller.change("stick_jobs", json!({"count": 1})).await;
    let stuck = caller.import(json!([person("1", "a@example.com")])).await;
    for _ in 0..9 {
        caller.status(&stuck).await;
    }
    caller.change("settle", json!({})).await;
    assert_eq!(caller.status(&stuck).await["status"], "IMPORTING");
    assert_eq!(caller.inspect("").await["contacts"], 0);
    let job = caller.import(json!([person("1", "a@example.com")])).await;
    caller.change("settle", json!({})).await;
    assert_eq!(caller.status(&job).await["status"], "FINISHED");
    assert_eq!((caller.inspect("").await["contacts"].clone(), caller.violations().await), (json!(1), json!({})));
}

#[tokio::test]
async fn a_job_that_fails_has_applied_half_of_its_contacts() {
    let caller = Caller::jobs(Jobs::default()).await;
    caller.change("fail_jobs", json!({"count": 1})).await;
    let people: Vec<Value> = (0..10).map(|n| person(&n.to_string(), &format!("c{n}@example.com"))).collect();
    let job = caller.import(json!(people)).await;
    for _ in 0..2 {
        caller.status(&job).await;
    }
    let failed = caller.status(&job).await;
    assert_eq!((&failed["status"], &failed["description"]), (&json!("ERROR"), &json!("Internal error")));
    assert_eq!(caller.inspect("").await["contacts"], 5);
    let again = caller.import(json!(people)).await;
    caller.change("settle", json!({})).await;
    assert_eq!(caller.status(&again).await["status"], "FINISHED");
    assert_eq!(caller.inspect("").await["contacts"], 10);
    assert_eq!(caller.violations().await, json!({}));
}

#[tokio::test]
async fn refused_contacts_are_named_at_once_one_as_an_object_and_the_rest_goes_in() {
    let caller = Caller::prompt().await;
    let bad_phone = json!({"channels": [{"type": "sms", "value": "12"}]});
    let answer = caller.import(json!([bad_phone.clone(), person("1", "a@example.com")])).await;
    assert!(answer["asyncSessionId"].is_string());
    assert_eq!(answer["failedContacts"]["error"], "'12' is not valid phone number");
    assert_eq!(answer["failedContacts"]["channels"]["value"], "12", "collapsed all through");

    let no_channel = json!({"firstName": "No", "lastName": "Channel", "channels": []});
    let answer = caller.import(json!([bad_phone, no_channel])).await;
    assert!(answer.get("asyncSessionId").is_none(), "nobody is left: {answer}");
    assert_eq!(answer["failedContacts"][1]["error"], "Contact has no channels");

    let person_with = |field: &str, value: Value| {
        let mut contact = person("2", "b@example.com");
        contact[field] = value;
        contact
    };
    let email = |value: &str| json!({"channels": [{"type": "email", "value": value}]});
    let many = json!([{"type": "email", "value": "a@example.com"}, {"type": "email", "value": "b@example.com"},
        {"type": "email", "value": "c@example.com"}]);
    for refused in [
        email("bad@@example.com"),
        person_with("firstName", json!("Bad1234")),
        person_with("lastName", json!("Bad/Name")),
        person_with("channels", many),
        person_with("languageCode", json!("Ukrainian")),
        person_with("timeZone", json!("Kyiv/Europe")),
        person_with("fields", json!([{"id": 15868, "value": "X"}])),
        person_with("fields", json!([{"id": 15867, "value": "1990-4-1"}])),
        person_with("fields", json!([{"id": 1, "value": "x"}])),
        json!({"channels": [{"type": "sms", "value": "+380500000001"}]}),
    ] {
        let answer = caller.import(json!([refused])).await;
        assert!(answer["failedContacts"]["error"].is_string(), "{refused} was taken: {answer}");
    }
    assert_eq!(caller.inspect("").await["contacts"], 1);
}

#[tokio::test]
async fn a_bulk_request_that_is_wrong_as_a_whole_is_refused_whole() {
    let caller = Caller::prompt().await;
    let with = |field: &str, value: Value| {
        let mut body = bulk(json!([person("1", "a@example.com")]));
        body[field] = value;
        body
    };
    let many: Vec<Value> = (0..3001).map(|n| person(&n.to_string(), &format!("c{n}@example.com"))).collect();
    for body in [
        with("dedupeOn", json!("name")),
        with("dedupeOn", json!("fieldId")),
        with("contactFields", json!(["name"])),
        with("customFieldsIDs", json!([1])),
        with("contacts", json!([])),
        with("contacts", json!(many)),
        with("eventKeyForNewContacts", json!("new/contact")),
        with("groupNames", json!("Customers")),
    ] {
        let mut shown = body.to_string();
        shown.truncate(300);
        assert_eq!(caller.raw_import(body).await.status, 400, "{shown}");
    }
}

#[tokio::test]
async fn without_contact_fields_what_is_not_sent_is_wiped_and_fields_need_their_ids() {
    let caller = Caller::prompt().await;
    let whole = json!({"externalCustomerId": "1", "firstName": "Anna", "address": {"town": "Kyiv"},
        "channels": [{"type": "email", "value": "a@example.com"}, {"type": "sms", "value": "380500000001"}],
        "fields": [{"id": 15868, "value": "F"}]});
    caller.import(json!([whole])).await;
    let mut second = bulk(json!([{"externalCustomerId": "1", "lastName": "Nova",
        "channels": [{"type": "email", "value": "b@example.com"}], "fields": [{"id": 15868, "value": "M"}]}]));
    second["contactFields"] = json!(["lastName", "email"]);
    second["customFieldsIDs"] = json!([]);
    caller.post("v1/contacts", second.clone()).await.done();
    let kept = caller.contact("1").await;
    assert_eq!((&kept["firstName"], &kept["lastName"]), (&json!("Anna"), &json!("Nova")));
    assert_eq!(
        kept["channels"],
        json!([{"type": "sms", "value": "380500000001"}, {"type": "email", "value": "b@example.com"}])
    );
    assert_eq!(kept["fields"][0]["value"], "F", "fields are ignored without their ids");
    assert_eq!(caller.violations().await, json!({}));

    second.as_object_mut().unwrap().remove("contactFields");
    caller.post("v1/contacts", second).await.done();
    let wiped = caller.contact("1").await;
    assert!(wiped.get("firstName").is_none() && wiped["address"] == json!({}), "{wiped}");
    assert_eq!(wiped["channels"], json!([{"type": "email", "value": "b@example.com"}]));
    assert_eq!((&wiped["externalCustomerId"], &wiped["fields"][0]["value"]), (&json!("1"), &json!("F")));
    assert_eq!(caller.violations().await, json!({"no-contact-fields": 1}));
}

#[tokio::test]
async fn the_number_beats_what_contacts_are_told_apart_by() {
    let caller = Caller::prompt().await;
    caller
        .import(json!([json!({"channels": [{"type": "email", "value": "a@example.com"}], "firstName": "Anna"})]))
        .await;
    // An unknown number with a known address: that contact gets the number.
    caller.import(json!([named("1", "a@example.com", "Anna")])).await;
    let first = caller.contact("1").await;
    assert_eq!(caller.inspect("").await["contacts"], 1);
    // The only one with the address has another number: a new contact.
    caller.import(json!([named("2", "a@example.com", "Bohdan")])).await;
    assert_eq!(caller.inspect("").await["contacts"], 2);
    assert_ne!(caller.contact("2").await["id"], first["id"]);
    // Told apart by number, the address moves.
    caller.import(json!([named("1", "new@example.com", "Anna")])).await;
    assert_eq!(caller.contact("1").await["channels"][0]["value"], "new@example.com");
    // Told apart by address, the number still finds the contact, and the address is not updated.
    let mut by_email = bulk(json!([named("1", "third@example.com", "Hanna")]));
    by_email["dedupeOn"] = json!("email");
    caller.post("v1/contacts", by_email).await.done();
    let still = caller.contact("1").await;
    assert_eq!((&still["firstName"], &still["channels"][0]["value"]), (&json!("Hanna"), &json!("new@example.com")));
    assert_eq!(caller.inspect("").await["contacts"], 2);
}

#[tokio::test]
async fn of_several_with_an_address_the_last_updated_without_a_number_is_preferred() {
    let caller = Caller::prompt().await;
    let plain = |first: &str, phone: &str| json!({"firstName": first, "channels": [{"type": "sms", "value": phone}, {"type": "email", "value": "a@example.com"}]});
    let mut by_phone =
        bulk(json!([plain("One", "380500000001"), plain("Two", "380500000002"), plain("Three", "380500000003")]));
    by_phone["dedupeOn"] = json!("sms");
    caller.post("v1/contacts", by_phone.clone()).await.done();
    by_phone["contacts"] = json!([plain("Changed", "380500000001")]);
    caller.post("v1/contacts", by_phone).await.done();
    let changed = caller.inspect("/contacts?email=a@example.com").await;
    assert_eq!(changed["firstName"], "Changed");
    caller.import(json!([person("9", "a@example.com")])).await;
    assert_eq!(caller.contact("9").await["id"], changed["id"]);
    let mut by_email = bulk(json!([plain("Whoever", "380500000009")]));
    by_email["dedupeOn"] = json!("email");
    caller.post("v1/contacts", by_email).await.done();
    let last = caller.inspect("/contacts?email=a@example.com").await;
    assert_eq!((&last["firstName"], &last["id"]), (&json!("Whoever"), &changed["id"]), "the last updated of all");
    assert!(last.get("externalCustomerId").is_none(), "listed without a value, it is cleared");
    assert_eq!(caller.inspect("").await["contacts"], 3);
}

#[tokio::test]
async fn a_deleted_contact_is_skipped_without_a_word_unless_it_is_to_be_restored() {
    let caller = Caller::prompt().await;
    caller.import(json!([named("1", "a@example.com", "Anna")])).await;
    caller.change("delete", json!({"external_id": "1"})).await;
    let skipped = caller.import(json!([named("1", "a@example.com", "Bohdana")])).await;
    assert!(skipped["asyncSessionId"].is_string() && skipped.get("failedContacts").is_none());
    assert_eq!(caller.inspect("").await["contacts"], 0);
    let jobs = caller.inspect("/jobs").await;
    assert_eq!((&jobs[1]["skipped"], &jobs[1]["status"]), (&json!(1), &json!("FINISHED")));
    let mut restoring = bulk(json!([named("1", "a@example.com", "Bohdana")]));
    restoring["restoreDeleted"] = json!(true);
    caller.post("v1/contacts", restoring).await.done();
    assert_eq!(caller.contact("1").await["firstName"], "Bohdana");
}

#[tokio::test]
async fn segments_and_an_event_for_new_contacts_come_with_a_job() {
    let caller = Caller::prompt().await;
    let mut body = bulk(json!([person("1", "a@example.com")]));
    body["groupNames"] = json!(["Leads"]);
    body["eventKeyForNewContacts"] = json!("newContact");
    caller.post("v1/contacts", body.clone()).await.done();
    assert_eq!(caller.contact("1").await["groupNames"], json!(["Leads"]), "a missing segment is made");
    body["groupNames"] = json!(["Customers", "Active 90 days"]);
    body["groupNamesExclude"] = json!(["Leads", "Unknown"]);
    caller.post("v1/contacts", body).await.done();
    assert_eq!(caller.contact("1").await["groupNames"], json!(["Customers"]));
    assert_eq!(caller.inspect("").await["events_by_type"], json!({"newContact": 1}), "for new ones alone");
    assert_eq!(caller.violations().await, json!({"dynamic-group": 1}));
}

#[tokio::test]
async fn contacts_can_be_told_apart_by_an_additional_field() {
    let caller = Caller::prompt().await;
    let contact = |email: &str, points: &str, first: &str| json!({"firstName": first, "channels": [{"type": "email", "value": email}], "fields": [{"id": 15872, "value": points}]});
    let mut body = bulk(json!([contact("a@example.com", "7", "Anna"), contact("b@example.com", "8", "Bohdan")]));
    body["dedupeOn"] = json!("fieldId");
    body["fieldId"] = json!(15872);
    caller.post("v1/contacts", body.clone()).await.done();
    body["contacts"] = json!([contact("new@example.com", "8", "Borys")]);
    caller.post("v1/contacts", body).await.done();
    assert_eq!(caller.inspect("/contacts?email=new@example.com").await["firstName"], "Borys");
    assert_eq!(caller.inspect("").await["contacts"], 2);
}
