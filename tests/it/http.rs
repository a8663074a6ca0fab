//! The HTTP client against servers that misbehave.

use crate::support::web::{Seen, cut_answer, hasty, http_answer, raw, respond, scripted, server, tls};
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use url::Url;
use wharf::http::{
    Auth, Client, ClientOptions, Failure, Fate, Idempotency, OAuth1, RecordStream, RetryPolicy, Selector,
    SignatureMethod, Timeouts,
};
use wharf::{Error, Kind};

fn client(options: ClientOptions) -> Client {
    Client::new(options).unwrap()
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

async fn read(client: &Client) -> Result<Value, Failure> {
    client.get("x").send().await?.json().await
}

async fn write(client: &Client, idempotency: Idempotency) -> Result<Value, Failure> {
    client.post("x", json!({"a": 1}), idempotency).send().await?.json().await
}

async fn drain(mut records: RecordStream) -> (Vec<Bytes>, Option<Error>) {
    let mut all = Vec::new();
    while let Some(record) = records.next().await {
        match record {
            Ok(record) => all.push(record),
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

/// A port of this machine at which nobody listens.
async fn closed_port() -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap()
}

// What is tried again

#[tokio::test]
async fn passing_troubles_of_reads_are_tried_again_and_others_are_not() {
    for (status, tries) in [
        (408, 2),
        (429, 2),
        (500, 2),
        (502, 2),
        (503, 2),
        (504, 2),
        (520, 2),
        (524, 2),
        (529, 2),
        (400, 1),
        (401, 1),
        (403, 1),
        (404, 1),
        (409, 1),
        (422, 1),
        (501, 1),
        (505, 1),
        (530, 1),
    ] {
        let (url, asked) = scripted(&[(status, "{}"), (200, "[1]")]).await;
        let client = client(hasty(&url));
        assert_eq!(read(&client).await.is_ok(), tries == 2, "{status}");
        assert_eq!((asked.count(), client.calls()), (tries, tries as u64), "{status}");
    }
}

#[tokio::test]
async fn a_trouble_that_does_not_pass_ends_after_the_last_attempt() {
    let (url, asked) = scripted(&[(503, "<html><title>Briefly unavailable for scheduled maintenance</title>")]).await;
    let failure = read(&client(hasty(&url))).await.unwrap_err();
    assert_eq!((failure.kind(), failure.status(), asked.count()), (Kind::PlatformFailure, Some(503), 7));
    assert!(failure.error().detail().contains("Briefly unavailable"), "{failure}");
    assert!(failure.error().hint_text().unwrap().contains("maintenance"));
    let (url, asked) = scripted(&[(500, "")]).await;
    let client = client(hasty(&url));
    assert!(client.get("x").attempts(3).send().await.is_err());
    assert_eq!(asked.count(), 3);
    assert!(client.get("x").attempts_after(&[500], 2).send().await.is_err());
    assert_eq!(asked.count(), 5);
}

#[tokio::test]
async fn an_unsafe_write_is_never_repeated_once_it_may_have_arrived() {
    for (status, kind, fate) in [
        (400, Kind::Refused, Fate::NotDone),
        (408, Kind::Unreachable, Fate::Unknown),
        (429, Kind::Throttled, Fate::NotDone),
        (500, Kind::PlatformFailure, Fate::Unknown),
        (503, Kind::PlatformFailure, Fate::Unknown),
    ] {
        let (url, asked) = scripted(&[(status, "{}"), (200, "{}")]).await;
        let failure = write(&client(hasty(&url)), Idempotency::Unsafe).await.unwrap_err();
        assert_eq!((failure.kind(), failure.fate(), asked.count()), (kind, fate, 1), "{status}");
    }
    let (url, asked) = scripted(&[(500, "{}"), (200, "{}")]).await;
    assert!(write(&client(hasty(&url)), Idempotency::Safe).await.is_ok());
    assert_eq!(asked.count(), 2);
    assert_eq!(asked.all()[1].body, br#"{"a":1}"#);
}

#[tokio::test]
async fn an_unsafe_write_that_found_no_connection_is_tried_again_and_certainly_not_done() {
    let client = client(hasty(&closed_port().await));
    let failure = write(&client, Idempotency::Unsafe).await.unwrap_err();
    assert_eq!((failure.kind(), failure.fate(), client.calls()), (Kind::Unreachable, Fate::NotDone, 7));
}

#[tokio::test]
async fn an_unsafe_write_whose_answer_is_lost_has_an_unknown_fate() {
    for (answer, kind) in [
        (Some(Vec::new()), Kind::Unreachable),
        (Some(cut_answer(100, "{\"success\":")), Kind::Truncated),
        (None, Kind::Unreachable),
    ] {
        let (url, count) = raw(vec![answer.clone(), Some(http_answer("{}"))]).await;
        let timeouts = Timeouts { answer: Duration::from_millis(200), ..Timeouts::default() };
        let failure = write(&client(ClientOptions { timeouts, ..hasty(&url) }), Idempotency::Unsafe).await.unwrap_err();
        assert_eq!((failure.kind(), failure.fate()), (kind, Fate::Unknown), "{answer:?}");
        assert_eq!(*count.lock().unwrap(), 1, "{answer:?}");
    }
    let (url, asked) = scripted(&[(200, "<html><title>Log in</title>")]).await;
    let failure = write(&client(hasty(&url)), Idempotency::Unsafe).await.unwrap_err();
    assert_eq!((failure.kind(), failure.fate(), asked.count()), (Kind::NotJson, Fate::Unknown, 1));
}

// Retry-After

#[tokio::test]
async fn a_wish_to_wait_is_obeyed_by_every_call() {
    let (url, asked) = server(|before, _| async move {
        match before {
            0 => respond(429, &[("retry-after", "1")], ""),
            _ => respond(200, &[], "[]"),
        }
    })
    .await;
    let client = client(ClientOptions { concurrency: 2, ..hasty(&url) });
    let start = std::time::Instant::now();
    read(&client).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "the platform asked for a second");
    assert_eq!(asked.count(), 2);
}

#[tokio::test]
async fn an_absurd_wish_ends_the_call_as_throttled_and_keeps_the_next_one_from_being_sent() {
    for (header, wait) in [
        ("99999999999", Duration::from_secs(86_400)),
        ("99999999999999999999999999", Duration::from_secs(86_400)),
        ("7200", Duration::from_secs(7200)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Duration::from_secs(86_400)),
    ] {
        let (url, asked) = server(move |_, _| async move { respond(503, &[("retry-after", header)], "") }).await;
        let client = client(hasty(&url));
        let failure = read(&client).await.unwrap_err();
        assert_eq!((failure.kind(), failure.error().wait()), (Kind::Throttled, Some(wait)), "{header}");
        let failure = write(&client, Idempotency::Unsafe).await.unwrap_err();
        assert_eq!((failure.kind(), failure.fate()), (Kind::Throttled, Fate::NotDone), "{header}");
        assert_eq!((asked.count(), client.calls()), (1, 1), "{header}: the platform asked for quiet");
    }
}

#[tokio::test]
async fn a_wish_that_makes_no_sense_is_no_wish() {
    for header in ["-10", "soon", "Fri, 31 Dec 1999 23:59:59 GMT", "0"] {
        let (url, asked) = server(move |before, _| async move {
            respond(if before == 0 { 429 } else { 200 }, &[("retry-after", header)], "[]")
        })
        .await;
        assert!(read(&client(hasty(&url))).await.is_ok(), "{header}");
        assert_eq!(asked.count(), 2);
    }
}

// Bodies

#[tokio::test]
async fn half_a_body_is_asked_for_again_as_long_as_no_record_was_given() {
    let list = "[{\"id\":1},{\"id\":2}]";
    let (url, count) = raw(vec![Some(cut_answer(list.len(), &list[..5])), Some(http_answer(list))]).await;
    assert_eq!(read(&client(hasty(&url))).await.unwrap(), json!([{"id": 1}, {"id": 2}]));
    assert_eq!(*count.lock().unwrap(), 2);

    let (url, count) = raw(vec![Some(cut_answer(list.len(), &list[..5])), Some(http_answer(list))]).await;
    let answer = client(hasty(&url)).get("x").send().await.unwrap();
    let (records, error) = drain(answer.records(Selector::array())).await;
    assert!(error.is_none() && records.len() == 2, "{error:?}");
    assert_eq!(*count.lock().unwrap(), 2);

    let (url, count) = raw(vec![Some(cut_answer(list.len(), &list[..13])), Some(http_answer(list))]).await;
    let answer = client(hasty(&url)).get("x").send().await.unwrap();
    let (records, error) = drain(answer.records(Selector::array())).await;
    assert_eq!(records, [Bytes::from_static(b"{\"id\":1}")]);
    assert_eq!((error.unwrap().kind(), *count.lock().unwrap()), (Kind::Truncated, 1));
}

#[tokio::test]
async fn a_body_that_ends_early_without_the_connection_telling_is_cut_too() {
    let (url, asked) = scripted(&[(200, "[{\"id\":1},{\"id\"")]).await;
    let answer = client(hasty(&url)).get("x").send().await.unwrap();
    let (records, error) = drain(answer.records(Selector::array())).await;
    assert_eq!((records.len(), error.unwrap().kind(), asked.count()), (1, Kind::Truncated, 1));
    let (url, asked) = scripted(&[(200, "")]).await;
    let failure = read(&client(hasty(&url))).await.unwrap_err();
    assert_eq!((failure.kind(), asked.count()), (Kind::Truncated, 7));
}

#[tokio::test]
async fn a_page_of_html_says_so_and_is_not_tried_again() {
    let (url, asked) = server(|_, _| async {
        respond(200, &[("content-type", "text/html")], "<!DOCTYPE html><title>Just a moment...</title>")
    })
    .await;
    let client = client(hasty(&url));
    let failure = read(&client).await.unwrap_err();
    let (_, error) = drain(client.get("x").send().await.unwrap().records(Selector::array())).await;
    for error in [failure.error(), &error.unwrap()] {
        assert_eq!(error.kind(), Kind::NotJson);
        assert!(error.detail().contains("a web page titled “Just a moment...” instead of JSON"), "{error}");
        assert!(error.hint_text().unwrap().contains("firewall"));
    }
    assert_eq!(asked.count(), 2);
}

#[tokio::test]
async fn json_under_another_name_and_behind_notices_is_read() {
    let (url, _) = server(|_, _| async {
        let body = "\u{feff}<br />\n<b>Notice</b>: x in <b>/a.php</b> on line <b>3</b><br />\n[{\"id\":1}]";
        respond(200, &[("content-type", "text/html; charset=UTF-8")], body)
    })
    .await;
    let client = client(hasty(&url));
    assert_eq!(read(&client).await.unwrap(), json!([{"id": 1}]));
    let (records, error) = drain(client.get("x").send().await.unwrap().records(Selector::array())).await;
    assert!(error.is_none() && records == [Bytes::from_static(b"{\"id\":1}")]);
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let endless = |head: &'static str| {
        server(move |_, _| async move {
            let head =
                futures::stream::once(async move { Ok::<_, std::io::Error>(Bytes::from_static(head.as_bytes())) });
            let rest = futures::stream::repeat_with(|| Ok(Bytes::from(vec![b'1'; 64 << 10])));
            respond(200, &[], Body::from_stream(head.chain(rest)))
        })
    };
    let (url, asked) = endless("[\"").await;
    let failure = read(&client(ClientOptions { max_json: 1 << 20, ..hasty(&url) })).await.unwrap_err();
    assert_eq!((failure.kind(), asked.count()), (Kind::TooLarge, 1));
    let client = client(ClientOptions { max_record: 1 << 20, max_body: 4 << 20, ..hasty(&url) });
    let (_, error) = drain(client.get("x").send().await.unwrap().records(Selector::array())).await;
    assert!(error.unwrap().detail().contains("a record in the answer is larger than 1048576 bytes"));
    let (_, error) = drain(client.get("x").send().await.unwrap().records(Selector::at("data"))).await;
    assert_eq!(error.unwrap().kind(), Kind::Protocol);
    let (url, _) = endless("{\"junk\":\"").await;
    let client = Client::new(ClientOptions { max_body: 4 << 20, ..hasty(&url) }).unwrap();
    let (_, error) = drain(client.get("x").send().await.unwrap().records(Selector::at("data"))).await;
    assert!(error.unwrap().detail().contains("the answer is larger than 4194304 bytes"));
}

#[tokio::test]
async fn a_small_body_that_unpacks_to_a_huge_one_is_cut_off() {
    let bomb = zstd::encode_all(&*vec![b' '; 64 << 20], 1).unwrap();
    assert!(bomb.len() < 1 << 20);
    let (url, _) = server(move |_, _| {
        let bomb = bomb.clone();
        async move { respond(200, &[("content-encoding", "zstd")], bomb) }
    })
    .await;
    let failure = read(&client(ClientOptions { max_json: 1 << 20, ..hasty(&url) })).await.unwrap_err();
    assert_eq!(failure.kind(), Kind::TooLarge);
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    let plain = b"[{\"id\":1},{\"id\":2}]";
    let hex = |text: &str| {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect::<Vec<u8>>()
    };
    for (encoding, body) in [
        ("gzip", hex("1f8b08000000000002038bae56ca4c51b232acd581308c6a6301ead147fa13000000")),
        ("deflate", hex("789c8bae56ca4c51b232acd581308c6a63013a7205ce")),
        ("br", hex("0b09805b7b226964223a317d2c7b226964223a327d5d03")),
        ("zstd", zstd::encode_all(&plain[..], 1).unwrap()),
    ] {
        let (url, asked) = server(move |_, _| {
            let body = body.clone();
            async move { respond(200, &[("content-encoding", encoding)], body) }
        })
        .await;
        assert_eq!(read(&client(hasty(&url))).await.unwrap(), json!([{"id": 1}, {"id": 2}]), "{encoding}");
        assert!(asked.all()[0].header("accept-encoding").unwrap().contains(encoding));
    }
}

// Time

#[tokio::test]
async fn a_server_that_never_answers_or_stops_in_the_middle_is_given_up() {
    let timeouts =
        Timeouts { answer: Duration::from_millis(100), read: Duration::from_millis(100), ..Timeouts::default() };
    let retry = RetryPolicy { attempts: 2, base: Duration::from_millis(1), ..RetryPolicy::default() };
    let (url, count) = raw(vec![None]).await;
    let failure = read(&client(ClientOptions { timeouts, retry, ..hasty(&url) })).await.unwrap_err();
    assert_eq!((failure.kind(), *count.lock().unwrap()), (Kind::Unreachable, 2));
    let (url, asked) = server(|_, _| async {
        let head = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"[1,")) });
        respond(200, &[], Body::from_stream(head.chain(futures::stream::pending())))
    })
    .await;
    let failure = read(&client(ClientOptions { timeouts, retry, ..hasty(&url) })).await.unwrap_err();
    assert_eq!((failure.kind(), asked.count()), (Kind::Unreachable, 2));
    assert!(failure.error().detail().contains("did not come in time"), "{failure}");
}

