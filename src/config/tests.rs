//! Whole files: what is right is taken, what is wrong is named, all of it, and no secret with it.

use super::mistakes::Mistakes;
use super::*;
use proptest::prelude::*;
use std::error::Error as _;

const SECRET: &str = "hunter2-hunter2";

fn variables() -> Variables {
    let given = [
        ("GOLDEN_SECRET", SECRET),
        ("GOLDEN_URL", "https://user:hunter2-hunter2@shop.example"),
        ("WOO_URL", "https://shop.example"),
        ("WOO_KEY", "ck_0123456789abcdef0123456789abcdef01234567"),
        ("WOO_SECRET", "cs_0123456789abcdef0123456789abcdef01234567"),
        ("SM_URL", "https://app2.salesmanago.com"),
        ("SM_CLIENT_ID", "demo"),
        ("SM_API_KEY", "key"),
        ("SM_API_SECRET", SECRET),
        ("SM_OWNER", "owner@shop.example"),
    ];
    Variables::only(given.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// The smallest file that is right.
const SMALLEST: &str = "\
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
  client_id: ${SM_CLIENT_ID}
  api_key: ${SM_API_KEY}
  api_secret: ${SM_API_SECRET}
  owner: ${SM_OWNER}
";

fn mistakes(text: &str) -> Vec<Mistake> {
    match parse("file.yaml", text, &variables()) {
        Ok(_) => Vec::new(),
        Err(error) => match error.source().and_then(|source| source.downcast_ref::<Mistakes>()) {
            Some(mistakes) => mistakes.list().to_vec(),
            None => panic!("an error without mistakes: {error}"),
        },
    }
}

fn messages(text: &str) -> Vec<String> {
    mistakes(text).iter().map(|mistake| format!("{}: {}", mistake.place.line, mistake.message)).collect()
}

/// `SMALLEST` with one line replaced.
fn with(line: &str, instead: &str) -> String {
    assert!(SMALLEST.contains(line), "{line}");
    SMALLEST.replacen(line, instead, 1)
}

#[test]
fn the_smallest_file_is_right() {
    assert_eq!(messages(SMALLEST), [""; 0]);
}

#[test]
fn the_example_is_right_and_warns_of_nothing() {
    match parse("example.yaml", EXAMPLE, &variables()) {
        Ok(loaded) => assert_eq!(loaded.warnings, []),
        Err(error) => panic!("{error}: {:?}", error.source()),
    }
}

#[test]
fn every_mistake_of_a_bad_file_is_named_in_one_go() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = std::fs::read_to_string(folder.join("many-mistakes.yaml"))?;
    let found = parse("many-mistakes.yaml", &text, &variables()).map(drop).map_err(|error| match error.source() {
        Some(mistakes) => format!("{error}\n{mistakes}\n"),
        None => error.to_string(),
    });
    // A platform's list of keys grows with the platform.
    let cut = |line: &str| match line.split_once("known here: ") {
        Some((guess, keys)) if keys.contains("base_url") => format!("{guess}known here: …\n"),
        _ => format!("{line}\n"),
    };
    let found: String = found.err().unwrap_or_default().lines().map(cut).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(folder.join("many-mistakes.txt"), &found)?;
    }
    assert_eq!(found, std::fs::read_to_string(folder.join("many-mistakes.txt"))?, "UPDATE_GOLDEN=1 writes it anew");
    for secret in [SECRET, "very-secret-literal", "listed-secret"] {
        assert!(!found.contains(secret), "{secret} is shown");
    }
    Ok(())
}

#[test]
fn text_stays_as_written_where_text_is_wanted() {
    let text = with("client_id: ${SM_CLIENT_ID}", "client_id: 0123");
    match parse("file.yaml", &text, &variables()) {
        Ok(loaded) => assert_eq!(loaded.pipeline.target.settings.0["client_id"], "0123"),
        Err(error) => panic!("{error}: {:?}", error.source()),
    }
}

