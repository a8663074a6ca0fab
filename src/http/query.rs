//! Query strings, percent-encoded by RFC 3986 (blank is `%20`, nothing but `-._~` and alphanumerics stays): one encoding
//! for sending and for signing, so that both are the same bytes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;
use std::fmt;

/// What RFC 3986 leaves unreserved, and nothing else, is not encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` percent-encoded by RFC 3986.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The parameters of one call, in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Names ending in `[]` get their index (`status[]` twice becomes `status[0]`, `status[1]`), and all pairs are put
    /// into the order in which OAuth signs them. PHP numbers `status[]` before it checks a signature, so unnumbered
    /// arrays never match (WooCommerce sheet, section 2).
    pub(super) fn number_and_sort(&mut self) {
        let mut next: BTreeMap<String, usize> = BTreeMap::new();
        for (name, _) in &mut self.0 {
            if let Some(array) = name.strip_suffix("[]") {
                let index = next.entry(array.to_owned()).or_default();
                let numbered = format!("{array}[{index}]");
                *index += 1;
                *name = numbered;
            }
        }
        self.0.sort_by_cached_key(|(name, value)| (encode(name), encode(value)));
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let joint = if place == 0 { "" } else { "&" };
            write!(f, "{joint}{}={}", encode(name), encode(value))?;
        }
        Ok(())
    }
}

impl From<&url::Url> for Query {
    fn from(url: &url::Url) -> Self {
        Self(url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_plus_signs_and_letters_are_encoded_by_rfc_3986() {
        let mut query = Query::default();
        query.push("search", "Żółć & co+1 ~-._*'");
        assert_eq!(query.to_string(), "search=%C5%BB%C3%B3%C5%82%C4%87%20%26%20co%2B1%20~-._%2A%27");
    }

    #[test]
    fn arrays_are_numbered_and_pairs_sorted_by_their_encoded_bytes() {
        let mut query = Query::default();
        for (name, value) in
            [("status[]", "b"), ("page", "2"), ("status[]", "a"), ("page", "10"), ("é", "1"), ("z", "1")]
        {
            query.push(name, value);
        }
        query.number_and_sort();
        assert_eq!(query.to_string(), "%C3%A9=1&page=10&page=2&status%5B0%5D=b&status%5B1%5D=a&z=1");
    }
}
