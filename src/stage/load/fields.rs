//! `contacts.fields`: SQL expressions out of a pipeline file, put into a statement that is run read-only.
//!
//! An expression may do whatever one expression can in a read-only transaction of a role that reads canonical and marts and
//! nothing else (`ops.fields_role`); it must not be able to end the expression it stands in. So its quotes and brackets are
//! followed here before it goes anywhere, and Postgres has the last word.

use crate::store::{Database, migrate};
use crate::{Error, Kind, Result, sql};
use std::collections::BTreeMap;
use tokio_postgres::{Client, GenericClient, Transaction};

/// Where the expressions go in `fields.sql`.
const FIELDS_MARKER: &str = "/*fields*/";
/// Where the RFM row is joined in `fields.sql`.
const RFM_MARKER: &str = "/*rfm*/";
/// The RFM row, without the contact's id, so that columns of the contact may stand alone.
const RFM_JOIN: &str = "left join lateral (
        select currency, recency_days, frequency, monetary, first_order_at, last_order_at, r, f, m, segment
        from pg_temp.deliver_rfm as mart
        where mart.contact_id = c.contact_id
    ) as rfm on true";

/// The expressions by property name, checked for form.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    expressions: BTreeMap<String, String>,
}

impl Fields {
    /// Checks that each is one expression: quotes and brackets closed, no `;`, no comment, no dollar quote.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] naming the field.
    pub fn new(expressions: &BTreeMap<String, String>) -> Result<Self> {
        for (name, expression) in expressions {
            if let Some(problem) = problem_of(expression) {
                return Err(wrong(name, problem));
            }
        }
        Ok(Self { expressions: expressions.clone() })
    }

    /// Whether any of them reads the RFM row.
    pub fn use_rfm(&self) -> bool {
        self.expressions.values().any(|expression| {
            let text = expression.to_ascii_lowercase();
            text.match_indices("rfm").any(|(at, _)| {
                let before = text[..at].chars().next_back();
                let after = text[at + 3..].trim_start().chars().next();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.') && after == Some('.')
            })
        })
    }

    /// Whether what they give can change although the contact's row does not: they read RFM scores, the time, other tables.
    /// Postgres is the judge: what it would not index can move. When in doubt, it moves. `client` needs `pg_temp`.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn move_by_themselves(&self, client: &Client) -> Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        if self.use_rfm() {
            return Ok(true);
        }
        client.batch_execute("create temporary table c (like canonical.contacts)").await?;
        let mut moves = false;
        for expression in self.expressions.values() {
            let tried = client.batch_execute(&format!("create index on pg_temp.c (({expression}))")).await;
            match tried {
                Ok(()) => {}
                Err(error) if error.as_db_error().is_some() => moves = true,
                Err(error) => return Err(error.into()),
            }
        }
        client.batch_execute("drop table pg_temp.c").await?;
        Ok(moves)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.expressions.is_empty()
    }

    /// Works the expressions out for the contacts in hand, into `pg_temp.deliver_properties`, as `role`.
    ///
    /// # Errors
    /// Those of Postgres; the transaction is to be rolled back then.
    pub async fn work_out(&self, transaction: &Transaction<'_>, role: Option<&str>) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let text = self.embed(sql::file("deliver/fields.sql")?);
        transaction.batch_execute(&restrained(role)).await?;
        // Prepared alone, so nothing can follow the expressions.
        transaction.execute(&text, &[]).await?;
        Ok(transaction.batch_execute("set local role none; set local statement_timeout = 0").await?)
    }

    /// `fields.sql` with the expressions in it.
    fn embed(&self, text: &str) -> String {
        let mut rows = String::new();
        for (name, expression) in &self.expressions {
            rows.push_str(&format!("({}, ({expression})::text), ", literal(name)));
        }
        text.replacen(FIELDS_MARKER, &rows, 1).replacen(RFM_MARKER, self.rfm_join(), 1)
    }

    fn rfm_join(&self) -> &'static str {
        if self.use_rfm() { RFM_JOIN } else { "" }
    }

    /// A statement that needs the expression to be right. It is prepared alone, so nothing can follow the expression.
    fn trial(&self, expression: &str, condition: &str) -> String {
        format!("select count(({expression})::text) from canonical.contacts as c {} where {condition}", self.rfm_join())
    }

    /// Finds the expression that Postgres refuses for the contacts that `condition` (over `c`) selects.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] naming the field with the message of Postgres; those of the connection.
    pub async fn try_each(&self, client: &mut Client, role: Option<&str>, condition: &str) -> Result<()> {
        for (name, expression) in &self.expressions {
            let transaction = client.build_transaction().read_only(true).start().await?;
            transaction.batch_execute(&restrained(role)).await?;
            let tried = transaction.query_one(&self.trial(expression, condition), &[]).await;
            transaction.rollback().await?;
            if let Err(error) = tried {
                return match error.as_db_error() {
                    Some(refusal) => Err(wrong(name, refusal.message())),
                    None => Err(error.into()),
                };
            }
        }
        Ok(())
    }
}