#[tokio::test]
async fn a_body_that_drips_for_ever_is_given_up() {
    let timeouts = Timeouts { body: Duration::from_millis(200), ..Timeouts::default() };
    let (url, _) = server(|_, _| async {
        let drips = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        respond(200, &[], Body::from_stream(drips))
    })
    .await;
    let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    let failure = read(&client(ClientOptions { timeouts, retry, ..hasty(&url) })).await.unwrap_err();
    assert_eq!(failure.kind(), Kind::Unreachable);
}

#[tokio::test]
async fn a_reader_may_take_its_time() {
    let timeouts =
        Timeouts { read: Duration::from_millis(150), body: Duration::from_millis(150), ..Timeouts::default() };
    let (url, _) = server(|_, _| async {
        let pieces =
            futures::stream::iter(["[1,", "2,", "3]"]).map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        respond(200, &[], Body::from_stream(pieces))
    })
    .await;
    let answer = client(ClientOptions { timeouts, ..hasty(&url) }).get("x").send().await.unwrap();
    let mut records = answer.records(Selector::array());
    let mut count = 0;
    while let Some(record) = records.next().await {
        record.unwrap();
        count += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(count, 3);
}

#[tokio::test]
async fn no_more_calls_are_in_flight_than_allowed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, highest) = (Arc::clone(&now), Arc::clone(&most));
    let (url, asked) = server(move |_, _| {
        let (inside, highest) = (Arc::clone(&inside), Arc::clone(&highest));
        async move {
            highest.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            respond(200, &[], "[]")
        }
    })
    .await;
    let client = client(ClientOptions { concurrency: 2, ..hasty(&url) });
    let calls = (0..8).map(|_| read(&client));
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!((asked.count(), most.load(Ordering::SeqCst)), (8, 2));
}

