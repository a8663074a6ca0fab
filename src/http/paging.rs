//! Where the next page is, where the platform says it itself or a key does: cursors, ids, links. Pure functions; a source
//! keeps what they give in its position. Lists cut by offset or page number are walked by [`overlap`](super::overlap).

use crate::{Error, Kind, Result};
use url::Url;

/// The next cursor. `found`: what this page gave.
///
/// # Errors
/// [`Kind::Protocol`] when the platform gives the cursor that was just used: the walk would never end.
pub fn next_cursor(used: Option<&str>, found: Option<&str>) -> Result<Option<String>> {
    match found.filter(|cursor| !cursor.is_empty()) {
        None => Ok(None),
        Some(cursor) if Some(cursor) == used => {
            Err(Error::new(Kind::Protocol, "the platform gives the same page again as the next one"))
        }
        Some(cursor) => Ok(Some(cursor.to_owned())),
    }
}

/// The next lower bound of lists read by "ids greater than". `largest`: the largest id on this page.
///
/// # Errors
/// [`Kind::Protocol`] when the ids of a full page do not grow: the walk would never end.
pub fn next_since_id(since: u64, largest: Option<u64>, rows: u64, per_page: u64) -> Result<Option<u64>> {
    match largest {
        None => Ok(None),
        Some(_) if rows < per_page => Ok(None),
        Some(id) if id <= since => {
            Err(Error::new(Kind::Protocol, "the platform ignores the bound that ids should be greater than"))
        }
        Some(id) => Ok(Some(id)),
    }
}

/// The address that `Link` headers (RFC 8288) give for a relation, taken relative to `base`.
pub fn link<'a>(headers: impl IntoIterator<Item = &'a str>, relation: &str, base: &Url) -> Option<Url> {
    for header in headers {
        let mut rest = header;
        while let Some(open) = rest.find('<') {
            let close = open + rest[open..].find('>')?;
            let target = &rest[open + 1..close];
            let (parameters, behind) = parameters(&rest[close + 1..]);
            rest = behind;
            let is_it = parameters.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case("rel")
                    && value.split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case(relation))
            });
            if is_it {
                return base.join(target.trim()).ok();
            }
        }
    }
    None
}

/// The parameters of one link, and what stands behind its comma.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let (mut quoted, mut escaped) = (false, false);
    let end = text.char_indices().find_map(|(at, letter)| {
        let ends = letter == ',' && !quoted;
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        ends.then_some(at)
    });
    let (own, behind) = match end {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let pairs = own.split(';').filter_map(|part| part.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().trim_matches('"').to_owned()));
    (pairs.collect(), behind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_repeated_cursor_is_an_error_and_an_empty_one_the_end() {
        assert_eq!(next_cursor(Some("a"), Some("b")).unwrap().as_deref(), Some("b"));
        assert_eq!(next_cursor(Some("a"), Some("")).unwrap(), None);
        assert_eq!(next_cursor(Some("a"), None).unwrap(), None);
        assert_eq!(next_cursor(Some("a"), Some("a")).unwrap_err().kind(), Kind::Protocol);
    }

    #[test]
    fn ids_that_do_not_grow_are_an_error() {
        assert_eq!(next_since_id(0, Some(250), 250, 250).unwrap(), Some(250));
        assert_eq!(next_since_id(250, Some(260), 10, 250).unwrap(), None);
        assert_eq!(next_since_id(250, None, 0, 250).unwrap(), None);
        assert_eq!(next_since_id(250, Some(250), 250, 250).unwrap_err().kind(), Kind::Protocol);
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let base = Url::parse("https://shop.example/a/orders?page=1").unwrap();
        let find = |headers: &[&str]| link(headers.iter().copied(), "next", &base).map(String::from);
        let wordpress = "<https://shop.example/a/orders?page=1>; rel=\"prev\", <https://shop.example/a/orders?page=3>; rel=\"next\"";
        assert_eq!(find(&[wordpress]).as_deref(), Some("https://shop.example/a/orders?page=3"));
        assert_eq!(
            find(&["</b?x=1,2;3>; title=\"a, <b>; rel=next\"; REL=next"]).as_deref(),
            Some("https://shop.example/b?x=1,2;3")
        );
        assert_eq!(
            find(&["<x>; rel=prev", "<?page=2>; rel=\"last next\""]).as_deref(),
            Some("https://shop.example/a/orders?page=2")
        );
        assert_eq!(find(&["<x>; rel=\"prev\"", "garbage", "<unclosed; rel=next", "<y>; rel=nextish"]), None);
        assert_eq!(find(&[]), None);
    }

    proptest! {
        #[test]
        fn no_header_panics(header in ".{0,80}") {
            let base = Url::parse("https://shop.example/").unwrap();
            link([header.as_str()], "next", &base);
        }
    }
}
