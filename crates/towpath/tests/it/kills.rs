//! The whole server is killed 25 times while everything goes on at once: object writes, pushes
//! with their runs, builds, uploads, and an application that people use.

use crate::harness::{Server, able, busybox, until};
use crate::repo::{Repo, ended, git};
use crate::traces;
use crate::web::Web;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use towpath_oci::Digest;

const KILLS: u64 = 25;
const WORKFLOW: &str = "name: Push\non: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{uses: actions/checkout@v4}, {run: cat a.txt}]\n";
const MAPS: &str = "/api/v1/namespaces/writes/configmaps";
const PODS: &str = "/api/v1/namespaces/demo/pods";

/// Everything the server has said yes to.
#[derive(Default)]
struct Acknowledged {
    maps: Vec<String>,
    counter: u64,
    pushes: Vec<String>,
    /// Repository, tag, digest.
    images: Vec<(String, String, String)>,
}

struct Campaign<'a> {
    server: &'a Server,
    repo: &'a Repo<'a>,
    web: &'a Web,
    runtime: &'a tokio::runtime::Runtime,
    acknowledged: Mutex<Acknowledged>,
    stop: AtomicBool,
    round: AtomicU32,
    failures_of_app: AtomicU32,
    answers_of_app: AtomicU32,
}

