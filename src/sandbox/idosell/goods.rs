//! Products, panel categories and the shops' menus in the platform's shapes. May use the panel and nothing of the state.
//!
//! A category exists twice: as a panel category, of which a product has one, and as a node in the menu of each shop, of
//! which it has any number. Their numbers differ, so that whoever takes one for the other finds nothing.

use super::people::Panel;
use super::people_rows::amount;
use super::zone::ZERO_TIME;
use crate::sandbox::php::{Object, object};
use crate::sandbox::stock::DAY;
use crate::sandbox::stock::catalogue::{Catalogue, Category, UNCATEGORISED, slug};
use crate::sandbox::table::{Base, Head};
use std::sync::Arc;

/// So long after a product's last change its quantity changed.
const QUANTITY_CHANGED: i64 = 3 * 3600;
/// Numbers of menu nodes lie so far above those of categories, once for each shop.
const MENU_NUMBERS: u64 = 1000;
/// Prices of the stock are in euro cents; the panel's are in Polish.
const GROSZE_PER_CENT: (i64, i64) = (430, 100);
/// The tax on everything that is sold here, in percent.
const TAX: i64 = 23;

/// One size of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// `uniw` where there is but one.
    pub id: String,
    /// What people see.
    pub name: String,
    /// The code of the shop's own system.
    pub code: String,
    /// EAN.
    pub ean: String,
    /// Gross, in hundredths of the panel's currency.
    pub price: i64,
    /// Pieces in tenths; none where they are not counted.
    pub pieces: Option<i64>,
}

/// One product. Amounts are gross, in hundredths of the panel's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the platform's own words")]
pub struct Goods {
    pub id: u64,
    pub name: String,
    pub code: String,
    /// `active`, `deleted` or `in_trash`.
    pub class: &'static str,
    pub visible: bool,
    pub price: i64,
    /// Before a promotion; the same without one.
    pub normal_price: i64,
    pub categories: Vec<u64>,
    pub sizes: Vec<Size>,
    pub has_image: bool,
    /// Products that differ by colour alone share this number.
    pub version: u64,
    pub created: i64,
    pub modified: i64,
    pub price_changed: i64,
    pub quantity_changed: i64,
}

/// The size that a variation of a product is.
pub fn size_id(product: u64, variation: u64) -> String {
    (2 + variation.saturating_sub(product)).to_string()
}

/// The category tree of the panel, which products and menus show.
#[derive(Debug, Clone)]
pub struct Tree(pub Vec<Category>);

impl Tree {
    /// The category with this number.
    pub fn find(&self, id: u64) -> Option<&Category> {
        self.0.iter().find(|category| category.id == id)
    }

    /// The names from the root down to a category.
    pub fn path(&self, id: u64) -> Vec<&str> {
        let mut path = Vec::new();
        let mut at = self.find(id);
        while let Some(category) = at {
            path.push(category.name.as_str());
            at = self.find(category.parent);
        }
        path.reverse();
        path
    }
}

/// The number of a category's node in a shop's menu.
pub fn menu_item(category: u64, shop: u64) -> u64 {
    shop * MENU_NUMBERS + category
}

/// Whether a category is shown in menus at all.
pub fn is_in_menu(category: u64) -> bool {
    category != UNCATEGORISED
}

/// Whether a category's node is hidden from buyers.
pub fn is_hidden(category: u64) -> bool {
    category.is_multiple_of(19)
}

impl Panel {
    fn product_times(&self, index: u64) -> (i64, i64) {
        let count = self.products.max(1) as i64;
        let place = index as i64 + 1;
        let created = self.stock.now() - 4 * 365 * DAY + 2 * 365 * DAY * place / count;
        let modified = self.stock.now() - 366 * DAY + 365 * DAY * place / count;
        (created, modified)
    }

