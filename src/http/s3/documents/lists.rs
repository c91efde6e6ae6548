//! Lists: all buckets, and the objects of one, page by page.

use super::super::xml::Writer;
use super::{kind_of, ok, owner};
use crate::actors::messages::{BucketInfo, ListPage, ObjectInfo};
use crate::http::edge::access::now_ms;
use actix_web::HttpResponse;

/// What an entry takes besides its key, roughly.
const ENTRY_BYTES: usize = 280;

/// A page of a list, with what was asked.
pub(in crate::http::s3) struct Listing<'a> {
    pub bucket: &'a str,
    pub prefix: &'a str,
    pub delimiter: Option<&'a str>,
    pub max_keys: usize,
    /// Whether keys are in percent-escapes: `encoding-type=url`.
    pub escapes: bool,
    pub page: &'a ListPage,
}

/// A page of the list of buckets.
pub(in crate::http::s3) struct BucketPage<'a> {
    pub buckets: &'a [BucketInfo],
    /// The region of all of them, where the question had a parameter at all.
    pub region: Option<&'a str>,
    pub prefix: Option<&'a str>,
    /// The token of the next page.
    pub next: Option<&'a str>,
}

/// `ListAllMyBucketsResult`.
pub(in crate::http::s3) fn buckets(page: &BucketPage<'_>) -> HttpResponse {
    const ROOT: &str = "ListAllMyBucketsResult";
    let mut writer = Writer::new(ROOT, 256 + page.buckets.len() * 160);
    owner(&mut writer);
    writer.open("Buckets");
    for bucket in page.buckets {
        writer
            .open("Bucket")
            .text("Name", bucket.name.as_str())
            .time("CreationDate", bucket.created_ms)
            .maybe("BucketRegion", page.region)
            .close("Bucket");
    }
    writer.close("Buckets").maybe("ContinuationToken", page.next).maybe("Prefix", page.prefix);
    ok(writer.finish(ROOT))
}

/// `ListBucketResult` as the first version has it. The place of the next page is named with and without a delimiter.
pub(in crate::http::s3) fn list_v1(list: &Listing<'_>, marker: Option<&str>) -> HttpResponse {
    let mut writer = list.begun();
    writer.key("Marker", marker.unwrap_or_default(), list.escapes);
    if let Some(next) = &list.page.next {
        writer.key("NextMarker", next, list.escapes);
    }
    ok(list.ended(writer, true))
}

/// `ListBucketResult` as the second version has it. Tokens are as they are: they are no keys.
pub(in crate::http::s3) fn list_v2(
    list: &Listing<'_>,
    token: Option<&str>,
    next: Option<&str>,
    start_after: Option<&str>,
    shows_owner: bool,
) -> HttpResponse {
    let mut writer = list.begun();
    if let Some(start_after) = start_after {
        writer.key("StartAfter", start_after, list.escapes);
    }
    writer.maybe("ContinuationToken", token).maybe("NextContinuationToken", next);
    writer.number("KeyCount", (list.page.entries.len() + list.page.prefixes.len()) as u64);
    ok(list.ended(writer, shows_owner))
}

