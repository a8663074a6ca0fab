//! The door, single contacts, search, segments, subscriptions, the list of the unsubscribed, activity.

use super::{Caller, person};
use axum::http::Method;
use serde_json::json;
use wharf::sandbox::esputnik::{Options, Repeat};

#[tokio::test]
async fn any_user_name_opens_with_the_key_and_no_other_key_does() {
    let caller = Caller::prompt().await;
    assert_eq!(
        caller.get("v1/account/info").await,
        json!({"userEmail": "api-user@shop.example", "organisationName": "Sandbox Shop"})
    );
    let url = format!("{}/api/v1/account/info", caller.origin());
    for (user, key, status) in [("", caller.key.as_str(), 200), ("api", &caller.key, 200), ("api", "other", 401)] {
        let answer = caller.http.get(&url).basic_auth(user, Some(key)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{user}:{key}");
    }
    assert_eq!(caller.http.get(&url).send().await.unwrap().status().as_u16(), 401);
    caller.change("settings", json!({"key_active": false})).await;
    assert_eq!(caller.call(Method::GET, "v1/account/info", None, false).await.status, 401);
}

#[tokio::test]
async fn wrong_methods_paths_and_media_types_have_their_statuses() {
    let caller = Caller::prompt().await;
    assert_eq!(caller.call(Method::PUT, "v1/orders", Some(&json!({})), true).await.status, 405);
    assert_eq!(caller.call(Method::GET, "v1/nothing", None, true).await.status, 404);
    let url = format!("{}/api/v1/orders", caller.origin());
    let plain = caller.http.post(&url).basic_auth("any", Some(&caller.key)).body("{}").send().await.unwrap();
    assert_eq!(plain.status().as_u16(), 415);
    let broken = caller.http.post(&url).basic_auth("any", Some(&caller.key));
    let broken = broken.header("content-type", "application/json").body("{\"orders\":").send().await.unwrap();
    assert_eq!(broken.status().as_u16(), 400);
}

#[tokio::test]
async fn a_single_call_updates_what_it_gives_finds_by_number_address_or_phone_and_restores() {
    let caller = Caller::prompt().await;
    let contact = json!({"externalCustomerId": "1", "firstName": "Olena", "channels": [
        {"type": "email", "value": "olena@example.com"}, {"type": "sms", "value": "380500000001"}]});
    let id = caller.post("v1/contact", contact).await.done()["id"].clone();
    let by_phone = json!({"lastName": "Nova", "channels": [{"type": "sms", "value": "380500000001"}]});
    assert_eq!(caller.post("v1/contact", by_phone).await.done()["id"], id);
    let shown = caller.get(&format!("v1/contact/{id}")).await;
    assert_eq!((&shown["firstName"], &shown["lastName"]), (&json!("Olena"), &json!("Nova")));
    assert_eq!(shown["channels"].as_array().unwrap().len(), 2);

    caller.call(Method::DELETE, "v1/contact?externalCustomerId=1", None, false).await.done();
    assert_eq!(caller.call(Method::GET, &format!("v1/contact/{id}"), None, false).await.status, 404);
    assert_eq!(caller.post("v1/contact", person("1", "olena@example.com")).await.done()["id"], id);
    assert_eq!(caller.get(&format!("v1/contact/{id}")).await["firstName"], "Olena", "restored with what it had");

    caller.post("v1/contact", person("2", "igor@example.com")).await.done();
    let taken = json!({"externalCustomerId": "2"});
    let answer = caller.call(Method::PUT, &format!("v1/contact/{id}"), Some(&taken), false).await;
    assert!(answer.refused(400).contains("another contact"));

    caller.call(Method::DELETE, &format!("v1/contact/{id}?erase=true"), None, false).await.done();
    assert_ne!(caller.post("v1/contact", person("1", "olena@example.com")).await.done()["id"], id, "gone for good");
}

#[tokio::test]
async fn an_identical_request_for_one_contact_is_a_conflict_for_a_minute() {
    let caller = Caller::new(Options::default()).await;
    let contact = person("1", "olena@example.com");
    caller.post("v1/contact", contact.clone()).await.done();
    assert_eq!(caller.post("v1/contact", contact.clone()).await.refused(409), "Duplicated request");
    caller.post("v1/contact", person("1", "olha@example.com")).await.done();
    caller.change("advance", json!({"seconds": 61})).await;
    caller.post("v1/contact", contact.clone()).await.done();

    caller.change("settings", json!({"repeat": Repeat::WithinCalls(2)})).await;
    assert_eq!(caller.post("v1/contact", contact.clone()).await.status, 409);
    caller.get("v1/account/info").await;
    caller.post("v1/contact", contact).await.done();
}

#[tokio::test]
async fn a_search_counts_from_one_and_gives_the_size_of_all_in_a_header() {
    let caller = Caller::prompt().await;
    let people: Vec<_> = (1..=5).map(|n| person(&n.to_string(), &format!("c{n}@example.com"))).collect();
    caller.import(json!(people)).await;
    let answer = caller.call(Method::GET, "v1/contacts?startindex=4&maxrows=10&sortBy=contactId", None, false).await;
    assert_eq!(answer.headers["TotalCount"], "5");
    let rows = answer.json();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["channels"][0]["value"], "c4@example.com");
    assert!(rows[0].get("externalCustomerId").is_none(), "a search shows less than the contact has");
    let found = caller.get("v1/contacts?externalCustomerId=3").await;
    assert_eq!(found[0]["channels"][0]["value"], "c3@example.com");
    assert_eq!(caller.get("v1/contacts?email=C3@Example.com").await[0]["id"], found[0]["id"]);
    assert_eq!(caller.get("v1/contacts?email=nobody@example.com").await, json!([]));
    for bad in ["v1/contacts?externalCustomerId=3&email=c3@example.com", "v1/contacts?startindex=0"] {
        assert_eq!(caller.call(Method::GET, bad, None, false).await.status, 400, "{bad}");
    }
    let emails = caller.get(&format!("v1/contacts/email?ids={}", found[0]["id"])).await;
    assert_eq!(emails["results"]["email"], "c3@example.com", "one result is an object: {emails}");
}