#[tokio::test]
async fn calls_keep_the_pace_of_the_account() {
    let (url, _) = scripted(&[(200, "[]")]).await;
    let client = client(ClientOptions { rate: Some("10/s".parse().unwrap()), concurrency: 8, ..hasty(&url) });
    let start = std::time::Instant::now();
    let calls = (0..6).map(|_| read(&client));
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    assert!(start.elapsed() >= Duration::from_millis(500), "six calls at ten a second need half a second");
}

// Redirects and what travels along

#[tokio::test]
async fn reads_follow_redirects_on_the_same_server_and_are_signed_anew() {
    let (url, asked) = server(|before, seen: Seen| async move {
        match before {
            // As servers do: what was asked is echoed.
            0 => respond(301, &[("location", &format!("/moved{}", seen.uri))], ""),
            _ => respond(200, &[], "[]"),
        }
    })
    .await;
    let signer = OAuth1::new(secret("ck_1"), secret("cs_1"), SignatureMethod::HmacSha1);
    let client = client(ClientOptions { auth: Auth::OAuth1(signer), ..hasty(&url) });
    client.get("x").query("page", 2).send().await.unwrap();
    let asked = asked.all();
    assert!(asked[1].uri.starts_with("/moved/x?"));
    let nonce = |seen: &Seen| seen.uri.split("oauth_nonce=").nth(1).unwrap()[..32].to_owned();
    assert_ne!(nonce(&asked[0]), nonce(&asked[1]));
    for seen in &asked {
        assert_eq!(seen.uri.matches("oauth_signature=").count(), 1, "{}", seen.uri);
        assert_eq!(seen.uri.matches("page=2").count(), 1, "{}", seen.uri);
    }
    assert_eq!(client.calls(), 2);
}

