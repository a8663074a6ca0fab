//! The command line as scripts and people see it: exit code, stdout and stderr of the built program.
//!
//! `UPDATE_GOLDEN=1` writes `tests/golden/cli.txt` anew; read the difference before committing it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PIPELINE: &str = "\
name: shop
sources:
  - connection: shop
    platform: woocommerce
    base_url: https://shop.example
    consumer_key: ${WOO_KEY}
    consumer_secret: ${WOO_SECRET}
target:
  account: crm
  platform: salesmanago
  base_url: https://app2.salesmanago.com
  client_id: demo
  api_key: ${SM_API_KEY}
  api_secret: ${SM_API_SECRET}
  owner: owner@shop.example
";

/// The program in an environment that holds nothing but what a test gives it.
fn wharf(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.current_dir(folder).args(arguments).env_clear();
    for (name, value) in [
        ("WOO_KEY", "ck_0123456789abcdef0123456789abcdef01234567"),
        ("WOO_SECRET", "cs_fedcba9876543210fedcba9876543210fedcba98"),
        ("SM_API_KEY", "hunter2"),
        ("SM_API_SECRET", "hunter2"),
        ("COLUMNS", "100"),
    ] {
        command.env(name, value);
    }
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    wharf(folder, arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.yaml"), PIPELINE).unwrap();
    std::fs::write(folder.path().join("wrong.yaml"), format!("{PIPELINE}contacts: {{consnet: all}}\n")).unwrap();
    std::fs::write(folder.path().join("odd.yaml"), PIPELINE.replace("${WOO_KEY}", "pk_live_1")).unwrap();
    std::fs::write(folder.path().join("unset.yaml"), PIPELINE.replace("WOO_KEY", "NOT_SET")).unwrap();
    folder
}

#[test]
fn commands_say_and_return_what_the_golden_file_shows() {
    let folder = folder();
    let mut shown = String::new();
    for line in [
        "",
        "bogus",
        "--json bogus",
        "check",
        "check no-such-file.yaml --offline",
        "check shop.yaml --offline",
        "--json check shop.yaml --offline",
        "check wrong.yaml --offline",
        "--json check wrong.yaml --offline",
        "check odd.yaml --offline",
        "--quiet check odd.yaml --offline",
        "check unset.yaml --offline",
        "--quiet --verbose schema",
        "init woocommerce salesmangao",
        "init woocommerce salesmanago --out shop.yaml",
        "--json init woocommerce salesmanago --out shop.yaml",
        "init woocommerce salesmanago --out new.yaml",
        "init --help",
        "check --help",
        "schema --help",
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let output = run(folder.path(), &arguments);
        writeln!(shown, "$ wharf {line}").unwrap();
        writeln!(shown, "exit code {}", output.status.code().unwrap()).unwrap();
        for (name, text) in [("stdout", stdout(&output)), ("stderr", stderr(&output))] {
            for line in text.lines() {
                writeln!(shown, "{name}| {}", line.trim_end()).unwrap();
            }
        }
        shown.push('\n');
    }
    // The list of verbs grows with the product and is not this test's business.
    let shown: Vec<&str> = shown.lines().collect();
    let shown = cut_verbs(&shown);
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cli.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &shown).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    assert!(shown == expected, "{}\nUPDATE_GOLDEN=1 writes it anew", difference(&expected, &shown));
    assert!(!shown.contains("hunter2") && !shown.contains("ck_0123") && !shown.contains("pk_live"));
}

/// Replaces the list below `Commands:` by dots.
fn cut_verbs(lines: &[&str]) -> String {
    let mut text = String::new();
    let mut within = false;
    for line in lines {
        if within && line.trim_end().ends_with('|') {
            within = false;
        }
        if !within {
            text.push_str(line);
            text.push('\n');
        }
        if line.ends_with("| Commands:") {
            text.push_str("…\n");
            within = true;
        }
    }
    text
}

fn difference(expected: &str, found: &str) -> String {
    let at = expected.lines().zip(found.lines()).position(|(a, b)| a != b);
    let at = at.unwrap_or_else(|| expected.lines().count().min(found.lines().count()));
    let part = |text: &str| text.lines().skip(at.saturating_sub(2)).take(8).collect::<Vec<_>>().join("\n");
    format!("from line {}\n--- expected\n{}\n--- found\n{}", at + 1, part(expected), part(found))
}

#[test]
fn the_schema_is_the_same_with_and_without_json() {
    let folder = folder();
    let plain = run(folder.path(), &["schema"]);
    let json = run(folder.path(), &["--json", "schema"]);
    let parse = |output: &Output| serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
    assert_eq!(parse(&plain), parse(&json));
    assert_eq!(parse(&plain)["title"], "Pipeline");
}

#[test]
fn init_on_standard_output_is_the_example_pipeline() {
    let folder = folder();
    let output = run(folder.path(), &["init", "woocommerce", "salesmanago"]);
    assert_eq!(stdout(&output), wharf::config::EXAMPLE);
    assert_eq!(stderr(&output), "");
}

#[test]
fn init_overwrites_only_with_force() {
    let folder = folder();
    let path = folder.path().join("shop.yaml");
    let init = ["init", "woocommerce", "salesmanago", "--out", "shop.yaml"];
    assert_eq!(run(folder.path(), &init).status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), PIPELINE);
    let forced = run(folder.path(), &[&init[..], &["--force"]].concat());
    assert_eq!(forced.status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), wharf::config::EXAMPLE);
}

