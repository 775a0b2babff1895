//! The real server reads from here.

use std::sync::Arc;

use towpath_stdx::SystemClock;
use towpath_telemetry::outgrow::serve::{Limits, RemoteRead};

use super::server::{self, Prometheus};
use super::{STEP, api, equal, now, step, store};

fn routes(store: &Arc<towpath_signals::metrics::Store>, limits: Limits) -> axum::Router {
    let read = RemoteRead::new(store.clone(), Arc::new(SystemClock), limits);
    api(store.clone()).merge(read.router(None))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_server_reads_the_same_here() {
    let Some(program) = server::program() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("own"));
    let end = now();
    let start = end - 400 * STEP;
    for at in 0..=400 {
        step(store.as_ref(), start + at * STEP, at);
    }
    let base = server::serve(routes(&store, Limits::default())).await;
    tokio::task::spawn_blocking(move || {
        let config = format!(
            "remote_read:\n- {{url: \"{base}/prometheus/api/v1/read\", read_recent: true}}\n"
        );
        let other = Prometheus::start(&program, dir.path(), &config, &[]);
        let here = format!("{base}/prometheus");
        equal(&here, &other.base, start + 40 * STEP, end);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused() {
    use axum::body::Body;
    use tower::ServiceExt;

    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let end = now();
    for at in 0..20 {
        step(store.as_ref(), end - (20 - at) * STEP, at);
    }
    // Everything: one matcher, `__name__=~".+"`, over all times, for an answer in samples.
    let matcher = [&[8, 2, 18, 8][..], b"__name__", &[26, 2], b".+"].concat();
    let mut query = vec![16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 26];
    query.push(matcher.len() as u8);
    query.extend(matcher);
    let mut message = vec![10, query.len() as u8];
    message.extend(query);
    let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();
    let ask = |limits: Limits, body: Vec<u8>| {
        let router = routes(&store, limits);
        async move {
            let request = http::Request::post("/prometheus/api/v1/read");
            let reply = router.oneshot(request.body(Body::from(body)).unwrap());
            let reply = reply.await.unwrap();
            let status = reply.status().as_u16();
            let body = http_body_util::BodyExt::collect(reply.into_body()).await;
            (status, body.unwrap().to_bytes())
        }
    };
    let (status, answer) = ask(Limits::default(), body.clone()).await;
    assert_eq!(status, 200);
    assert!(snap::raw::decompress_len(&answer).unwrap() > 1000);
    let few = Limits {
        samples: 30,
        ..Limits::default()
    };
    let (status, answer) = ask(few, body.clone()).await;
    assert_eq!(
        (status, &answer[..]),
        (400, &b"exceeded sample limit (30)"[..])
    );
    let (status, _) = ask(Limits::default(), b"no snappy".to_vec()).await;
    assert_eq!(status, 400);
    message.extend([16, 1]);
    let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();
    let few = Limits {
        chunk_bytes: 30,
        ..Limits::default()
    };
    let (status, answer) = ask(few, body).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(status == 400 && answer.contains("30 bytes"), "{answer}");
}
