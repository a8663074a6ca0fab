//! The catalogue: a tree of categories in three levels, products with variations. Small enough to be kept in memory.
//! May use nothing but chance.

use super::chance::{Chance, Subject};

/// The id of the category for products without one.
pub const UNCATEGORISED: u64 = 15;

/// How many products the catalogue has.
pub const PRODUCTS: u64 = 500;

/// Ids of products begin here; a product's variations follow it.
const FIRST_PRODUCT: u64 = 100;

/// Ids from one product to the next: the product, up to four variations, its image.
const PRODUCT_STEP: u64 = 8;

/// One category.
#[derive(Debug, Clone)]
pub struct Category {
    /// Its id.
    pub id: u64,
    /// The id of the category above, 0 for none.
    pub parent: u64,
    /// Its name, as a person writes it (no entities).
    pub name: String,
    /// Its name in an address.
    pub slug: String,
}

/// One product.
#[derive(Debug, Clone)]
pub struct Product {
    /// Its id.
    pub id: u64,
    /// Its name, as a person writes it (no entities).
    pub name: String,
    /// Its name in an address.
    pub slug: String,
    /// Stock keeping unit; rarely empty.
    pub sku: String,
    /// `publish`, `draft` or `private`.
    pub status: &'static str,
    /// Price in euro cents, tax included.
    pub price: i64,
    /// Price before a sale, in euro cents.
    pub regular_price: i64,
    /// The ids of its categories.
    pub categories: Vec<u64>,
    /// Its variations.
    pub variations: Vec<Variation>,
    /// The id of its image, 0 for none.
    pub image: u64,
    /// Pieces in stock, where they are counted.
    pub pieces: Option<i64>,
}

/// One variation of a product.
#[derive(Debug, Clone)]
pub struct Variation {
    /// Its id.
    pub id: u64,
    /// Colour.
    pub colour: &'static str,
    /// Size.
    pub size: &'static str,
    /// Stock keeping unit.
    pub sku: String,
    /// Price in euro cents, tax included.
    pub price: i64,
    /// Pieces in stock.
    pub pieces: i64,
}

/// Categories and products of a stock.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// All categories, by id.
    pub categories: Vec<Category>,
    /// All products that orders are made of, by id.
    pub products: Vec<Product>,
    seed: u64,
    leaves: Vec<u64>,
}

/// Root, sub-categories, their sub-categories. Two of one name, names with what breaks careless readers.
type Branch = (&'static str, &'static [(&'static str, [&'static str; 2])]);

const TREE: [Branch; 6] = [
    (
        "Odzież & obuwie",
        &[
            ("Odzież damska", ["Sukienki", "Bluzki, topy"]),
            ("Odzież męska", ["Koszule", "Jeansy"]),
            ("Obuwie", ["Sneakersy", "Botki zimowe"]),
        ],
    ),
    (
        "Dom & Ogród",
        &[
            ("Kuchnia", ["Garnki & patelnie", "Noże"]),
            ("Meble", ["Möbel für draußen", "Stoły"]),
            ("Ogród \"outdoor\"", ["Grille", "Sale"]),
        ],
    ),
    (
        "Elektronika",
        &[
            ("Komputery", ["Laptopy", "Myszki > klawiatury"]),
            ("Telefony", ["Smartfony", "Etui & szkła"]),
            ("Audio", ["Słuchawki", "Głośniki"]),
        ],
    ),
    (
        "Краса / Beauty",
        &[
            ("Парфуми", ["Для неї", "Для нього"]),
            ("Догляд за шкірою", ["Креми", "Сироватки"]),
            ("Волосся", ["Шампуні", "Фарби"]),
        ],
    ),
    (
        "Книги та іграшки",
        &[
            ("Книги", ["Фентезі", "Дитячі книги"]),
            ("Іграшки", ["Конструктори", "М’які іграшки 🧸"]),
            ("Gry planszowe", ["Rodzinne", "Sale"]),
        ],
    ),
    (
        "Sport",
        &[
            ("Rowery", ["Części rowerowe", "Kaski"]),
            ("Αθλητικά", ["Παπούτσια", "Ρούχα"]),
            ("Góry", ["Namioty", "Plecaki 50+"]),
        ],
    ),
];

const THINGS: [&str; 14] = [
    "Sukienka „Jesień”",
    "Garnek 5 l",
    "Nóż szefa kuchni 20 cm",
    "Laptop 14\" Pro",
    "Крем для рук",
    "Подарунковий набір 🎁",
    "Câble USB-C 2 m",
    "Książka: Żółw & przyjaciele",
    "Παπούτσια τρεξίματος",
    "Namiot 2-osobowy",
    "Kubek <b>XXL</b>",
    "Salz & Pfeffer",
    "旅行背包",
    "Mug — 0.3 l",
];

const KINDS: [&str; 8] = ["Classic", "mini", "Édition limitée", "2026", "& Co", "Eco", "czarny", "Преміум"];
const COLOURS: [&str; 4] = ["Czarny", "Biały", "Червоний", "Grün"];
const SIZES: [&str; 4] = ["S", "M", "L", "XL"];

impl Catalogue {
    /// The catalogue of a seed.
    pub fn new(seed: u64) -> Self {
        let categories = categories();
        let leaves: Vec<u64> = leaves(&categories);
        let products = (0..PRODUCTS).map(|index| product(seed, index, &leaves, &categories)).collect();
        Self { categories, products, seed, leaves }
    }