#[tokio::test]
async fn credentials_never_go_to_another_server() {
    let (elsewhere, visited) = scripted(&[(200, "[]")]).await;
    let target = elsewhere.join("x?key=1").unwrap().to_string();
    for status in [301, 302, 303, 307, 308] {
        let target = target.clone();
        let (url, asked) = server(move |_, _| {
            let target = target.clone();
            async move { respond(status, &[("location", &target)], "") }
        })
        .await;
        let client = client(ClientOptions { auth: Auth::Bearer(secret("hidden")), ..hasty(&url) });
        let failure = read(&client).await.unwrap_err();
        assert_eq!((failure.kind(), failure.fate(), asked.count()), (Kind::Address, Fate::NotDone, 1));
        assert!(failure.error().detail().contains(elsewhere.as_str()), "{failure}");
        assert!(failure.error().hint_text().unwrap().contains("base_url"));
    }
    assert_eq!(visited.count(), 0);
}

#[tokio::test]
async fn writes_are_not_sent_on_and_circles_end() {
    let (url, asked) = server(|_, _| async { respond(307, &[("location", "/y")], "") }).await;
    let client = client(hasty(&url));
    let failure = write(&client, Idempotency::Safe).await.unwrap_err();
    assert_eq!((failure.kind(), failure.fate(), asked.count()), (Kind::Address, Fate::NotDone, 1));
    let failure = read(&client).await.unwrap_err();
    assert_eq!((failure.kind(), asked.count()), (Kind::Address, 7));
    assert!(failure.error().detail().contains("without end"));
}

