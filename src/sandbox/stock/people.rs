//! People: names, addresses and phones as shops really hold them: eleven alphabets' worth of letters, phones in any
//! spelling, and a few rows that are simply wrong. May use nothing but chance.

use super::chance::{Chance, Subject};

/// A currency that the shop sells in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency {
    /// ISO 4217 code.
    pub code: &'static str,
    /// The sign.
    pub symbol: &'static str,
    /// Decimals of its smallest unit.
    pub decimals: u32,
    /// Smallest units of it for one euro.
    pub per_euro: i64,
}

const PLN: Currency = Currency { code: "PLN", symbol: "zł", decimals: 2, per_euro: 430 };
const UAH: Currency = Currency { code: "UAH", symbol: "₴", decimals: 2, per_euro: 4520 };
const EUR: Currency = Currency { code: "EUR", symbol: "€", decimals: 2, per_euro: 100 };
const JPY: Currency = Currency { code: "JPY", symbol: "¥", decimals: 0, per_euro: 160 };

/// The currencies of the stock.
pub const CURRENCIES: [Currency; 4] = [PLN, UAH, EUR, JPY];

/// A country with its people.
#[derive(Debug)]
pub struct Country {
    /// ISO 3166-1 alpha-2 code.
    pub code: &'static str,
    /// How many of a thousand people live there.
    per_mille: u64,
    /// What is paid in there.
    pub currency: Currency,
    /// Value added tax in percent.
    pub tax: i64,
    /// Language as WordPress names it.
    pub locale: &'static str,
    /// First names with their letters in ASCII.
    first: &'static [(&'static str, &'static str)],
    /// Last names with their letters in ASCII.
    last: &'static [(&'static str, &'static str)],
    /// Cities with region code and the beginning of a postal code (`#` is a digit).
    cities: &'static [(&'static str, &'static str, &'static str)],
    /// Streets.
    streets: &'static [&'static str],
    /// Country calling code.
    calling: &'static str,
    /// What a national mobile number begins with, after the trunk prefix.
    mobile: &'static [&'static str],
    /// Digits of a national number without trunk prefix.
    digits: usize,
    /// The trunk prefix.
    trunk: &'static str,
}

