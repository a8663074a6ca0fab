//! Builds again when a migration or an SQL file appears: the macros that embed them see only the files they knew.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=sql");
}
