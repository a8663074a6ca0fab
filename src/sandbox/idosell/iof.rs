//! The offer in files (IOF): a gateway that names them with their hashes, the full and the light offer, the categories,
//! and files of changed products. May use the panel and the products.
//!
//! The files say what was when they were made; a product that changes later stands in a file of changes, once such a one
//! is made. A file is written while it is sent, product by product, and hashed in the same way: none is ever held whole.

use super::goods::{Goods, Tree, in_language, is_in_menu, menu_item};
use super::people::Panel;
use super::people_rows::amount;
use crate::sandbox::stock::DAY;
use crate::sandbox::stock::catalogue::Catalogue;
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// What addresses of files must carry.
pub const TOKEN: &str = "test";
/// Products of one piece of a file that is being sent.
const PIECE: usize = 50;

/// A file of the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum File {
    /// Everything about every product.
    Full,
    /// Prices and quantities.
    Light,
    /// The categories.
    Categories,
    /// The products of one file of changes, by its place.
    Changes(usize),
}

impl File {
    /// The file of an address's `type`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "full" => Some(File::Full),
            "light" => Some(File::Light),
            "categories" => Some(File::Categories),
            _ => None,
        }
    }
}

/// What the files say, frozen when they were made.
pub struct Offer {
    panel: Arc<Panel>,
    tree: Tree,
    /// Products that had changed by then.
    goods: BTreeMap<u64, Arc<Goods>>,
    made: i64,
    hashes: Mutex<BTreeMap<(File, u64), String>>,
    changes: Vec<ChangeFile>,
}

struct ChangeFile {
    made: i64,
    goods: Vec<Arc<Goods>>,
}

/// The files of the panel's offer; made when they are first asked for, as of the time at which they were ordered.
pub struct Feed {
    offer: Option<Arc<Offer>>,
    made: i64,
}

impl Feed {
    /// Files that say what was at a moment.
    pub fn new(made: i64) -> Self {
        Self { offer: None, made }
    }

    /// The files, if they were made.
    pub fn offer(&self) -> Option<Arc<Offer>> {
        self.offer.clone()
    }

    /// Makes the files anew, without files of changes.
    pub fn make(&mut self, panel: &Arc<Panel>, tree: &Tree, goods: &BTreeMap<u64, Arc<Goods>>, now: i64) {
        self.made = now;
        self.offer = Some(Arc::new(Offer {
            panel: Arc::clone(panel),
            tree: tree.clone(),
            goods: goods.clone(),
            made: now,
            hashes: Mutex::default(),
            changes: Vec::new(),
        }));
    }

    /// Makes a file of what changed since the last file; gives its products' numbers.
    pub fn make_changes(&mut self, goods: &BTreeMap<u64, Arc<Goods>>, now: i64) -> Vec<u64> {
        let Some(offer) = &self.offer else { return Vec::new() };
        let known = |id: &u64| {
            let written = offer.changes.iter().rev().flat_map(|file| &file.goods).find(|goods| goods.id == *id);
            written.or_else(|| offer.goods.get(id)).cloned()
        };
        let changed: Vec<Arc<Goods>> = goods
            .iter()
            .filter(|(id, goods)| known(id).as_ref() != Some(*goods))
            .map(|(_, goods)| Arc::clone(goods))
            .collect();
        let ids = changed.iter().map(|goods| goods.id).collect();
        let mut changes: Vec<ChangeFile> =
            offer.changes.iter().map(|file| ChangeFile { made: file.made, goods: file.goods.clone() }).collect();
        changes.push(ChangeFile { made: now, goods: changed });
        let hashes = offer.hashes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.offer = Some(Arc::new(Offer {
            panel: Arc::clone(&offer.panel),
            tree: offer.tree.clone(),
            goods: offer.goods.clone(),
            made: offer.made,
            hashes: Mutex::new(hashes),
            changes,
        }));
        ids
    }
}

impl Offer {
    fn goods(&self, id: u64) -> Option<Arc<Goods>> {
        if let Some(goods) = self.goods.get(&id) {
            return Some(Arc::clone(goods));
        }
        let index = Catalogue::product_index(id).filter(|index| *index < self.panel.products)?;
        Some(Arc::new(self.panel.goods(index)))
    }