/// The countries of the stock.
pub static COUNTRIES: [Country; 10] = [
    Country {
        code: "PL",
        per_mille: 400,
        currency: PLN,
        tax: 23,
        locale: "pl_PL",
        first: &[
            ("Anna", "anna"),
            ("Łukasz", "lukasz"),
            ("Małgorzata", "malgorzata"),
            ("Jan", "jan"),
            ("Żaneta", "zaneta"),
            ("Paweł", "pawel"),
            ("Agnieszka", "agnieszka"),
            ("Stanisław", "stanislaw"),
            ("Zofia", "zofia"),
            ("Michał", "michal"),
            ("Światosława", "swiatoslawa"),
            ("Krzysztof", "krzysztof"),
        ],
        last: &[
            ("Kowalska", "kowalska"),
            ("Wiśniewski", "wisniewski"),
            ("Dąbrowska", "dabrowska"),
            ("Wójcik", "wojcik"),
            ("Żółć", "zolc"),
            ("Nowak-Kępińska", "nowak-kepinska"),
            ("Szymański", "szymanski"),
            ("Gąsior", "gasior"),
            ("Zieliński", "zielinski"),
            ("Ćwikła", "cwikla"),
            ("Błaszczykowska", "blaszczykowska"),
            ("Pawlak", "pawlak"),
        ],
        cities: &[
            ("Warszawa", "PL-MZ", "00-###"),
            ("Kraków", "PL-MA", "31-###"),
            ("Łódź", "PL-LD", "90-###"),
            ("Gdańsk", "PL-PM", "80-###"),
            ("Rzeszów", "PL-PK", "35-###"),
            ("Świnoujście", "PL-ZP", "72-6##"),
        ],
        streets: &[
            "ul. Długa",
            "ul. Świętokrzyska",
            "al. Jerozolimskie",
            "os. Złotego Wieku",
            "ul. 3 Maja",
            "pl. Wolności",
        ],
        calling: "48",
        mobile: &["50", "51", "53", "57", "60", "66", "69", "72", "78", "79", "88"],
        digits: 9,
        trunk: "",
    },
    Country {
        code: "UA",
        per_mille: 250,
        currency: UAH,
        tax: 20,
        locale: "uk",
        first: &[
            ("Олена", "olena"),
            ("Дар’я", "daria"),
            ("Юрій", "yurii"),
            ("Ґео", "geo"),
            ("Катерина", "kateryna"),
            ("Їжак", "yizhak"),
            ("Тарас", "taras"),
            ("Єва", "yeva"),
            ("Максим", "maksym"),
            ("Наталя", "natalia"),
        ],
        last: &[
            ("Шевченко", "shevchenko"),
            ("Ґудзь", "gudz"),
            ("О’Хара", "ohara"),
            ("Щербак", "shcherbak"),
            ("Їленко", "yilenko"),
            ("Коваль", "koval"),
            ("Бойко", "boiko"),
            ("Мельник", "melnyk"),
            ("Лисенко", "lysenko"),
            ("Прач’євський", "prachievskyi"),
        ],
        cities: &[
            ("Київ", "UA30", "01###"),
            ("Харків", "UA63", "61###"),
            ("Львів", "UA46", "79###"),
            ("Кам’янець-Подільський", "UA68", "323##"),
            ("Одеса", "UA51", "65###"),
        ],
        streets: &["вул. Хрещатик", "просп. Перемоги", "вул. Івана Франка", "пров. Тихий", "бул. Лесі Українки"],
        calling: "380",
        mobile: &["50", "66", "67", "68", "95", "96", "97", "98", "99", "63", "73", "93"],
        digits: 9,
        trunk: "0",
    },
    Country {
        code: "DE",
        per_mille: 90,
        currency: EUR,
        tax: 19,
        locale: "de_DE",
        first: &[("Jürgen", "juergen"), ("Käthe", "kaethe"), ("Björn", "bjoern"), ("Heike", "heike"), ("Uwe", "uwe")],
        last: &[
            ("Müller", "mueller"),
            ("Weiß", "weiss"),
            ("Groß-Böhm", "gross-boehm"),
            ("Schäfer", "schaefer"),
            ("von der Lühe", "luehe"),
        ],
        cities: &[
            ("Köln", "DE-NW", "50###"),
            ("München", "DE-BY", "80###"),
            ("Düsseldorf", "DE-NW", "40###"),
            ("Berlin", "DE-BE", "10###"),
        ],
        streets: &["Königstraße", "Am Weißen Berg", "Schloßallee", "Hauptstr."],
        calling: "49",
        mobile: &["151", "160", "170", "171", "175"],
        digits: 11,
        trunk: "0",
    },
    Country {
        code: "GR",
        per_mille: 50,
        currency: EUR,
        tax: 24,
        locale: "el",
        first: &[("Ελένη", "eleni"), ("Γιώργος", "giorgos"), ("Μαρία", "maria"), ("Ανδρέας", "andreas")],
        last: &[
            ("Παπαδοπούλου", "papadopoulou"),
            ("Οικονόμου", "oikonomou"),
            ("Αγγελόπουλος", "angelopoulos"),
            ("Ψαρράς", "psarras"),
        ],
        cities: &[("Αθήνα", "I", "105 ##"), ("Θεσσαλονίκη", "B", "546 ##"), ("Πάτρα", "G", "262 ##")],
        streets: &["Οδός Ερμού", "Λεωφ. Κηφισίας", "Πανεπιστημίου"],
        calling: "30",
        mobile: &["690", "693", "694", "697", "698", "699"],
        digits: 10,
        trunk: "",
    },
    Country {
        code: "CZ",
        per_mille: 50,
        currency: EUR,
        tax: 21,
        locale: "cs_CZ",
        first: &[("Jiří", "jiri"), ("Kateřina", "katerina"), ("Zdeněk", "zdenek"), ("Šárka", "sarka")],
        last: &[("Dvořáková", "dvorakova"), ("Černý", "cerny"), ("Růžička", "ruzicka"), ("Ďurďa", "durda")],
        cities: &[("Praha", "", "110 ##"), ("Brno", "", "602 ##"), ("Plzeň", "", "301 ##")],
        streets: &["Na Příkopě", "Žižkova", "Třída Míru"],
        calling: "420",
        mobile: &["601", "602", "603", "720", "732", "773", "775"],
        digits: 9,
        trunk: "",
    },
    Country {
        code: "FR",
        per_mille: 40,
        currency: EUR,
        tax: 20,
        locale: "fr_FR",
        first: &[("Zoé", "zoe"), ("François", "francois"), ("Anaïs", "anais"), ("Jérôme", "jerome")],
        last: &[("Lefèvre", "lefevre"), ("D'Artagnan", "dartagnan"), ("Besançon", "besancon"), ("Œuvrard", "oeuvrard")],
        cities: &[("Paris", "", "750##"), ("Orléans", "", "450##"), ("Nîmes", "", "300##")],
        streets: &["rue de l'Église", "bd Saint-Michel", "allée des Érables"],
        calling: "33",
        mobile: &["6", "7"],
        digits: 9,
        trunk: "0",
    },
    Country {
        code: "CN",
        per_mille: 30,
        currency: EUR,
        tax: 0,
        locale: "zh_CN",
        first: &[("伟", "wei"), ("秀英", "xiuying"), ("娜", "na"), ("龘", "da")],
        last: &[("王", "wang"), ("李", "li"), ("張", "zhang"), ("欧阳", "ouyang")],
        cities: &[("北京", "CN2", "1000##"), ("上海", "CN9", "2000##"), ("廣州", "CN30", "5100##")],
        streets: &["长安街", "南京路", "中山路"],
        calling: "86",
        mobile: &["131", "135", "138", "150", "186"],
        digits: 11,
        trunk: "",
    },
    Country {
        code: "AE",
        per_mille: 30,
        currency: EUR,
        tax: 0,
        locale: "ar",
        first: &[("محمد", "mohammed"), ("فاطمة", "fatima"), ("عائشة", "aisha"), ("يوسف", "yousef")],
        last: &[("الهاشمي", "alhashimi"), ("آل مكتوم", "almaktoum"), ("المنصوري", "almansoori")],
        cities: &[("دبي", "", ""), ("أبو ظبي", "", ""), ("الشارقة", "", "")],
        streets: &["شارع الشيخ زايد", "شارع الوصل"],
        calling: "971",
        mobile: &["50", "52", "54", "55", "56"],
        digits: 9,
        trunk: "0",
    },
    Country {
        code: "JP",
        per_mille: 40,
        currency: JPY,
        tax: 10,
        locale: "ja",
        first: &[("さくら", "sakura"), ("健太", "kenta"), ("ユウコ", "yuko"), ("蓮", "ren")],
        last: &[("佐藤", "sato"), ("鈴木", "suzuki"), ("髙橋", "takahashi"), ("渡邉", "watanabe")],
        cities: &[("東京", "JP13", "100-00##"), ("大阪市", "JP27", "530-00##"), ("札幌市", "JP01", "060-00##")],
        streets: &["千代田1丁目", "中央区銀座", "北区梅田"],
        calling: "81",
        mobile: &["70", "80", "90"],
        digits: 10,
        trunk: "0",
    },
    Country {
        code: "IE",
        per_mille: 20,
        currency: EUR,
        tax: 23,
        locale: "en_GB",
        first: &[("Seán", "sean"), ("Aoife", "aoife"), ("Siobhán", "siobhan")],
        last: &[("O'Brien", "obrien"), ("Ní Dhomhnaill", "nidhomhnaill"), ("MacCarthy", "maccarthy")],
        cities: &[("Dublin", "D", "D02 X###"), ("Cork", "CO", "T12 Y###")],
        streets: &["St Stephen's Green", "O'Connell Street"],
        calling: "353",
        mobile: &["83", "85", "86", "87"],
        digits: 9,
        trunk: "0",
    },
];

