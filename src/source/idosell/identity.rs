//! What a record is called and when it was changed, by stream (sheet, section 4).
//!
//! Numbers come as numbers or as texts. Streams that share a table have keys that cannot meet: `menu-131` and `panel-1214`,
//! `email-41` and `sms-41`, `unfinished-1047`.

use super::local_time;
use crate::source::Identity;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

type Raw<'a> = Option<&'a RawValue>;

/// Key and change time of a record. `by_shop`: an answer may speak of one shop of several.
///
/// # Errors
/// Why the record has no key.
pub fn of(stream: &str, record: &[u8], zone: &TimeZone, by_shop: bool) -> Result<Identity, String> {
    if record.first() != Some(&b'{') {
        return Err("the record is no object".to_owned());
    }
    let stamp = |raw: Raw<'_>| text(raw).and_then(|text| local_time::stamp(&text, zone));
    match stream {
        "customers" => {
            let client: Client<'_> = parsed(record)?;
            keyed(number(client.id).ok_or("the record has no clientId")?, stamp(client.changed))
        }
        "subscribers" => subscriber(&parsed(record)?, zone, by_shop),
        "orders" | "unfinished_orders" => {
            let order: Order<'_> = parsed(record)?;
            let key = number(order.serial).ok_or("the record has no orderSerialNumber")?;
            let key = if stream == "orders" { key } else { format!("unfinished-{key}") };
            let dates = order.details.unwrap_or_default();
            keyed(key, stamp(dates.changed).or_else(|| stamp(dates.added)))
        }
        "products" => {
            let product: Product<'_> = parsed(record)?;
            let changes = [product.modified, product.price, product.quantity, product.added];
            let key = number(product.id).ok_or("the record has no productId")?;
            keyed(key, changes.into_iter().filter_map(stamp).max())
        }
        "categories" => {
            let category: Category<'_> = parsed(record)?;
            match (number(category.item), number(category.id)) {
                (Some(item), _) => keyed(format!("menu-{item}"), None),
                (None, Some(id)) => keyed(format!("panel-{id}"), None),
                (None, None) => Err("the record has neither item_id nor id".into()),
            }
        }
        "returns" => {
            let back: Return<'_> = parsed(record)?;
            let key = number(back.id).ok_or("the record has no id")?;
            let changes = [back.edited, back.ended, back.added];
            let updated_at = changes.into_iter().filter_map(stamp).max();
            Ok(Identity { key, updated_at, parent: number(back.order) })
        }
        "offers" | "offer_prices" | "offer_categories" => {
            let element: Element<'_> = parsed(record)?;
            let key = text(element.id).filter(|key| !key.is_empty()).ok_or("the element has no id")?;
            keyed(key, None)
        }
        other => Err(format!("IdoSell has no stream {other}")),
    }
}

/// Whether a product is the template that new ones are made from: number 0, which some panels list although nobody asks
/// for it (sheet, section 4).
pub fn is_template(product: &[u8]) -> bool {
    let product = parsed::<Product<'_>>(product);
    product.is_ok_and(|product| product.id.is_some_and(|id| id.get().trim_matches('"').trim() == "0"))
}

fn keyed(key: String, updated_at: Option<Timestamp>) -> Result<Identity, String> {
    Ok(Identity { key, updated_at, parent: None })
}

/// `email-41`; where an answer speaks of one shop only, `email-41-2`; for somebody without a number, `email-` and the
/// address.
fn subscriber(record: &Subscriber<'_>, zone: &TimeZone, by_shop: bool) -> Result<Identity, String> {
    let phone = text(record.phone).filter(|phone| !phone.is_empty());
    let address = text(record.email).filter(|email| !email.is_empty());
    let channel = if address.is_none() && (phone.is_some() || record.phone.is_some()) { "sms" } else { "email" };
    let who = number(record.number).filter(|number| number != "0").or_else(|| {
        let own = if channel == "sms" { phone } else { address };
        own.map(|own| own.to_lowercase())
    });
    let who = who.ok_or("the record has neither client_number nor address")?;
    let shops = record.shops.map(shops).unwrap_or_default();
    let updated_at = shops.iter().filter_map(|(_, date)| local_time::stamp(date, zone)).max();
    let key = match shops.as_slice() {
        [(shop, _)] if by_shop => format!("{channel}-{who}-{shop}"),
        _ => format!("{channel}-{who}"),
    };
    keyed(key, updated_at)
}