#[test]
fn every_verb_has_help_with_an_example() {
    let folder = folder();
    let help = stdout(&run(folder.path(), &["--help"]));
    let verbs: Vec<String> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .filter(|verb| verb != "help")
        .collect();
    assert!(verbs.len() >= 3, "{help}");
    for verb in verbs {
        let output = run(folder.path(), &[&verb, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{verb}");
        assert!(stdout(&output).contains(&format!("wharf {verb}")), "{verb}");
        assert!(stdout(&output).contains("Examples:"), "{verb} shows no example");
    }
}

#[test]
fn the_password_of_the_database_is_never_shown() {
    let folder = folder();
    for arguments in [&["--help"][..], &["check", "--help"], &["check", "wrong.yaml", "-vv"]] {
        let output = wharf(folder.path(), arguments)
            .env("DATABASE_URL", "postgres://u:hunter3@h/d")
            .env("WHARF_LOG", "trace")
            .output()
            .unwrap();
        let all = stdout(&output) + &stderr(&output);
        assert!(!all.contains("hunter3"), "{all}");
    }
}

#[test]
fn output_that_nobody_reads_ends_nothing() {
    let folder = folder();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = wharf(folder.path(), &["schema"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn variables_come_from_the_environment_then_from_the_file_named_then_from_the_one_beside() {
    let folder = folder();
    let pipelines = folder.path().join("pipelines");
    std::fs::create_dir(&pipelines).unwrap();
    let text = PIPELINE.replace("${WOO_KEY}", "${FIRST}").replace("${SM_API_KEY}", "${SECOND}");
    std::fs::write(pipelines.join("shop.yaml"), format!("{text}archive: {{to: ./archive}}\n")).unwrap();
    std::fs::write(pipelines.join(".env"), "SECOND=hunter2\nDATABASE_URL=postgres://u:hunter2@h/d\n").unwrap();
    std::fs::write(folder.path().join("keys"), "FIRST=ck_0123456789abcdef0123456789abcdef01234567\n").unwrap();

    let check = ["check", "pipelines/shop.yaml", "--offline"];
    let output = run(folder.path(), &check);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("FIRST is not set") && !stderr(&output).contains("SECOND"), "{}", stderr(&output));
    let output = run(folder.path(), &[&["--env-file", "keys"][..], &check].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("DATABASE_URL in .env is not taken"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("hunter2"));
    let output = run(folder.path(), &[&["-q", "--env-file", "keys"][..], &check].concat());
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));

    let output = run(folder.path(), &[&["--env-file", "missing"][..], &check].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("missing cannot be read"), "{}", stderr(&output));
    // A folder is named relative to the file, not to where wharf runs.
    let output = run(folder.path(), &["--env-file", "keys", "archive", "verify", "pipelines/shop.yaml"]);
    assert!(stderr(&output).contains("no archive at pipelines/archive"), "{}", stderr(&output));
}

#[test]
fn logs_are_objects_for_programs_that_gather_them() {
    let folder = folder();
    let url = "postgres://u@127.0.0.1:9/d?fallback_application_name=odd";
    let mut command = wharf(folder.path(), &["status", "--database-url", url]);
    let output = command.env("WHARF_LOG", "debug").env("WHARF_LOG_FORMAT", "json").output().unwrap();
    let text = stderr(&output);
    let logs: Vec<&str> = text.lines().filter(|line| line.starts_with('{')).collect();
    assert!(!logs.is_empty(), "{text}");
    for line in logs {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["level"].is_string() && event["message"].is_string(), "{line}");
    }
    let output = wharf(folder.path(), &["schema"]).env("WHARF_LOG_FORMAT", "xml").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("`xml` is no format of logs"), "{}", stderr(&output));
}

#[test]
fn completions_and_manual_know_the_verbs() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish"] {
        let output = run(folder.path(), &["completions", shell]);
        assert!(output.status.success() && stdout(&output).contains("completions"), "{shell}");
        assert!(stdout(&output).contains("env-file"), "{shell}");
    }
    let output = run(folder.path(), &["man"]);
    assert!(stdout(&output).contains(".TH wharf 1") && stdout(&output).contains("extract"), "{}", stdout(&output));
    let output = run(folder.path(), &["man", "--out", "man1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let page = std::fs::read_to_string(folder.path().join("man1/wharf-run.1")).unwrap();
    assert!(page.contains("PIPELINE"), "{page}");
}

#[test]
fn init_names_the_shop_after_its_address() {
    let folder = folder();
    let arguments = ["init", "woocommerce", "salesmanago", "--shop-url", "https://shop.example"];
    let output = run(folder.path(), &arguments);
    let text = stdout(&output);
    assert!(text.contains("connection: shop.example\n") && text.contains("base_url: https://shop.example\n"), "{text}");
    assert!(text.contains("account: salesmanago-shop.example\n"), "{text}");
    assert!(!text.contains("schedule"), "nothing runs it yet");
    let output = run(folder.path(), &["init", "woocommerce", "salesmanago", "--shop-url", "shop"]);
    assert_eq!(output.status.code(), Some(2));
}