/// The role that expressions are worked out by, with its rights on the tables of this session's bench; `None`, with a
/// warning, where Wharf's own role may not make it: then they run with Wharf's rights.
///
/// # Errors
/// Those of the database.
pub async fn role(client: &impl GenericClient) -> Result<Option<String>> {
    let row = client.query_one("select ops.fields_role(), current_user::text", &[]).await?;
    let (role, ours): (Option<String>, String) = (row.get(0), row.get(1));
    match &role {
        Some(role) => {
            client
                .batch_execute(&format!(
                    "grant select on pg_temp.deliver_candidates, pg_temp.deliver_rfm to {role};
                     grant insert on pg_temp.deliver_properties to {role}"
                ))
                .await?;
        }
        None => tracing::warn!(
            "contacts.fields run with all rights of the role {ours}; let a superuser say once: create role wharf_fields \
             nologin; grant wharf_fields to \"{ours}\""
        ),
    }
    Ok(role)
}

/// What goes before an expression in its transaction.
fn restrained(role: Option<&str>) -> String {
    format!("set local statement_timeout = '5min'; set local role {}", role.unwrap_or("none"))
}

/// What Postgres has against an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field.
    pub name: String,
    /// The message of Postgres.
    pub message: String,
    /// Its hint, if it has one.
    pub hint: Option<String>,
}

/// Tries the expressions of a pipeline on the tables of this database, read-only and without a row; where Wharf has none
/// there yet, on empty ones that are made for it and rolled back. What a row's value makes fail is not found here.
///
/// # Errors
/// [`Kind::PipelineFile`] for an expression that is not one; those of the database: of the role's rights, for example.
pub async fn problems(db: &Database, expressions: &BTreeMap<String, String>) -> Result<Vec<Problem>> {
    let fields = Fields::new(expressions)?;
    let mut problems = Vec::new();
    if fields.is_empty() {
        return Ok(problems);
    }
    let mut client = db.dedicated().await?;
    let mut transaction = client.transaction().await?;
    let has_tables: bool = transaction.query_one("select to_regclass('marts.rfm') is not null", &[]).await?.get(0);
    if !has_tables {
        for migration in migrate::known() {
            transaction.batch_execute(migration.sql().unwrap_or_default()).await?;
        }
    }
    transaction.batch_execute(sql::file("deliver/bench.sql")?).await?;
    let role = role(&transaction).await?;
    transaction.batch_execute("set transaction read only").await?;
    transaction.batch_execute(&restrained(role.as_deref())).await?;
    for (name, expression) in expressions {
        let trial = transaction.transaction().await?;
        let tried = trial.query_one(&fields.trial(expression, "false"), &[]).await;
        trial.rollback().await?;
        let Err(error) = tried else { continue };
        let Some(refusal) = error.as_db_error() else { return Err(error.into()) };
        let (message, hint) = (refusal.message().to_owned(), refusal.hint().map(str::to_owned));
        problems.push(Problem { name: name.clone(), message, hint });
    }
    transaction.rollback().await?;
    Ok(problems)
}

fn wrong(name: &str, problem: &str) -> Error {
    Error::new(Kind::PipelineFile, format!("contacts.fields.{name}: {problem}")).hint(
        "write one SQL expression over the contact's columns (c), and those of its RFM row (rfm), for example \
         extra->>'size' or rfm.monetary",
    )
}

fn literal(text: &str) -> String {
    // In a plain string literal a backslash is itself (standard_conforming_strings).
    format!("'{}'", text.replace('\'', "''"))
}