#[test]
fn a_variable_can_be_a_number_or_a_truth_value() {
    let variables = variables().with("PAGE", "50").with("TLS", "false");
    let text = with("${WOO_SECRET}", "${WOO_SECRET}\n    per_page: ${PAGE}\n    verify_tls: ${TLS}");
    match parse("file.yaml", &text, &variables) {
        Ok(loaded) => {
            let settings = &loaded.pipeline.sources[0].settings.0;
            assert_eq!((&settings["per_page"], &settings["verify_tls"]), (&50.into(), &false.into()));
        }
        Err(error) => panic!("{error}: {:?}", error.source()),
    }
}

#[test]
fn a_section_without_content_counts_as_left_out() {
    assert_eq!(messages(&format!("{SMALLEST}contacts:\norders:\nload:\narchive:\n")), [""; 0]);
}

#[test]
fn null_takes_a_default_tag_away() {
    let text = format!("{SMALLEST}contacts: {{tags: {{newsletter: null}}}}\n");
    match parse("file.yaml", &text, &variables()) {
        Ok(Loaded { pipeline, .. }) => {
            assert_eq!(pipeline.contacts.tags.newsletter, None);
            assert_eq!(pipeline.contacts.tags.registered.as_deref(), Some("rejestracja"));
        }
        Err(error) => panic!("{error}: {:?}", error.source()),
    }
}

#[test]
fn an_odd_key_is_a_warning_only() {
    let loaded = parse("file.yaml", &with("${WOO_KEY}", "sk_live_1"), &variables());
    let warnings: Vec<_> = loaded.into_iter().flat_map(|loaded| loaded.warnings).collect();
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].place.line, warnings[0].key.as_str()), (6, "sources[0].consumer_key"));
    assert!(!format!("{warnings:?}").contains("sk_live_1"));
}

#[test]
fn an_empty_file_and_a_list_are_refused() {
    assert_eq!(messages(""), ["1: the file is empty"]);
    assert_eq!(messages("# nothing but a comment\n"), ["1: the file is empty"]);
    assert_eq!(messages("- a\n"), ["1: the file is a list, but must be a mapping of keys to values"]);
}

#[test]
fn no_shop_at_all_is_refused() {
    let text = "name: x\nsources: []\n";
    assert!(messages(text).contains(&"2: `sources` is an empty list".to_owned()), "{:?}", messages(text));
}

#[test]
fn bytes_that_are_no_text_are_refused_at_their_line() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("latin1.yaml");
    std::fs::write(&path, b"name: x\nsources: \xff\n")?;
    let error = load(&path, &Variables::environment()).err();
    let shown = error.as_ref().and_then(|error| error.source()).map(ToString::to_string).unwrap_or_default();
    assert!(shown.contains("latin1.yaml:2:10: not UTF-8 text"), "{shown}");
    Ok(())
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/no/such/pipeline.yaml"), &Variables::environment()).err();
    assert!(error.is_some_and(|error| error.kind() == Kind::PipelineFile && error.detail().contains("/no/such")));
}

/// What editors say by the published schema must be what wharf says.
#[test]
fn the_published_schema_takes_and_refuses_the_same_files() {
    let validator = jsonschema::validator_for(schema::pipeline());
    let Ok(validator) = validator else { panic!("the schema is not valid") };
    let taken = |text: &str| {
        let (root, _) = tree::read(text, &variables());
        root.is_some_and(|root| validator.is_valid(&validate::validate(&root, &serde_json::Value::Bool(true)).value))
    };
    assert!(taken(SMALLEST));
    for (line, instead) in [
        ("name: shop", "nmae: shop"),
        ("platform: woocommerce", "platform: wocommerce"),
        ("consumer_key", "consumer_kee"),
        ("${WOO_SECRET}", "${WOO_SECRET}\n    per_page: 0"),
        ("${WOO_SECRET}", "${WOO_SECRET}\n    auth: basik"),
        ("account: crm", "acount: crm"),
        ("${SM_OWNER}", "${SM_OWNER}\ncontacts: {consent: some}"),
    ] {
        let wrong = with(line, instead);
        assert!(!taken(&wrong), "{instead}");
        assert!(!messages(&wrong).is_empty(), "{instead}");
    }
}

