//! The notebook's three routes, as its users know them: Spanish texts, one bucket, names as they come.

use super::answers::{consistency, rests_on};
use super::plain_write::{no_condition, plain_write};
use super::{objects, target};
use crate::base::head::CONTENT_TYPE_BYTES_MAX;
use crate::base::{Condition, ObjectHead, ObjectName, WantedSums};
use crate::http::edge::access::{Need, Right};
use crate::http::edge::body_in::Incoming;
use crate::http::edge::call::Call;
use crate::http::edge::disposition::attachment;
use crate::http::edge::download::{range_of_get, serve};
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::heads::written;
use crate::http::edge::media_type;
use crate::http::edge::multipart::{FilePart, Form};
use crate::http::edge::upload::store;
use crate::http::edge::windows::upload_window_for;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};

const FIELD: &str = "archivo";
const TEXT: &str = "text/html; charset=utf-8";

pub(super) async fn upload(call: &Call<'_>, incoming: &mut Incoming) -> Result<HttpResponse, HttpError> {
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let content_type = call.req.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    incoming.check_framed()?;
    incoming.check_announced()?;
    incoming.check_md5(call.req.headers())?;
    let shared = &call.worker.shared;
    let window = upload_window_for(shared, incoming.announced()).await?;
    let mut form = Form::new(content_type, incoming)?;
    let (name, head) = form.file(FIELD).await?;
    let at = target::carga_named(&name)?;
    call.authorize(&Need::on_object(Right::Write, &at))?;
    let content_type = media_type_of(head.content_type.as_deref(), &name);
    let head = ObjectHead { content_type, ..ObjectHead::default() };
    let part = &mut FilePart { form: &mut form, field: FIELD };
    let done = store(call, at, Condition::NONE, head, WantedSums::default(), None, window, part).await?;
    Ok(text(call, "Archivo cargado y cifrado exitosamente", done.replicas))
}

pub(super) async fn download(call: &Call<'_>, at: ObjectName) -> Result<HttpResponse, HttpError> {
    // Other parameters are passed over, as they always were here.
    let consistency = consistency(&mut Query::only(call.req.query_string(), "consistency")?)?;
    let disposition = HeaderValue::try_from(attachment(at.key.as_str())).ok();
    let mut response = serve(
        call,
        at,
        consistency,
        |info| range_of_get(call.req, info),
        |builder, info| {
            objects::describe(builder, info);
            if let Some(disposition) = disposition {
                builder.insert_header((header::CONTENT_DISPOSITION, disposition));
            }
        },
    )
    .await?;
    rests_on(response.headers_mut(), consistency);
    Ok(response)
}

pub(super) async fn delete(call: &Call<'_>, at: ObjectName) -> Result<HttpResponse, HttpError> {
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let done = objects::remove(call, at, Condition::NONE).await?;
    Ok(text(call, "Archivo eliminado exitosamente", done.replicas))
}

/// The type that the part came with, or the one that its name suggests.
fn media_type_of(given: Option<&str>, name: &str) -> String {
    let fits = |t: &&str| {
        (1..=CONTENT_TYPE_BYTES_MAX).contains(&t.len()) && t.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
    };
    given.filter(fits).unwrap_or_else(|| media_type::of_name(name)).to_owned()
}

fn text(call: &Call<'_>, message: &'static str, replicas: u32) -> HttpResponse {
    let mut builder: HttpResponseBuilder = HttpResponse::Ok();
    written(&mut builder, call.worker, replicas);
    builder.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(TEXT))).body(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        assert_eq!(media_type_of(Some("a/b; c=d"), "x.txt"), "a/b; c=d");
        for no_type in [None, Some(""), Some("é"), Some("a\nb")] {
            assert_eq!(media_type_of(no_type, "x.txt"), "text/plain");
        }
    }
}
