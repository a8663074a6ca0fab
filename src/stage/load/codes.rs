//! The codes under which records are refused on their way to a target, each with what a person does about it.
//! `docs/errors.md` explains them; a test holds both to what `sql/deliver`, the targets and the loader can say.

/// Every code of a delivery reject, and the line that says what to do.
pub const SOLUTIONS: &[(&str, &str)] = &[
    (
        "address-taken",
        "the target has a card at the new address already: merge or delete one of the two there, then retry",
    ),
    ("contact-not-there", "look at the target for the address; if it is refused there, correct it at the shop"),
    ("contact-rejected", "see the reject of the contact: once that is put right, the order follows by itself"),
    (
        "currency-not-taken",
        "the account does not take the order's currency: set target.convert_to and a rate in target.rates",
    ),
    ("email-too-long", "correct the address at the shop"),
    ("empty-order", "the order has neither products nor a total: nothing to do, or put it right at the shop"),
    (
        "event-too-long",
        "the order has more text than an event holds: shorten names at the shop, or send it by Add orders",
    ),
    ("in-the-future", "the order is dated in the future: compare target.time_zone with the account's"),
    (
        "item-incomplete",
        "an item lacks what the target asks for: put the product right at the shop, or set target.item_url and \
         target.item_image_url",
    ),
    ("no-channel", "the target knows contacts by e-mail or phone: add one at the shop, or leave it"),
    ("no-contact-id", "the buyer has no account, no e-mail and no phone: add one at the shop, or leave it"),
    ("no-currency", "the shop gives no currency for the order: set target.default_currency"),
    ("no-date", "the shop gives no time for the order: put it right at the shop"),
    ("no-email", "the target knows contacts by their e-mail: add one at the shop, or leave it"),
    ("no-order-id", "the shop gives the order neither a number nor a key: put it right at the shop"),
    ("no-segmentation", "switch segmentation on for the type of event at the target, then retry"),
    ("no-total", "the shop gives no total for the order, or one below zero: put it right at the shop"),
    (
        super::ledger::OPT_OUT_KEPT,
        "a later opt-in at the shop is sent by itself; where you know that the person wants this one, \
         `wharf rejects retry --opt-in --key ID`",
    ),
    (
        super::ledger::OUTCOME_UNKNOWN,
        "look at the target whether it arrived: `wharf rejects retry` sends it again, `wharf rejects drop` leaves it",
    ),
    (
        super::flight::REFUSED,
        "the reason is in the target's words: correct the record at the shop, it is sent again then",
    ),
    ("too-old", "the target takes no events of that long ago: limit orders.placed_after"),
];

/// What to do about records refused with `code`.
pub fn solution(code: &str) -> Option<&'static str> {
    SOLUTIONS.iter().find(|(known, _)| *known == code).map(|(_, solution)| *solution)
}
