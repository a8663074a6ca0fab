//! People in the platform's shapes: the clients' gate, the two newsletter lists, the CRM gate. May use a person and
//! nothing of the state.
//!
//! PHP's empty values are part of the shape: a list of shops is a map by number and `[]` when it is empty, a date that is
//! none is zeros, an absent consent is a zero date for some and no entry for others.

use super::people::{Channel, Client, Kind, Panel, Statement, Statements};
use super::zone::{ZERO_TIME, Zone};
use crate::sandbox::php::{Object, object};
use crate::sandbox::table::{Base, Head};
use std::sync::Arc;

/// The class of people whom a newsletter list does not hold.
pub const NOT_LISTED: &str = "-";

/// The name of a shop.
pub fn shop_name(shop: u64) -> String {
    if shop == 1 { "Sklep Przykład".to_owned() } else { format!("Sklep Przykład {shop}") }
}

/// A row of `GET /clients/clients`.
pub fn client(out: &mut Vec<u8>, client: &Client, panel: &Panel) {
    let zone = &panel.zone;
    object(out, |row| {
        row.number("clientId", client.id)
            .text("clientsLastModificationDate", &zone.time(client.modified))
            .text("clientLogin", &client.login)
            .text("clientCodeExternal", &client.code)
            .text("clientEmail", &client.email)
            .text("clientType", client.shown_type())
            .text("showClientAsPartner", "n")
            .raw("operator", "{}")
            .text("isUnregistered", if client.kind == Kind::Guest { "y" } else { "n" })
            .text("blockAutomaticallyAssigningGroupDiscount", "n")
            .object("clientBillingAddress", |address| {
                address
                    .text("clientFirstName", &client.first)
                    .text("clientLastName", &client.last)
                    .text("clientNip", &client.nip)
                    .text("clientFirm", &client.company)
                    .text("clientStreet", &client.street)
                    .text("clientZipCode", &client.zip)
                    .text("clientCity", &client.city)
                    .text("clientCountryId", &client.country)
                    .text("clientRegionId", "1143020003")
                    .text("clientProvinceId", "")
                    .text("clientPhone1", &client.phone)
                    .text("clientPhone2", &client.phone_2);
            })
            .object("clientPersonalData", |personal| {
                personal.text("clientBirthDate", &client.birthday);
            })
            .object("clientPreferences", |preferences| {
                preferences
                    .text("langId", &client.lang)
                    .text("currencyId", &client.currency)
                    .text("clientIsWholesaler", if client.nip.is_empty() { "no" } else { "yes" })
                    .text("clientVatPreferences", "bycountry")
                    .number("clientGroupDiscountNumber", 0)
                    .raw("clientGroupDiscountName", "null")
                    .text("clientNipUeDeclaration", "");
            });
        approval_dates(row, client, panel, Channel::Email);
        approval_dates(row, client, panel, Channel::Sms);
        if client.id.is_multiple_of(3) {
            row.raw("clientBalances", "[]");
        } else {
            row.objects("clientBalances", [&client.currency], |balance, currency| {
                balance.number("clientBalanceAmount", 0).text("currencyId", currency);
            });
        }
        row.object("clientTradeCredit", |credit| {
            credit
                .number("clientTradeCreditLimit", 0)
                .text("currencyId", &client.currency)
                .number("clientTradeCreditUsed", 0);
        });
        row.raw("affiliateLogin", "null").number("affiliateId", 0);
        // Some of those who never registered have no date of registration.
        if client.kind == Kind::Account || !client.id.is_multiple_of(10) {
            row.text("clientRegistrationDate", &zone.date(client.created));
        }
        active_in_shops(row, panel);
    });
}

fn active_in_shops(row: &mut Object<'_>, panel: &Panel) {
    row.objects("clientActiveInShops", 1..=panel.shops as u64, |shop, id| {
        shop.number("shopId", id).text("shopName", &shop_name(id));
    });
}

fn approval_dates(row: &mut Object<'_>, client: &Client, panel: &Panel, channel: Channel) {
    let (list, date) = match channel {
        Channel::Email => ("newsletterEmailApprovalsData", "newsletterEmailApprovalDate"),
        Channel::Sms => ("newsletterSmsApprovalsData", "newsletterSmsApprovalDate"),
    };
    let shops: Vec<(u64, String)> = (1..=panel.shops as u64)
        .zip(client.news(channel))
        .filter_map(|(shop, statement)| match statement {
            Some(Statement { agreed: true, at }) => Some((shop, panel.zone.time(*at))),
            Some(_) => Some((shop, ZERO_TIME.to_owned())),
            // Whoever never said anything has a zero date or no entry at all.
            None => client.id.is_multiple_of(2).then(|| (shop, ZERO_TIME.to_owned())),
        })
        .collect();
    row.objects(list, shops, |entry, (shop, at)| {
        entry.text(date, &at).number("shopId", shop);
    });
}

