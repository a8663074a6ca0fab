//! What a refusal means, in words: faults inside 207, whose codes mean other things on other gates, and HTTP errors, whose
//! text comes in `x-error` or in `errors`.
//!
//! Wrong answers avoided: taking 2 for "nothing found" on gates where it means "blocked"; printing the key when the
//! platform repeats it; showing UTF-8 that was read as Latin-1.

use super::envelope::{Fault, Faults};
use crate::http::{Answer, Failure};
use crate::{Error, Kind};
use serde::Deserialize;

/// Gates whose fault codes mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Most lists: 2 nothing found, 3 no parameters, 4 blocked.
    List,
    /// Products: 2 nothing found, 3 no parameters, 4 unknown currency, 5 blocked.
    Products,
    /// Panel categories: 2 blocked.
    Categories,
    /// The menu: 2 shop, 3 language, 4 menu.
    Menu,
}

/// What a fault means on a gate.
#[derive(Debug)]
pub enum Meaning {
    /// Nothing (more) was found.
    Empty,
    /// Something is wrong.
    Wrong(Error),
}

impl Gate {
    /// What a fault means here.
    pub fn meaning(self, fault: &Fault) -> Meaning {
        let said = said(&fault.text);
        let wrong = |kind, what: &str, hint: &str| {
            Meaning::Wrong(Error::new(kind, format!("{what} (fault {}){said}", fault.code)).hint(hint))
        };
        let blocked = || {
            wrong(
                Kind::Permission,
                "IdoSell has blocked the shop for overdue invoices",
                "the shop's owner pays them in the panel; the next run continues where this one stopped",
            )
        };
        match (self, fault.code) {
            (Gate::List | Gate::Products, 2) => Meaning::Empty,
            (Gate::List | Gate::Products, 3) => wrong(
                Kind::Protocol,
                "the shop saw no parameters in the request",
                "a proxy may take the body of requests away; else api_version may be another one than the shop's",
            ),
            (Gate::List, 4) | (Gate::Products, 5) | (Gate::Categories, 2) => blocked(),
            (Gate::Products, 4) => wrong(
                Kind::Refused,
                "the shop does not know the currency of prices",
                "set `currency` to one of the shop's",
            ),
            (Gate::Menu, 2) => {
                wrong(Kind::Refused, "the panel has no such shop", "set `shop_id` to one of the panel's shops")
            }
            (Gate::Menu, 3) => wrong(
                Kind::Refused,
                "the shop does not have this language",
                "set `lang_id` to one of the shop's, such as pol",
            ),
            (Gate::Menu, 4) => wrong(
                Kind::Refused,
                "the shop has no such menu",
                "set `menu_id` to the menu that customers see, usually 1",
            ),
            // Success, written out.
            (_, 0) if is_success(&fault.text) => Meaning::Empty,
            _ => wrong(
                Kind::Refused,
                "the shop refuses the request",
                "the fault's number is explained on idosell.readme.io at this gate",
            ),
        }
    }
}

fn is_success(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().trim_end_matches('.'), "ok" | "success" | "operation was successful")
}

/// The platform's words as the end of a sentence of ours.
fn said(text: &str) -> String {
    let words: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    let words = words.trim();
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// The text of a failed answer: the header `x-error`, else what `errors` says.
pub fn text_of(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        errors: Faults,
    }
    let header = answer.headers.get("x-error").map(|value| decoded(value.as_bytes()));
    let body = || answer.json::<Body>().and_then(|body| body.errors.0).map(|fault| fault.text);
    header.filter(|text| !text.trim().is_empty()).or_else(body).filter(|text| !text.trim().is_empty())
}

/// UTF-8, also where a proxy took it for Latin-1 and wrote it as UTF-8 once more.
fn decoded(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return bytes.iter().map(|byte| char::from(*byte)).collect();
    };
    let as_latin: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    let twice = as_latin.filter(|_| !text.is_ascii()).and_then(|bytes| String::from_utf8(bytes).ok());
    twice.unwrap_or_else(|| text.to_owned())
}

