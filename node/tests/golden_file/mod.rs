//! Files of bytes that must not change. `KRAFT_TEST_BLESS=1` writes them anew, which is right only
//! for what no release has written yet.

use std::fmt::Write;
use std::path::Path;

/// Compares `bytes` with the file, or writes it.
pub fn golden(folder: &str, name: &str, bytes: &[u8]) {
    let mut hex = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(hex, "{byte:02x}").expect("text grows");
        }
        hex.push('\n');
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let path = folder.join(format!("{name}.hex"));
    if std::env::var_os("KRAFT_TEST_BLESS").is_some() {
        std::fs::create_dir_all(&folder).expect("the repository");
        std::fs::write(&path, &hex).expect("the repository");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, hex, "the bytes of {name} have changed");
}