/// The shops of an answer with the date of each: a map by number, a list, or `[]` for none.
fn shops(raw: &RawValue) -> Vec<(String, String)> {
    use serde_json::Value;
    let said = |number: Option<&String>, shop: &Value| {
        let own = match &shop["shop_id"] {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text.clone()),
            _ => None,
        };
        let date = shop["date_modification"].as_str().unwrap_or_default().to_owned();
        own.or_else(|| number.cloned()).map(|number| (number, date))
    };
    match serde_json::from_str(raw.get()) {
        Ok(Value::Object(map)) => map.iter().filter_map(|(number, shop)| said(Some(number), shop)).collect(),
        Ok(Value::Array(list)) => list.iter().filter_map(|shop| said(None, shop)).collect(),
        _ => Vec::new(),
    }
}

fn parsed<'a, T: Deserialize<'a>>(record: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(record).map_err(|_| "the record cannot be read".to_owned())
}

/// A whole number above nothing, written as a number or a text.
fn number(raw: Raw<'_>) -> Option<String> {
    let digits = raw?.get().trim_matches('"').trim();
    let is_key = !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_key && digits.bytes().any(|byte| byte != b'0')).then(|| digits.trim_start_matches('0').to_owned())
}

/// A text; a number as it is written.
fn text(raw: Raw<'_>) -> Option<String> {
    let raw = raw?.get();
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(raw).ok().map(|text| text.trim().to_owned()),
        b'0'..=b'9' => Some(raw.to_owned()),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Client<'a> {
    #[serde(borrow, rename = "clientId")]
    id: Raw<'a>,
    #[serde(borrow, rename = "clientsLastModificationDate")]
    changed: Raw<'a>,
}

#[derive(Deserialize)]
struct Subscriber<'a> {
    #[serde(borrow, rename = "client_number")]
    number: Raw<'a>,
    #[serde(borrow)]
    email: Raw<'a>,
    #[serde(borrow, rename = "phone_cellular")]
    phone: Raw<'a>,
    #[serde(borrow)]
    shops: Raw<'a>,
}

#[derive(Deserialize)]
struct Order<'a> {
    #[serde(borrow, rename = "orderSerialNumber")]
    serial: Raw<'a>,
    #[serde(borrow, rename = "orderDetails")]
    details: Option<Dates<'a>>,
}

#[derive(Default, Deserialize)]
struct Dates<'a> {
    #[serde(borrow, rename = "orderChangeDate")]
    changed: Raw<'a>,
    #[serde(borrow, rename = "orderAddDate")]
    added: Raw<'a>,
}

#[derive(Deserialize)]
struct Product<'a> {
    #[serde(borrow, rename = "productId")]
    id: Raw<'a>,
    #[serde(borrow, rename = "productModificationTime")]
    modified: Raw<'a>,
    #[serde(borrow, rename = "productPriceChangedTime")]
    price: Raw<'a>,
    #[serde(borrow, rename = "productQuantityChangedTime")]
    quantity: Raw<'a>,
    #[serde(borrow, rename = "productAddingTime")]
    added: Raw<'a>,
}

#[derive(Deserialize)]
struct Category<'a> {
    #[serde(borrow, rename = "item_id")]
    item: Raw<'a>,
    #[serde(borrow)]
    id: Raw<'a>,
}

#[derive(Deserialize)]
struct Return<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow, rename = "order_sn")]
    order: Raw<'a>,
    #[serde(borrow, rename = "date_last_edit")]
    edited: Raw<'a>,
    #[serde(borrow, rename = "date_end")]
    ended: Raw<'a>,
    #[serde(borrow, rename = "date_add")]
    added: Raw<'a>,
}

