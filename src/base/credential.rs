//! What the owner of an access key has: its id, and its secret.
//!
//! Invariants
//! - Ids and secrets are of letters that nobody confuses, and nothing else is taken for one.
//! - A secret is never printed, and zeroed when it is done with.

use super::secret::Secret;
use std::fmt;

/// Characters of a secret.
pub const SECRET_LEN: usize = 40;
/// The characters of ids and secrets, 32 of them.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Names an access key: 20 characters of `A-Z` and `2-7`. It tells nothing of the secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessKeyId([u8; Self::LEN]);

impl AccessKeyId {
    /// Characters of an id.
    pub const LEN: usize = 20;

    /// Takes an id that somebody has written.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes: [u8; Self::LEN] = text.try_into().ok()?;
        bytes.iter().all(|b| LETTERS.contains(b)).then_some(AccessKeyId(bytes))
    }

    /// The id that these bytes, drawn at random or hashed, come to.
    pub fn drawn(bytes: [u8; Self::LEN]) -> Self {
        AccessKeyId(letters(bytes))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A letter for each byte, all 32 alike where the bytes are.
fn letters<const N: usize>(bytes: [u8; N]) -> [u8; N] {
    bytes.map(|byte| LETTERS[usize::from(byte & 31)])
}

/// The characters of a secret, of bytes that were drawn at random: 200 bits of them count.
pub fn secret_of(bytes: [u8; SECRET_LEN]) -> [u8; SECRET_LEN] {
    letters(bytes)
}

/// Whether somebody has written what could be a secret.
pub fn is_secret(text: &[u8]) -> bool {
    text.len() == SECRET_LEN && text.iter().all(|b| LETTERS.contains(b))
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An id with its secret, as its owner has it. In a file it is JSON, as `boveda access create --json` prints it.
#[derive(Debug)]
pub struct Credential {
    /// The id of the key.
    pub id: AccessKeyId,
    /// Its secret.
    pub secret: Secret<[u8; SECRET_LEN]>,
}

impl Credential {
    /// Reads `{"id": …, "secret": …}`; what else stands in it is passed over.
    pub fn parse(json: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Text<'a> {
            id: &'a str,
            secret: &'a str,
        }
        let Text { id, secret } = serde_json::from_slice(json).ok()?;
        Self::of(id, secret)
    }

    /// Of an id and a secret as somebody has written them.
    pub fn of(id: &str, secret: &str) -> Option<Self> {
        let secret = secret.as_bytes();
        let id = AccessKeyId::parse(id.as_bytes())?;
        is_secret(secret).then(|| Some(Credential { id, secret: Secret::new(secret.try_into().ok()?) }))?
    }

    /// What `parse` reads, with a line end.
    pub fn to_json(&self) -> Secret<Vec<u8>> {
        let secret = std::str::from_utf8(self.secret.expose()).unwrap_or_default();
        Secret::new(format!("{{\"id\":\"{}\",\"secret\":\"{secret}\"}}\n", self.id).into_bytes())
    }

    /// The same once more, for whoever takes it.
    pub fn copy(&self) -> Self {
        Credential { id: self.id, secret: Secret::new(*self.secret.expose()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_secrets_have_letters_that_nobody_confuses() {
        let id = AccessKeyId::drawn(std::array::from_fn(|at| u8::try_from(at * 37 % 256).expect("a byte")));
        assert_eq!(AccessKeyId::parse(id.as_str().as_bytes()), Some(id));
        assert_eq!(
            (AccessKeyId::drawn([0; 20]).as_str(), AccessKeyId::drawn([255; 20]).as_str()),
            ("AAAAAAAAAAAAAAAAAAAA", "77777777777777777777")
        );
        for bad in ["", "AAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAA", "aAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAA1AAAAAAAAA"]
        {
            assert_eq!(AccessKeyId::parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(is_secret(&secret_of([200; 40])) && !is_secret(&[b'A'; 39]) && !is_secret(&[b'0'; 40]));
    }

    #[test]
    fn a_credential_is_read_as_it_was_written() {
        let of = |id: &str, secret: &str| Credential::of(id, secret).map(|key| (key.id, *key.secret.expose()));
        let (id, secret) = ("A".repeat(20), "B".repeat(40));
        let key = Credential::of(&id, &secret).expect("a credential");
        let json = key.to_json();
        assert_eq!(Credential::parse(json.expose()).map(|key| (key.id, *key.secret.expose())), of(&id, &secret));
        let more = format!("{{\"name\": \"x\", \"secret\": \"{secret}\", \"id\": \"{id}\"}}");
        assert!(Credential::parse(more.as_bytes()).is_some());
        for bad in ["", "{}", "{\"id\": \"A\", \"secret\": \"B\"}", &format!("{id}.{secret}")] {
            assert!(Credential::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(of(&id, &secret[1..]).is_none() && of(&id[1..], &secret).is_none());
        assert!(!format!("{key:?}").contains(&secret));
    }
}