/// A row of a newsletter list.
pub fn newsletter(out: &mut Vec<u8>, client: &Client, channel: Channel, zone: &Zone) {
    object(out, |row| {
        row.number("client_number", client.id)
            .text("login", &client.login)
            .text("registered", if client.kind == Kind::Account { "y" } else { "n" })
            .text("language", &client.lang);
        match channel {
            Channel::Email => row.text("email", &client.email),
            Channel::Sms => row.text("phone_cellular", &client.phone),
        };
        let said: Vec<(u64, Statement)> =
            (1..).zip(client.news(channel)).filter_map(|(shop, statement)| Some((shop, (*statement)?))).collect();
        if said.is_empty() {
            row.raw("shops", "[]");
            return;
        }
        row.object("shops", |shops| {
            for (shop, statement) in said {
                shops.object(&shop.to_string(), |entry| {
                    entry
                        .number("shop_id", shop)
                        .text("approval", if statement.agreed { "y" } else { "n" })
                        .text("date_modification", &zone.time(statement.at));
                });
            }
        });
    });
}

/// What somebody bought.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "the platform's own words")]
pub struct Purchases {
    pub orders: u32,
    pub completed: u32,
    pub products: u32,
    /// In hundredths of the panel's currency.
    pub value: i64,
    pub last: i64,
}

/// A row of `POST /clients/crm/search`.
pub fn crm(out: &mut Vec<u8>, client: &Client, bought: Purchases, panel: &Panel) {
    let approvals = |row: &mut Object<'_>, list: &str, name: &'static str, news: &Statements| {
        let shops = (1..=panel.shops as u64).zip(news.iter().take(panel.shops));
        row.objects(list, shops, |entry, (shop, statement)| {
            let agreed = statement.is_some_and(|statement| statement.agreed);
            entry.text(name, if agreed { "y" } else { "n" }).number("shopId", shop);
        });
    };
    object(out, |row| {
        row.number("clientId", client.id)
            .text("clientLogin", &client.login)
            .text("clientEmail", &client.email)
            .text("clientType", client.written_type())
            .text("clientIsWholesaler", if client.nip.is_empty() { "no" } else { "yes" })
            .text("clientCountryId", &client.country)
            .text("langId", &client.lang)
            .number("clientOrdersCompletedCount", bought.completed)
            .number("clientOrdersAllCount", bought.orders)
            .number("clientObservedProductsCount", 0)
            .number("clientPurchasedProductsCount", bought.products)
            .raw("clientTotalOrdersValue", &amount(bought.value, 2))
            .number("clientLoyaltyPoints", 0)
            .object("clientDiscount", |discount| {
                discount.text("clientDiscountType", "none");
            });
        let last = if bought.last == 0 { ZERO_TIME.to_owned() } else { panel.zone.time(bought.last) };
        row.text("clientLastPurchaseDate", &last).text("clientLastLoginDate", &panel.zone.date(client.modified));
        active_in_shops(row, panel);
        row.text("clientPhone1", &client.phone)
            .text("clientPhone2", &client.phone_2)
            .text("clientNote", &client.note)
            .number("clientOpinionsCount", 0);
        approvals(row, "newsletterEmailApprovalsData", "inNewsletterEmailApproval", &client.email_news);
        approvals(row, "newsletterSmsApprovalsData", "inNewsletterSmsApproval", &client.sms_news);
        row.text("clientFirstName", &client.first)
            .text("clientLastName", &client.last)
            .text("clientNip", &client.nip)
            .text("clientFirm", &client.company)
            .text("clientCodeExternal", &client.code);
    });
}

/// An amount in a currency's smallest unit as PHP writes a float: `12.99`, `288`.
pub fn amount(smallest: i64, decimals: u32) -> String {
    let unit = 10_i64.pow(decimals);
    let sign = if smallest < 0 { "-" } else { "" };
    let (whole, part) = (smallest.abs() / unit, smallest.abs() % unit);
    if part == 0 {
        return format!("{sign}{whole}");
    }
    let text = format!("{sign}{whole}.{part:0width$}", width = decimals as usize);
    text.trim_end_matches('0').to_owned()
}