#[tokio::test]
async fn contacts_go_in_and_out_of_static_segments_and_a_detach_without_ids_empties_one() {
    let caller = Caller::prompt().await;
    caller.import(json!([person("1", "a@example.com"), person("2", "b@example.com")])).await;
    let groups = caller.get("v1/groups?name=cust").await;
    assert_eq!((&groups[0]["name"], &groups[0]["type"]), (&json!("Customers"), &json!("Static")), "{groups}");
    let id = &groups[0]["id"];
    caller
        .post(&format!("v1/group/{id}/contacts/attach"), json!({"externalCustomerIds": ["1", "2", "9"]}))
        .await
        .done();
    let members = caller.call(Method::GET, &format!("v1/group/{id}/contacts?maxrows=1"), None, false).await;
    assert_eq!(members.headers["TotalCount"], "2");
    caller.post(&format!("v1/group/{id}/contacts/detach"), json!({"externalCustomerIds": ["1"]})).await.done();
    assert_eq!(caller.inspect("").await["groups"]["Customers"], 1);
    assert_eq!(caller.violations().await, json!({}));
    caller.post(&format!("v1/group/{id}/contacts/detach"), json!({"contactIds": []})).await.done();
    assert_eq!(caller.inspect("").await["groups"]["Customers"], 0);
    assert_eq!(caller.violations().await, json!({"segment-emptied": 1}));
    let many: Vec<String> = (0..501).map(|n| n.to_string()).collect();
    let many = json!({"externalCustomerIds": many});
    assert_eq!(caller.post(&format!("v1/group/{id}/contacts/attach"), many).await.status, 400);
}

#[tokio::test]
async fn subscribing_is_double_opt_in_and_leaves_the_channels_of_a_known_contact_alone() {
    let caller = Caller::prompt().await;
    let subscribe = |first: &str, phone: &str| {
        json!({"contact": {"firstName": first, "channels": [{"type": "email", "value": "sub@example.com"},
            {"type": "sms", "value": phone}]}, "groups": ["Subscribers"], "subscriptions": ["promo"], "formType": "footer"})
    };
    let first = caller.post("v1/contact/subscribe", subscribe("Sub", "380500000001")).await.done();
    assert_eq!((&first["emailStatus"], &first["new"]), (&json!("NEED_CONFIRMATION"), &json!(true)));
    let second = caller.post("v1/contact/subscribe", subscribe("Subina", "380500000002")).await.done();
    assert_eq!((&second["id"], &second["new"]), (&first["id"], &json!(false)));
    let shown = caller.inspect(&format!("/contacts?id={}", first["id"])).await;
    assert_eq!((&shown["firstName"], &shown["confirmed"]), (&json!("Subina"), &json!(false)));
    assert_eq!(shown["channels"][1]["value"], "380500000001");
    assert_eq!((&shown["groupNames"], &shown["subscriptions"]), (&json!(["Subscribers"]), &json!(["promo"])));
    let kinds = caller.inspect("").await["events_by_type"].clone();
    assert_eq!(kinds, json!({"subscribeFromApi-footer": 1, "subscribeUpdateFromApi-footer": 1}));

    let path = format!("v1/contact/{}/subscriptions", first["id"]);
    caller.call(Method::PUT, &path, Some(&json!({"subscriptions": ["news"]})), false).await.done();
    let own = caller.call(Method::GET, &path, None, true).await.done();
    assert_eq!(own[0]["key"], "news", "the full new list");
    let all = caller.get("v1/subscriptions").await;
    assert_eq!(
        all.as_array().unwrap().iter().map(|one| &one["contactsCount"]).collect::<Vec<_>>(),
        [&json!(0), &json!(1)]
    );
    let unknown = json!({"subscriptions": ["nothing"]});
    assert_eq!(caller.call(Method::PUT, &path, Some(&unknown), false).await.status, 400);
}

