//! An authority for tests, and what it signs: X.509 certificates of version 3 on P-256, written by hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boveda::tls::Trust;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// An end that no test lives to see.
pub const FAR: &str = "21990101000000Z";
const FIRST: &[u8] = b"200101000000Z";

/// An authority with a key of its own.
pub struct Ca {
    name: String,
    key: EcdsaKeyPair,
    dir: TempDir,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Issued {
    pub cert: String,
    pub key: String,
    /// The certificate as it is shown.
    pub der: Vec<u8>,
}

/// Where they were put.
#[derive(Clone, Debug)]
pub struct Placed {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Ca {
    /// Makes one; its certificate is in a file.
    pub fn new(name: &str) -> Self {
        let key = new_key().1;
        let is_authority = extension(BASIC_CONSTRAINTS, &seq(&[&tlv(0x01, &[0xff])]));
        let der = signed(&key, name, name, FAR, key.public_key().as_ref(), &is_authority);
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("ca.crt"), pem("CERTIFICATE", &der)).expect("written");
        Ca { name: name.to_owned(), key, dir }
    }

    /// The file with its certificate.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// What takes its word, and nobody else's.
    pub fn trust(&self) -> Trust {
        Trust::of(Some(&self.file())).expect("a certificate")
    }

    /// A certificate for these names and addresses, which ends then (as X.509 writes it).
    pub fn issue(&self, names: &[&str], ends: &str) -> Issued {
        let (pkcs8, key) = new_key();
        let name = |name: &&str| match name.parse() {
            Ok(IpAddr::V4(address)) => tlv(0x87, &address.octets()),
            Ok(IpAddr::V6(address)) => tlv(0x87, &address.octets()),
            Err(_) => tlv(0x82, name.as_bytes()),
        };
        let names: Vec<Vec<u8>> = names.iter().map(name).collect();
        let names = extension(ALTERNATIVE_NAMES, &tlv(0x30, &names.concat()));
        let der = signed(&self.key, &self.name, "a node", ends, key.public_key().as_ref(), &names);
        Issued { cert: pem("CERTIFICATE", &der), key: pem("PRIVATE KEY", &pkcs8), der }
    }
}

impl Issued {
    /// Puts both into a directory, as `tls.crt` and `tls.key`.
    pub fn place(&self, dir: &Path) -> Placed {
        fs::create_dir_all(dir).expect("a directory");
        let placed = Placed { cert: dir.join("tls.crt"), key: dir.join("tls.key") };
        fs::write(&placed.cert, &self.cert).expect("written");
        fs::write(&placed.key, &self.key).expect("written");
        fs::set_permissions(&placed.key, Permissions::from_mode(0o600)).expect("it is ours");
        placed
    }
}

/// So many days from now, as X.509 writes it.
pub fn in_days(days: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut day = i64::try_from(now).expect("it fits") / 86_400 + days;
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let mut year = 1970;
    while day >= 365 + i64::from(is_leap(year)) {
        day -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for len in [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < len {
            break;
        }
        day -= len;
        month += 1;
    }
    format!("{year:04}{month:02}{:02}000000Z", day + 1)
}

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

fn new_key() -> (Vec<u8>, EcdsaKeyPair) {
    let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("the same key");
    (pkcs8.as_ref().to_vec(), key)
}

/// A certificate (RFC 5280, section 4.1).
fn signed(by: &EcdsaKeyPair, issuer: &str, subject: &str, ends: &str, public: &[u8], extensions: &[u8]) -> Vec<u8> {
    let algorithm = seq(&[&tlv(0x06, ECDSA_WITH_SHA256)]);
    let mut serial = [0; 8];
    SystemRandom::new().fill(&mut serial).expect("randomness");
    serial[0] = serial[0] & 0x7f | 0x40;
    let name = |name: &str| seq(&[&tlv(0x31, &seq(&[&tlv(0x06, COMMON_NAME), &tlv(0x0c, name.as_bytes())]))]);
    let key = seq(&[&seq(&[&tlv(0x06, EC_PUBLIC_KEY), &tlv(0x06, P256)]), &bits(public)]);
    let body = seq(&[
        &tlv(0xa0, &tlv(0x02, &[2])),
        &tlv(0x02, &serial),
        &algorithm,
        &name(issuer),
        &seq(&[&tlv(0x17, FIRST), &tlv(0x18, ends.as_bytes())]),
        &name(subject),
        &key,
        &tlv(0xa3, &seq(&[extensions])),
    ]);
    let signature = by.sign(&SystemRandom::new(), &body).expect("a signature");
    seq(&[&body, &algorithm, &bits(signature.as_ref())])
}

fn extension(which: &[u8], content: &[u8]) -> Vec<u8> {
    seq(&[&tlv(0x06, which), &tlv(0x04, content)])
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], bytes].concat())
}

fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).expect("short");
    let [high, low] = len.to_be_bytes();
    let head: &[u8] = match len {
        0..0x80 => &[tag, low],
        0x80..0x100 => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, content].concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
