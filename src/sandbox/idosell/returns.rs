//! Returns of goods: the refunds of the stock. May use the panel and nothing of the state.

use super::people::Panel;
use super::people_rows::amount;
use crate::sandbox::php::object;
use crate::sandbox::table::{Base, Head};
use std::sync::Arc;

/// Returns of all orders.
pub struct Returns(pub Arc<Panel>);

impl Base for Returns {
    fn rows(&self) -> usize {
        self.0.stock.refunds() as usize
    }

    fn head(&self, position: usize) -> Head {
        let created = self.0.stock.refunded(position as u64);
        // The second of its days is the one on which it ended.
        Head { id: self.0.stock.refund_id(position as u64), created, modified: created + 3600, settled: created + 3600 }
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.0.stock.refund_index(id).map(|index| index as usize)
    }

    fn class(&self, _position: usize) -> String {
        "accepted".to_owned()
    }

    fn owner(&self, position: usize) -> u64 {
        let stock = &self.0.stock;
        stock.order_id(stock.refunded_order(position as u64))
    }

    fn owned(&self, owner: u64) -> Option<Vec<usize>> {
        let stock = &self.0.stock;
        let refund = stock.order_index(owner).and_then(|order| stock.refund_of(order));
        Some(refund.map(|refund| refund as usize).into_iter().collect())
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        let panel = &self.0;
        let refund = panel.stock.refund(position as u64);
        let order = panel.stock.order(panel.stock.refunded_order(position as u64));
        let decimals = order.currency.decimals;
        let at = panel.zone.time(refund.created);
        let end = panel.zone.time(refund.created + 3600);
        object(out, |row| {
            row.number("id", refund.id)
                .number("order_sn", refund.order)
                .text("status", "accepted")
                .number("status_numeric", 2)
                .number("stock_id", 1);
            row.objects("products", &refund.lines, |entry, (place, pieces, net, tax)| {
                let line = order.lines.get(*place);
                let unit = |amount: i64| amount / (*pieces).max(1);
                let (gross, net) = (amount(unit(net + tax), decimals), amount(unit(*net), decimals));
                entry
                    .number("id", line.map_or(0, |line| line.product))
                    .text("size", "uniw")
                    .text("product_sizecode", line.and_then(|line| line.sku.as_deref()).unwrap_or_default())
                    .number("quantity", *pieces)
                    .raw("price", &gross)
                    .raw("price_net", &net)
                    .raw("order_price", &gross)
                    .raw("order_price_net", &net)
                    .text("remarks", refund.reason);
            });
            row.text("date_add", &at)
                .text("date_end", &end)
                .text("date_last_edit", &end)
                .text("currency", order.currency.code);
        });
    }

    fn is_in_step(&self) -> bool {
        true
    }
}
