//! Uploads in parts (docs/adr/0048-uploads.md).

use super::Coordinator;
use crate::actors::messages::*;
use crate::base::UploadId;

impl Coordinator {
    pub(super) async fn create_upload(&self, _: CreateUpload) -> Result<UploadId, ObjectError> {
        Err(StoreError::NoSuchUpload.into())
    }

    pub(super) async fn find_upload(&self, _: FindUpload) -> Result<OpenUpload, ObjectError> {
        Err(StoreError::NoSuchUpload.into())
    }

    pub(super) async fn complete_upload(&self, _: CompleteUpload) -> Result<Written, ObjectError> {
        Err(StoreError::NoSuchUpload.into())
    }

    pub(super) async fn abort_upload(&self, _: AbortUpload) -> Result<(), ObjectError> {
        Err(StoreError::NoSuchUpload.into())
    }

    pub(super) async fn list_parts(&self, _: ListParts) -> Result<PartPage, ObjectError> {
        Err(StoreError::NoSuchUpload.into())
    }

    pub(super) async fn list_uploads(&self, _: ListUploads) -> Result<UploadPage, ObjectError> {
        Err(StoreError::NoSuchUpload.into())
    }
}