/// The class of somebody in a newsletter list: `yn--|y` is yes at shop 1, no at shop 2, an account.
pub fn news_class(kind: Kind, agreed: impl IntoIterator<Item = Option<bool>>) -> String {
    let mut class: String = agreed
        .into_iter()
        .map(|agreed| match agreed {
            Some(true) => 'y',
            Some(false) => 'n',
            None => '-',
        })
        .collect();
    // Who is neither registered nor ever said anything is on no list.
    if kind != Kind::Account && class.bytes().all(|letter| letter == b'-') {
        return NOT_LISTED.to_owned();
    }
    class.push_str(if kind == Kind::Account { "|y" } else { "|n" });
    class
}

/// Whether a class says this of a shop (0 is the first), and is of people with an account or without.
pub fn news_class_is(class: &str, shop: Option<usize>, approval: Option<&str>, registered: Option<&str>) -> bool {
    let Some((said, account)) = class.split_once('|') else { return false };
    if registered.is_some_and(|registered| registered != account) {
        return false;
    }
    let at = |shop: usize| said.get(shop..=shop).unwrap_or("-");
    match (shop, approval) {
        (Some(shop), Some(approval)) => at(shop) == approval,
        (Some(shop), None) => at(shop) != "-",
        (None, Some(approval)) => said.contains(approval),
        (None, None) => true,
    }
}

/// The class of a client in the clients' list.
pub fn client_class(kind: Kind, active: bool) -> &'static str {
    match (kind, active) {
        (Kind::Subscriber, _) => "subscriber",
        (Kind::Account, true) => "account",
        (Kind::Guest, true) => "guest",
        (_, false) => "inactive",
    }
}

/// Everybody as clients; subscribers have a class that the gate leaves out.
pub struct Clients(pub Arc<Panel>);

/// Everybody on a newsletter list.
pub struct Newsletter(pub Arc<Panel>, pub Channel);

impl Base for Clients {
    fn rows(&self) -> usize {
        self.0.people()
    }

    fn head(&self, position: usize) -> Head {
        let (created, modified) = (self.0.created(position), self.0.modified(position));
        Head { id: self.0.client_id(position), created, modified, settled: created }
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.0.client_position(id)
    }

    fn class(&self, position: usize) -> String {
        client_class(self.0.kind(position), true).to_owned()
    }

    fn owner(&self, _position: usize) -> u64 {
        0
    }

    fn owned(&self, _owner: u64) -> Option<Vec<usize>> {
        None
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        client(out, &self.0.client(position), &self.0);
    }

    fn is_in_step(&self) -> bool {
        true
    }
}

impl Base for Newsletter {
    fn rows(&self) -> usize {
        self.0.people()
    }

    fn head(&self, position: usize) -> Head {
        let created = self.0.created(position);
        Head { id: self.0.client_id(position), created, modified: created, settled: created }
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.0.client_position(id)
    }

    fn class(&self, position: usize) -> String {
        news_class(self.0.kind(position), self.0.agreed(position, self.1))
    }

    fn owner(&self, _position: usize) -> u64 {
        0
    }

    fn owned(&self, _owner: u64) -> Option<Vec<usize>> {
        None
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        newsletter(out, &self.0.client(position), self.1, &self.0.zone);
    }

    fn is_in_step(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_php_writes_floats() {
        assert_eq!(amount(1299, 2), "12.99");
        assert_eq!(amount(1290, 2), "12.9");
        assert_eq!(amount(1200, 2), "12");
        assert_eq!(amount(-5, 2), "-0.05");
        assert_eq!(amount(12, 0), "12");
    }

    #[test]
    fn a_class_tells_shop_approval_and_account() {
        let class = news_class(Kind::Account, [Some(true), Some(false), None, None]);
        assert_eq!(class, "yn--|y");
        assert!(news_class_is(&class, Some(0), Some("y"), None));
        assert!(!news_class_is(&class, Some(1), Some("y"), Some("y")));
        assert!(!news_class_is(&class, Some(0), Some("y"), Some("n")));
        assert!(!news_class_is(&class, Some(2), None, None));
        assert_eq!(news_class(Kind::Guest, [None, None]), NOT_LISTED);
        assert!(!news_class_is(NOT_LISTED, None, None, None));
    }
}