/// Pieces that meet each other in many ways, most of them wrong.
fn yaml_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("name: x\n".to_owned()),
        Just("sources:\n".to_owned()),
        Just("  - connection: a\n    platform: woocommerce\n".to_owned()),
        Just("    base_url: ${WOO_URL}\n".to_owned()),
        Just("target:\n".to_owned()),
        Just("  platform: salesmanago\n".to_owned()),
        Just("contacts: {tags: [".to_owned()),
        Just("]}\n".to_owned()),
        Just("orders: &a {statuses: *a}\n".to_owned()),
        Just("load: {rate: ${GOLDEN_SECRET}}\n".to_owned()),
        Just("? [a]\n: b\n".to_owned()),
        Just("\t- !!int x\n".to_owned()),
        Just("--- |\n".to_owned()),
        Just("\"\\u12".to_owned()),
        "[ \n:\\-{}\\[\\]&*!|>'\"%@`#,?a-z$0-9]{0,12}",
        "\\PC{0,8}",
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_upsets_it_and_every_mistake_has_a_line_inside_the_file(text in yaml_like()) {
        let lines = text.lines().count().max(1);
        for mistake in mistakes(&text) {
            prop_assert!((1..=lines).contains(&mistake.place.line), "{mistake} of {lines} lines");
            prop_assert!(mistake.place.column >= 1);
            prop_assert!(!mistake.to_string().contains(SECRET));
        }
    }

    #[test]
    fn what_the_validation_takes_the_types_take(
        rate in "[0-9]{1,4}/(s|min|h)",
        share in 0.0f64..=1.0,
        days in 0u32..5000,
        span in "[0-9]{1,4}(s|m|h|d)",
        consent in "opt_in_only|all",
        tag in "\\PC{1,10}",
    ) {
        let quoted = serde_json::Value::String(tag.replace('$', "x")).to_string();
        let text = format!(
            "{SMALLEST}contacts: {{consent: {consent}, tags: {{always: [{quoted}]}}}}\nload: {{rate: {rate}, spread: {span}}}\n"
        );
        let more = format!("    max_deleted_share: {share}\n    reread_days: {days}\n    full_walk_every: {span}\ntarget:");
        let found = messages(&text.replacen("target:", &more, 1));
        prop_assert!(!found.iter().any(|message| message.contains("cannot be used")), "{found:?}");
        let only_values = found.iter().all(|message| message.contains("never finishes") || message.contains("a tag is empty"));
        prop_assert!(only_values, "{found:?}");
    }
}

#[test]
fn an_archive_that_keeps_nothing_is_refused() {
    let text = format!("{SMALLEST}archive:\n  to: ./archive\n  keep: {{last: 0}}\n");
    assert!(messages(&text).iter().any(|message| message.contains("`keep` names no instant to keep")));
    assert_eq!(messages(&format!("{SMALLEST}archive:\n  to: ./archive\n  keep: {{daily: 7}}\n")), [""; 0]);
}

#[test]
fn a_key_that_takes_a_number_or_a_word_takes_both_and_nothing_else() {
    let shop = |id: &str| {
        let idosell = with("    platform: woocommerce", "    platform: idosell");
        let keys = "    consumer_key: ${WOO_KEY}\n    consumer_secret: ${WOO_SECRET}";
        messages(&idosell.replace(keys, &format!("    api_key: ${{WOO_KEY}}\n    shop_id: {id}")))
    };
    for right in ["2", "all"] {
        assert_eq!(shop(right), Vec::<String>::new(), "{right}");
    }
    assert_eq!(shop("every").len(), 1);
}
