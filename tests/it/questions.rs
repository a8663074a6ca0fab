//! Every statement of `docs/questions.md` runs as it stands, and answers what its heading asks.

use crate::support;
use std::collections::BTreeMap;
use tokio_postgres::SimpleQueryMessage;

const PAGE: &str = include_str!("../../docs/questions.md");

/// Heading and statement of each question.
fn questions() -> Vec<(&'static str, &'static str)> {
    PAGE.split("\n## ")
        .skip(1)
        .map(|section| {
            let heading = section.lines().next().unwrap();
            let (_, rest) = section.split_once("```sql\n").unwrap_or_else(|| panic!("no SQL below `{heading}`"));
            let (statement, rest) = rest.split_once("\n```").unwrap();
            assert!(!rest.contains("```"), "more than one statement below `{heading}`");
            (heading, statement)
        })
        .collect()
}

/// What the small shop of `questions.sql` answers: column names, then rows.
const ANSWERS: &[(&str, &[&str])] = &[
    (
        "How much did we earn per month and currency?",
        &["month|currency|orders|revenue|refunded", "2024-01-01|PLN|2|140.00|10.50", "2024-02-01|EUR|1|20.00|0.00"],
    ),
    (
        "Which categories sell best?",
        &[
            "connection|category|currency|buyers|orders|revenue|gross",
            "my-shop|Shoes / Winter|PLN|1|2|100.00|110.50",
            "my-shop|Shoes|PLN|1|1|40.00|40.00",
            "my-shop|Shoes|EUR|1|1|20.00|20.00",
        ],
    ),
    (
        "How many customers are champions, at risk, lost, and what are they worth?",
        &["currency|segment|contacts|revenue|average_order", "EUR|lost|1|20.00|20.00", "PLN|lost|1|140.00|70.00"],
    ),
    ("What share of buyers comes back?", &["buyers|came_back|percent", "2|1|50.0"]),
    ("How long until the second order?", &["contacts|median_days|nine_of_ten_within_days", "1|10.0|10.0"]),
    (
        "Do customers with an account buy more than guests?",
        &[
            "kind|currency|buyers|orders|average_order|revenue",
            "guest|EUR|1|1|20.00|20.00",
            "account|PLN|1|2|70.00|140.00",
        ],
    ),
    (
        "Which orders wait because their status is not mapped?",
        &["connection|source_status|orders|oldest|newest", "my-shop|on-the-truck|1|2024-03-01|2024-03-01"],
    ),
    (
        "Who may we write to, and who said so, when?",
        &[
            "email|channel|state|said_in|said_by|stated_at",
            "cid@shop.example|sms|opt_in|my-shop|guest|2024-03-01 10:00:00+00",
            "ann@shop.example|email|opt_in|my-shop|account|2024-02-05 10:00:00+00",
        ],
    ),
    (
        "How many people agreed, and where did they say so?",
        &[
            "channel|said_in|said_by|opted_in|opted_out",
            "email|my-shop|account|1|0",
            "email|my-shop|subscriber|0|1",
            "sms|my-shop|guest|1|0",
        ],
    ),
    ("How many unsubscribe per month?", &["month|channel|contacts", "2024-03-01|email|1"]),
    ("Which products have never been sold?", &["connection|sku|name|price|stock", "my-shop|BAG|Bag|999.00|3"]),
    (
        "Which campaigns bring the largest baskets?",
        &[
            "utm_source|utm_campaign|currency|orders|average_basket|revenue",
            "google|spring|EUR|1|20.00|20.00",
            "google|spring|PLN|1|100.00|100.00",
            "(none)|(none)|PLN|1|50.50|40.00",
        ],
    ),
    ("What is bought together?", &["product|bought_with|orders", "Boots|Laces|1"]),
    ("Who bought in one category, but never in another?", &["email|last_bought", "ann@shop.example|2024-01-20"]),
    (
        "What could not be taken as the shop gave it, and why?",
        &[
            "stage|scope|entity|code|records|for_example|last_seen",
            "canonical|my-shop|contacts|bad-phone|2|not a phone|2024-03-02",
            "canonical|my-shop|orders|unmapped-status|1|not mapped|2024-03-02",
        ],
    ),
    (
        "What did the last runs change?",
        &["run_id|pipeline|entity|op|changes", "2|shop|orders|update|3", "1|shop|orders|insert|1"],
    ),
    (
        "When did orders change their status?",
        &[
            "number|status_before|status_after|day",
            "N1|INITIALIZED|IN_PROGRESS|2024-01-11",
            "N1|IN_PROGRESS|DELIVERED|2024-01-12",
        ],
    ),
];

#[tokio::test]
async fn every_statement_answers_its_question() {
    let db = support::database().await;
    let client = db.client().await.unwrap();
    client.batch_execute("set time zone 'UTC'").await.unwrap();
    client.batch_execute(include_str!("questions.sql")).await.unwrap();
    let expected: BTreeMap<&str, &[&str]> = ANSWERS.iter().copied().collect();
    let asked: Vec<&str> = questions().iter().map(|(heading, _)| *heading).collect();
    assert_eq!(asked, ANSWERS.iter().map(|(heading, _)| *heading).collect::<Vec<_>>());
    assert!(asked.len() >= 12);
    for (heading, statement) in questions() {
        let answer = client.simple_query(statement).await.unwrap_or_else(|error| panic!("{heading}: {error:?}"));
        let mut lines: Vec<String> = Vec::new();
        for message in answer {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    lines.push(columns.iter().map(|column| column.name()).collect::<Vec<_>>().join("|"));
                }
                SimpleQueryMessage::Row(row) => {
                    let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("(null)")).collect();
                    lines.push(values.join("|"));
                }
                _ => {}
            }
        }
        assert_eq!(lines, expected[heading], "{heading}");
    }
}