const COMPANIES: [&str; 7] = [
    "Przykład sp. z o.o.",
    "Kowalski &amp; Syn",
    "ТОВ «Приклад»",
    "Muster GmbH & Co. KG",
    "Bits \"n\" Bytes",
    "Sklep <b>24h</b>",
    "Παράδειγμα Α.Ε.",
];

const MAIL_HOSTS: [&str; 6] = [
    "example.com",
    "example.org",
    "example.net",
    "poczta.example.com",
    "mail.example.org",
    "xn--kzyka-9db.example.com",
];

/// What may be in a phone field and is no phone.
const BAD_PHONES: [&str; 7] = ["n/a", "123", "-", "brak", "+", "000000000", "tel"];

/// What may be in an e-mail field and is no e-mail.
const BAD_EMAILS: [&str; 5] = ["brak", "anna.kowalska@", "jan nowak@example.com", "@example.com", "info@@example.org"];

/// A person as a shop knows them.
#[derive(Debug, Clone)]
pub struct Person {
    /// Where the person lives.
    pub country: &'static Country,
    /// First name.
    pub first: String,
    /// Last name.
    pub last: String,
    /// E-mail; rarely empty or wrong.
    pub email: String,
    /// The name to log in with.
    pub login: String,
    /// Phone in any spelling; often empty, rarely wrong.
    pub phone: String,
    /// Company; mostly empty.
    pub company: String,
    /// Street and number.
    pub street: String,
    /// A further line of the address; mostly empty.
    pub street_2: String,
    /// City.
    pub city: String,
    /// Region code as WooCommerce has it.
    pub region: &'static str,
    /// Postal code.
    pub postal_code: String,
}

