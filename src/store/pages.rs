//! (to come)
use crate::disk::{Disk, DiskFile};
use crate::seal::SealingKey;
use std::path::Path;
use std::sync::Arc;
/// x
#[derive(Debug, thiserror::Error)]
#[error("pages")]
pub struct PagesError;
/// x
#[derive(Debug)]
pub struct PagesProbe;
#[derive(Debug)]
struct B(Box<dyn DiskFile>);
impl redb::StorageBackend for B {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.0.len()?)
    }
    fn read(&self, o: u64, b: &mut [u8]) -> Result<(), std::io::Error> {
        Ok(self.0.read_at(o, b)?)
    }
    fn set_len(&self, l: u64) -> Result<(), std::io::Error> {
        Ok(self.0.set_len(l)?)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        Ok(self.0.sync_data()?)
    }
    fn write(&self, o: u64, b: &[u8]) -> Result<(), std::io::Error> {
        Ok(self.0.write_at(o, b)?)
    }
}
/// x
pub fn create_database(
    disk: &Arc<dyn Disk>,
    path: &Path,
    _k: SealingKey,
    _i: [u8; 16],
    cache: usize,
) -> Result<(redb::Database, Arc<PagesProbe>), PagesError> {
    let f = disk.create_new(path).map_err(|_| PagesError)?;
    disk.sync_dir(path.parent().unwrap()).map_err(|_| PagesError)?;
    Ok((
        redb::Builder::new().set_cache_size(cache).create_with_backend(B(f)).map_err(|_| PagesError)?,
        Arc::new(PagesProbe),
    ))
}
/// x
pub fn open_database(
    disk: &Arc<dyn Disk>,
    path: &Path,
    _k: SealingKey,
    _i: [u8; 16],
    cache: usize,
) -> Result<(redb::Database, Arc<PagesProbe>), PagesError> {
    let f = disk.open(path).map_err(|_| PagesError)?;
    Ok((
        redb::Builder::new().set_cache_size(cache).create_with_backend(B(f)).map_err(|_| PagesError)?,
        Arc::new(PagesProbe),
    ))
}
