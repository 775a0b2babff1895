//! From the creation of a pod to Running, its image present.

use super::report::Row;
use super::server::Server;
use super::stats::Times;
use anyhow::{Context, Result, bail};
use std::process::Stdio;
use std::time::{Duration, Instant};
use xtask::{peers, step};

/// Pods one after another, each watched by kubectl's own wait.
pub fn bench(repeats: usize) -> Result<Vec<Row>> {
    let server = Server::start("pods")?;
    let context = server.dir().join("context");
    std::fs::create_dir_all(&context)?;
    std::fs::copy("/bin/busybox", context.join("busybox"))?;
    std::fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nCOPY --chmod=0755 busybox /bin/sh\n",
    )?;
    server.towpath(&["build", &context.to_string_lossy(), "--tag", "demo/box:1"])?;
    let kubeconfig = server.dir().join("kubeconfig");
    std::fs::write(&kubeconfig, server.towpath(&["kubeconfig"])?)?;
    let kubectl = || {
        let mut command = step::program(&peers::dir().join("kubectl").to_string_lossy());
        command.env("KUBECONFIG", &kubeconfig);
        command
    };
    let mut times = Vec::new();
    for number in 0..repeats * 6 {
        let name = format!("pod-{number}");
        let mut watch = kubectl()
            .args([
                "get",
                "pods",
                "--watch",
                "--field-selector",
                &format!("metadata.name={name}"),
                "-o",
                "jsonpath={.status.phase}{\"\\n\"}",
            ])
            .stdout(Stdio::piped())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(400));
        let manifest = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}},"spec":{{"terminationGracePeriodSeconds":0,"containers":[{{"name":"c","image":"demo/box:1","command":["/bin/sh","-c","while :; do sleep 1000; done"]}}]}}}}"#
        );
        let begin = Instant::now();
        let url = format!("{}/k8s/api/v1/namespaces/default/pods", server.url);
        step::output(step::program("curl").args([
            "-sf",
            "-H",
            &format!("Authorization: Bearer {}", server.token),
            "-H",
            "content-type: application/json",
            "-d",
            &manifest,
            &url,
        ]))?;
        use std::io::BufRead;
        let lines = std::io::BufReader::new(watch.stdout.take().context("stdout")?).lines();
        let running = lines.map_while(Result::ok).any(|line| line == "Running");
        times.push(begin.elapsed());
        let _ = watch.kill();
        let _ = watch.wait();
        if !running {
            bail!("{name} did not get Running");
        }
        step::output(kubectl().args(["delete", "pod", &name, "--wait=false"]))?;
    }
    let times = Times::new(times);
    let (p50, p99) = (times.ms(0.5), times.ms(0.99));
    Ok(vec![Row::new(
        "pod create → Running as a client sees it",
        format!("p50 {p50:.0} ms, p99 {p99:.0} ms"),
        "",
        "p50 ≤ 200 ms",
        p50 <= 200.0,
    )])
}
