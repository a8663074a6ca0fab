//! What `wharf check` finds at a panel: address, key, clocks, and which lists may be read. What is missing is named in the
//! platform's own words.

use super::passes::{Ask, Pass};
use super::{IdoSell, Shop};
use crate::source::Finding;
use crate::{Error, Kind, Result, clock};
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::Deserialize;
use serde_json::Value;

/// Clocks may differ by this much without anything being lost.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// All findings.
pub async fn findings(shop: &IdoSell) -> Vec<Finding> {
    let mut findings = Vec::new();
    let what = "the shop's API answers and takes the key";
    match shop.config().await {
        Ok(config) => {
            let names: Vec<String> = config.shops.iter().filter_map(named).collect();
            let languages: Vec<&str> = config.languages.iter().filter_map(|one| one["lang_id"].as_str()).collect();
            let currency = config.panel_basecurrency_id.unwrap_or_default();
            let about = format!(
                "shops {}; languages {}; the panel counts in {currency}",
                names.join(", "),
                languages.join(", ")
            );
            findings
                .push(Finding::passed(what, format!("{} at {}: {about}", shop.api, shop.client.options().base_url)));
            let known: Vec<u32> = config.shops.iter().filter_map(Shop::number).collect();
            let unknown: Vec<String> =
                shop.shops().iter().filter(|one| !known.contains(one)).map(ToString::to_string).collect();
            if !unknown.is_empty() && !known.is_empty() {
                let error = Error::new(Kind::PipelineFile, format!("the panel has no shop {}", unknown.join(", ")))
                    .hint("set shop_id to one of those above, or to `all`");
                findings.push(Finding::failed("the shop is one of the panel's", &error));
            }
            let _ = shop.shops.set(known);
            findings.extend(clocks(shop).await);
        }
        // It knows the key, or it would not know what the key may not.
        Err(error) if error.kind() == Kind::Permission => {
            let detail = format!(
                "{}; the right SYSTEM, r, is missing: shops, clock and server load cannot be asked for",
                shop.api
            );
            findings.push(Finding::passed(what, detail));
        }
        Err(error) => {
            findings.push(Finding::failed(what, &error));
            return findings;
        }
    }
    let first = shop.shops().first().copied().unwrap_or(1);
    let approval = "y";
    for (what, ask, windowed) in [
        ("customers can be read", Ask::Clients { keys: true }, false),
        ("newsletter subscribers can be read", Ask::Newsletter { channel: "email", shop: first, approval }, false),
        ("SMS subscribers can be read", Ask::Newsletter { channel: "sms", shop: first, approval }, false),
        ("orders can be read", Ask::Orders { by: "add", kind: None }, true),
        ("returns can be read", Ask::Returns { by: "date_add" }, true),
        ("products can be read", Ask::Products { which: "active", by: None, keys: true }, false),
        ("categories can be read", Ask::Categories, false),
        ("the menu can be read", Ask::Menu { shop: first }, false),
    ] {
        let until = shop.until();
        let from = windowed.then(|| until.checked_sub(30.days()).unwrap_or(until));
        findings.push(match shop.ask_first(&Pass { ask, from }).await {
            Ok(envelope) => {
                let total = envelope.total.unwrap_or(envelope.records.len() as u64);
                let span = if windowed { " in the last 30 days" } else { "" };
                Finding::passed(what, format!("{total}{span}"))
            }
            Err(error) => Finding::failed(what, &error),
        });
        // Wrong keys are counted somewhere: once is enough.
        if findings.last().is_some_and(|finding| !finding.ok && finding.detail.starts_with(Kind::Credentials.code())) {
            return findings;
        }
    }
    if let Some(feed) = &shop.feed {
        let what = "the offer feed can be read";
        findings.push(match feed.describe().await {
            Ok(files) => Finding::passed(what, files),
            Err(error) => Finding::failed(what, &error),
        });
    }
    findings
}

fn named(shop: &Shop) -> Option<String> {
    let number = shop.number()?;
    Some(match &shop.shop_name {
        Some(name) => format!("{number} ({name})"),
        None => number.to_string(),
    })
}

/// Whether the shop's clocks agree: windows of time end a minute before the present that its answers are dated by,
/// whatever the clock of this machine says.
async fn clocks(shop: &IdoSell) -> Option<Finding> {
    #[derive(Deserialize)]
    struct Answer {
        time: Value,
    }
    let theirs: Result<Timestamp> = async {
        let answer =
            shop.get("system/serverTime").attempts(2).send().await.map_err(|failure| shop.explained(failure))?;
        shop.note_clock(&answer);
        let answer: Answer = answer.json().await?;
        let seconds = answer.time.as_i64().or_else(|| answer.time.as_str()?.trim().parse().ok());
        let moment = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        moment.ok_or_else(|| Error::new(Kind::Protocol, "the shop's time is no time"))
    }
    .await;
    let theirs = theirs.ok()?;
    let apart = shop.now().duration_since(theirs).abs();
    let ok = apart <= CLOCKS;
    let detail = if ok {
        let ours = clock::wall().duration_since(theirs).abs().as_secs();
        format!("the shop's and this machine's differ by {ours} s; Wharf goes by the shop's")
    } else {
        let apart = apart.as_secs();
        format!(
            "the time that the shop tells and the date of its answers differ by {apart} s: changes may be found late; tell its support"
        )
    };
    Some(Finding { what: "the shop's clocks agree".into(), ok, detail })
}