impl Listing<'_> {
    const ROOT: &'static str = "ListBucketResult";

    fn begun(&self) -> Writer {
        let keys: usize = self.page.entries.iter().map(|(key, _)| key.len() + ENTRY_BYTES).sum();
        let prefixes: usize = self.page.prefixes.iter().map(|prefix| prefix.len() + 64).sum();
        let mut writer = Writer::new(Self::ROOT, 512 + keys + prefixes);
        writer.text("Name", self.bucket).key("Prefix", self.prefix, self.escapes);
        writer
    }

    fn ended(&self, mut writer: Writer, shows_owner: bool) -> String {
        writer.number("MaxKeys", self.max_keys as u64);
        if let Some(delimiter) = self.delimiter {
            writer.key("Delimiter", delimiter, self.escapes);
        }
        if self.escapes {
            writer.text("EncodingType", "url");
        }
        writer.flag("IsTruncated", self.page.next.is_some());
        // As with `Last-Modified`: nothing was written later than now.
        let now_ms = now_ms();
        for (key, info) in &self.page.entries {
            self.entry(&mut writer, key, info, now_ms, shows_owner);
        }
        for prefix in &self.page.prefixes {
            writer.open("CommonPrefixes").key("Prefix", prefix, self.escapes).close("CommonPrefixes");
        }
        writer.finish(Self::ROOT)
    }

    fn entry(&self, writer: &mut Writer, key: &str, info: &ObjectInfo, now_ms: u64, shows_owner: bool) {
        let at = info.written_ms.min(now_ms);
        writer.open("Contents").key("Key", key, self.escapes).time("LastModified", at).etag(&info.etag);
        if let Some(checksum) = &info.checksum {
            writer.text("ChecksumAlgorithm", checksum.algorithm.as_str()).text("ChecksumType", kind_of(checksum));
        }
        writer.number("Size", info.len);
        if shows_owner {
            owner(writer);
        }
        writer.text("StorageClass", "STANDARD").close("Contents");
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::text_of;
    use super::*;
    use crate::base::checksum::Algorithm;
    use crate::base::{BucketId, BucketName, BucketRecord, Checksum, ObjectHead};

    const OWNER: &str = "<Owner><ID>boveda</ID><DisplayName>boveda</DisplayName></Owner>";

    fn info(len: u64, checksum: Option<Checksum>) -> ObjectInfo {
        ObjectInfo {
            len,
            head: ObjectHead::default(),
            etag: "0f".into(),
            checksum,
            written_ms: 1_700_000_000_999,
            parts: None,
        }
    }

    fn page(next: Option<&str>) -> ListPage {
        let crc = Checksum::of_all(Algorithm::Crc32c, &[0; 4]).unwrap();
        let of_parts = Checksum { is_composite: true, ..Checksum::of_all(Algorithm::Sha256, &[0; 32]).unwrap() };
        let entries = [("a b", None), ("c&d", Some(crc)), ("e", Some(of_parts))];
        ListPage {
            entries: entries.into_iter().map(|(key, sum)| (key.to_owned(), info(3, sum))).collect(),
            prefixes: vec!["f+/".to_owned()],
            next: next.map(str::to_owned),
        }
    }

    fn listing<'a>(page: &'a ListPage, delimiter: Option<&'a str>, escapes: bool) -> Listing<'a> {
        Listing { bucket: "abc", prefix: "<", delimiter, max_keys: 1000, escapes, page }
    }

    fn contents(keys: [&str; 3], owner: &str) -> String {
        let sums = [
            "",
            "<ChecksumAlgorithm>CRC32C</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>",
            "<ChecksumAlgorithm>SHA256</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>",
        ];
        let each = keys.iter().zip(sums).map(|(key, sum)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2023-11-14T22:13:20.000Z</LastModified>\
                 <ETag>&quot;0f&quot;</ETag>{sum}<Size>3</Size>{owner}<StorageClass>STANDARD</StorageClass></Contents>"
            )
        });
        each.collect()
    }

    #[test]
    fn pages_of_the_first_version() {
        let page = page(Some("f+/"));
        assert_eq!(
            text_of(list_v1(&listing(&page, Some("/"), true), Some("a+"))),
            format!(
                "<ListBucketResult><Name>abc</Name><Prefix>%3C</Prefix><Marker>a%2B</Marker>\
                 <NextMarker>f%2B/</NextMarker><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter>\
                 <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>{}\
                 <CommonPrefixes><Prefix>f%2B/</Prefix></CommonPrefixes></ListBucketResult>",
                contents(["a%20b", "c%26d", "e"], OWNER)
            )
        );
    }

    #[test]
    fn pages_of_the_second_version() {
        let (last, more) = (page(None), page(Some("e")));
        assert_eq!(
            text_of(list_v2(&listing(&last, None, false), None, None, None, false)),
            format!(
                "<ListBucketResult><Name>abc</Name><Prefix>&lt;</Prefix><KeyCount>4</KeyCount><MaxKeys>1000</MaxKeys>\
                 <IsTruncated>false</IsTruncated>{}<CommonPrefixes><Prefix>f+/</Prefix></CommonPrefixes>\
                 </ListBucketResult>",
                contents(["a b", "c&amp;d", "e"], "")
            )
        );
        let all = text_of(list_v2(&listing(&more, Some("+"), true), Some("t+"), Some("n+"), Some("s+"), true));
        assert!(
            all.starts_with(
                "<ListBucketResult><Name>abc</Name><Prefix>%3C</Prefix><StartAfter>s%2B</StartAfter>\
                 <ContinuationToken>t+</ContinuationToken><NextContinuationToken>n+</NextContinuationToken>\
                 <KeyCount>4</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>%2B</Delimiter>\
                 <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Contents>"
            ),
            "{all}"
        );
        assert!(all.contains(&contents(["a%20b", "c%26d", "e"], OWNER)), "{all}");
    }

    #[test]
    fn all_buckets() {
        let bucket = |name| {
            let name = BucketName::parse(name).unwrap();
            BucketInfo::of(&name, &BucketRecord::made(BucketId(7), 1_700_000_000_001), Default::default())
        };
        let both = [bucket("abc"), bucket("d.e")];
        let page = BucketPage { buckets: &both, region: None, prefix: None, next: None };
        assert_eq!(
            text_of(buckets(&page)),
            format!(
                "<ListAllMyBucketsResult>{OWNER}<Buckets>\
                 <Bucket><Name>abc</Name><CreationDate>2023-11-14T22:13:20.000Z</CreationDate></Bucket>\
                 <Bucket><Name>d.e</Name><CreationDate>2023-11-14T22:13:20.000Z</CreationDate></Bucket>\
                 </Buckets></ListAllMyBucketsResult>"
            )
        );
        assert_eq!(
            text_of(buckets(&BucketPage { buckets: &[], ..page })),
            format!("<ListAllMyBucketsResult>{OWNER}<Buckets></Buckets></ListAllMyBucketsResult>")
        );
        let of_region = BucketPage { region: Some("r"), prefix: Some("<"), next: Some("t"), buckets: &both[..1] };
        assert_eq!(
            text_of(buckets(&of_region)),
            format!(
                "<ListAllMyBucketsResult>{OWNER}<Buckets><Bucket><Name>abc</Name>\
                 <CreationDate>2023-11-14T22:13:20.000Z</CreationDate><BucketRegion>r</BucketRegion></Bucket></Buckets>\
                 <ContinuationToken>t</ContinuationToken><Prefix>&lt;</Prefix></ListAllMyBucketsResult>"
            )
        );
    }
}
