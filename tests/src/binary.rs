//! The program under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `kraft` binary of this build, built once per test process if need be.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("KRAFT_TEST_BINARY") {
            return PathBuf::from(path);
        }
        let own = std::env::current_exe().expect("a program knows its own path");
        let beside = own.parent().expect("target/<profile>, or deps in it for a test");
        let profile_dir = match beside.ends_with("deps") {
            true => beside.parent().expect("target/<profile>"),
            false => beside,
        };
        let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let built = Command::new(cargo)
            .args([
                "build",
                "--quiet",
                // The whole workspace's features, as `cargo test --workspace` has them: then nothing is
                // built that was not built already.
                "--workspace",
                "--bin",
                "kraft",
                "--profile",
                profile,
            ])
            .arg("--target-dir")
            .arg(profile_dir.parent().expect("target/<profile>"))
            .current_dir(root)
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the kraft binary does not build");
        profile_dir.join("kraft")
    })
}

/// A random id in Kafka's form, from the command that users have for it.
pub fn random_uuid() -> String {
    let output =
        Command::new(binary()).args(["storage", "random-uuid"]).output().expect("kraft runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
