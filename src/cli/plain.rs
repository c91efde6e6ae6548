//! What others wrote, as a terminal may have it.

/// A text without anything that a terminal takes for more than text.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