/// Why a text cannot stand as one expression, if so.
fn problem_of(expression: &str) -> Option<&'static str> {
    let mut open: Vec<char> = Vec::new();
    let mut previous = ' ';
    let mut before_previous = ' ';
    let mut last_mark = ' ';
    let mut characters = expression.chars().peekable();
    if expression.trim().is_empty() {
        return Some("the expression is empty");
    }
    while let Some(c) = characters.next() {
        match c {
            '\0' => return Some("the expression holds a NUL character"),
            ';' => return Some("an expression ends without a semicolon, and there may be only one"),
            '$' => return Some("dollar quotes and parameters cannot be used"),
            '-' if characters.peek() == Some(&'-') => return Some("comments cannot be used"),
            '/' if characters.peek() == Some(&'*') => return Some("comments cannot be used"),
            // Postgres joins literals on two lines into one, which takes escapes as the first does.
            '\'' if last_mark == '\'' => return Some("one text must not follow another"),
            '\'' => {
                let prefix_stands_alone = !(before_previous.is_alphanumeric() || before_previous == '_');
                let takes_escapes = matches!(previous, 'e' | 'E') && prefix_stands_alone;
                if !skip_quoted(&mut characters, c, takes_escapes) {
                    return Some("a quote is not closed");
                }
            }
            '"' if !skip_quoted(&mut characters, c, false) => return Some("a quote is not closed"),
            '(' | '[' => open.push(c),
            ')' if open.pop() != Some('(') => return Some("brackets do not match"),
            ']' if open.pop() != Some('[') => return Some("brackets do not match"),
            _ => {}
        }
        before_previous = previous;
        previous = c;
        if !c.is_whitespace() {
            last_mark = c;
        }
    }
    if open.is_empty() { None } else { Some("a bracket is not closed") }
}

/// Moves behind the closing quote; a doubled quote is one quote inside. False if the text ends first.
fn skip_quoted(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char, takes_escapes: bool) -> bool {
    while let Some(c) = characters.next() {
        if c == '\\' && takes_escapes {
            characters.next();
        } else if c == quote {
            if characters.peek() != Some(&quote) {
                return true;
            }
            characters.next();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(expression: &str) -> Result<Fields> {
        Fields::new(&BTreeMap::from([("size".to_owned(), expression.to_owned())]))
    }

    #[test]
    fn plain_expressions_pass() {
        for expression in [
            "extra->>'size'",
            "rfm.monetary",
            "c.first_name || ' (' || upper(city) || ')'",
            "'it''s; -- /* fine */ here $$'",
            r"E'a\'b;c'",
            "(array['a', 'b'])[1]",
            "\"email\"",
            "date_part('year', birthday) - 1",
        ] {
            assert!(fields(expression).is_ok(), "{expression}");
        }
    }

    #[test]
    fn what_could_leave_the_expression_is_refused() {
        for expression in [
            "",
            "  ",
            "1; drop table canonical.contacts",
            "1) from canonical.contacts; --",
            "1)",
            "(1",
            "'open",
            "\"open",
            "1 -- rest",
            "1 /* rest",
            "$1",
            "$$a$$",
            r"E'\'; drop",
            r"E'\'' ; drop",
            "E'a'\n'\\'' ) ; drop'",
            "(]",
            "a\0b",
        ] {
            assert!(fields(expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn a_backslash_escapes_only_where_the_letter_e_stands_alone() {
        // `type'\'` is a plain literal that holds a backslash: the semicolon behind it is outside.
        assert!(fields(r"nice'\' ; drop'").is_err());
        assert!(fields(r"e'\' ; inside'").is_ok());
    }

    #[test]
    fn the_rfm_row_is_joined_only_where_it_is_named() {
        for (expression, expected) in
            [("rfm.monetary", true), ("RFM . r", true), ("c.rfm.x", false), ("extra->>'rfm'", false), ("xrfm.r", false)]
        {
            assert_eq!(fields(expression).is_ok_and(|fields| fields.use_rfm()), expected, "{expression}");
        }
    }

    #[test]
    fn names_are_quoted() {
        let text =
            Fields::new(&BTreeMap::from([("o'clock".to_owned(), "1".to_owned())])).map(|f| f.embed("/*fields*/"));
        assert_eq!(text.ok().as_deref(), Some("('o''clock', (1)::text), "));
    }
}
