//! The emulated offer in files: hashes, pieces, files of changes.

use crate::support::panel::Panel;
use md5::{Digest, Md5};
use serde_json::json;
use wharf::sandbox::idosell::Options;

struct Listed {
    url: String,
    hash: String,
}

/// The file that an element of the gateway names.
fn listed(gateway: &str, element: &str) -> Vec<Listed> {
    let attribute = |tag: &str, name: &str| {
        let value = tag.split_once(&format!("{name}=\"")).unwrap().1;
        value.split_once('"').unwrap().0.replace("&amp;", "&")
    };
    let tags = gateway.split('<').filter(|tag| tag.starts_with(&format!("{element} ")));
    tags.map(|tag| Listed { url: attribute(tag, "url"), hash: attribute(tag, "hash") }).collect()
}

async fn text_of(panel: &Panel, url: &str) -> String {
    let answer = panel.send(panel.http.get(url)).await;
    assert_eq!(answer.status, 200, "{url}");
    answer.text
}

#[tokio::test]
async fn every_file_of_the_gateway_has_the_hash_that_it_names() {
    let panel = Panel::small().await;
    let gateway = text_of(&panel, &panel.platform().offer_url(1)).await;
    for element in ["full", "light", "categories"] {
        let file = listed(&gateway, element).remove(0);
        let text = text_of(&panel, &file.url).await;
        assert_eq!(hex::encode(Md5::digest(text.as_bytes())), file.hash, "{element}");
    }
    assert_eq!(gateway, text_of(&panel, &panel.platform().offer_url(1)).await, "nothing changed, no hash changed");
    let without_token = panel.platform().offer_url(1).replace("token=test", "token=no");
    assert_eq!(panel.send(panel.http.get(without_token)).await.status, 403);
}

#[tokio::test]
async fn a_change_stands_in_a_file_of_changes_and_in_the_full_file_once_it_is_made_anew() {
    let panel = Panel::small().await;
    let gateway = text_of(&panel, &panel.platform().offer_url(1)).await;
    assert!(listed(&gateway, "change").is_empty());
    let full = text_of(&panel, &listed(&gateway, "full")[0].url).await;
    let is_shown = |id: &u64| full.contains(&format!("<product id=\"{id}\" "));
    let product = (0..500).map(|place| 100 + place * 8).find(is_shown).unwrap();
    panel.change(json!({"edit_product": {"id": product, "price": 123.45}}));
    assert_eq!(full, text_of(&panel, &listed(&gateway, "full")[0].url).await, "the file is of yesterday");

    assert_eq!(panel.change(json!({"offer": "changes"}))["products"], json!([product]));
    let changed = text_of(&panel, &panel.platform().offer_url(1)).await;
    let file = listed(&changed, "change").remove(0);
    let text = text_of(&panel, &file.url).await;
    assert_eq!(hex::encode(Md5::digest(text.as_bytes())), file.hash);
    assert!(text.contains("gross=\"123.45\"") && text.matches("<product id=").count() == 1);
    assert_eq!(panel.change(json!({"offer": "changes"}))["products"], json!([]), "what was told is not told again");

    panel.change(json!({"offer": "full"}));
    let anew = text_of(&panel, &panel.platform().offer_url(1)).await;
    assert_ne!(listed(&anew, "full")[0].hash, listed(&gateway, "full")[0].hash);
    assert!(listed(&anew, "change").is_empty());
}

#[tokio::test]
async fn prices_of_the_light_file_hold_the_rebate_and_uncounted_stock_is_minus_one() {
    let panel = Panel::small().await;
    let gateway = text_of(&panel, &panel.platform().offer_url(1)).await;
    let full = text_of(&panel, &listed(&gateway, "full")[0].url).await;
    let light = text_of(&panel, &listed(&gateway, "light")[0].url).await;
    let price = |text: &str| {
        let tag = text.split_once("<price gross=\"").unwrap().1;
        tag.split_once('"').unwrap().0.parse::<f64>().unwrap()
    };
    assert!((price(&light) - price(&full) * 0.95).abs() < 0.011);
    assert!(full.contains("quantity=\"-1\"") && full.contains(".5\" available_stock_quantity="));
    assert!(full.contains("xmlns:iaiext=") && full.contains("\\"), "menu paths");
    assert_eq!(full.matches("<product id=").count(), light.matches("<product id=").count());
    let other_shop = text_of(&panel, &panel.platform().offer_url(2)).await;
    assert_ne!(listed(&other_shop, "full")[0].hash, listed(&gateway, "full")[0].hash, "menus are of a shop");
}

#[tokio::test]
async fn a_large_offer_is_sent_in_pieces_and_all_of_it() {
    let products = 5_000;
    let panel = Panel::open(Options { products, orders: 20, customers: 20, ..Options::small() }).await;
    let gateway = text_of(&panel, &panel.platform().offer_url(1)).await;
    let light = text_of(&panel, &listed(&gateway, "light")[0].url).await;
    let sent = light.matches("<product id=").count() as u64;
    assert!(sent > products * 9 / 10 && sent < products, "{sent}");
    assert!(light.ends_with("</products>\n</offer>\n"));
}