#[tokio::test]
async fn the_list_of_the_unsubscribed_is_of_addresses_and_survives_deletion_and_import() {
    let caller = Caller::prompt().await;
    caller.import(json!([person("1", "a@example.com"), person("2", "a@example.com")])).await;
    assert_eq!(caller.contact("1").await["mailable"], true);
    caller.post("v1/emails/unsubscribed/add", json!({"emails": ["A@example.com"]})).await.done();
    for id in ["1", "2"] {
        assert_eq!(caller.contact(id).await["mailable"], false, "everyone with the address");
    }
    caller.call(Method::DELETE, "v1/contact?externalCustomerId=1&erase=true", None, false).await.done();
    caller.import(json!([person("1", "a@example.com")])).await;
    assert_eq!(caller.contact("1").await["mailable"], false);

    caller.change("unsubscribe", json!({"email": "b@example.com"})).await;
    caller.post("v1/emails/unsubscribed/delete", json!({"emails": ["a@example.com", "b@example.com"]})).await.done();
    assert_eq!(caller.contact("1").await["mailable"], true);
    let lifted = caller.inspect("/unsubscribed").await["lifted"].clone();
    let who: Vec<_> = lifted.as_array().unwrap().iter().map(|one| (&one["email"], &one["by_person"])).collect();
    assert_eq!(who, [(&json!("a@example.com"), &json!(false)), (&json!("b@example.com"), &json!(true))]);
}

#[tokio::test]
async fn what_people_did_is_read_on_from_the_offset_of_the_last_row() {
    let caller = Caller::prompt().await;
    caller.import(json!([person("1", "c0@example.com")])).await;
    for n in 0..5 {
        caller.change("unsubscribe", json!({"email": format!("c{n}@example.com")})).await;
    }
    caller.change("unsubscribe", json!({"email": "s@example.com", "status": "SPAM"})).await;
    let from = jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(48)).unwrap();
    let to = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(48)).unwrap();
    let day = |moment: jiff::Timestamp| moment.to_string()[..10].to_owned();
    let base = format!("v2/contacts/activity?dateFrom={}&dateTo={}&activityStatus=UNSUBSCRIBED", day(from), day(to));
    let (mut seen, mut offset) = (Vec::new(), String::new());
    loop {
        let next = if offset.is_empty() { String::new() } else { format!("&offset={offset}") };
        let rows = caller.get(&format!("{base}&maxrows=2{next}")).await;
        let Some(last) = rows.as_array().unwrap().last() else { break };
        offset = last["offset"].as_str().unwrap().to_owned();
        seen.extend(rows.as_array().unwrap().iter().map(|row| row["email"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, (0..5).map(|n| format!("c{n}@example.com")).collect::<Vec<_>>());
    let first = caller.get(&format!("{base}&maxrows=1")).await;
    assert_eq!(first[0]["externalCustomerId"], "1");
    assert_eq!(first[0]["activityDateTime"].as_str().unwrap().len(), 19, "without a zone");
    let long = "v2/contacts/activity?dateFrom=2026-01-01&dateTo=2026-06-01";
    assert_eq!(caller.call(Method::GET, long, None, false).await.status, 400);
}

#[tokio::test]
async fn additional_fields_feeds_and_letters_answer_as_from_xml_where_there_is_one() {
    let caller = Caller::prompt().await;
    let books = caller.get("v1/addressbooks").await;
    let book = &books["addressBook"];
    assert_eq!(book["addressBookId"], "7200", "one book is an object and its number a text: {books}");
    let fields = book["fieldGroups"]["fields"].as_array().unwrap();
    assert_eq!((&fields[0]["id"], &fields[0]["description"]["required"]), (&json!("15867"), &json!("false")));
    assert_eq!(fields[1]["description"]["allowedValues"]["possibleValues"], json!(["M", "F"]));

    let feeds = json!({"feeds": [{"url": "https://shop.example/feed.xml", "language": "uk", "default": true}]});
    caller.post("v1/products/config", feeds.clone()).await.done();
    assert_eq!(caller.get("v1/products/config").await, feeds);

    let recipients = json!({"recipients": [{"locator": "new@example.com", "jsonParam": "{}"}], "email": true});
    let sent = caller.post("v1/message/7/smartsend", recipients).await.done();
    assert_eq!((&sent["id"], &sent["results"]["status"]), (&json!("0"), &json!("OK")));
    assert_eq!(caller.inspect("").await["contacts_by_maker"], json!({"message": 1}));
    let request = sent["results"]["requestId"].as_str().unwrap();
    let status = caller.call(Method::GET, &format!("v1/message/status?ids={request}"), None, true).await.done();
    assert_eq!((&status["results"]["status"], &status["results"]["delivered"]), (&json!("DELIVERED"), &json!("true")));
}
