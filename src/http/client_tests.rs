//! What needs no server: addresses, redirects, and what is said of them. The rest is tested over real sockets.

use super::*;
use secrecy::SecretString;

fn client(base: &str, auth: Auth) -> Client {
    Client::new(ClientOptions { auth, ..ClientOptions::new(Url::parse(base).unwrap()) }).unwrap()
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

#[test]
fn paths_are_taken_below_the_sub_folder() {
    for base in ["https://shop.example/shop", "https://shop.example/shop/", "https://shop.example/shop?x=1#y"] {
        let client = client(base, Auth::None);
        for path in ["wp-json/wc/v3/orders", "/wp-json/wc/v3/orders"] {
            assert_eq!(client.get(path).spec.url.as_str(), "https://shop.example/shop/wp-json/wc/v3/orders");
        }
        assert_eq!(client.get("//evil.example/x").spec.url.host_str(), Some("shop.example"));
    }
}

#[test]
fn parameters_are_added_in_order_and_encoded() {
    let call = client("http://127.0.0.1:1", Auth::None).get("x?a=1").query("b", "ü &").query("c", 3);
    assert_eq!(call.spec.url.query(), Some("a=1&b=%C3%BC%20%26&c=3"));
}

#[test]
fn addresses_that_cannot_be_meant_are_refused() {
    for base in ["ftp://shop.example", "data:text/plain,x", "https://user:hidden@shop.example"] {
        let error = Client::new(ClientOptions::new(Url::parse(base).unwrap())).unwrap_err();
        assert_eq!(error.kind(), Kind::Address, "{base}");
        assert!(!format!("{error:?}").contains("hidden"));
    }
}

#[test]
fn an_address_on_another_server_is_not_asked() {
    let client = client("https://shop.example", Auth::None);
    assert!(client.get_url(&Url::parse("https://shop.example/next?page=2").unwrap()).is_ok());
    for other in [
        "https://evil.example/next",
        "http://evil.example/next",
        "https://shop.example:8443/next",
        "http://shop.example:8080/next",
        "http://169.254.169.254/latest/meta-data/",
        "https://[::ffff:10.0.0.1]/",
        "http://localhost/",
    ] {
        assert_eq!(client.get_url(&Url::parse(other).unwrap()).unwrap_err().kind(), Kind::Protocol);
    }
}

#[test]
fn an_unencrypted_address_on_the_same_host_is_asked_by_https() {
    let client = client("https://shop.example", Auth::None);
    let call = client.get_url(&Url::parse("http://shop.example/next?page=2").unwrap()).unwrap();
    assert_eq!(call.spec.url.as_str(), "https://shop.example/next?page=2");
}

#[test]
fn a_server_that_the_options_name_is_asked_without_credentials() {
    let auth = Auth::Query(vec![("key", secret("hidden"))]);
    let mut options = ClientOptions { auth, ..ClientOptions::new(Url::parse("https://shop.example").unwrap()) };
    options.servers.push(Url::parse("https://files.example").unwrap().origin());
    let client = Client::new(options).unwrap();
    let call = client.get_url(&Url::parse("https://files.example/full.xml").unwrap()).unwrap();
    assert!(matches!(*call.spec.auth, Auth::None));
    assert!(client.get_url(&Url::parse("http://files.example/full.xml").unwrap()).is_err(), "not encrypted");
}

#[test]
fn redirects_stay_on_the_server_or_go_up_to_https_and_leave_credentials_behind() {
    let auth = Auth::Query(vec![("key", secret("hidden"))]);
    let spec = client("http://shop.example", auth).get("x").spec;
    let from = Url::parse("http://shop.example/x?page=1&key=hidden").unwrap();
    let follow = |location: &str, may_follow| {
        followed(&from, &HeaderValue::from_str(location).unwrap(), &spec, may_follow, &[]).map(String::from)
    };
    assert_eq!(follow("/y?page=1&key=hidden", true).unwrap(), "http://shop.example/y?page=1");
    assert_eq!(follow("https://shop.example/x?key=hidden", true).unwrap(), "https://shop.example/x");
    for elsewhere in
        ["http://www.shop.example/x?key=hidden", "http://shop.example:81/", "//evil.example/", "ftp://shop.example/"]
    {
        let failure = follow(elsewhere, true).unwrap_err();
        assert_eq!((failure.kind(), failure.fate()), (Kind::Address, Fate::NotDone), "{elsewhere}");
        assert!(!format!("{failure:?}").contains("hidden"));
    }
    assert!(follow("/y", false).is_err(), "a write is never sent on");
    let secure = Url::parse("https://shop.example/x").unwrap();
    assert!(followed(&secure, &HeaderValue::from_static("http://shop.example/x"), &spec, true, &[]).is_err());
}

#[test]
fn each_attempt_under_oauth_is_signed_anew() {
    let signer = super::super::OAuth1::new(secret("ck_1"), secret("cs_1"), super::super::SignatureMethod::HmacSha256);
    let spec = client("http://shop.example", Auth::OAuth1(signer)).get("x").query("status[]", "any").spec;
    let address = |request: &reqwest::Request| request.url().to_string();
    let (first, second) = (spec.request(&spec.url).unwrap(), spec.request(&spec.url).unwrap());
    assert_ne!(address(&first), address(&second));
    assert!(address(&first).contains("status%5B0%5D=any") && address(&first).contains("oauth_signature="));
}

#[test]
fn messages_show_neither_parameters_nor_credentials() {
    let client = client("https://shop.example", Auth::Query(vec![("key", secret("hidden"))]));
    let call = client.get("orders").query("search", "anna@example.test");
    assert_eq!(call.spec.what(), "GET https://shop.example/orders");
    assert!(!format!("{:?} {client:?}", client.options()).contains("hidden"));
}

#[test]
fn addresses_of_this_machine_are_known() {
    for (address, own) in [
        ("http://127.0.0.1:8080", true),
        ("http://127.8.8.8", true),
        ("http://[::1]:80", true),
        ("http://localhost:3000", true),
        ("http://shop.localhost", true),
        ("http://shop.example", false),
        ("http://10.0.0.1", false),
    ] {
        assert_eq!(is_this_machine(&Url::parse(address).unwrap()), own, "{address}");
    }
}