impl Person {
    /// The person number `id`; `mark` keeps the e-mails of two kinds of people apart.
    pub fn new(seed: u64, id: u64, mark: &str) -> Self {
        let salt = mark.bytes().fold(0_u64, |salt, byte| salt.wrapping_mul(131).wrapping_add(u64::from(byte)));
        let mut chance = Chance::new(seed ^ salt, Subject::Person, id);
        let country = country(&mut chance);
        let (first, first_ascii) = *chance.pick(country.first);
        let (last, last_ascii) = *chance.pick(country.last);
        let (city, region, postal) = *chance.pick(country.cities);
        let login = format!("{first_ascii}.{last_ascii}{mark}{}", base36(id));
        let host = chance.pick(&MAIL_HOSTS);
        let email = match chance.below(1000) {
            0..5 => String::new(),
            5..10 => (*chance.pick(&BAD_EMAILS)).to_owned(),
            10..30 => format!("{}@{}", login.to_uppercase(), host.to_uppercase()),
            30..40 => format!(" {login}@{host} "),
            _ => format!("{login}@{host}"),
        };
        let first = match chance.below(400) {
            0 => format!("{first} 🎁"),
            1 => first.to_uppercase(),
            2 => format!("  {first} "),
            3 => format!("{first} &amp; {first}"),
            _ => first.to_owned(),
        };
        let last =
            if last.contains('\'') && chance.per_mille(300) { last.replace('\'', "&#039;") } else { last.to_owned() };
        let street = format!("{} {}", chance.pick(country.streets), 1 + chance.below(180));
        let street_2 = if chance.per_mille(150) { format!("m. {}", 1 + chance.below(90)) } else { String::new() };
        Self {
            country,
            first,
            last,
            email,
            login,
            phone: phone(&mut chance, country),
            company: if chance.per_mille(60) { (*chance.pick(&COMPANIES)).to_owned() } else { String::new() },
            street,
            street_2,
            city: city.to_owned(),
            region,
            postal_code: postal.chars().map(|c| if c == '#' { digit(&mut chance) } else { c }).collect(),
        }
    }
}

fn country(chance: &mut Chance) -> &'static Country {
    let mut point = chance.below(1000);
    for country in &COUNTRIES {
        if point < country.per_mille {
            return country;
        }
        point -= country.per_mille;
    }
    &COUNTRIES[0]
}

fn digit(chance: &mut Chance) -> char {
    char::from(b'0' + chance.below(10) as u8)
}

fn base36(mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::new();
    loop {
        text.push(char::from(DIGITS[(number % 36) as usize]));
        number /= 36;
        if number == 0 {
            break;
        }
    }
    text.iter().rev().collect()
}

/// A mobile number in one of the spellings that people use, or something else.
fn phone(chance: &mut Chance, country: &Country) -> String {
    if chance.per_mille(120) {
        return String::new();
    }
    if chance.per_mille(12) {
        return (*chance.pick(&BAD_PHONES)).to_owned();
    }
    let mut national = (*chance.pick(country.mobile)).to_owned();
    while national.len() < country.digits {
        national.push(digit(chance));
    }
    let (calling, trunk) = (country.calling, country.trunk);
    let (head, tail) = national.split_at(3);
    let (middle, tail) = tail.split_at(3);
    match chance.below(9) {
        0 | 1 => format!("+{calling}{national}"),
        2 => format!("+{calling} {head} {middle} {tail}"),
        3 => format!("00{calling}{national}"),
        4 => format!("{trunk}{head}-{middle}-{tail}"),
        5 => format!("{calling}{national}"),
        6 => format!("+{calling} ({head}) {middle}-{tail}"),
        7 => format!("tel. {trunk}{head} {middle} {tail}"),
        _ => format!("{trunk}{national}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_person_is_a_pure_function_of_seed_and_id() {
        let one = Person::new(1, 77, "");
        let same = Person::new(1, 77, "");
        assert_eq!((one.email, one.phone, one.street), (same.email, same.phone, same.street));
    }

    #[test]
    fn no_two_people_share_a_login() {
        let logins: HashSet<String> = (0..5000).map(|id| Person::new(1, id, "").login).collect();
        assert_eq!(logins.len(), 5000);
        assert!(!logins.contains(&Person::new(1, 5, "g").login));
    }

    #[test]
    fn all_countries_and_the_odd_rows_occur() {
        let people: Vec<Person> = (0..5000).map(|id| Person::new(1, id, "")).collect();
        let countries: HashSet<&str> = people.iter().map(|person| person.country.code).collect();
        assert_eq!(countries.len(), COUNTRIES.len());
        assert_eq!(COUNTRIES.iter().map(|country| country.per_mille).sum::<u64>(), 1000);
        assert!(people.iter().any(|person| person.email.is_empty()));
        assert!(people.iter().any(|person| person.email == "brak"));
        assert!(people.iter().any(|person| person.phone == "n/a"));
        assert!(people.iter().any(|person| person.first.contains('🎁')));
        assert!(people.iter().any(|person| person.last.contains("&#039;")));
    }
}
