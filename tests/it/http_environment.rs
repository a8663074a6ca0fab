//! What the HTTP client takes from the environment: proxies and certificate authorities. Each case is a process of its
//! own, because an environment belongs to a process.

use crate::support::web::{scripted, tls};
use std::process::Output;
use wharf::http::{Client, ClientOptions};

const MARK: &str = "the child read: ";

/// The child: reads `WHARF_TEST_URL` and says what came.
#[tokio::test]
#[ignore = "run by the other tests of this file"]
async fn child() {
    let Ok(url) = std::env::var("WHARF_TEST_URL") else { return };
    let client = Client::new(ClientOptions::new(url.parse().unwrap())).unwrap();
    let result = match client.get("orders").attempts(1).send().await {
        Ok(answer) => answer.json::<serde_json::Value>().await.map(|value| value.to_string()),
        Err(failure) => Err(failure),
    };
    println!("{MARK}{}", result.unwrap_or_else(|failure| failure.to_string()));
}

async fn read(url: &str, environment: &[(&str, &str)]) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["http_environment::child", "--exact", "--ignored", "--nocapture"]).env("WHARF_TEST_URL", url);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR").env_remove("WHARF_CA_FILE");
    command.envs(environment.iter().copied());
    let output: Output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.split_once(MARK)).map(|(_, said)| said.to_owned());
    line.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn a_proxy_is_asked_in_the_shops_place() {
    let (proxy, asked) = scripted(&[(200, "[\"proxied\"]")]).await;
    let said = read("http://shop.invalid/sub", &[("http_proxy", proxy.as_str())]).await;
    assert_eq!(said, "[\"proxied\"]");
    assert_eq!(asked.all()[0].uri, "http://shop.invalid/sub/orders");
    let environment = [("http_proxy", proxy.as_str()), ("NO_PROXY", "shop.invalid")];
    let said = read("http://shop.invalid/sub", &environment).await;
    assert!(said.contains("http://shop.invalid/sub/orders"), "{said}");
    assert_eq!(asked.count(), 1);
}

#[tokio::test]
async fn this_machine_is_never_asked_through_a_proxy() {
    let (shop, _) = scripted(&[(200, "[\"direct\"]")]).await;
    let (proxy, asked) = scripted(&[(200, "[\"proxied\"]")]).await;
    let environment = [("http_proxy", proxy.as_str()), ("ALL_PROXY", proxy.as_str())];
    assert_eq!(read(shop.as_str(), &environment).await, "[\"direct\"]");
    assert_eq!(asked.count(), 0);
}

#[tokio::test]
async fn authorities_of_the_environment_are_believed() {
    let (shop, authority, _) = tls("[\"trusted\"]").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority).unwrap();
    let path = file.path().to_str().unwrap();
    assert!(read(shop.as_str(), &[]).await.contains("certificate is not trusted"));
    assert_eq!(read(shop.as_str(), &[("WHARF_CA_FILE", path)]).await, "[\"trusted\"]");
    assert_eq!(read(shop.as_str(), &[("SSL_CERT_FILE", path)]).await, "[\"trusted\"]");
}
