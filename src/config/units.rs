//! Sizes and periods as people write them: `64KiB`, `30s`.
//!
//! A number without a unit is refused (only `0` needs none), so that nobody has to know whether a
//! key counts seconds or milliseconds. What is printed reads back as the same value.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Size units, largest first: printing takes the first that divides the value.
const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Period units in milliseconds, largest first.
const PERIOD_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no size, no period or no address; the text is for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a whole number followed by a size unit.
    #[error("not a size; write a whole number and a unit, such as 64KiB, 128MiB or 5TiB")]
    Size,
    /// Not a whole number followed by a unit of time.
    #[error("not a period; write a whole number and a unit, such as 250ms, 30s, 5min or 1h")]
    Period,
    /// Not an address and a port.
    #[error(
        "not an address to listen on; write 127.0.0.1:5000, [::1]:5000, localhost:5000, or :5000 for every address"
    )]
    Listen,
}

/// Reads a size; `None` when it is not one or does not fit 63 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, &SIZE_UNITS).ok_or(UnitError::Size)
}

/// Writes a size so that `parse_size` reads the same value.
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS, "B")
}

/// Reads a period of whole milliseconds; refused when it is none, or does not fit 63 bits of them.
pub fn parse_period(text: &str) -> Result<Duration, UnitError> {
    parse(text, &PERIOD_UNITS).map(Duration::from_millis).ok_or(UnitError::Period)
}

/// Writes a period so that `parse_period` reads the same value (whole milliseconds).
pub fn show_period(period: Duration) -> String {
    show(u64::try_from(period.as_millis()).unwrap_or(u64::MAX), &PERIOD_UNITS, "s")
}

/// Reads where to listen: an address and a port. `localhost` is this machine by IPv4; without a host it is every
/// address of this machine, as other servers read it.
///
/// Blanks around it are passed over, as around a size.
pub fn parse_listen(text: &str) -> Result<SocketAddr, UnitError> {
    let text = text.trim();
    let local = |(host, port): (&str, _)| host.eq_ignore_ascii_case("localhost").then_some((Ipv4Addr::LOCALHOST, port));
    let named = text.split_once(':').and_then(local);
    let every = ["*:", ":"].iter().find_map(|any| Some((Ipv4Addr::UNSPECIFIED, text.strip_prefix(any)?)));
    let found = match named.or(every) {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse::<u16>().ok().map(|port| (host, port).into())
        }
        Some(_) => None,
        None => text.parse().ok(),
    };
    found.ok_or(UnitError::Listen)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim_start();
    let factor = match units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() && number == 0 => 1,
        None => return None,
    };
    number.checked_mul(factor).filter(|&n| i64::try_from(n).is_ok())
}

fn show(value: u64, units: &[(&str, u64)], zero_unit: &str) -> String {
    if value == 0 {
        return format!("0{zero_unit}");
    }
    units
        .iter()
        .find(|(_, factor)| value.is_multiple_of(*factor))
        .map_or_else(|| value.to_string(), |(name, factor)| format!("{}{name}", value / factor))
}

/// For `#[serde(with = ...)]`: a size in bytes, written with its unit.
pub mod size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes `64KiB` and the like.
    pub fn serialize<S: Serializer>(bytes: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&super::show_size(*bytes))
    }

    /// Reads `64KiB` and the like.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        super::parse_size(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// For `#[serde(with = ...)]`: a size, or `auto` for `None`.
pub mod size_or_auto {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes a size or `auto`.
    pub fn serialize<S: Serializer>(bytes: &Option<u64>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&bytes.map_or_else(|| super::AUTO.to_owned(), super::show_size))
    }

    /// Reads a size or `auto`.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
        match String::deserialize(d)?.as_str() {
            super::AUTO => Ok(None),
            text => super::parse_size(text).map(Some).map_err(D::Error::custom),
        }
    }
}

/// For `#[serde(with = ...)]`: a period, written with its unit.
pub mod period {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    /// Writes `30s` and the like.
    pub fn serialize<S: Serializer>(period: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&super::show_period(*period))
    }

    /// Reads `30s` and the like.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        super::parse_period(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// For `#[serde(with = ...)]`: an address to listen on.
pub mod listen {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::net::SocketAddr;

    /// Writes `127.0.0.1:5000` and the like.
    pub fn serialize<S: Serializer>(at: &SocketAddr, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&at.to_string())
    }

    /// Reads `127.0.0.1:5000`, `[::1]:5000`, `localhost:5000` and `:5000`.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
        super::parse_listen(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// For `#[serde(with = ...)]`: an address to listen on, or an empty text for `None`.
pub mod listen_or_off {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::net::SocketAddr;

    /// Writes `127.0.0.1:5001` and the like, or nothing.
    pub fn serialize<S: Serializer>(at: &Option<SocketAddr>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&at.map(|at| at.to_string()).unwrap_or_default())
    }

    /// Reads what `listen` reads, and an empty text.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
        match String::deserialize(d)?.trim() {
            "" => Ok(None),
            text => super::parse_listen(text).map(Some).map_err(D::Error::custom),
        }
    }
}

/// The word for "Boveda finds the value itself".
pub const AUTO: &str = "auto";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on_are_read_as_other_servers_read_them() {
        for (text, at) in [
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:5000", "127.0.0.1:5000"),
            (":5000", "0.0.0.0:5000"),
            ("*:5000", "0.0.0.0:5000"),
            ("LocalHost:5000", "127.0.0.1:5000"),
            (" :5000", "0.0.0.0:5000"),
            ("\t[::1]:5000 \r\n", "[::1]:5000"),
        ] {
            assert_eq!(parse_listen(text), Ok(at.parse().unwrap()), "{text}");
        }
        for bad in
            ["", "5000", "localhost", "localhost:", ":", ":65536", "host:5000", "127.0.0.1 :5000", ": 5000", ":+5"]
        {
            assert_eq!(parse_listen(bad), Err(UnitError::Listen), "{bad:?}");
        }
    }

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes, shown) in [
            ("0", 0, "0B"),
            ("1B", 1, "1B"),
            ("64KiB", 65_536, "64KiB"),
            (" 64 kib ", 65_536, "64KiB"),
            ("1024MiB", 1 << 30, "1GiB"),
            ("5TiB", 5 << 40, "5TiB"),
            ("1500B", 1_500, "1500B"),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(show_size(bytes), shown);
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn periods_read_and_print() {
        for (text, ms, shown) in [
            ("0", 0, "0s"),
            ("250ms", 250, "250ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "90s"),
            ("5min", 300_000, "5min"),
            ("60min", 3_600_000, "1h"),
            ("2d", 172_800_000, "2d"),
        ] {
            assert_eq!(parse_period(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(show_period(Duration::from_millis(ms)), shown);
        }
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for bad in
            ["", "5", "KiB", "64KB", "64K", "1.5GiB", "-1B", "64KiBs", "99999999TiB", "18446744073709551616B", "٣B"]
        {
            assert_eq!(parse_size(bad), Err(UnitError::Size), "{bad}");
        }
        for bad in ["", "30", "s", "1.5s", "-1s", "5m", "30 sec", "30s s", "9999999999999999d"] {
            assert_eq!(parse_period(bad), Err(UnitError::Period), "{bad}");
        }
    }
}