    fn product_class(&self, index: u64) -> &'static str {
        match self.chance(12, index).below(1000) {
            0..10 => "deleted",
            10..15 => "in_trash",
            _ => "active",
        }
    }

    /// The product at a position.
    pub fn goods(&self, index: u64) -> Goods {
        let made;
        let product = match self.stock.catalogue.products.get(index as usize) {
            Some(product) => product,
            None => {
                made = self.stock.catalogue.product_at(index);
                &made
            }
        };
        let (created, modified) = self.product_times(index);
        let price = |cents: i64| cents * GROSZE_PER_CENT.0 / GROSZE_PER_CENT.1;
        let ean = |place: u64| format!("590{:010}", product.id * 10 + place);
        let sizes = match product.variations.is_empty() {
            true => vec![Size {
                id: "uniw".to_owned(),
                name: "uniwersalny".to_owned(),
                code: product.sku.clone(),
                ean: ean(0),
                price: price(product.price),
                // Sold by the metre, half a one may be left.
                pieces: product.pieces.map(|pieces| pieces * 10 + if index.is_multiple_of(50) { 5 } else { 0 }),
            }],
            false => product
                .variations
                .iter()
                .map(|variation| Size {
                    id: size_id(product.id, variation.id),
                    name: variation.size.to_owned(),
                    code: variation.sku.clone(),
                    ean: ean(variation.id - product.id),
                    price: price(variation.price),
                    pieces: Some(variation.pieces * 10),
                })
                .collect(),
        };
        Goods {
            id: product.id,
            name: product.name.clone(),
            code: product.sku.clone(),
            class: self.product_class(index),
            visible: product.status == "publish",
            price: price(product.price),
            normal_price: price(product.regular_price),
            categories: product.categories.clone(),
            sizes,
            has_image: product.image != 0,
            version: Catalogue::product_id(index - index % 5),
            created,
            modified,
            price_changed: modified,
            quantity_changed: modified + QUANTITY_CHANGED,
        }
    }
}

impl Goods {
    /// Whether it stands in the offer.
    pub fn is_offered(&self) -> bool {
        self.class == "active" && self.visible
    }

    /// The address of its page in the shop.
    pub fn url(&self, panel: &Panel) -> String {
        format!("{}/product-pol-{}-{}.html", panel.origin, self.id, slug(&self.name))
    }

    /// The addresses of its pictures.
    pub fn images(&self, panel: &Panel) -> Vec<String> {
        let count = if self.has_image { 1 + self.id % 2 } else { 0 };
        let address = |place| format!("{}/hpeciai/{}/pol_pl_{}_{place}.jpg", panel.origin, self.id, slug(&self.name));
        (1..=count).map(address).collect()
    }

    /// What it is sorted and filtered by; a change of quantity is the third of its times.
    pub fn head(&self) -> Head {
        let settled = self.modified.max(self.quantity_changed);
        Head { id: self.id, created: self.created, modified: self.modified, settled }
    }

    /// The net part of a gross price.
    pub fn net(gross: i64) -> i64 {
        (gross * 200 + 100 + TAX) / (2 * (100 + TAX))
    }

    /// A price less the rebate of whom the light offer is for.
    pub fn rebated(gross: i64) -> i64 {
        gross * 95 / 100
    }
}

