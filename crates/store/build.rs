fn main() {
    // A new migration file must be seen even when no source changed.
    println!("cargo:rerun-if-changed=migrations");
}