impl Campaign<'_> {
    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let asked = self.runtime.block_on(self.web.ask(method, path, &body));
        let (code, text) = asked.ok()?;
        Some((code, serde_json::from_str(&text).unwrap_or_default()))
    }

    fn writes(&self) {
        let path = format!("/k8s{MAPS}");
        for number in 1u64.. {
            if self.over() {
                return;
            }
            let name = format!("w-{number}");
            let object =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            if let Some((201, _)) = self.ask("POST", &path, &object) {
                self.acknowledged.lock().expect("lock").maps.push(name);
            }
            let body = json!({"data": {"n": number.to_string()}});
            if let Some((200, _)) = self.ask("PATCH", &format!("{path}/counter"), &body) {
                self.acknowledged.lock().expect("lock").counter = number;
            }
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    fn pushes(&self) {
        let mut good = Instant::now();
        let mut number = 0;
        loop {
            // Finished runs are kept for the last fifty pushes only.
            while !self.over() && number > self.round.load(Ordering::Relaxed) * 4 / 3 + 2 {
                std::thread::sleep(Duration::from_millis(20));
            }
            if self.over() {
                return;
            }
            self.repo.write("a.txt", &format!("push {number}\n"));
            let sha = self.repo.commit();
            let (done, words) = self.repo.try_push();
            if done {
                self.acknowledged.lock().expect("lock").pushes.push(sha);
                number += 1;
            } else {
                std::thread::sleep(Duration::from_millis(100));
                // git's words depend on the moment of the kill; between the server's first 401
                // and the credential they are even about authentication. What was left behind
                // must not stop the next push for longer than the server is away.
                let bad = good.elapsed();
                assert!(
                    bad < Duration::from_secs(60),
                    "git push fails for good: {words}"
                );
                assert!(!words.contains("lock"), "git push: {words}");
                continue;
            }
            good = Instant::now();
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    fn builds(&self, busybox: &Path) {
        let dir = self.server.dir().join("context");
        std::fs::create_dir_all(&dir).expect("directory");
        std::fs::copy(busybox, dir.join("busybox")).expect("copy");
        let text = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY number /\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"/bin/busybox cat /number > /made; /bin/busybox sleep 0.1\"]\n";
        std::fs::write(dir.join("Dockerfile"), text).expect("write");
        for number in 0.. {
            if self.over() {
                return;
            }
            std::fs::write(dir.join("number"), format!("{number}")).expect("write");
            let tag = format!("b{number}");
            let output = self.server.run(&[
                "build",
                &dir.display().to_string(),
                "--tag",
                &format!("demo/built:{tag}"),
            ]);
            if output.status.success() {
                let digest = String::from_utf8_lossy(&output.stdout).trim().to_string();
                assert!(digest.starts_with("sha256:"), "{digest}");
                let image = ("demo/built".to_string(), tag, digest);
                self.acknowledged.lock().expect("lock").images.push(image);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn uploads(&self) {
        for number in 0u32.. {
            if self.over() {
                return;
            }
            let content: Vec<u8> = (0..600_000u32)
                .map(|n| (n.wrapping_mul(31).wrapping_add(number)) as u8)
                .collect();
            if let Ok(image) = self.runtime.block_on(upload(self.web, number, &content)) {
                self.acknowledged.lock().expect("lock").images.push(image);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    // The application's users: they do not notice.
    fn visits(&self, address: &str) {
        while !self.over() {
            let good = visit(address).is_ok_and(|text| text.ends_with("hello\n"));
            let count = if good {
                &self.answers_of_app
            } else {
                &self.failures_of_app
            };
            count.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    // Everything acknowledged so far is there.
    fn check(&self, round: u64) {
        let (maps, counter, pushes, images) = {
            let held = self.acknowledged.lock().expect("lock");
            (
                held.maps.clone(),
                held.counter,
                held.pushes.clone(),
                held.images.clone(),
            )
        };
        let there = self.runtime.block_on(self.web.items(MAPS));
        let named = |name: &str| there.iter().find(|m| m["metadata"]["name"] == *name);
        let lost: Vec<&String> = maps.iter().filter(|m| named(m).is_none()).collect();
        assert!(lost.is_empty(), "kill {round}: lost writes {lost:?}");
        let now = named("counter").and_then(|c| c["data"]["n"].as_str()?.parse::<u64>().ok());
        assert!(now >= Some(counter), "kill {round}: {now:?} < {counter}");
        let runs = self.runtime.block_on(self.repo.runs());
        for sha in &pushes {
            let of = runs.iter().filter(|r| r["spec"]["sha"] == **sha);
            assert_eq!(of.count(), 1, "kill {round}: runs of push {sha}");
        }
        if let Some(last) = pushes.last() {
            let listed = git(
                &self.repo.dir,
                &["ls-remote", &self.repo.url, "refs/heads/main"],
            );
            let head = listed.split('\t').next().unwrap_or_default().to_string();
            git(
                &self.repo.dir,
                &["merge-base", "--is-ancestor", last, &head],
            );
        }
        for (repository, tag, digest) in images {
            let path = format!("/v2/{repository}/manifests/{tag}");
            let asked = async { self.web.request("HEAD", &path).send().await };
            let got = self.runtime.block_on(asked);
            let got = got.expect("answer");
            assert_eq!(got.status(), 200, "kill {round}: {repository}:{tag}");
            assert_eq!(got.headers()["docker-content-digest"], digest.as_str());
        }
    }
}

// One image in three requests for its layer, one for its configuration and one for its manifest.
pub(crate) async fn upload(
    web: &Web,
    number: u32,
    content: &[u8],
) -> Result<(String, String, String), String> {
    let send = |request: reqwest::RequestBuilder, code: u16| async move {
        let response = request.send().await.map_err(|e| e.to_string())?;
        match response.status().as_u16() {
            got if got == code => Ok(response),
            got => Err(format!(
                "{got}: {}",
                response.text().await.unwrap_or_default()
            )),
        }
    };
    let begun = send(web.request("POST", "/v2/demo/up/blobs/uploads/"), 202).await?;
    let location = begun.headers()["location"]
        .to_str()
        .map_err(|e| e.to_string())?
        .to_string();
    let (first, second) = content.split_at(content.len() / 2);
    send(web.request("PATCH", &location).body(first.to_vec()), 202).await?;
    send(web.request("PATCH", &location).body(second.to_vec()), 202).await?;
    let layer = Digest::of(content);
    send(
        web.request("PUT", &format!("{location}?digest={layer}")),
        201,
    )
    .await?;
    let text = format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"number\":{number}}}");
    let config = Digest::of(text.as_bytes());
    let (size, length) = (text.len(), content.len());
    let path = format!("/v2/demo/up/blobs/uploads/?digest={config}");
    send(web.request("POST", &path).body(text), 201).await?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.to_string(), "size": size},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer.to_string(), "size": length}],
    })
    .to_string();
    let digest = Digest::of(manifest.as_bytes()).to_string();
    let put = web
        .request("PUT", &format!("/v2/demo/up/manifests/u{number}"))
        .header("content-type", "application/vnd.oci.image.manifest.v1+json")
        .body(manifest);
    send(put, 201).await?;
    Ok(("demo/up".into(), format!("u{number}"), digest))
}

pub(crate) fn visit(address: &str) -> std::io::Result<String> {
    let limit = Duration::from_secs(2);
    let address = address.parse().map_err(std::io::Error::other)?;
    let mut stream = std::net::TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// A web server in a pod, built by the server itself. Returns its address and the pod.
pub(crate) fn start_app(
    server: &Server,
    web: &Web,
    runtime: &tokio::runtime::Runtime,
    busybox: &Path,
) -> (String, Value) {
    let dir = server.dir().join("app");
    std::fs::create_dir_all(&dir).expect("directory");
    std::fs::copy(busybox, dir.join("busybox")).expect("copy");
    let text = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY <<E /www/index.html\nhello\nE\nCMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/www\"]\n";
    std::fs::write(dir.join("Dockerfile"), text).expect("write");
    server.ok(&["build", &dir.display().to_string(), "--tag", "demo/app:1"]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "namespace": "demo"},
        "spec": {"containers": [{"name": "web", "image": "demo/app:1",
            "readinessProbe": {"httpGet": {"path": "/index.html", "port": 80}, "periodSeconds": 1}}]},
    });
    runtime.block_on(web.create(PODS, &pod));
    let mut seen = Value::Null;
    until("the app", Duration::from_secs(30), || {
        seen = runtime.block_on(web.object(&format!("{PODS}/app")));
        seen["status"]["containerStatuses"][0]["ready"] == true
    });
    let address = format!("{}:80", seen["status"]["podIP"].as_str().expect("address"));
    (address, seen)
}

#[test]
fn everything_acknowledged_survives_twenty_five_kills() {
    let Some(busybox) = busybox().filter(|_| able(None)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let server = Server::start();
    let repo = Repo::new(&server);
    let web = repo.web.clone();
    repo.write(".github/workflows/w.yml", WORKFLOW);
    runtime.block_on(async {
        web.namespace("writes").await;
        let counter = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "counter"}, "data": {"n": "0"}});
        web.create(MAPS, &counter).await;
    });
    let (address, app) = start_app(&server, &web, &runtime, &busybox);
    let campaign = Campaign {
        server: &server,
        repo: &repo,
        web: &web,
        runtime: &runtime,
        acknowledged: Mutex::default(),
        stop: AtomicBool::new(false),
        round: AtomicU32::new(0),
        failures_of_app: AtomicU32::new(0),
        answers_of_app: AtomicU32::new(0),
    };
    let mut starts = Vec::new();
    std::thread::scope(|scope| {
        // Ends the others however this one ends.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&campaign.stop);
        scope.spawn(|| campaign.writes());
        scope.spawn(|| campaign.pushes());
        scope.spawn(|| campaign.builds(&busybox));
        scope.spawn(|| campaign.uploads());
        scope.spawn(|| campaign.visits(&address));
        for round in 0..KILLS {
            // A busy machine is slower in everything, so that there is time for it.
            let slow = starts
                .last()
                .map_or(1.0, |took: &Duration| took.as_secs_f64() / 0.5);
            let pause = Duration::from_millis(150 + round * 389 % 900);
            std::thread::sleep(pause.mul_f64(slow.clamp(1.0, 2.0)));
            server.kill();
            let begin = Instant::now();
            server.ok(&["up", "--quiet"]);
            starts.push(begin.elapsed());
            campaign.round.fetch_add(1, Ordering::Relaxed);
            campaign.check(round);
        }
    });
    campaign.check(KILLS);
    let held = campaign.acknowledged.lock().expect("lock");
    let (mut runs, begin) = (Vec::new(), Instant::now());
    while runs.is_empty() || !runs.iter().all(ended) {
        assert!(
            begin.elapsed() < Duration::from_secs(120),
            "{runs:#?}\n{}",
            server.log()
        );
        std::thread::sleep(Duration::from_millis(200));
        runs = runtime.block_on(repo.runs());
    }
    let mut shas: Vec<&str> = runs
        .iter()
        .filter_map(|r| r["spec"]["sha"].as_str())
        .collect();
    let failed: Vec<&Value> = runs
        .iter()
        .filter(|r| r["status"]["phase"] != "Succeeded")
        .map(|r| &r["status"])
        .collect();
    assert!(failed.is_empty(), "{failed:#?}\n{}", server.log());
    let count = shas.len();
    shas.sort_unstable();
    shas.dedup();
    assert_eq!(shas.len(), count, "one run per movement of the branch");
    let pod = runtime.block_on(web.object(&format!("{PODS}/app")));
    let container = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        (
            status["containerID"].clone(),
            status["restartCount"].clone(),
        )
    };
    assert_eq!(container(&pod), container(&app), "the app was not touched");
    assert_eq!(campaign.failures_of_app.load(Ordering::Relaxed), 0);
    starts.sort();
    eprintln!(
        "{KILLS} kills: {} writes, {} pushes with {count} runs, {} images acknowledged; the app answered {} times; up again in {:?} (median), {:?} (worst)",
        held.maps.len(),
        held.pushes.len(),
        held.images.len(),
        campaign.answers_of_app.load(Ordering::Relaxed),
        starts[starts.len() / 2],
        starts[starts.len() - 1],
    );
    let uid = pod["metadata"]["uid"].as_str().expect("uid").to_string();
    let mut left = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(15) {
        left = traces::beyond(&server, std::slice::from_ref(&uid));
        if left.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(left.is_empty(), "left behind: {left:#?}\n{}", server.log());
    server.down();
    let left = traces::beyond(&server, &[]);
    assert!(left.is_empty(), "left behind by down: {left:#?}");
}
