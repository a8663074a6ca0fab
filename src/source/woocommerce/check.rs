//! What `wharf check` finds at a shop: address, clock, and which lists may be read.

use super::faults::CLOCK_TOLERANCE;
use super::settings::Auth;
use super::{WC, WP, WooCommerce};
use crate::http::{self, Failure};
use crate::source::{Finding, Source};
use crate::{Error, Kind, Result, clock};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::sync::atomic::Ordering;

/// What `GET /wp-json/wc/v3` says to anybody.
#[derive(Deserialize)]
struct Routes {
    namespace: String,
}

impl WooCommerce {
    pub(super) async fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let clock = match self.reach().await {
            Ok(date) => {
                findings.push(Finding::passed(
                    "the shop's API answers",
                    format!("wc/v3 at {}", self.client.options().base_url),
                ));
                date
            }
            Err(failure) => {
                findings.push(Finding::failed("the shop's API answers", failure.error()));
                return findings;
            }
        };
        if let (Auth::Oauth1, Some(theirs)) = (self.auth, clock) {
            let apart = clock::wall().duration_since(theirs).abs();
            let seconds = apart.as_secs();
            let what = "the clocks agree well enough for OAuth signatures".to_owned();
            let ok = apart < CLOCK_TOLERANCE;
            let advice =
                if ok { "" } else { "; set the clock of the machine that is wrong, or use `auth: basic` on https" };
            findings.push(Finding { what, ok, detail: format!("the shop's differs by {seconds} s{advice}") });
        }
        let role = ("role", self.settings.role.as_str());
        for (what, path, parameter) in [
            ("orders can be read", "orders", ("status", "any")),
            ("customers can be read", "customers", role),
            ("products can be read", "products", ("status", "any")),
            ("categories can be read", "products/categories", ("hide_empty", "false")),
        ] {
            findings.push(self.readable(what, &format!("{WC}/{path}"), &[parameter]).await);
            // Without valid credentials every further call would say the same, and hosts lock out who asks too often.
            if findings.last().is_some_and(|finding| !finding.ok) && path == "orders" {
                return findings;
            }
        }
        findings.push(match self.prepare().await {
            Ok(()) if self.refunds_by_order.load(Ordering::Relaxed) => Finding::passed(
                "refunds can be read",
                "order by order, because this WooCommerce is older than 9.0".to_owned(),
            ),
            Ok(()) => Finding::passed("refunds can be read", "in one list".to_owned()),
            Err(error) => Finding::failed("refunds can be read", &error),
        });
        if self.settings.wp_user.is_some() {
            let parameters = [("context", "edit"), ("roles", "subscriber")];
            findings.push(self.readable("subscribers can be read", &format!("{WP}/users"), &parameters).await);
        }
        findings
    }

    /// Whether the API is there at all; gives the shop's clock. Asked without credentials: it says nothing about them.
    async fn reach(&self) -> Result<Option<Timestamp>, Failure> {
        let call = self.client.get(WC).auth(http::Auth::None).attempts(2);
        let answer = self.send(call).await?;
        let date = answer.date();
        let routes: Routes = answer.json().await?;
        match routes.namespace.as_str() {
            "wc/v3" => Ok(date),
            _ => Err(Error::new(Kind::Address, "the address answers, but not as WooCommerce does").into()),
        }
    }

    async fn readable(&self, what: &str, path: &str, parameters: &[(&str, &str)]) -> Finding {
        let mut call = self.call(path).attempts(2);
        for (name, value) in parameters {
            call = call.query(name, value);
        }
        let answer = match self.send(call.query("per_page", 1).query("_fields", "id")).await {
            Ok(answer) => answer,
            Err(failure) => return Finding::failed(what, failure.error()),
        };
        let total = answer.number("x-wp-total");
        match answer.json::<Vec<Value>>().await {
            Err(failure) => Finding::failed(what, failure.error()),
            Ok(_) => {
                Finding::passed(what, total.map_or_else(|| "readable".to_owned(), |total| format!("{total} in all")))
            }
        }
    }
}
