//! What happens at a shop and at the account while tests let the program die; what it concerns is drawn. Whatever the
//! present state will not tell afterwards is noted in the world.

use super::seller::Seller;
use super::world::{Dice, World};

/// What may happen at the shop and at the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    GuestOrder,
    CustomerOrder,
    OrderMovesOn,
    CustomerChanges,
    EmailMoves,
    ConsentFlips,
    CustomerLeaves,
    OrderVanishes,
    CategoryRenamed,
    ProductChanges,
    OptOutThere,
}

impl Happening {
    pub const ALL: &[Happening] = &[
        Happening::GuestOrder,
        Happening::CustomerOrder,
        Happening::OrderMovesOn,
        Happening::CustomerChanges,
        Happening::EmailMoves,
        Happening::ConsentFlips,
        Happening::CustomerLeaves,
        Happening::OrderVanishes,
        Happening::CategoryRenamed,
        Happening::ProductChanges,
        Happening::OptOutThere,
    ];
}

impl World {
    /// One thing happens; what it concerns is drawn.
    pub fn happen(&mut self, what: Happening, dice: &mut Dice) {
        match self.seller {
            Seller::WooCommerce => self.happen_at_woocommerce(what, dice),
            Seller::IdoSell => self.happen_at_idosell(what, dice),
        }
    }

    /// Somebody opts out at the account, one of these.
    pub fn opt_out_there(&mut self, addresses: &[String], dice: &mut Dice) {
        let Some(email) = dice.pick(addresses) else { return };
        if let Some(person) = self.crm.opt_out(&self.sandbox, email) {
            self.opted_out.insert(person);
            self.told(format!("{email} opts out at the account"));
        }
    }
}
