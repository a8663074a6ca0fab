//! Migrations: newer databases are refused, concurrent starts agree, and everything an analyst meets is explained.

use crate::support::{self, postgres};
use wharf::Kind;
use wharf::store::{Database, DatabaseLocation};

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_left_alone() {
    let db = support::database().await;
    let client = db.client().await.unwrap();
    client
        .batch_execute(
            "insert into public.wharf_migrations
             select 9999, 'from_the_future', applied_on, '1' from public.wharf_migrations limit 1",
        )
        .await
        .unwrap();
    let error = Database::open(&DatabaseLocation::Url(db.url.clone())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DatabaseNewer);
    assert!(error.detail().contains("schema version 9999"), "{error}");
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn processes_that_start_at_the_same_time_migrate_once() {
    let url = postgres::empty_database_url().await;
    let location = DatabaseLocation::Url(url);
    let opened = futures::future::join_all((0..6).map(|_| Database::open(&location))).await;
    for db in opened {
        let client = db.unwrap().client().await.unwrap();
        let known = i64::try_from(wharf::store::migrate::known().len()).unwrap();
        let row = client.query_one("select count(*), count(distinct version) from public.wharf_migrations", &[]).await;
        let row = row.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (known, known));
    }
}

#[tokio::test]
async fn every_table_view_and_column_that_analysts_see_is_explained() {
    let db = support::database().await;
    let client = db.client().await.unwrap();
    let rows = client
        .query(
            "select format('%I.%I', n.nspname, c.relname) || coalesce('.' || quote_ident(a.attname), '')
             from pg_class c
             join pg_namespace n on n.oid = c.relnamespace
             left join lateral (
                 select attname, attnum from pg_attribute
                 where attrelid = c.oid and attnum > 0 and not attisdropped
                 union all
                 select null, 0
             ) a on true
             where n.nspname in ('staging', 'canonical', 'marts', 'delivery', 'ops')
                 and c.relkind in ('r', 'p', 'v', 'm', 'f')
                 and coalesce(col_description(c.oid, nullif(a.attnum, 0)), case when a.attnum = 0
                     then obj_description(c.oid, 'pg_class') end, '') = ''
             order by 1",
            &[],
        )
        .await
        .unwrap();
    let without: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(without.is_empty(), "these have no comment: {without:#?}");
    let schemas = client
        .query(
            "select nspname::text from pg_namespace
             where nspname in ('staging', 'canonical', 'marts', 'delivery', 'ops')
                 and obj_description(oid, 'pg_namespace') is not null",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(schemas.len(), 5);
}

#[tokio::test]
async fn a_schema_of_somebody_elses_with_a_name_that_is_needed_is_named_before_anything_is_made() {
    let url = postgres::empty_database_url().await;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("create schema canonical; create schema marts").await.unwrap();
    let error = Database::open(&DatabaseLocation::Url(url)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Command);
    assert!(error.detail().ends_with("schema canonical, schema marts"), "{error}");
    let made = "select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace
                where nspname not like 'pg\\_%' and nspname <> 'information_schema'";
    assert_eq!(client.query_one(made, &[]).await.unwrap().get::<_, i64>(0), 0);
    let schemas = "select count(*) from pg_namespace where nspname in ('ops', 'staging', 'delivery')";
    assert_eq!(client.query_one(schemas, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_row_of_the_history_that_makes_no_sense_is_an_error() {
    for change in ["checksum = 'x'", "checksum = null", "applied_on = 'yesterday'", "applied_on = null", "name = null"]
    {
        let db = support::database().await;
        let statement = format!("update public.wharf_migrations set {change} where version = 2");
        db.client().await.unwrap().batch_execute(&statement).await.unwrap();
        let error = Database::open(&DatabaseLocation::Url(db.url.clone())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Database);
        assert!(error.detail().contains("a row that wharf did not write"), "{change}: {error}");
        assert!(error.hint_text().is_some());
    }
}
