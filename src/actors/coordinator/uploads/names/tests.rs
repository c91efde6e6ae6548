use super::*;
use crate::base::BucketName;

const LIFE: BucketId = BucketId(7);

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).expect("a key")
}

fn id(n: u8) -> UploadId {
    UploadId([n; 16])
}

fn asked(prefix: &str, delimiter: Option<&str>, after: Option<(&str, Option<u8>)>, limit: usize) -> ListUploads {
    ListUploads {
        bucket: BucketName::cargas(),
        prefix: prefix.into(),
        delimiter: delimiter.map(Into::into),
        after: after.map(|(text, upload)| (text.into(), upload.map(id))),
        limit,
    }
}

/// What there is: uploads by key and id, each with so many parts, and whether it is open.
const ALL: &[(&str, u8, u16, bool)] = &[
    ("a", 1, 0, true),
    ("a", 2, 9, true),
    ("a\0b", 1, 0, true),
    ("a/b", 1, 3, false),
    ("a/c", 1, 3, true),
    ("a/c", 3, 0, true),
    ("a/d/e", 2, 0, true),
    ("b", 1, 2, false),
    ("c", 1, 0, true),
];

/// A step over those registers, of so many of them.
fn step(naming: &Naming, from: Bound<RegisterKey>, limit: usize) -> Page<(RegisterKey, Option<UploadInfo>)> {
    let mut all = Vec::new();
    for (name, upload, parts, open) in ALL {
        let name = key(name);
        let info = UploadInfo { key: name.clone(), id: id(*upload), begun_ms: 1, checksum: None };
        all.push((RegisterKey::upload(LIFE, &name, id(*upload)), open.then_some(info)));
        all.extend((1..=*parts).map(|number| (RegisterKey::part(LIFE, &name, id(*upload), number), None)));
    }
    assert!(all.is_sorted_by_key(|(register, _)| register), "registers are in the order of keys and ids");
    let behind = |register: &RegisterKey| match &from {
        Bound::Included(from) => register >= from,
        Bound::Excluded(from) => register > from,
        Bound::Unbounded => true,
    };
    let mut page = Page::whole(all.into_iter().filter(|(at, _)| behind(at) && at < naming.end()).collect());
    page.cut(limit, |(register, _)| register);
    page
}

/// A page, and in how many steps it came about.
fn page(asked: &ListUploads, step_of: usize) -> (UploadPage, usize) {
    let (mut naming, mut steps) = (Naming::new(LIFE, asked), 0);
    while let Some(from) = naming.next() {
        let page = step(&naming, from, step_of);
        naming.take(page);
        steps += 1;
        assert!(steps < 100, "it comes to an end");
    }
    (naming.page(), steps)
}

fn shown(page: &UploadPage) -> Vec<String> {
    let mut all: Vec<String> = page.uploads.iter().map(|one| format!("{} {}", one.key.as_str(), one.id.0[0])).collect();
    all.extend(page.prefixes.iter().cloned());
    all.sort();
    all
}

#[test]
fn open_uploads_are_shown_by_key_and_id_and_folded() {
    type Case<'a> = (&'a str, Option<&'a str>, Option<(&'a str, Option<u8>)>, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        ("", None, None, &["a 1", "a 2", "a\0b 1", "a/c 1", "a/c 3", "a/d/e 2", "c 1"]),
        ("a/", None, None, &["a/c 1", "a/c 3", "a/d/e 2"]),
        ("a/", Some("/"), None, &["a/c 1", "a/c 3", "a/d/"]),
        ("", Some("/"), None, &["a 1", "a 2", "a\0b 1", "a/", "c 1"]),
        ("b", None, None, &[]),
        ("", None, Some(("a", None)), &["a\0b 1", "a/c 1", "a/c 3", "a/d/e 2", "c 1"]),
        ("", None, Some(("a", Some(1))), &["a 2", "a\0b 1", "a/c 1", "a/c 3", "a/d/e 2", "c 1"]),
        ("", None, Some(("a", Some(2))), &["a\0b 1", "a/c 1", "a/c 3", "a/d/e 2", "c 1"]),
        ("", Some("/"), Some(("a/", None)), &["c 1"]),
        ("", None, Some(("a/", None)), &["a/c 1", "a/c 3", "a/d/e 2", "c 1"]),
        ("a/", None, Some(("A", None)), &["a/c 1", "a/c 3", "a/d/e 2"]),
        ("a/", None, Some(("b", None)), &[]),
        ("", None, Some(("c", None)), &[]),
        // No upload's id holds it, and no part's number.
        ("", Some("0"), None, &["a 1", "a 2", "a\0b 1", "a/c 1", "a/c 3", "a/d/e 2", "c 1"]),
    ];
    for (prefix, delimiter, after, wanted) in cases {
        for step_of in [1, 2, 100] {
            let (page, _) = page(&asked(prefix, *delimiter, *after, 100), step_of);
            let mut wanted: Vec<_> = wanted.iter().map(|one| (*one).to_owned()).collect();
            wanted.sort();
            assert_eq!((shown(&page), page.next), (wanted, None), "{prefix} {delimiter:?} {after:?} by {step_of}");
        }
    }
}

#[test]
fn pages_follow_one_another_and_the_last_says_so() {
    for delimiter in [None, Some("/")] {
        let whole = shown(&page(&asked("", delimiter, None, 100), 100).0);
        for limit in 1..=8 {
            let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
            loop {
                let (page, _) = page(&ListUploads { after: after.take(), ..asked("", delimiter, None, limit) }, 3);
                let shown = shown(&page);
                assert!(shown.len() == limit || page.next.is_none(), "{limit}: {shown:?}");
                all.extend(shown);
                pages += 1;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            all.sort();
            assert_eq!((all, pages), (whole.clone(), whole.len().div_ceil(limit)), "{delimiter:?} by {limit}");
        }
    }
}

#[test]
fn parts_and_what_a_prefix_stands_for_are_passed_over() {
    // Nine uploads, of which one has nine parts and two have three.
    assert_eq!(page(&asked("", None, None, 100), 1).1, ALL.len());
    let (page, steps) = page(&asked("", Some("/"), None, 100), 1);
    assert_eq!((page.prefixes, steps), (vec!["a/".to_owned()], 7), "behind the first open one of a/ comes b");
}

#[test]
fn a_page_that_ends_early_names_its_place() {
    let asked_for = asked("", None, None, 100);
    let mut naming = Naming::new(LIFE, &asked_for);
    for _ in 0..4 {
        let step = step(&naming, naming.next().expect("it goes on"), 1);
        naming.take(step);
    }
    assert!(naming.stop() && naming.next().is_none());
    let (first, next) = {
        let page = naming.page();
        (shown(&page), page.next)
    };
    // The fourth is not open: its place counts all the same.
    assert_eq!((first.len(), next.clone()), (3, Some(("a/b".to_owned(), Some(id(1))))));
    let rest = page(&ListUploads { after: next, ..asked_for }, 100).0;
    assert_eq!(shown(&rest), ["a/c 1", "a/c 3", "a/d/e 2", "c 1"]);
    let mut fresh = Naming::new(LIFE, &asked("", None, None, 100));
    assert!(!fresh.stop(), "nothing was looked at");
}