#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow, rename = "@id")]
    id: Raw<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(stream: &str, record: serde_json::Value, by_shop: bool) -> Result<Identity, String> {
        of(stream, record.to_string().as_bytes(), &TimeZone::get("Europe/Warsaw").unwrap(), by_shop)
    }

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_stream_has_its_key_and_its_time() {
        let identity = |key: &str, updated_at| Identity { key: key.into(), updated_at, parent: None };
        for (stream, record, expected) in [
            (
                "customers",
                json!({"clientId": "41", "clientsLastModificationDate": "2026-02-14 09:12:33"}),
                identity("41", at("2026-02-14T08:12:33Z")),
            ),
            (
                "orders",
                json!({"orderSerialNumber": 1045, "orderDetails": {"orderChangeDate": "2026-02-16 13:20:05", "orderAddDate": "x"}}),
                identity("1045", at("2026-02-16T12:20:05Z")),
            ),
            (
                "orders",
                json!({"orderSerialNumber": 1, "orderDetails": {"orderChangeDate": "0000-00-00 00:00:00", "orderAddDate": "2026-02-16 13:20:05"}}),
                identity("1", at("2026-02-16T12:20:05Z")),
            ),
            ("orders", json!({"orderSerialNumber": 2}), identity("2", None)),
            (
                "unfinished_orders",
                json!({"orderSerialNumber": 7, "orderDetails": {"orderChangeDate": 0}}),
                identity("unfinished-7", None),
            ),
            (
                "products",
                json!({"productId": 101, "productModificationTime": "2026-02-12 12:00:00", "productQuantityChangedTime": "2026-02-15 10:58:00"}),
                identity("101", at("2026-02-15T09:58:00Z")),
            ),
            ("categories", json!({"id": 1214, "parent_id": 1200}), identity("panel-1214", None)),
            ("categories", json!({"item_id": "131", "parent_id": 0}), identity("menu-131", None)),
            ("offers", json!({"@id": "101"}), identity("101", None)),
        ] {
            assert_eq!(read(stream, record.clone(), false).unwrap(), expected, "{stream} {record}");
        }
        let back =
            read("returns", json!({"id": 71, "order_sn": "1045", "date_add": "2026-02-20 10:00:00"}), false).unwrap();
        assert_eq!((back.key.as_str(), back.parent.as_deref()), ("71", Some("1045")));
    }

    #[test]
    fn a_subscriber_is_known_by_number_channel_and_where_it_must_be_shop() {
        let one = json!({"1": {"shop_id": 1, "approval": "y", "date_modification": "2025-11-03 18:40:11"}});
        let two = json!({"1": {"shop_id": 1}, "2": {"shop_id": 2, "date_modification": "2026-01-01 00:00:00"}});
        let key =
            |record: serde_json::Value, by_shop| read("subscribers", record, by_shop).map(|identity| identity.key);
        assert_eq!(key(json!({"client_number": 41, "email": "a@b.pl", "shops": one}), false).unwrap(), "email-41");
        assert_eq!(key(json!({"client_number": 41, "email": "a@b.pl", "shops": one}), true).unwrap(), "email-41-1");
        assert_eq!(key(json!({"client_number": 41, "email": "a@b.pl", "shops": two}), true).unwrap(), "email-41");
        assert_eq!(key(json!({"client_number": 41, "phone_cellular": "500", "shops": []}), true).unwrap(), "sms-41");
        assert_eq!(
            key(json!({"client_number": 0, "email": " Zofia@B.pl ", "shops": []}), false).unwrap(),
            "email-zofia@b.pl"
        );
        assert!(key(json!({"client_number": 0, "shops": []}), false).is_err());
        let dated = read("subscribers", json!({"client_number": 41, "email": "a@b.pl", "shops": two}), false).unwrap();
        assert_eq!(dated.updated_at, at("2025-12-31T23:00:00Z"));
    }

    #[test]
    fn records_without_a_key_say_why() {
        for stream in
            ["customers", "subscribers", "orders", "unfinished_orders", "products", "categories", "returns", "offers"]
        {
            for record in [
                json!({}),
                json!([]),
                json!(null),
                json!({"clientId": 0, "orderSerialNumber": "", "productId": -1, "id": 1.5}),
            ] {
                assert!(read(stream, record.clone(), false).is_err(), "{stream} {record}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_record_upsets_it(text in "[{}\\[\\]\":,a-zA-Z0-9_@ ]{0,80}", stream in prop::sample::select(vec![
            "customers", "subscribers", "orders", "products", "categories", "returns", "offers",
        ])) {
            let _ = of(stream, text.as_bytes(), &TimeZone::UTC, true);
        }
    }
}