    /// The numbers of all products, in order.
    fn ids(&self) -> Vec<std::ops::Range<u64>> {
        let own = 0..self.panel.products;
        let after = Catalogue::product_id(self.panel.products);
        let new: Vec<_> = self.goods.range(after..).map(|(id, _)| *id..*id + 1).collect();
        std::iter::once(own).chain(new).collect()
    }

    /// A file in pieces.
    pub fn pieces(self: &Arc<Self>, file: File, shop: u64) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        let offer = Arc::clone(self);
        if file == File::Categories {
            return Box::new(std::iter::once(offer.categories().into_bytes()));
        }
        if let File::Changes(place) = file {
            let mut text = offer.head(file);
            for goods in offer.changes.get(place).map(|file| file.goods.as_slice()).unwrap_or_default() {
                if goods.is_offered() {
                    offer.product(&mut text, goods, file, shop);
                }
            }
            text.push_str(TAIL);
            return Box::new(std::iter::once(text.into_bytes()));
        }
        let ranges = offer.ids();
        let own = ranges.first().cloned().unwrap_or(0..0);
        let more: Vec<u64> = ranges.into_iter().skip(1).flatten().collect();
        let ids = own.map(Catalogue::product_id).chain(more);
        let mut ids = ids.collect_pieces(PIECE);
        let mut is_begun = false;
        let mut is_ended = false;
        Box::new(std::iter::from_fn(move || {
            if is_ended {
                return None;
            }
            let mut text = if is_begun { String::new() } else { offer.head(file) };
            is_begun = true;
            match ids.next() {
                Some(ids) => {
                    for goods in ids.into_iter().filter_map(|id| offer.goods(id)) {
                        if goods.is_offered() {
                            offer.product(&mut text, &goods, file, shop);
                        }
                    }
                }
                None => {
                    is_ended = true;
                    text.push_str(TAIL);
                }
            }
            Some(text.into_bytes())
        }))
    }

    /// The hash of a file.
    pub fn hash(self: &Arc<Self>, file: File, shop: u64) -> String {
        let known = self.hashes.lock().unwrap_or_else(PoisonError::into_inner).get(&(file, shop)).cloned();
        if let Some(known) = known {
            return known;
        }
        let mut hasher = Md5::new();
        for piece in self.pieces(file, shop) {
            hasher.update(&piece);
        }
        let hash = hex::encode(hasher.finalize());
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).insert((file, shop), hash.clone());
        hash
    }

    /// The place of the file of changes with a name.
    pub fn change_named(&self, name: &str) -> Option<usize> {
        self.changes.iter().position(|file| self.change_name(file) == name)
    }

    fn change_name(&self, file: &ChangeFile) -> String {
        let at = self.panel.zone.time(file.made).replace(' ', "T").replace(':', "-");
        format!("full_change{at}.xml")
    }

    /// The file that names the others.
    pub fn gateway(self: &Arc<Self>, shop: u64) -> String {
        let zone = &self.panel.zone;
        let origin = attribute(&self.panel.origin);
        let (made, expires) = (zone.time(self.made), zone.time(self.made + DAY));
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = write!(
            text,
            "<provider_description file_format=\"IOF\" version=\"3.0\" generated_by=\"IdoSell\" generated=\"{made}\">\n\
             <meta><long_name><![CDATA[{name}]]></long_name><short_name><![CDATA[przyklad]]></short_name>\
             <www><![CDATA[{origin}]]></www><time><offer created=\"{made}\" expires=\"{expires}\"/></time></meta>\n",
            name = super::people_rows::shop_name(shop),
        );
        let address = |kind: &str| {
            format!(
                "{origin}/edi/export-offer.php?client=przyklad&amp;language=pol&amp;token={TOKEN}&amp;shop={shop}\
                 &amp;type={kind}&amp;format=xml&amp;iof_3_0"
            )
        };
        let _ = write!(
            text,
            "<full url=\"{}\" hash=\"{}\" changed=\"{made}\">",
            address("full"),
            self.hash(File::Full, shop)
        );
        if !self.changes.is_empty() {
            text.push_str("<changes>");
            for (place, file) in self.changes.iter().enumerate() {
                let _ = write!(
                    text,
                    "<change url=\"{origin}/edi/{}?shop={shop}&amp;token={TOKEN}\" hash=\"{}\" changed=\"{}\"/>",
                    self.change_name(file),
                    self.hash(File::Changes(place), shop),
                    zone.time(file.made)
                );
            }
            text.push_str("</changes>");
        }
        text.push_str("</full>\n");
        for (kind, file) in [("light", File::Light), ("categories", File::Categories)] {
            let (url, hash) = (address(kind), self.hash(file, shop));
            let _ = writeln!(text, "<{kind} url=\"{url}\" hash=\"{hash}\" changed=\"{made}\"/>");
        }
        text.push_str("</provider_description>\n");
        text
    }

    fn head(&self, file: File) -> String {
        let zone = &self.panel.zone;
        let (made, expires) = (zone.time(self.made), zone.time(self.made + DAY));
        let products = match file {
            File::Light => "<products currency=\"PLN\">".to_owned(),
            _ => "<products language=\"pol\" currency=\"PLN\" \
                  xmlns:iaiext=\"http://www.iai-shop.com/developers/iof/extensions.phtml\">"
                .to_owned(),
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<offer file_format=\"IOF\" version=\"3.0\" generated=\"{made}\" \
             expires=\"{expires}\"{}>\n{products}\n",
            if file == File::Light { "" } else { " extensions=\"yes\"" }
        )
    }

    fn categories(&self) -> String {
        let mut text = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <categories file_format=\"IOF\" version=\"3.0\" language=\"pol\">\n",
        );
        for category in &self.tree.0 {
            let path = attribute(&self.tree.path(category.id).join("/"));
            let _ = writeln!(text, "  <category id=\"{}\" name=\"{path}\"/>", category.id);
        }
        text.push_str("</categories>\n");
        text
    }

    fn product(&self, text: &mut String, goods: &Goods, file: File, shop: u64) {
        if file == File::Light {
            self.light(text, goods);
        } else {
            self.full(text, goods, shop);
        }
    }

    fn light(&self, text: &mut String, goods: &Goods) {
        let price = Goods::rebated(goods.price);
        let _ = write!(
            text,
            "<product id=\"{}\" vat=\"23.0\"><price gross=\"{}\" net=\"{}\"/><sizes>",
            goods.id,
            two_places(price),
            two_places(Goods::net(price))
        );
        self.sizes(text, goods, false);
        text.push_str("</sizes></product>\n");
    }

    fn sizes(&self, text: &mut String, goods: &Goods, in_full: bool) {
        for size in &goods.sizes {
            let code = if size.id == "uniw" { goods.id.to_string() } else { format!("{}-{}", goods.id, size.id) };
            let _ = write!(text, "<size id=\"{}\"", size.id);
            if in_full {
                let name = attribute(&size.name);
                let _ = write!(text, " name=\"{name}\" panel_name=\"{name}\"");
            }
            let _ = write!(text, " code=\"{code}\" code_producer=\"{}\" weight=\"300\"", size.ean);
            // Not counted is minus one.
            let pieces = size.pieces.map_or("-1".to_owned(), |pieces| amount(pieces, 1));
            if in_full {
                let available = if size.pieces == Some(0) { "out_of_stock" } else { "in_stock" };
                let _ = write!(text, " available=\"{available}\">");
                let _ = write!(
                    text,
                    "<stock id=\"1\" quantity=\"{pieces}\" available_stock_quantity=\"{pieces}\"/></size>"
                );
            } else {
                let _ = write!(text, "><stock id=\"1\" quantity=\"{pieces}\"/></size>");
            }
        }
    }

    fn full(&self, text: &mut String, goods: &Goods, shop: u64) {
        let category = goods.categories.first().copied().unwrap_or_default();
        let _ = write!(
            text,
            "<product id=\"{}\" vat=\"23.0\" type=\"regular\" site=\"{shop}\" currency=\"PLN\" code_on_card=\"{}\">\
             <producer id=\"5\" name=\"Marka Testowa\"/><category id=\"{category}\" name=\"{}\"/>\
             <category_idosell id=\"0\" path=\"\"/><unit id=\"0\" name=\"szt.\"/><card url=\"{}\"/><description>",
            goods.id,
            attribute(&goods.code),
            attribute(&self.tree.path(category).join("/")),
            attribute(&goods.url(&self.panel)),
        );
        // Every language of the panel, not the file's alone, and by no order.
        for lang in super::goods::languages(goods.id) {
            let name = in_language(&goods.name, lang);
            let _ = write!(text, "<name xml:lang=\"{lang}\">{}</name>", cdata(&name));
        }
        let _ = write!(
            text,
            "<short_desc xml:lang=\"pol\"><![CDATA[Krótki opis.]]></short_desc>\
             <long_desc xml:lang=\"pol\"><![CDATA[<p>Dłuższy opis.</p>]]></long_desc></description>\
             <price gross=\"{}\" net=\"{}\"/><srp gross=\"{}\" net=\"{}\"/>",
            two_places(goods.price),
            two_places(Goods::net(goods.price)),
            two_places(goods.normal_price),
            two_places(Goods::net(goods.normal_price)),
        );
        if goods.normal_price > goods.price {
            let normal = goods.normal_price;
            let (gross, net) = (two_places(normal), two_places(Goods::net(normal)));
            let _ = write!(text, "<strikethrough_retail_price gross=\"{gross}\" net=\"{net}\"/>");
        }
        text.push_str("<iaiext:price_retail>");
        for size in &goods.sizes {
            let (id, price) = (&size.id, two_places(size.price));
            let _ = write!(text, "<iaiext:site id=\"{shop}\" size_id=\"{id}\" gross=\"{price}\"/>");
        }
        text.push_str("</iaiext:price_retail><sizes group_id=\"2\" group_name=\"Odzież\">");
        self.sizes(text, goods, true);
        text.push_str("</sizes>");
        let images = goods.images(&self.panel);
        if images.is_empty() {
            text.push_str("<images/>");
        } else {
            text.push_str("<images><large>");
            for url in images {
                let hash = hex::encode(Md5::digest(url.as_bytes()));
                let changed = self.panel.zone.time(goods.created);
                let _ = write!(text, "<image url=\"{}\" hash=\"{hash}\" changed=\"{changed}\"/>", attribute(&url));
            }
            text.push_str("</large></images>");
        }
        let _ = write!(
            text,
            "<parameters><parameter id=\"21\" name=\"Materiał\" type=\"parameter\"><value id=\"22\" name=\"len\"/>\
             </parameter></parameters><group id=\"{0}\" first_product_id=\"{0}\"/>",
            goods.version
        );
        let nodes: Vec<u64> = goods.categories.iter().copied().filter(|category| is_in_menu(*category)).collect();
        if !nodes.is_empty() {
            let _ = write!(
                text,
                "<iaiext:navigation><iaiext:site id=\"{shop}\"><iaiext:menu id=\"1\" name=\"Menu główne\">"
            );
            for node in nodes {
                let path = attribute(&self.tree.path(node).join("\\"));
                let _ = write!(text, "<iaiext:item id=\"{}\" textid=\"{path}\"/>", menu_item(node, shop));
            }
            text.push_str("</iaiext:menu></iaiext:site></iaiext:navigation>");
        }
        text.push_str("</product>\n");
    }
}

const TAIL: &str = "</products>\n</offer>\n";

fn two_places(hundredths: i64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn attribute(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

fn cdata(text: &str) -> String {
    format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"))
}

/// Pieces of an iterator, one after the other.
trait Pieces: Iterator + Sized {
    fn collect_pieces(self, size: usize) -> impl Iterator<Item = Vec<Self::Item>>;
}

impl<I: Iterator> Pieces for I {
    fn collect_pieces(mut self, size: usize) -> impl Iterator<Item = Vec<I::Item>> {
        std::iter::from_fn(move || {
            let piece: Vec<I::Item> = self.by_ref().take(size).collect();
            if piece.is_empty() { None } else { Some(piece) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_names_does_not_end_what_holds_it() {
        assert_eq!(attribute("a \"b\" <c> & d"), "a &quot;b&quot; &lt;c&gt; &amp; d");
        assert_eq!(cdata("a]]>b"), "<![CDATA[a]]]]><![CDATA[>b]]>");
    }

    #[test]
    fn pieces_are_full_but_for_the_last() {
        let pieces: Vec<Vec<u32>> = (0..5).collect_pieces(2).collect();
        assert_eq!(pieces, [vec![0, 1], vec![2, 3], vec![4]]);
    }
}
