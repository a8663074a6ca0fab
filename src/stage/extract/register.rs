//! Who reads a shop says how it is to be understood: country, statuses, tags, where consent stands. What is understood is
//! one truth for all pipelines, so two that describe a shop differently cannot both have their way; taking turns, each
//! would map the whole shop again, and send everybody the tags of the last one.

use crate::config::Pipeline;
use crate::config::pipeline::Connection;
use crate::failpoint::{self, Point};
use crate::stage::load::settings;
use crate::store::Lease;
use crate::{Error, Kind, Result, sql};
use serde_json::{Value, json};
use tokio_postgres::{Client, Transaction};
use url::Url;

/// Writes what the mapping needs to know of the connection, where it has changed.
///
/// # Errors
/// [`Kind::PipelineFile`] if the name belongs to a shop of another platform, or if another pipeline describes the shop
/// otherwise and did so first; [`Kind::LeaseLost`]; those of the database.
pub(super) async fn register(
    client: &mut Client,
    lease: &Lease,
    pipeline: &Pipeline,
    connection: &Connection,
    map_settings: &Value,
) -> Result<()> {
    let mut settings = map_settings.as_object().cloned().unwrap_or_default();
    let ours = [
        ("default_country", json!(connection.default_country)),
        ("statuses", json!(pipeline.orders.statuses)),
        ("tags", json!(pipeline.contacts.tags)),
    ];
    settings.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    let settings = Value::Object(settings);
    let tx = client.transaction().await?;
    lease.assert(&tx).await?;
    is_same_platform(&tx, connection).await?;
    tx.execute(sql::file("staging/note_settings.sql")?, &[&connection.connection, &pipeline.name, &settings]).await?;
    // Kept also where it is refused: the other file, changed to the same, must not be refused for what this one was.
    tx.commit().await?;

    let tx = client.transaction().await?;
    lease.assert(&tx).await?;
    is_the_only_truth(&tx, pipeline, connection, &settings).await?;
    let base_url = without_password(&connection.base_url);
    let statement = sql::file("staging/register_connection.sql")?;
    tx.execute(statement, &[&connection.connection, &connection.platform, &base_url, &settings]).await?;
    tx.commit().await?;
    failpoint::reach(Point::ExtractAfterRegister)
}

/// Notes which lists the shop has, so that one that was never read whole is seen to be missing.
///
/// # Errors
/// [`Kind::LeaseLost`]; those of the database.
pub(super) async fn note_streams(client: &mut Client, lease: &Lease, connection: &str, streams: &[&str]) -> Result<()> {
    let tx = client.transaction().await?;
    lease.assert(&tx).await?;
    tx.execute(sql::file("staging/note_streams.sql")?, &[&connection, &streams]).await?;
    tx.commit().await?;
    Ok(())
}

async fn is_same_platform(tx: &Transaction<'_>, connection: &Connection) -> Result<()> {
    let known = "select platform from ops.connections where connection = $1";
    let Some(row) = tx.query_opt(known, &[&connection.connection]).await? else { return Ok(()) };
    let platform: String = row.try_get(0)?;
    if platform == connection.platform {
        return Ok(());
    }
    let name = &connection.connection;
    let detail = format!("connection {name} is a {platform} shop in this database, not a {} shop", connection.platform);
    Err(Error::new(Kind::PipelineFile, detail).hint("give the new shop a name of its own"))
}

async fn is_the_only_truth(
    tx: &Transaction<'_>,
    pipeline: &Pipeline,
    connection: &Connection,
    settings: &Value,
) -> Result<()> {
    let name = &connection.connection;
    let statement = sql::file("staging/other_settings.sql")?;
    let Some(row) = tx.query_opt(statement, &[name, &pipeline.name]).await? else { return Ok(()) };
    let (other, theirs): (String, Value) = (row.try_get(0)?, row.try_get(1)?);
    let differing = settings::differing(&theirs, settings).join(", ");
    let detail = format!("pipeline {other} reads connection {name} too and describes it otherwise: {differing}");
    Err(Error::new(Kind::PipelineFile, detail).hint(format!(
        "a shop means one thing in one database: give both files the same {differing}, then run either; what only one \
         target is to get belongs into contacts.fields; a pipeline that has not run for 30 days does not count"
    )))
}

/// The address without user and password, which some people write into it.
fn without_password(base_url: &str) -> String {
    let Some(mut url) = Url::parse(base_url).ok().filter(Url::has_host) else {
        return base_url.rsplit('@').next().unwrap_or_default().to_owned();
    };
    // Only addresses without a host refuse this.
    let _ = url.set_password(None).and_then(|()| url.set_username(""));
    url.set_query(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_not_stored() {
        assert_eq!(without_password("https://u:secret@shop.example/sub"), "https://shop.example/sub");
        assert_eq!(without_password("u:secret@shop.example"), "shop.example");
    }
}
