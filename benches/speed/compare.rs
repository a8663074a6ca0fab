//! Medians, and the lines that are printed.

/// The middle of some figures.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// A figure against a bar: `ours / theirs` has to be at least `bar`.
pub fn at_least(what: &str, unit: &str, ours: f64, name: &str, theirs: f64, bar: f64) {
    let ratio = ours / theirs;
    let verdict = if ratio >= bar { "reached" } else { "MISSED" };
    println!(
        "{what}: {} {unit}, {name} {} {unit}: ratio {ratio:.2}, bar {bar} {verdict}",
        figure(ours),
        figure(theirs)
    );
}

/// A figure against a bar: `ours / theirs` may be at most `bar`.
pub fn at_most(what: &str, unit: &str, ours: f64, name: &str, theirs: f64, bar: f64) {
    let ratio = ours / theirs;
    let verdict = if ratio <= bar { "reached" } else { "MISSED" };
    println!(
        "{what}: {} {unit}, {name} {} {unit}: ratio {ratio:.3}, bar {bar} {verdict}",
        figure(ours),
        figure(theirs)
    );
}

/// A figure with as many digits as say something.
pub fn figure(value: f64) -> String {
    match value {
        v if v >= 1000.0 => {
            let whole = format!("{v:.0}");
            let mut text = String::new();
            for (at, digit) in whole.chars().enumerate() {
                if at > 0 && (whole.len() - at) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.3}"),
    }
}
