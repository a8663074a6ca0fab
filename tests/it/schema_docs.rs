//! `docs/schema.md` is what the database says of itself, and every table and column says something.
//!
//! After a migration: `UPDATE_GOLDEN=1 cargo test --test it schema_docs` writes the page anew.

use crate::support;
use std::fmt::Write as _;
use std::path::Path;

const HEAD: &str = "\
# The tables

Generated from the comments in the database (`comment on`); a test keeps it true. The same text is in the database itself:
`\\d+ canonical.orders` in `wharf db psql`. Columns marked **key** make up the primary key.
";

const SCHEMAS: [&str; 5] = ["staging", "canonical", "marts", "delivery", "ops"];

/// One row per column, tables in the order of their names, columns in theirs.
const COLUMNS: &str = r"
    select
        n.nspname::text as schema,
        obj_description(n.oid, 'pg_namespace') as schema_comment,
        c.relname::text as relation,
        c.relkind in ('v', 'm') as is_view,
        obj_description(c.oid, 'pg_class') as relation_comment,
        a.attname::text as column_name,
        format_type(a.atttypid, a.atttypmod) as type,
        a.attnotnull as required,
        coalesce(a.attnum = any (i.indkey), false) as in_key,
        col_description(c.oid, a.attnum) as column_comment
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_index i on i.indrelid = c.oid and i.indisprimary
    where n.nspname = any ($1) and c.relkind in ('r', 'p', 'v', 'm')
    order by array_position($1, n.nspname::text), c.relname, a.attnum
";

struct Column {
    schema: String,
    schema_comment: Option<String>,
    relation: String,
    is_view: bool,
    relation_comment: Option<String>,
    name: String,
    type_name: String,
    required: bool,
    in_key: bool,
    comment: Option<String>,
}

async fn columns() -> Vec<Column> {
    let db = support::database().await;
    let schemas: Vec<String> = SCHEMAS.map(str::to_owned).to_vec();
    let rows = db.client().await.unwrap().query(COLUMNS, &[&schemas]).await.unwrap();
    rows.iter()
        .map(|row| Column {
            schema: row.get("schema"),
            schema_comment: row.get("schema_comment"),
            relation: row.get("relation"),
            is_view: row.get("is_view"),
            relation_comment: row.get("relation_comment"),
            name: row.get("column_name"),
            type_name: row.get("type"),
            required: row.get("required"),
            in_key: row.get("in_key"),
            comment: row.get("column_comment"),
        })
        .collect()
}

fn page(columns: &[Column]) -> String {
    let mut page = HEAD.to_owned();
    let mut schema = "";
    let mut relation = "";
    for column in columns {
        if column.schema != schema {
            schema = &column.schema;
            relation = "";
            write!(page, "\n## {schema}\n{}.\n", column.schema_comment.as_deref().unwrap_or_default()).unwrap();
        }
        if column.relation != relation {
            relation = &column.relation;
            let kind = if column.is_view { " (view)" } else { "" };
            let comment = column.relation_comment.as_deref().unwrap_or_default();
            write!(page, "\n### {schema}.{relation}{kind}\n{comment}.\n\n| column | type | |\n|---|---|---|\n")
                .unwrap();
        }
        let mark = match (column.in_key, column.required) {
            (true, _) => ", **key**",
            (false, true) => ", required",
            (false, false) => "",
        };
        let comment = column.comment.as_deref().unwrap_or_default().replace('|', "\\|");
        writeln!(page, "| `{}` | {}{mark} | {comment} |", column.name, column.type_name).unwrap();
    }
    page
}

#[tokio::test]
async fn every_table_and_column_says_what_it_is() {
    let mut silent = Vec::new();
    let says_nothing = |comment: &Option<String>| comment.as_deref().is_none_or(|comment| comment.trim().is_empty());
    for column in columns().await {
        if says_nothing(&column.schema_comment) {
            silent.push(column.schema.clone());
        }
        if says_nothing(&column.relation_comment) {
            silent.push(format!("{}.{}", column.schema, column.relation));
        }
        if says_nothing(&column.comment) {
            silent.push(format!("{}.{}.{}", column.schema, column.relation, column.name));
        }
    }
    silent.dedup();
    assert!(silent.is_empty(), "no `comment on`: {silent:#?}");
}

#[tokio::test]
async fn the_page_of_tables_is_what_the_database_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema.md");
    let expected = page(&columns().await);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let differing = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "docs/schema.md is not what the database says; first difference: {differing:#?}\n\
         write it anew: UPDATE_GOLDEN=1 cargo test --test it schema_docs"
    );
}