/// A row of `POST /products/products/search`.
pub fn product(out: &mut Vec<u8>, goods: &Goods, panel: &Panel, tree: &Tree, asked: &Asked) {
    let zone = &panel.zone;
    let category = goods.categories.first().copied().unwrap_or(UNCATEGORISED);
    let prices = |row: &mut Object<'_>, price: i64| {
        let normal = if goods.normal_price > goods.price { price * 5 / 4 } else { price };
        row.raw("productRetailPrice", &amount(normal, 2));
        if asked.promotions && normal != price {
            row.raw("productPromoRetailPrice", &amount(price, 2));
        }
        row.raw("productWholesalePrice", &amount(normal * 8 / 10, 2));
    };
    object(out, |row| {
        row.number("productId", goods.id)
            .text("productDisplayedCode", &goods.code)
            .text("productIsDeleted", if goods.class == "active" { "n" } else { "y" })
            .number("producerId", 5)
            .text("producerName", "Marka Testowa")
            .number("categoryIdoSellId", 0)
            .text("categoryIdoSellPath", "")
            .number("categoryId", category)
            .text("categoryName", tree.find(category).map_or("", |category| category.name.as_str()))
            .text("currencyId", &asked.currency);
        prices(row, goods.price);
        row.number("productStrikethroughRetailPrice", 0)
            .number("productVat", TAX)
            .text("productVatFree", "n")
            .number("productWeight", 300)
            .text("productIsVisible", if goods.visible { "y" } else { "n" });
        let images = goods.images(panel);
        row.object("productIcon", |icon| match images.first() {
            Some(url) => {
                icon.text("productIconExists", "y").text("productIconLargeUrl", url);
            }
            None => {
                icon.text("productIconExists", "n");
            }
        });
        // By no order: the priority says which comes first.
        row.objects("productImages", images.iter().enumerate().rev(), |image, (place, url)| {
            image
                .text("productImageLargeUrl", url)
                .text("productImageId", &(place + 1).to_string())
                .number("productImagePriority", place as u64 + 1);
        });
        row.object("productUnit", |unit| {
            unit.number("unitId", 0).text("unitName", "szt.").number("unitPrecision", 0);
        });
        row.text("productAddingTime", &zone.time(goods.created))
            .text("productModificationTime", &zone.time(goods.modified))
            .text("productPriceChangedTime", &zone.time(goods.price_changed))
            .text("productQuantityChangedTime", &zone.time(goods.quantity_changed));
        row.object("productVersion", |version| {
            version.number("versionParentId", goods.version);
        });
        row.objects("productShops", 1..=panel.shops as u64, |entry, shop| {
            entry.number("shopsMask", 1 << (shop - 1)).number("shopId", shop);
        });
        row.objects("productDescriptionsLangData", languages(goods.id), |texts, lang| {
            texts
                .text("langId", lang)
                .text("productName", &in_language(&goods.name, lang))
                .text("productDescription", "Krótki opis.")
                .text("productLongDescription", "<p>Dłuższy opis.</p>");
        });
        row.objects("productSizesAttributes", &goods.sizes, |entry, size| {
            entry
                .text("sizeId", &size.id)
                .text("sizePanelName", &size.name)
                .text("productSizeCodeExternal", &size.code)
                .text("productSizeCodeProducer", &size.ean);
            prices(entry, size.price);
            entry.number("productSizeWeight", 300);
        });
        row.object("productStocksData", |stocks| stocks_of(stocks, goods));
        row.raw("productParameters", "[]");
        row.objects("productSizes", &goods.sizes, |entry, size| {
            entry.text("sizeId", &size.id).text("sizePanelName", &size.name);
        });
        row.text("productType", "product_item");
        let nodes = goods.categories.iter().filter(|category| is_in_menu(**category));
        let nodes = nodes.flat_map(|category| (1..=panel.shops as u64).map(move |shop| (*category, shop)));
        row.objects("productMenu", nodes, |node, (category, shop)| {
            node.number("menuItemId", menu_item(category, shop)).number("shopId", shop).number("menuId", 1);
            node.objects("menuItemDescriptionsLangData", languages(category), |texts, lang| {
                let path: Vec<String> = tree.path(category).iter().map(|name| in_language(name, lang)).collect();
                texts
                    .text("langId", lang)
                    .text("menuItemName", path.last().map_or("", String::as_str))
                    .text("menuItemTextId", &path.join("\\"));
            });
        });
    });
}

fn stocks_of(stocks: &mut Object<'_>, goods: &Goods) {
    let counted: Vec<&Size> = goods.sizes.iter().filter(|size| size.pieces.is_some()).collect();
    if counted.is_empty() {
        stocks.raw("productStocksQuantities", "[]");
        return;
    }
    stocks.objects("productStocksQuantities", [counted], |stock, sizes| {
        stock.number("stockId", 1);
        stock.objects("productSizesData", sizes, |entry, size| {
            entry
                .text("sizeId", &size.id)
                .text("sizePanelName", &size.name)
                .text("productSizeCodeExternal", &size.code)
                .raw("productSizeQuantity", &amount(size.pieces.unwrap_or_default(), 1));
        });
    });
}