#[tokio::test]
async fn a_redirect_up_to_https_is_followed_with_credentials() {
    let (secure, authority, arrived) = tls("[7]").await;
    let target = secure.join("y").unwrap().to_string();
    let (url, _) = server(move |_, _| {
        let target = target.clone();
        async move { respond(301, &[("location", &target)], "") }
    })
    .await;
    let auth = Auth::basic("user", secret("word"));
    let client = client(ClientOptions { auth, extra_roots: vec![authority.into_bytes()], ..hasty(&url) });
    assert_eq!(read(&client).await.unwrap(), json!([7]));
    assert_eq!(arrived.all()[0].header("authorization"), Some("Basic dXNlcjp3b3Jk"));
}

#[tokio::test]
async fn we_say_who_we_are_and_keep_no_cookies() {
    let (url, asked) = server(|_, _| async { respond(200, &[("set-cookie", "session=1; Path=/")], "[]") }).await;
    let client = client(hasty(&url));
    read(&client).await.unwrap();
    read(&client).await.unwrap();
    let seen = &asked.all()[1];
    assert_eq!(seen.header("user-agent"), Some(concat!("wharf/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert_eq!((seen.header("cookie"), seen.header("referer")), (None, None));
}

#[tokio::test]
async fn no_failure_shows_a_secret_or_a_parameter() {
    let credentials = || Auth::Query(vec![("api_key", secret("hidden"))]);
    let (refusing, _) = scripted(&[(401, "{\"echo\":\"api_key=hidden&search=anna\"}")]).await;
    let (html, _) = scripted(&[(200, "hidden anna")]).await;
    let (cutting, _) = raw(vec![Some(Vec::new())]).await;
    for url in [refusing, html, cutting, closed_port().await] {
        let client = client(ClientOptions { auth: credentials(), ..hasty(&url) });
        let call = client.get("x").query("search", "anna").attempts(1).send();
        let failure = match call.await {
            Ok(answer) => answer.json::<Value>().await.unwrap_err(),
            Err(failure) => failure,
        };
        let mut printed = format!("{failure} {failure:?} {:?}", failure.error());
        let mut cause = std::error::Error::source(failure.error());
        while let Some(error) = cause {
            printed += &format!(" {error} {error:?}");
            cause = error.source();
        }
        assert!(!printed.contains("hidden") && !printed.contains("anna"), "{printed}");
    }
}

// TLS

#[tokio::test]
async fn only_a_trusted_certificate_is_talked_to() {
    let (url, authority, _) = tls("[1]").await;
    let stranger = client(hasty(&url));
    let failure = read(&stranger).await.unwrap_err();
    assert_eq!((failure.kind(), failure.fate(), stranger.calls()), (Kind::Address, Fate::NotDone, 1));
    assert!(failure.error().detail().contains("certificate is not trusted"), "{failure}");
    assert!(failure.error().hint_text().unwrap().contains("WHARF_CA_FILE"));
    let friend = client(ClientOptions { extra_roots: vec![authority.into_bytes()], ..hasty(&url) });
    assert_eq!(read(&friend).await.unwrap(), json!([1]));
    let careless = client(ClientOptions { verify_tls: false, ..hasty(&url) });
    assert_eq!(read(&careless).await.unwrap(), json!([1]));
}

#[tokio::test]
async fn tls_spoken_to_a_plain_port_is_named() {
    let (mut url, _) = scripted(&[(200, "[]")]).await;
    url.set_scheme("https").unwrap();
    let client = client(hasty(&url));
    let failure = read(&client).await.unwrap_err();
    assert_eq!((failure.kind(), client.calls()), (Kind::Address, 1));
    assert!(failure.error().detail().contains("does not speak TLS"), "{failure}");
}
