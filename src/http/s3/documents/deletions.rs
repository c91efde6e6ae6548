//! Many objects to be deleted at once, and what became of each.
//!
//! Invariant: a condition that is not held is refused before anything is deleted.

use super::super::errors;
use super::super::xml::{Limits, Malformed, Reader, Writer, once};
use super::ok;
use crate::http::edge::errors::HttpError;
use crate::http::edge::problem::Problem;
use actix_web::HttpResponse;

/// Most objects of one request.
const OBJECTS_MAX: usize = 1000;
/// A thousand objects, each with all that may be said of it, in the root beside `Quiet`.
const LIMITS: Limits = Limits { bytes_max: 2 * 1024 * 1024, elements_max: 2 + OBJECTS_MAX * 6 };

/// An object that is to go.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Deletion {
    pub key: String,
    pub version: Option<String>,
    /// The ETag that it must have, as it was sent.
    pub etag: Option<String>,
}

/// `Delete`.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Deletions {
    /// At least one.
    pub objects: Vec<Deletion>,
    /// Whether nothing is to be said of those that are gone.
    pub quiet: bool,
}

/// What became of an object.
pub(in crate::http::s3) struct Gone {
    pub key: String,
    pub outcome: Result<(), Problem>,
}

/// Reads a `Delete`.
pub(in crate::http) fn deletions(document: &[u8]) -> Result<Deletions, HttpError> {
    let mut reader = Reader::new(document, "Delete", LIMITS)?;
    let (mut objects, mut quiet) = (Vec::new(), None);
    while let Some(name) = reader.child()? {
        match name {
            "Object" if objects.len() == OBJECTS_MAX => {
                return Err(HttpError::Document("the document names more than 1000 objects"));
            }
            "Object" => objects.push(deletion(&mut reader)?),
            "Quiet" => once(&mut quiet, flag(&reader.word()?)?)?,
            _ => return Err(HttpError::Document("a Delete holds Object and Quiet")),
        }
    }
    reader.end()?;
    if objects.is_empty() {
        return Err(HttpError::Document("the document names no object"));
    }
    Ok(Deletions { objects, quiet: quiet.unwrap_or(false) })
}

fn deletion(reader: &mut Reader<'_>) -> Result<Deletion, HttpError> {
    let (mut key, mut version, mut etag) = (None, None, None);
    while let Some(name) = reader.child()? {
        match name {
            "Key" => once(&mut key, reader.text()?)?,
            "VersionId" => once(&mut version, reader.word()?)?,
            "ETag" => once(&mut etag, reader.word()?)?,
            "Size" | "LastModifiedTime" => {
                return Err(HttpError::NotImplemented("an object is deleted on condition of its ETag alone"));
            }
            _ => return Err(HttpError::Document("an Object of a Delete holds Key, VersionId and ETag")),
        }
    }
    let key = key.ok_or(HttpError::Document("an Object of the document has no Key"))?;
    Ok(Deletion { key, version, etag })
}

fn flag(word: &str) -> Result<bool, Malformed> {
    match word {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Malformed("Quiet is true or false")),
    }
}

/// `DeleteResult`. `quiet`: of those that failed alone.
pub(in crate::http::s3) fn deleted(all: &[Gone], quiet: bool) -> HttpResponse {
    const ROOT: &str = "DeleteResult";
    let mut writer = Writer::new(ROOT, 128 + all.iter().map(|gone| gone.key.len() + 64).sum::<usize>());
    for gone in all {
        match &gone.outcome {
            Ok(()) if quiet => {}
            Ok(()) => {
                writer.open("Deleted").text("Key", &gone.key).close("Deleted");
            }
            Err(problem) => {
                writer.open("Error").text("Key", &gone.key);
                writer.text("Code", errors::row(problem.kind).code).text("Message", errors::message(problem));
                writer.close("Error");
            }
        }
    }
    ok(writer.finish(ROOT))
}

#[cfg(test)]
mod tests {
    use super::super::testing::text_of;
    use super::*;
    use crate::http::edge::problem::Kind;

    fn of(objects: &str) -> Result<Deletions, HttpError> {
        deletions(format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{objects}</Delete>").as_bytes())
    }

    fn deletion(key: &str) -> Deletion {
        Deletion { key: key.to_owned(), version: None, etag: None }
    }

    #[test]
    fn what_is_to_go() {
        for (document, objects, quiet) in [
            ("<Object><Key>a</Key></Object>", vec![deletion("a")], false),
            (
                "<Quiet> true </Quiet>\n<Object><Key>a</Key></Object><Object><Key> b </Key></Object>",
                vec![deletion("a"), deletion(" b ")],
                true,
            ),
            ("<Object><Key>&#x1;&amp;</Key></Object><Quiet>false</Quiet>", vec![deletion("\u{1}&")], false),
            (
                "<Object><ETag>\n&quot;0f&quot; </ETag><VersionId>null</VersionId><Key></Key></Object>",
                vec![Deletion { key: String::new(), version: Some("null".into()), etag: Some("\"0f\"".into()) }],
                false,
            ),
        ] {
            assert_eq!(of(document).unwrap(), Deletions { objects, quiet }, "{document}");
        }
        let most = "<Object><Key>k</Key></Object>".repeat(OBJECTS_MAX);
        assert_eq!(of(&most).unwrap().objects.len(), OBJECTS_MAX);
    }

    #[test]
    fn what_is_no_such_document() {
        let object = "<Object><Key>a</Key></Object>";
        for document in [
            "".to_owned(),
            "<Quiet>true</Quiet>".to_owned(),
            "<Object/>".to_owned(),
            "<Object><Key>a</Key><Key>b</Key></Object>".to_owned(),
            "<Object><Key>a</Key><ETag>x</ETag><ETag>x</ETag></Object>".to_owned(),
            "<Object><Key>a</Key><Other>b</Other></Object>".to_owned(),
            format!("{object}<Other/>"),
            format!("{object}<Quiet>yes</Quiet>"),
            format!("<Quiet>true</Quiet><Quiet>true</Quiet>{object}"),
            object.repeat(OBJECTS_MAX + 1),
        ] {
            let error = of(&document).expect_err(&document);
            assert_eq!(error.problem().kind, Kind::Document, "{document:.60}");
        }
        for condition in ["<Size>1</Size>", "<LastModifiedTime>x</LastModifiedTime>"] {
            let error = of(&format!("<Object><Key>a</Key>{condition}</Object>")).expect_err(condition);
            assert_eq!(error.problem().kind, Kind::NotImplemented, "no condition is passed over");
        }
        assert!(deletions(b"").is_err() && deletions(b"<Delete>").is_err());
        assert!(deletions(format!("<Other>{object}</Other>").as_bytes()).is_err());
    }

    #[test]
    fn what_became_of_them() {
        let gone = |key: &str, outcome| Gone { key: key.to_owned(), outcome };
        let all = [gone("a&\u{1}", Ok(())), gone("b", Err(Kind::AccessDenied.into())), gone("c", Ok(()))];
        let failed = "<Error><Key>b</Key><Code>AccessDenied</Code>\
                      <Message>the caller has not the right to do this</Message></Error>";
        assert_eq!(
            text_of(deleted(&all, false)),
            format!(
                "<DeleteResult><Deleted><Key>a&amp;\u{fffd}</Key></Deleted>{failed}\
                 <Deleted><Key>c</Key></Deleted></DeleteResult>"
            )
        );
        assert_eq!(text_of(deleted(&all, true)), format!("<DeleteResult>{failed}</DeleteResult>"));
    }
}
