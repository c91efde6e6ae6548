//! Lists of uploads in parts that are open, and of the parts of one, page by page.

use super::super::xml::Writer;
use super::{OWNER, ok, owner, sum, type_word};
use crate::actors::messages::{ChecksumKind, PartInfo, PartPage, UploadInfo, UploadPage};
use crate::base::UploadId;
use crate::http::edge::access::now_ms;
use actix_web::HttpResponse;

/// What an entry takes besides its key, roughly.
const ENTRY_BYTES: usize = 400;

/// A page of parts, with what was asked.
pub(in crate::http::s3) struct PartListing<'a> {
    pub after: u16,
    pub max_parts: usize,
    pub page: &'a PartPage,
}

/// A page of uploads, with what was asked.
pub(in crate::http::s3) struct UploadListing<'a> {
    pub bucket: &'a str,
    pub prefix: &'a str,
    pub delimiter: Option<&'a str>,
    pub after: Option<&'a (String, Option<UploadId>)>,
    pub max_uploads: usize,
    /// Whether keys are in percent-escapes: `encoding-type=url`.
    pub escapes: bool,
    pub page: &'a UploadPage,
}

/// `ListPartsResult`.
pub(in crate::http::s3) fn parts(list: &PartListing<'_>) -> HttpResponse {
    const ROOT: &str = "ListPartsResult";
    let PartPage { upload, parts, is_truncated } = list.page;
    let mut writer = Writer::new(ROOT, 1024 + parts.len() * ENTRY_BYTES);
    writer.text("Bucket", upload.at.bucket.as_str()).text("Key", upload.at.key.as_str());
    writer.text("UploadId", &upload.id.to_string());
    let last = parts.last().map_or(list.after, |part| part.number);
    writer.number("PartNumberMarker", list.after.into()).number("NextPartNumberMarker", last.into());
    writer.number("MaxParts", list.max_parts as u64).flag("IsTruncated", *is_truncated);
    let now_ms = now_ms();
    parts.iter().for_each(|part| one_part(&mut writer, part, now_ms));
    owners(&mut writer);
    kind(&mut writer, upload.checksum.as_ref());
    ok(writer.finish(ROOT))
}

fn one_part(writer: &mut Writer, part: &PartInfo, now_ms: u64) {
    writer.open("Part").number("PartNumber", part.number.into());
    writer.time("LastModified", part.written_ms.min(now_ms)).etag(&part.etag);
    if let Some(checksum) = &part.checksum {
        sum(writer, checksum);
    }
    writer.number("Size", part.len).close("Part");
}

/// `ListMultipartUploadsResult`.
pub(in crate::http::s3) fn uploads(list: &UploadListing<'_>) -> HttpResponse {
    const ROOT: &str = "ListMultipartUploadsResult";
    let UploadPage { uploads, prefixes, next } = list.page;
    let keys: usize = uploads.iter().map(|upload| upload.key.as_str().len() + ENTRY_BYTES).sum();
    let mut writer = Writer::new(ROOT, 512 + keys + prefixes.iter().map(|prefix| prefix.len() + 64).sum::<usize>());
    writer.text("Bucket", list.bucket);
    let place = |writer: &mut Writer, names: [&str; 2], place: Option<&(String, Option<UploadId>)>| {
        let (key, upload) = place.map_or(("", None), |(key, upload)| (key, *upload));
        writer.key(names[0], key, list.escapes);
        writer.text(names[1], &upload.map(|upload| upload.to_string()).unwrap_or_default());
    };
    place(&mut writer, ["KeyMarker", "UploadIdMarker"], list.after);
    if next.is_some() {
        place(&mut writer, ["NextKeyMarker", "NextUploadIdMarker"], next.as_ref());
    }
    writer.key("Prefix", list.prefix, list.escapes);
    if let Some(delimiter) = list.delimiter {
        writer.key("Delimiter", delimiter, list.escapes);
    }
    if list.escapes {
        writer.text("EncodingType", "url");
    }
    writer.number("MaxUploads", list.max_uploads as u64).flag("IsTruncated", next.is_some());
    let now_ms = now_ms();
    uploads.iter().for_each(|upload| one_upload(&mut writer, upload, now_ms, list.escapes));
    for prefix in prefixes {
        writer.open("CommonPrefixes").key("Prefix", prefix, list.escapes).close("CommonPrefixes");
    }
    ok(writer.finish(ROOT))
}

fn one_upload(writer: &mut Writer, upload: &UploadInfo, now_ms: u64, escapes: bool) {
    writer.open("Upload").key("Key", upload.key.as_str(), escapes).text("UploadId", &upload.id.to_string());
    owners(writer);
    writer.time("Initiated", upload.begun_ms.min(now_ms));
    kind(writer, upload.checksum.as_ref());
    writer.close("Upload");
}

/// Who began it, whose it is, and how it will be kept.
fn owners(writer: &mut Writer) {
    writer.open("Initiator").text("ID", OWNER).text("DisplayName", OWNER).close("Initiator");
    owner(writer);
    writer.text("StorageClass", "STANDARD");
}