/// The languages of a text, in an order that is not to be relied on.
pub fn languages(id: u64) -> [&'static str; 2] {
    if id.is_multiple_of(2) { ["pol", "eng"] } else { ["eng", "pol"] }
}

/// A name in a language.
pub fn in_language(name: &str, lang: &str) -> String {
    if lang == "eng" { format!("{name} (en)") } else { name.to_owned() }
}

/// How products are asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Prices of promotions, too.
    pub promotions: bool,
    /// The currency of the prices.
    pub currency: String,
}

impl Default for Asked {
    fn default() -> Self {
        Self { promotions: false, currency: "PLN".to_owned() }
    }
}

/// The template from which products are made, which the search gives unless it is told not to.
pub fn template(out: &mut Vec<u8>) {
    object(out, |row| {
        row.number("productId", 0)
            .text("productDisplayedCode", "")
            .text("productIsDeleted", "n")
            .text("currencyId", "PLN")
            .number("productRetailPrice", 0)
            .text("productAddingTime", ZERO_TIME)
            .raw("productDescriptionsLangData", "[]")
            .raw("productSizesAttributes", "[]")
            .raw("productMenu", "[]");
    });
}

/// A row of `GET /products/categories`.
pub fn category(out: &mut Vec<u8>, category: &Category, products: usize, panel: &Panel, wanted: &[String]) {
    object(out, |row| {
        row.number("id", category.id)
            .number("parent_id", category.parent)
            .number("priority", 1)
            .number("product_count", products as u64)
            .numbers("shops", 1..=panel.shops as u64);
        let languages = languages(category.id);
        let languages = languages.iter().filter(|lang| wanted.is_empty() || wanted.iter().any(|one| one == *lang));
        row.objects("lang_data", languages, |texts, lang| {
            let name = in_language(&category.name, lang);
            texts.text("lang_id", lang).text("singular_name", &name).text("plural_name", &name).text("description", "");
        });
    });
}

/// A node of `GET /menu/menu`.
pub fn menu_node(out: &mut Vec<u8>, category: &Category, tree: &Tree, shop: u64, lang: &str, separator: &str) {
    object(out, |row| {
        let parent = if category.parent == 0 { 0 } else { menu_item(category.parent, shop) };
        row.number("item_id", menu_item(category.id, shop)).number("parent_id", parent);
        row.objects("lang_data", [lang], |texts, lang| {
            let path: Vec<String> = tree.path(category.id).iter().map(|name| in_language(name, lang)).collect();
            let address: Vec<String> = tree.path(category.id).iter().map(|name| slug(name)).collect();
            texts
                .text("lang_id", lang)
                .text("item_textid", &path.join(separator))
                .text("name", path.last().map_or("", String::as_str))
                .number("priority", 1)
                .text("description", "")
                .text("description_bottom", "")
                .text("link", "")
                .text("item_type", "products")
                .text("url", &format!("/pol_m_{}-{}.html", address.join("_"), menu_item(category.id, shop)))
                .text("href_target", "_self")
                .text("hidden", if is_hidden(category.id) { "y" } else { "n" });
        });
    });
}

/// All products of the panel.
pub struct Products(pub Arc<Panel>);

impl Base for Products {
    fn rows(&self) -> usize {
        self.0.products as usize
    }

    fn head(&self, position: usize) -> Head {
        let index = position as u64;
        let (created, modified) = self.0.product_times(index);
        Head { id: Catalogue::product_id(index), created, modified, settled: modified + QUANTITY_CHANGED }
    }

    fn find(&self, id: u64) -> Option<usize> {
        Catalogue::product_index(id).filter(|index| *index < self.0.products).map(|index| index as usize)
    }

    fn class(&self, position: usize) -> String {
        self.0.product_class(position as u64).to_owned()
    }

    fn owner(&self, _position: usize) -> u64 {
        0
    }

    fn owned(&self, _owner: u64) -> Option<Vec<usize>> {
        None
    }

    /// The list finds rows; what they look like hangs on how they are asked for.
    fn write(&self, position: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(Catalogue::product_id(position as u64).to_string().as_bytes());
    }

    fn is_in_step(&self) -> bool {
        true
    }
}
