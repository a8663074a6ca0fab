//! What an emulated IdoSell panel shows a caller: every list as its gate gives it, asked past the network and its faults.

use serde_json::{Value, json};
use wharf::sandbox::Sandbox;
use wharf::sandbox::idosell::iof::File;
use wharf::sandbox::idosell::params::{MOST, Query};
use wharf::sandbox::idosell::people::Channel;
use wharf::sandbox::idosell::shop::Shop;
use wharf::sandbox::idosell::{reads, reads_goods};

/// All lists of a panel, as the first of its shops counts.
pub struct AtPanel {
    /// With an account and without.
    pub clients: Vec<Value>,
    /// Who said yes or no to the newsletter by e-mail.
    pub email: Vec<Value>,
    /// Who said yes or no to the one by text message.
    pub sms: Vec<Value>,
    pub orders: Vec<Value>,
    pub unfinished: Vec<Value>,
    /// Deleted ones included.
    pub products: Vec<Value>,
    pub categories: Vec<Value>,
    pub menu: Vec<Value>,
    pub returns: Vec<Value>,
    /// Number and price of what stands in the offer's files, once there are any.
    pub offers: Vec<Value>,
    pub offer_prices: Vec<Value>,
    pub offer_categories: Vec<Value>,
}

impl AtPanel {
    pub fn of(sandbox: &Sandbox) -> Self {
        let mut shop = sandbox.idosell().unwrap().write();
        let shop = &mut *shop;
        let newsletter = |shop: &Shop, channel| {
            let said = json!([{"shop_id": 1, "approval": "y"}, {"shop_id": 1, "approval": "n"}]);
            every("clients", |page| {
                let params = json!({"shops": said, "results_page": page, "results_limit": MOST});
                reads::newsletter(shop, channel, &json!({"params": params}))
            })
        };
        let orders = |shop: &Shop, unfinished| {
            let range = json!({"ordersDateRange": {"ordersDateType": "add", "ordersDateBegin": "2000-01-01",
                "ordersDateEnd": "2099-01-01"}});
            every("Results", |page| {
                let params = json!({"ordersRange": range, "resultsPage": page, "resultsLimit": MOST});
                reads::orders(shop, &json!({"params": params}), unfinished)
            })
        };
        let products = |shop: &Shop, which: &str| {
            every("results", |page| {
                let params = json!({"returnProducts": which, "skipDefaultProduct": "y", "showPromotionsPrices": "y",
                    "resultsPage": page, "resultsLimit": MOST});
                reads_goods::products(shop, &json!({"params": params}))
            })
        };
        let of_page = |page| Query::read(&format!("results_page={page}&results_limit={MOST}"));
        let days = "range[date][date_begin]=2000-01-01&range[date][date_end]=2099-01-01";
        Self {
            clients: every("results", |page| {
                reads::clients(shop, &Query::read(&format!("resultsPage={page}&resultsLimit={MOST}")))
            }),
            email: newsletter(shop, Channel::Email),
            sms: newsletter(shop, Channel::Sms),
            orders: orders(shop, false),
            unfinished: orders(shop, true),
            products: [products(shop, "active"), products(shop, "deleted")].concat(),
            categories: every("categories", |page| reads_goods::categories(shop, &of_page(page))),
            menu: list(&reads_goods::menu(shop, &Query::read("shop_id=1&menu_id=1&lang_id=pol")).unwrap(), "result"),
            returns: every("returns", |page| {
                let query = format!("{days}&results_page={page}&results_limit={MOST}");
                reads::returns(shop, &Query::read(&query))
            }),
            offers: offered(shop, File::Full, "<product "),
            offer_prices: offered(shop, File::Light, "<product "),
            offer_categories: offered(shop, File::Categories, "<category "),
        }
    }
}

fn offered(shop: &Shop, file: File, element: &str) -> Vec<Value> {
    let Some(offer) = shop.feed.offer() else { return Vec::new() };
    let text = String::from_utf8(offer.pieces(file, 1).flatten().collect()).unwrap();
    let read = |element: &str| {
        let behind = |name: &str| element.split_once(name).and_then(|(_, rest)| rest.split('"').next());
        json!({"@id": behind("id=\""), "price": [{"@gross": behind("<price gross=\"")}]})
    };
    text.split(element).skip(1).map(read).collect()
}

fn list(body: &[u8], name: &str) -> Vec<Value> {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    serde_json::from_value(body[name].take()).unwrap()
}

/// Every row of a list, page by page: it ends with an empty page, or with the fault that means one.
fn every(name: &str, mut page: impl FnMut(usize) -> reads::Answer) -> Vec<Value> {
    let mut rows = Vec::new();
    for number in 0.. {
        let found = match page(number) {
            Ok(body) => list(&body, name),
            Err(refusal) => {
                let fault = refusal.body["errors"]["faultCode"].to_string();
                assert_eq!(fault.trim_matches('"'), "2", "{name}: {}", refusal.body);
                Vec::new()
            }
        };
        if found.is_empty() {
            break;
        }
        rows.extend(found);
    }
    rows
}