fn kind(writer: &mut Writer, kind: Option<&ChecksumKind>) {
    if let Some(kind) = kind {
        writer.text("ChecksumAlgorithm", kind.algorithm.as_str());
        writer.text("ChecksumType", type_word(kind.is_composite));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::text_of;
    use super::*;
    use crate::actors::messages::OpenUpload;
    use crate::base::checksum::Algorithm;
    use crate::base::{BucketName, Checksum, KekId, ObjectHead, ObjectKey, ObjectName, Wrap};

    const OWNERS: &str = "<Initiator><ID>boveda</ID><DisplayName>boveda</DisplayName></Initiator>\
                          <Owner><ID>boveda</ID><DisplayName>boveda</DisplayName></Owner>\
                          <StorageClass>STANDARD</StorageClass>";
    const AT_MS: u64 = 1_700_000_000_999;

    #[test]
    fn parts_of_an_upload() {
        let at = ObjectName { bucket: BucketName::parse("abc").unwrap(), key: ObjectKey::parse("a&b").unwrap() };
        let wrap = Wrap { kek: KekId([0; 16]), nonce: [0; 12], sealed: [0; 48] };
        let checksum = Some(ChecksumKind { algorithm: Algorithm::Crc32, is_composite: true });
        let upload =
            OpenUpload { id: UploadId([1; 16]), at, head: ObjectHead::default(), checksum, begun_ms: AT_MS, wrap };
        let crc = Checksum::of_all(Algorithm::Crc32, &[0; 4]);
        let part = |number, checksum| PartInfo { number, len: 5, etag: "0f".into(), checksum, written_ms: AT_MS };
        let page = PartPage { upload, parts: vec![part(3, crc), part(7, None)], is_truncated: true };
        let entry = |number: u16, sum: &str| {
            format!(
                "<Part><PartNumber>{number}</PartNumber><LastModified>2023-11-14T22:13:20.000Z</LastModified>\
                 <ETag>&quot;0f&quot;</ETag>{sum}<Size>5</Size></Part>"
            )
        };
        assert_eq!(
            text_of(parts(&PartListing { after: 2, max_parts: 2, page: &page })),
            format!(
                "<ListPartsResult><Bucket>abc</Bucket><Key>a&amp;b</Key><UploadId>{}</UploadId>\
                 <PartNumberMarker>2</PartNumberMarker><NextPartNumberMarker>7</NextPartNumberMarker>\
                 <MaxParts>2</MaxParts><IsTruncated>true</IsTruncated>{}{}{OWNERS}\
                 <ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType></ListPartsResult>",
                "01".repeat(16),
                entry(3, "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>"),
                entry(7, "")
            )
        );
        let none = PartPage { parts: Vec::new(), is_truncated: false, ..page };
        let told = text_of(parts(&PartListing { after: 9, max_parts: 2, page: &none }));
        assert!(told.contains("<NextPartNumberMarker>9</NextPartNumberMarker>"), "{told}");
    }

    #[test]
    fn uploads_of_a_bucket() {
        let page = UploadPage {
            uploads: vec![UploadInfo {
                key: ObjectKey::parse("a b").unwrap(),
                id: UploadId([1; 16]),
                begun_ms: AT_MS,
                checksum: Some(ChecksumKind { algorithm: Algorithm::Crc64Nvme, is_composite: false }),
            }],
            prefixes: vec!["f+/".into()],
            next: Some(("f+/".into(), None)),
        };
        let after = ("<".to_owned(), Some(UploadId([2; 16])));
        let list = UploadListing {
            bucket: "abc",
            prefix: "<",
            delimiter: Some("/"),
            after: Some(&after),
            max_uploads: 2,
            escapes: true,
            page: &page,
        };
        let told = text_of(uploads(&list));
        assert_eq!(
            told,
            format!(
                "<ListMultipartUploadsResult><Bucket>abc</Bucket><KeyMarker>%3C</KeyMarker>\
                 <UploadIdMarker>{}</UploadIdMarker><NextKeyMarker>f%2B/</NextKeyMarker>\
                 <NextUploadIdMarker></NextUploadIdMarker><Prefix>%3C</Prefix><Delimiter>/</Delimiter>\
                 <EncodingType>url</EncodingType><MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>\
                 <Upload><Key>a%20b</Key><UploadId>{}</UploadId>{OWNERS}\
                 <Initiated>2023-11-14T22:13:20.000Z</Initiated><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>\
                 <ChecksumType>FULL_OBJECT</ChecksumType></Upload>\
                 <CommonPrefixes><Prefix>f%2B/</Prefix></CommonPrefixes></ListMultipartUploadsResult>",
                "02".repeat(16),
                "01".repeat(16)
            )
        );
        let last = UploadPage::default();
        let told =
            text_of(uploads(&UploadListing { after: None, delimiter: None, escapes: false, page: &last, ..list }));
        assert_eq!(
            told,
            "<ListMultipartUploadsResult><Bucket>abc</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker>\
             <Prefix>&lt;</Prefix><MaxUploads>2</MaxUploads><IsTruncated>false</IsTruncated>\
             </ListMultipartUploadsResult>"
        );
    }
}
