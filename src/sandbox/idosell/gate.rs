//! The door of the interface: versions, keys and tokens, rights per module, and the answers that are no rows. May use
//! nothing of the state.
//!
//! What is wrong is told in three ways, all of which occur: a status with a body whose `errors` are an object or a list,
//! a header `x-error` in UTF-8, and a 207 that is a success with a fault inside.

use axum::http::{HeaderMap, Method};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The key that may do everything.
pub const API_KEY: &str = "YXBwbGljYXRpb24xOnNhbmRib3gta2V5LWZ1bGw=";
/// The key that may read everything and write nothing.
pub const READ_KEY: &str = "YXBwbGljYXRpb24yOnNhbmRib3gta2V5LXJlYWQ=";
/// The user whose password gives tokens.
pub const USER: &str = "pipeline";
/// That password.
pub const PASSWORD: &str = "Haslo-Testowe-1";
/// How long a token opens the door.
const TOKEN_SECONDS: i64 = 3600;

/// The versions that are answered.
pub const VERSIONS: std::ops::RangeInclusive<u32> = 5..=8;

/// An answer that is no rows.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// The header `x-error`, in UTF-8.
    pub x_error: Option<String>,
}

impl Refusal {
    fn new(status: u16, errors: Value, x_error: &str) -> Self {
        Self { status, body: json!({ "errors": errors }), x_error: Some(x_error.to_owned()) }
    }

    /// A fault inside a success.
    pub fn fault(code: u32, text: &str) -> Self {
        Self { status: 207, body: json!({ "errors": { "faultCode": code, "faultString": text } }), x_error: None }
    }

    /// The same by a gate that writes its codes as texts.
    pub fn spelt_fault(code: u32, text: &str) -> Self {
        let code = code.to_string();
        Self { status: 207, body: json!({ "errors": { "faultCode": code, "faultString": text } }), x_error: None }
    }

    /// A batch of which some records failed.
    pub fn partly(body: Value) -> Self {
        Self { status: 207, body, x_error: None }
    }

    /// No such path, or no such version.
    pub fn not_found() -> Self {
        Self::new(404, json!({ "message": "Not found" }), "Not found")
    }

    /// A request in a shape that the gate does not take.
    pub fn unreadable(text: &str) -> Self {
        let text = format!("Nieprawidłowy format danych: {text}");
        Self::new(422, json!([{ "message": text }]), &text)
    }

    fn unknown_caller() -> Self {
        Self::new(401, json!([{ "message": "Authorization error" }]), "Authorization error")
    }

    fn no_right(module: &str, level: &str) -> Self {
        let text = format!("Scope: {module}, level: {level}");
        Self::new(403, json!({ "message": text }), &text)
    }
}

/// What a key may do in a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

impl Right {
    /// Reads `none`, `r`, `rw`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Right::None),
            "r" => Some(Right::Read),
            "rw" => Some(Right::Write),
            _ => None,
        }
    }
}

/// The modules that rights are given for.
pub const MODULES: [&str; 4] = ["crm", "oms", "pim", "system"];

/// The module of a path.
pub fn module(path: &str) -> &'static str {
    match path.split('/').next().unwrap_or_default() {
        "clients" => "crm",
        "products" | "menu" => "pim",
        "system" | "shops" => "system",
        _ => "oms",
    }
}

/// Who may do what.
#[derive(Debug, Clone)]
pub struct Access {
    rights: BTreeMap<&'static str, Right>,
    tokens: BTreeMap<String, i64>,
    issued: u64,
}

impl Default for Access {
    fn default() -> Self {
        let rights = MODULES.into_iter().map(|module| (module, Right::Write)).collect();
        Self { rights, tokens: BTreeMap::new(), issued: 0 }
    }
}

impl Access {
    /// Lets keys do so much in a module; says whether there is such a module.
    pub fn set(&mut self, module: &str, right: Right) -> bool {
        match self.rights.get_mut(module) {
            Some(known) => {
                *known = right;
                true
            }
            None => false,
        }
    }

    /// Lets no token open the door any more.
    pub fn expire_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Lets a caller through who may read, or write, in the module of a path.
    ///
    /// # Errors
    /// 401 for nobody, 403 with the missing scope.
    pub fn check(&self, headers: &HeaderMap, path: &str, writes: bool, now: i64) -> Result<(), Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let most = match (text("x-api-key"), text("authorization").strip_prefix("Bearer ")) {
            (API_KEY, _) => Right::Write,
            (READ_KEY, _) => Right::Read,
            ("", Some(token)) if self.tokens.get(token).is_some_and(|until| now < *until) => Right::Write,
            _ => return Err(Refusal::unknown_caller()),
        };
        let module = module(path);
        let right = self.rights.get(module).copied().unwrap_or(Right::None).min(most);
        let wanted = if writes { Right::Write } else { Right::Read };
        if right < wanted {
            return Err(Refusal::no_right(module, if writes { "rw" } else { "r" }));
        }
        Ok(())
    }

    /// Gives a token for user and password.
    ///
    /// # Errors
    /// 401 for others, 422 for another scope.
    pub fn token(&mut self, headers: &HeaderMap, body: &Value, now: i64) -> Result<Value, Refusal> {
        let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let given = headers.get("authorization").and_then(|value| value.to_str().ok());
        if given != Some(basic.as_str()) {
            return Err(Refusal::unknown_caller());
        }
        if body["scope"] != json!(["admin"]) {
            return Err(Refusal::unreadable("scope"));
        }
        self.issued += 1;
        let token = format!("sandbox-token-{:06}", self.issued);
        self.tokens.insert(token.clone(), now + TOKEN_SECONDS);
        Ok(json!({ "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "access_token": token }))
    }
}

/// A path below the version: `/api/admin/v6/clients/clients` is `(6, "clients/clients")`.
pub fn below_version(path: &str) -> Option<(u32, &str)> {
    let (version, rest) = path.strip_prefix("/api/admin/v")?.split_once('/')?;
    let version: u32 = version.parse().ok()?;
    VERSIONS.contains(&version).then_some((version, rest.trim_end_matches('/')))
}

/// Whether a call writes. Searching and asking for a token are POSTs that do not.
pub fn writes(method: &Method, path: &str) -> bool {
    *method != Method::GET && !path.ends_with("/search")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_part_of_the_path_and_old_ones_are_gone() {
        assert_eq!(below_version("/api/admin/v6/clients/clients"), Some((6, "clients/clients")));
        assert_eq!(below_version("/api/admin/v4/clients/clients"), None);
        assert_eq!(below_version("/api/admin/clients/clients"), None);
    }

    #[test]
    fn user_and_password_give_a_token_that_ends() {
        let mut access = Access::default();
        let mut headers = HeaderMap::new();
        let basic = "Basic cGlwZWxpbmU6SGFzbG8tVGVzdG93ZS0x";
        headers.insert("authorization", basic.parse().unwrap());
        let token = access.token(&headers, &json!({ "scope": ["admin"] }), 1000).unwrap();
        let token = token["access_token"].as_str().unwrap().to_owned();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        assert!(access.check(&headers, "clients/clients", true, 1000 + TOKEN_SECONDS - 1).is_ok());
        let late = access.check(&headers, "clients/clients", false, 1000 + TOKEN_SECONDS).unwrap_err();
        assert_eq!(late.status, 401);
    }
}
