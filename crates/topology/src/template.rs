//! The file that `meridian init` writes.
//!
//! Convention of the file: `# ` begins an explanation, `#` directly before a key disables a
//! setting that the reader may want. The tests parse the file as it is and with those enabled.

/// A commented `meridian.toml` that explains every key and is valid as it stands.
#[must_use]
pub fn init_template() -> String {
    include_str!("template.toml").to_owned()
}
