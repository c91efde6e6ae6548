//! What is known of an object.

use super::super::xml::Writer;
use super::{checksum_value, kind_of, ok, sum};
use crate::actors::messages::ObjectInfo;
use crate::base::{Checksum, Parts};
use actix_web::HttpResponse;

/// Something that is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http::s3) enum Attribute {
    ETag,
    Checksum,
    /// An object that did not come in parts has none.
    ObjectParts,
    StorageClass,
    ObjectSize,
}

impl Attribute {
    /// By the name that it has in requests.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ETag" => Attribute::ETag,
            "Checksum" => Attribute::Checksum,
            "ObjectParts" => Attribute::ObjectParts,
            "StorageClass" => Attribute::StorageClass,
            "ObjectSize" => Attribute::ObjectSize,
            _ => return None,
        })
    }
}

/// Which parts of an object are asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::s3) struct PartsAsked {
    /// Only numbers greater than this.
    pub after: u16,
    /// So many at most.
    pub max: usize,
}

/// `GetObjectAttributesResponse`. The ETag has no quotes here.
pub(in crate::http::s3) fn attributes(info: &ObjectInfo, asked: &[Attribute], page: PartsAsked) -> HttpResponse {
    const ROOT: &str = "GetObjectAttributesResponse";
    let mut writer = Writer::new(ROOT, 512);
    let wants = |attribute| asked.contains(&attribute);
    if wants(Attribute::ETag) {
        writer.text("ETag", &info.etag);
    }
    if let Some(checksum) = info.checksum.as_ref().filter(|_| wants(Attribute::Checksum)) {
        writer.open("Checksum");
        writer.text(&format!("Checksum{}", checksum.algorithm.as_str()), &checksum_value(checksum, &info.etag));
        writer.text("ChecksumType", kind_of(checksum)).close("Checksum");
    }
    if let Some(parts) = info.parts.as_ref().filter(|_| wants(Attribute::ObjectParts)) {
        object_parts(&mut writer, parts, info.checksum.as_ref(), page);
    }
    if wants(Attribute::StorageClass) {
        writer.text("StorageClass", "STANDARD");
    }
    if wants(Attribute::ObjectSize) {
        writer.number("ObjectSize", info.len);
    }
    ok(writer.finish(ROOT))
}

/// How many parts there are; and those of a page, where they have checksums, as S3 has it.
fn object_parts(writer: &mut Writer, parts: &Parts, whole: Option<&Checksum>, page: PartsAsked) {
    writer.open("ObjectParts").number("PartsCount", parts.count() as u64);
    if let Some(whole) = whole.filter(|_| parts.algorithm().is_some()) {
        let mut behind = parts.iter().filter(|part| part.number > page.after);
        let shown: Vec<_> = behind.by_ref().take(page.max).collect();
        let last = shown.last().map_or(page.after, |part| part.number);
        writer.number("PartNumberMarker", page.after.into()).number("NextPartNumberMarker", last.into());
        writer.number("MaxParts", page.max as u64).flag("IsTruncated", page.max > 0 && behind.next().is_some());
        for part in shown {
            writer.open("Part").number("PartNumber", part.number.into()).number("Size", part.len);
            if let Some(value) = part.checksum {
                sum(writer, &Checksum { value, ..*whole });
            }
            writer.close("Part");
        }
    }
    writer.close("ObjectParts");
}

#[cfg(test)]
mod tests {
    use super::super::testing::text_of;
    use super::*;
    use crate::base::checksum::{Algorithm, Value};
    use crate::base::{BlobRef, BodyId, ObjectHead, Part};

    #[test]
    fn what_is_asked_for_is_told_and_no_more() {
        use Attribute::{Checksum as Sum, ETag, ObjectParts, ObjectSize, StorageClass};
        let sum = Checksum::of_all(Algorithm::Crc32, &[0; 4]);
        let info = ObjectInfo {
            len: 3,
            head: ObjectHead::default(),
            etag: "0f".into(),
            checksum: sum,
            written_ms: 1,
            parts: None,
        };
        let bare = ObjectInfo { checksum: None, ..info.clone() };
        for (info, asked, told) in [
            (&info, &[ObjectSize, ETag][..], "<ETag>0f</ETag><ObjectSize>3</ObjectSize>"),
            (
                &info,
                &[Sum, StorageClass],
                "<Checksum><ChecksumCRC32>AAAAAA==</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType></Checksum>\
                 <StorageClass>STANDARD</StorageClass>",
            ),
            (&bare, &[Sum, ObjectParts], ""),
        ] {
            let whole = format!("<GetObjectAttributesResponse>{told}</GetObjectAttributesResponse>");
            assert_eq!(text_of(attributes(info, asked, PartsAsked { after: 0, max: 1 })), whole, "{asked:?}");
        }
    }

    #[test]
    fn parts_are_counted_and_named_where_they_have_checksums() {
        let blob = |n| BlobRef { body: BodyId([n; 16]), sealed_len: 9, digest: [n; 32] };
        let value = Value::new(&[0; 4]);
        let part = |number, checksum| Part { number, offset: 0, len: 5, blob: blob(1), checksum };
        let list =
            |algorithm, checksum| Parts::new(algorithm, [part(1, checksum), part(3, checksum), part(4, checksum)]);
        let sum = Checksum::of_all(Algorithm::Crc32, &[0; 4]).map(|sum| Checksum { is_composite: true, ..sum });
        let info = |parts, checksum| ObjectInfo {
            len: 15,
            head: ObjectHead::default(),
            etag: "0f-3".into(),
            checksum,
            written_ms: 1,
            parts,
        };
        let of = |info: &ObjectInfo, after, max| {
            text_of(attributes(info, &[Attribute::ObjectParts], PartsAsked { after, max }))
                .replace("GetObjectAttributesResponse", "R")
        };
        let plain = info(list(None, None), None);
        assert_eq!(of(&plain, 0, 2), "<R><ObjectParts><PartsCount>3</PartsCount></ObjectParts></R>");
        let summed = info(list(Some(Algorithm::Crc32), value), sum);
        let entry = |n: u16| {
            format!("<Part><PartNumber>{n}</PartNumber><Size>5</Size><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>")
        };
        for (after, max, next, more, shown) in
            [(0, 2, 3, true, &[1, 3][..]), (3, 2, 4, false, &[4]), (9, 2, 9, false, &[]), (0, 0, 0, false, &[])]
        {
            let parts: String = shown.iter().map(|n| entry(*n)).collect();
            assert_eq!(
                of(&summed, after, max),
                format!(
                    "<R><ObjectParts><PartsCount>3</PartsCount><PartNumberMarker>{after}</PartNumberMarker>\
                     <NextPartNumberMarker>{next}</NextPartNumberMarker><MaxParts>{max}</MaxParts>\
                     <IsTruncated>{more}</IsTruncated>{parts}</ObjectParts></R>"
                )
            );
        }
        let whole = text_of(attributes(&summed, &[Attribute::Checksum], PartsAsked { after: 0, max: 1 }));
        assert!(whole.contains("<ChecksumCRC32>AAAAAA==-3</ChecksumCRC32><ChecksumType>COMPOSITE<"), "{whole}");
    }
}
