//! Repeatable chance: numbers that are a pure function of a seed, a subject and an id. Nothing else may enter.

/// A stream of numbers that depends on nothing but where it was begun.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The stream of `subject` number `id` under `seed`.
    pub fn new(seed: u64, subject: Subject, id: u64) -> Self {
        let begin = mix(seed ^ 0x9e37_79b9_7f4a_7c15);
        Self(mix(mix(begin ^ (subject as u64).wrapping_mul(0xd6e8_feb8_6659_fd93)) ^ id))
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `limit` (0 for a limit of 0).
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }

    /// A position in a list of `length`.
    pub fn position(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number from 0 to just below 1.
    pub fn unit(&mut self) -> f64 {
        // 53 bits: every value is exact.
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in so many of a thousand cases.
    pub fn per_mille(&mut self, cases: u64) -> bool {
        self.below(1000) < cases
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.position(list.len())]
    }
}

/// What a number is drawn for; each subject has a stream of its own.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Subject {
    Person = 1,
    Registered,
    Habits,
    CustomerMeta,
    Placed,
    Status,
    Buyer,
    Order,
    Refund,
    Product,
    Change,
    /// What one platform alone adds.
    Own,
}

/// The finisher of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_beginning_gives_the_same_numbers_and_another_gives_others() {
        let numbers = |seed, id| {
            let mut chance = Chance::new(seed, Subject::Person, id);
            [chance.draw(), chance.draw()]
        };
        assert_eq!(numbers(1, 7), numbers(1, 7));
        assert_ne!(numbers(1, 7), numbers(1, 8));
        assert_ne!(numbers(1, 7), numbers(2, 7));
    }

    #[test]
    fn numbers_are_spread_evenly_over_their_range() {
        let mut counts = [0_u32; 10];
        for id in 0..10_000 {
            counts[Chance::new(3, Subject::Order, id).position(10)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