    /// The product at a position, also beyond those that orders are made of: for catalogues of any length.
    pub fn product_at(&self, index: u64) -> Product {
        product(self.seed, index, &self.leaves, &self.categories)
    }

    /// The position of the product with this id, if one can have it.
    pub fn product_index(id: u64) -> Option<u64> {
        let offset = id.checked_sub(FIRST_PRODUCT)?;
        offset.is_multiple_of(PRODUCT_STEP).then_some(offset / PRODUCT_STEP)
    }

    /// The id of the product at a position.
    pub fn product_id(index: u64) -> u64 {
        FIRST_PRODUCT + index * PRODUCT_STEP
    }

    /// The product with this id.
    pub fn product(&self, id: u64) -> Option<&Product> {
        self.products.get(usize::try_from(Self::product_index(id)?).ok()?)
    }
}

fn categories() -> Vec<Category> {
    let mut categories = vec![Category {
        id: UNCATEGORISED,
        parent: 0,
        name: "Bez kategorii".to_owned(),
        slug: "bez-kategorii".to_owned(),
    }];
    let add = |name: &str, parent: u64, categories: &mut Vec<Category>| {
        let id = UNCATEGORISED + categories.len() as u64;
        categories.push(Category { id, parent, name: name.to_owned(), slug: format!("{}-{id}", slug(name)) });
        id
    };
    for (root, branches) in TREE {
        let root = add(root, 0, &mut categories);
        for (branch, twigs) in branches {
            let branch = add(branch, root, &mut categories);
            for twig in twigs {
                add(twig, branch, &mut categories);
            }
        }
    }
    categories
}

fn leaves(categories: &[Category]) -> Vec<u64> {
    let has_child = |id: u64| categories.iter().any(|category| category.parent == id);
    categories.iter().filter(|category| category.parent != 0 && !has_child(category.id)).map(|leaf| leaf.id).collect()
}

fn product(seed: u64, index: u64, leaves: &[u64], categories: &[Category]) -> Product {
    let mut chance = Chance::new(seed, Subject::Product, index);
    let id = Catalogue::product_id(index);
    let name = format!("{} {} {}", chance.pick(&THINGS), chance.pick(&KINDS), index + 1);
    // From one to several hundred euro, most of it cheap.
    let regular_price = 199 + (chance.unit().powi(3) * 60_000.0) as i64;
    let on_sale = chance.per_mille(200);
    let price = if on_sale { regular_price * 8 / 10 } else { regular_price };
    let sku = if chance.per_mille(30) { String::new() } else { format!("SKU-{:05}", index + 1) };

    let leaf = *chance.pick(leaves);
    let mut in_categories = match chance.below(100) {
        0..2 => vec![UNCATEGORISED],
        // A branch with twigs holds products of its own, too.
        2..8 => vec![parent_of(leaf, categories)],
        _ => vec![leaf],
    };
    if chance.per_mille(200) {
        let second = *chance.pick(leaves);
        if !in_categories.contains(&second) {
            in_categories.insert(chance.position(2), second);
        }
    }

    let mut variations = Vec::new();
    if chance.per_mille(200) {
        let colour = chance.position(COLOURS.len());
        for number in 0..2 + chance.below(3) {
            variations.push(Variation {
                id: id + 1 + number,
                colour: COLOURS[colour],
                size: SIZES[number as usize],
                sku: format!("SKU-{:05}-{}", index + 1, SIZES[number as usize]),
                price: price + 100 * number as i64,
                pieces: chance.below(200) as i64,
            });
        }
    }
    Product {
        id,
        slug: format!("{}-{}", slug(&name), index + 1),
        name,
        sku,
        status: match chance.below(100) {
            0..4 => "draft",
            4..6 => "private",
            _ => "publish",
        },
        price,
        regular_price,
        categories: in_categories,
        image: if chance.per_mille(900) { id + 5 } else { 0 },
        pieces: if chance.per_mille(800) { Some(chance.below(500) as i64) } else { None },
        variations,
    }
}

fn parent_of(id: u64, categories: &[Category]) -> u64 {
    categories.iter().find(|category| category.id == id).map_or(UNCATEGORISED, |category| category.parent)
}

/// A name as it stands in an address: letters of ASCII in lower case, the rest as hyphens.
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.chars() {
        match letter {
            'a'..='z' | '0'..='9' => slug.push(letter),
            'A'..='Z' => slug.push(letter.to_ascii_lowercase()),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
    }
    let trimmed = slug.trim_end_matches('-');
    if trimmed.is_empty() { "c".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_has_three_levels_and_about_sixty_categories() {
        let catalogue = Catalogue::new(1);
        assert_eq!(catalogue.categories.len(), 61);
        let depth = |mut id: u64| {
            let mut depth = 0;
            while id != 0 {
                depth += 1;
                id = parent_of(id, &catalogue.categories);
            }
            depth
        };
        let deepest = catalogue.categories.iter().map(|category| depth(category.id)).max();
        assert_eq!(deepest, Some(3));
    }

    #[test]
    fn every_product_is_found_by_its_id_and_by_no_other() {
        let catalogue = Catalogue::new(1);
        assert_eq!(catalogue.products.len() as u64, PRODUCTS);
        for product in &catalogue.products {
            assert_eq!(catalogue.product(product.id).map(|found| found.id), Some(product.id));
            assert!(catalogue.product(product.id + 1).is_none());
            assert!(!product.categories.is_empty());
        }
        assert!(catalogue.products.iter().any(|product| product.categories.len() == 2));
    }
}
