//! Verify: a whole archive is found whole, and every kind of damage is found, named and explained.

use super::{Folder, archive_in, archive_now, execute, run_with_changes};
use crate::support;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tokio_util::sync::CancellationToken;
use wharf::progress::Progress;
use wharf::stage::archive::{self, Limits, Scope, Snapshots, VerifyReport};

const MANY_PARTS: &str = "create table marts.numbers as select i as n, md5(i::text) as word, case when i % 100 = 0 \
    then 'NaN'::numeric else i end as odd from generate_series(1, 1000) as i";

/// An archive of two instants; `marts.numbers` has four parts and a list of odd values.
async fn two_instants(folder: &Folder) -> support::TestDatabase {
    let db = support::database().await;
    execute(&db, MANY_PARTS).await;
    let limits = Limits { batch_rows: 50, part_rows: 250, ..Limits::default() };
    archive_in(&db, folder, &limits).await;
    run_with_changes(&db, super::LAND_ORDER).await;
    archive_in(&db, folder, &limits).await;
    db
}

async fn verify(folder: &Path, scope: &Scope) -> VerifyReport {
    archive::verify(folder.to_str().unwrap(), scope, &Progress::silent(), &CancellationToken::new()).await.unwrap()
}

async fn findings(folder: &Path) -> BTreeSet<(bool, &'static str)> {
    let report = verify(folder, &Scope::default()).await;
    assert!(report.findings.iter().all(|finding| !finding.advice.is_empty() && !finding.path.is_empty()));
    report.findings.iter().map(|finding| (finding.broken, finding.code)).collect()
}

fn snapshot(folder: &Path, entity: &str) -> PathBuf {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder.join(entity)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found.pop().unwrap()
}

fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(file).unwrap();
    change(&mut bytes);
    std::fs::write(file, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_archive_is_found_whole_and_counted() {
    let folder = Folder::new();
    let _db = two_instants(&folder).await;
    let report = verify(&folder.path(), &Scope::default()).await;
    assert_eq!(report.findings, []);
    let of = |name: &str| report.entities.iter().find(|check| check.entity == name).cloned().unwrap();
    assert_eq!(
        (of("marts.numbers").snapshots, of("marts.numbers").parts, of("marts.numbers").rows),
        (1, 4, 1000),
        "a mart that is the same is there once"
    );
    assert_eq!((of("staging.orders").snapshots, of("staging.orders").rows), (2, 1));

    let first = folder.snapshots("staging.orders").remove(0);
    let name = first.file_name().unwrap().to_str().unwrap().strip_prefix("snapshot=").unwrap().to_owned();
    let scope = Scope { entities: vec!["staging.orders".into()], snapshots: Snapshots::At(name) };
    let report = verify(&folder.path(), &scope).await;
    assert_eq!((report.entities.len(), report.entities[0].snapshots, report.entities[0].rows), (1, 1, 0));
    let scope = Scope { snapshots: Snapshots::Latest, ..scope };
    assert_eq!(verify(&folder.path(), &scope).await.entities[0].rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_damage_is_found_by_its_name() {
    let folder = Folder::new();
    let _db = two_instants(&folder).await;
    type Damage = (&'static str, bool, &'static [&'static str], fn(&Path));
    let damages: &[Damage] = &[
        ("a flipped byte", true, &["checksum-differs"], |root| {
            edit(&snapshot(root, "marts.numbers").join("part-00001.parquet"), |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            });
        }),
        ("a cut file", true, &["size-differs"], |root| {
            edit(&snapshot(root, "marts.numbers").join("part-00003.parquet"), |bytes| bytes.truncate(bytes.len() / 2));
        }),
        ("a missing part", true, &["part-missing"], |root| {
            std::fs::remove_file(snapshot(root, "marts.numbers").join("part-00002.parquet")).unwrap();
        }),
        ("a count changed in a manifest", true, &["manifest-changed", "rows-differ"], |root| {
            edit(&snapshot(root, "staging.orders").join("_manifest.json"), |bytes| {
                let text = String::from_utf8(bytes.clone()).unwrap().replace("\"rows\": 1", "\"rows\": 2");
                *bytes = text.into_bytes();
            });
        }),
        ("a watermark changed in a manifest", true, &["manifest-changed"], |root| {
            edit(&snapshot(root, "staging.orders").join("_manifest.json"), |bytes| {
                let text = String::from_utf8(bytes.clone()).unwrap().replace("\"watermark\": ", "\"watermark\": 9");
                *bytes = text.into_bytes();
            });
        }),
        ("a cut manifest", true, &["manifest-unreadable"], |root| {
            edit(&snapshot(root, "staging.orders").join("_manifest.json"), |bytes| bytes.truncate(100));
        }),
        ("a manifest of the future", true, &["manifest-unknown"], |root| {
            edit(&snapshot(root, "staging.orders").join("_manifest.json"), |bytes| {
                let text = String::from_utf8(bytes.clone()).unwrap().replace("\"format\": 2", "\"format\": 99");
                *bytes = text.into_bytes();
            });
        }),
        ("a missing manifest", true, &["manifest-missing", "page-dangling"], |root| {
            std::fs::remove_file(snapshot(root, "staging.orders").join("_manifest.json")).unwrap();
        }),
        ("a snapshot in the wrong folder", true, &["layer-missing", "manifest-misplaced"], |root| {
            copy(&snapshot(root, "staging.orders"), &root.join("staging.products/snapshot=20200101T000000.000000Z"));
        }),
        ("a part too many", true, &["foreign-file"], |root| {
            let snapshot = snapshot(root, "marts.numbers");
            copy(&snapshot.join("part-00000.parquet"), &snapshot.join("part-00099.parquet"));
        }),
        ("a file beside the snapshots", true, &["foreign-file"], |root| {
            std::fs::write(root.join("marts.numbers/notes.csv"), "1,2").unwrap();
        }),
        ("a hidden file of somebody else", false, &["foreign"], |root| {
            std::fs::write(snapshot(root, "marts.numbers").join("_SUCCESS"), "").unwrap();
            std::fs::write(root.join("README"), "").unwrap();
            std::fs::create_dir(root.join("backup")).unwrap();
            std::fs::write(root.join("backup/file"), "").unwrap();
        }),
        ("what a killed run left", false, &["leftover"], |root| {
            let draft = root.join("_writing/0123456789abcdef/20260101T000000.000000Z");
            std::fs::create_dir_all(&draft).unwrap();
            copy(&snapshot(root, "marts.numbers"), &draft.join("marts.numbers"));
        }),
        ("a list of odd values with another value", true, &["odd-values-differ"], |root| {
            edit(&snapshot(root, "marts.numbers").join("_odd-values.jsonl"), |bytes| {
                *bytes = String::from_utf8(bytes.clone()).unwrap().replacen("NaN", "123", 1).into_bytes();
            });
        }),
        ("a lost list of odd values", true, &["odd-values-missing"], |root| {
            std::fs::remove_file(snapshot(root, "marts.numbers").join("_odd-values.jsonl")).unwrap();
        }),
        ("a lost page at the root", true, &["latest-missing"], |root| {
            std::fs::remove_file(root.join("_latest.json")).unwrap();
        }),
        ("a page that is no page", true, &["page-unreadable"], |root| {
            std::fs::write(root.join("_latest.json"), "{}").unwrap();
        }),
        ("a snapshot that a page names is gone", true, &["page-dangling"], |root| {
            std::fs::remove_dir_all(snapshot(root, "staging.orders")).unwrap();
        }),
    ];
    for (what, is_broken, codes, damage) in damages {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("archive");
        copy(&folder.path(), &root);
        damage(&root);
        let expected: BTreeSet<(bool, &str)> = codes.iter().map(|code| (*is_broken, *code)).collect();
        assert_eq!(findings(&root).await, expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_with_other_rows_and_columns_than_promised_is_found_although_its_checksum_is_right() {
    use sha2::{Digest, Sha256};
    let folder = Folder::new();
    let db = support::database().await;
    execute(&db, "create table marts.a as select 1 as n; create table marts.b as select 1 as m union all select 2")
        .await;
    archive_now(&db, &folder).await;
    let (a, b) = (snapshot(&folder.path(), "marts.a"), snapshot(&folder.path(), "marts.b"));
    let other = std::fs::read(b.join("part-00000.parquet")).unwrap();
    std::fs::write(a.join("part-00000.parquet"), &other).unwrap();
    let rewrite = |columns: bool| {
        let manifest = a.join("_manifest.json");
        let mut document: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
        document.as_object_mut().unwrap().remove("seal");
        document["parts"][0]["sha256"] = hex::encode(Sha256::digest(&other)).into();
        document["parts"][0]["bytes"] = other.len().into();
        if columns {
            document["columns"][0]["name"] = "m".into();
        }
        std::fs::write(manifest, document.to_string()).unwrap();
    };
    rewrite(false);
    assert_eq!(findings(&folder.path()).await, BTreeSet::from([(true, "schema-differs")]));
    rewrite(true);
    assert_eq!(findings(&folder.path()).await, BTreeSet::from([(true, "rows-differ")]));
}

fn wharf(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wharf")).args(arguments).env_remove("DATABASE_URL").output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_ends_with_0_for_a_whole_archive_and_with_1_and_advice_for_a_broken_one() {
    let folder = Folder::new();
    let db = two_instants(&folder).await;
    let place = folder.path().to_str().unwrap().to_owned();
    let output = wharf(&["archive", "verify", "--at", &place, "--database", "--database-url", &db.url]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.ends_with("every snapshot is what its manifest says\n"), "{text}");
    assert!(text.contains("staging.orders: 1 rows archived, 1 in the database now"), "{text}");

    std::fs::remove_file(snapshot(&folder.path(), "marts.numbers").join("part-00000.parquet")).unwrap();
    let output = wharf(&["--json", "archive", "verify", "--at", &place]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["findings"][0]["code"], "part-missing");
    assert!(!report["findings"][0]["advice"].as_str().unwrap().is_empty());

    let output = wharf(&["archive", "verify", "--at", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!Path::new("/nowhere").exists());
    let output = wharf(&["archive", "verify"]);
    assert_eq!(output.status.code(), Some(2));
}