/// A failure in the platform's words, and what to do about it. `secrets`: what must not be shown even where the platform
/// repeats it.
pub fn explained(failure: Failure, secrets: &[&str]) -> Failure {
    let Some(answer) = failure.answer() else { return failure };
    let status = answer.status;
    let mut text = text_of(answer).unwrap_or_default();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "…");
    }
    if matches!(failure.kind(), Kind::Throttled | Kind::NotJson) {
        return failure;
    }
    let said = said(&text);
    failure.explained(|error| {
        let detail = format!("{error}{said}");
        let with = |kind, hint: String| Error::new(kind, detail.clone()).hint(hint);
        match status {
            401 => with(
                Kind::Credentials,
                "compare api_key with the panel's (Administracja > API > Klucze dostępowe do Admin API); it may have been \
                 removed, or be bound to the address of another machine"
                    .into(),
            ),
            403 => with(
                Kind::Permission,
                match scope(&text) {
                    Some((module, level)) => format!(
                        "give the key the right {module}, {level}, in the panel: Administracja > API > Klucze dostępowe do \
                         Admin API (the panel calls it “Scope: {module}, level: {level}”)"
                    ),
                    None => "give the key the right to read this in the panel: Administracja > API > Klucze dostępowe do \
                             Admin API"
                        .into(),
                },
            ),
            404 => with(
                Kind::Address,
                "check that base_url is the shop's host, and set api_version to a version that the shop has".into(),
            ),
            422 => with(Kind::Refused, "set api_version to 6; the shop may expect other requests in other versions".into()),
            _ => match error.hint_text() {
                Some(hint) => with(error.kind(), hint.to_owned()),
                None => Error::new(error.kind(), detail.clone()),
            },
        }
    })
}

/// The missing right, from `Scope: crm, level: r`.
pub fn scope(text: &str) -> Option<(String, &'static str)> {
    let (_, rest) = text.split_once("Scope:")?;
    let (module, level) = rest.split_once(", level:")?;
    let module = module.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' ');
    let level = match level.trim().trim_end_matches('.') {
        "r" => "r",
        "rw" => "rw",
        "w" => "w",
        _ => return None,
    };
    (!module.is_empty() && module.len() <= 60 && module.chars().all(is_name)).then(|| (module.to_owned(), level))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meaning(gate: Gate, code: i64) -> Option<Kind> {
        match gate.meaning(&Fault { code, text: String::new() }) {
            Meaning::Empty => None,
            Meaning::Wrong(error) => Some(error.kind()),
        }
    }

    #[test]
    fn one_code_means_other_things_on_other_gates() {
        for (gate, code, kind) in [
            (Gate::List, 2, None),
            (Gate::List, 3, Some(Kind::Protocol)),
            (Gate::List, 4, Some(Kind::Permission)),
            (Gate::List, 5, Some(Kind::Refused)),
            (Gate::Products, 2, None),
            (Gate::Products, 4, Some(Kind::Refused)),
            (Gate::Products, 5, Some(Kind::Permission)),
            (Gate::Categories, 2, Some(Kind::Permission)),
            (Gate::Menu, 2, Some(Kind::Refused)),
        ] {
            assert_eq!(meaning(gate, code), kind, "{gate:?} {code}");
        }
        let blocked = Gate::List.meaning(&Fault { code: 4, text: "Sklep zablokowany".into() });
        let Meaning::Wrong(error) = blocked else { panic!("not blocked") };
        assert!(error.detail().contains("overdue invoices (fault 4): Sklep zablokowany"), "{error}");
    }

    #[test]
    fn success_written_out_is_none_of_these() {
        let ok = Fault { code: 0, text: "OK".into() };
        assert!(matches!(Gate::List.meaning(&ok), Meaning::Empty));
        let unnamed = Fault { code: 0, text: "Authorization error".into() };
        assert!(matches!(Gate::List.meaning(&unnamed), Meaning::Wrong(_)));
    }

    #[test]
    fn texts_are_read_as_they_were_meant() {
        assert_eq!(decoded("Brak uprawnień".as_bytes()), "Brak uprawnień");
        let twice: String = "Brak uprawnień".bytes().map(char::from).collect();
        assert_eq!(decoded(twice.as_bytes()), "Brak uprawnień");
        assert_eq!(decoded(b"caf\xe9"), "café");
        assert_eq!(decoded("Großhandel".as_bytes()), "Großhandel");
    }

    #[test]
    fn the_missing_right_is_named() {
        assert_eq!(scope("Scope: crm, level: r"), Some(("crm".into(), "r")));
        assert_eq!(scope("Brak. Scope: oms, level: rw."), Some(("oms".into(), "rw")));
        for other in ["", "Scope: crm", "Scope: <b>, level: r", "Scope: , level: r", "Scope: crm, level: x"] {
            assert_eq!(scope(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_text_upsets_it(bytes in prop::collection::vec(any::<u8>(), 0..60), text in ".{0,60}") {
            decoded(&bytes);
            prop_assert!(said(&text).chars().count() <= 202);
            scope(&text);
        }

        #[test]
        fn polish_words_survive_a_proxy(text in "[a-zA-Ząćęłńóśźż ]{1,40}") {
            let twice: String = text.bytes().map(char::from).collect();
            prop_assert_eq!(decoded(twice.as_bytes()), text.clone());
            prop_assert_eq!(decoded(text.as_bytes()), text);
        }
    }
}
