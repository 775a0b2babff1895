//! Attach, detach, adoption and removal of sandbox networks.

use crate::isolated::{block_on, config, inside, isolated, text};
use towpath_net::{Net, cleanup, preflight};

fn ping(from: &std::path::Path, to: &str) -> bool {
    inside(from, &["ping", "-c1", "-W2", to]).status.success() || connects(from, to)
}

// Where the machine has no `ping`: a connection to a closed port is refused by a living host.
fn connects(from: &std::path::Path, to: &str) -> bool {
    let script = format!("exec 3<>/dev/tcp/{to}/9");
    let output = inside(from, &["timeout", "2", "bash", "-c", &script]);
    String::from_utf8_lossy(&output.stderr).contains("refused")
}

#[test]
fn sandboxes_reach_each_other_and_are_adopted() {
    if !isolated("pods::sandboxes_reach_each_other_and_are_adopted") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let settings = config(&dir, "one");
        let net = Net::new(settings.clone()).await.unwrap();
        let pods = net.pod_network();
        let (a, b) = tokio::join!(pods.attach("pod-a"), pods.attach("pod-b"));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_ne!(a.ip, b.ip);
        assert!(ping(&a.netns, &b.ip.to_string()), "pod to pod");
        assert!(
            ping(&b.netns, &pods.gateway().to_string()),
            "pod to gateway"
        );
        assert!(ping(&a.netns, "127.0.0.1"), "loopback");
        assert!(
            pods.resolv_conf("demo")
                .starts_with("search demo.svc.cluster.local svc.")
        );

        // Again: the same, untouched.
        let again = pods.attach("pod-a").await.unwrap();
        assert_eq!((again.ip, &again.netns), (a.ip, &a.netns));

        // A new process adopts.
        drop((net, pods));
        let net = Net::new(settings.clone()).await.unwrap();
        let pods = net.pod_network();
        let adopted = pods.attach("pod-b").await.unwrap();
        assert_eq!(adopted.ip, b.ip);
        assert!(ping(&a.netns, &b.ip.to_string()), "after the restart");

        // A lost link is repaired with the same address.
        text("ip", &["link", "del", "tpone-3"]);
        let index_three = if b.ip.to_string().ends_with(".3") {
            ("pod-b", &b)
        } else {
            ("pod-a", &a)
        };
        let repaired = pods.attach(index_three.0).await.unwrap();
        assert_eq!(repaired.ip, index_three.1.ip);
        assert!(ping(&a.netns, &b.ip.to_string()), "after the repair");

        let start = std::time::Instant::now();
        for number in 0..20 {
            pods.attach(&format!("many-{number}")).await.unwrap();
        }
        let attached = start.elapsed() / 20;
        for number in 0..20 {
            pods.detach(&format!("many-{number}")).await.unwrap();
        }
        eprintln!(
            "attach {attached:?}, detach {:?}",
            start.elapsed() / 20 - attached
        );

        pods.detach("pod-a").await.unwrap();
        pods.detach("pod-a").await.unwrap();
        assert!(!a.netns.exists());
        for wrong in ["", "../x", ".hidden", "a/b"] {
            assert!(pods.attach(wrong).await.is_err(), "{wrong:?}");
        }
    });
}

#[test]
fn two_instances_run_side_by_side_and_leave_nothing() {
    if !isolated("pods::two_instances_run_side_by_side_and_leave_nothing") {
        return;
    }
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    // A new namespace begins with the settings of the first, where a server may run.
    std::fs::write("/proc/sys/net/ipv4/conf/all/send_redirects", "1").unwrap();
    let links = text("ip", &["-o", "link"]);
    let routes = text("ip", &["route"]);
    block_on(async {
        let one = config(&dir, "one");
        let mut two = config(&other_dir, "/srv/second instance");
        two.pod_cidr = "10.245.0.0/24".parse().unwrap();
        two.service_cidr = "10.97.0.0/16".parse().unwrap();
        let (net_one, net_two) = (
            Net::new(one.clone()).await.unwrap(),
            Net::new(two.clone()).await.unwrap(),
        );
        let a = net_one.pod_network().attach("same-id").await.unwrap();
        let b = net_two.pod_network().attach("same-id").await.unwrap();
        assert!(ping(&a.netns, &b.ip.to_string()), "across instances");
        let forward = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        assert_eq!(forward().trim(), "1");

        cleanup(&one).await.unwrap();
        assert_eq!(forward().trim(), "1", "the other still needs it");
        assert!(
            ping(&b.netns, &net_two.gateway().to_string()),
            "the other still works"
        );
        cleanup(&two).await.unwrap();
        cleanup(&two).await.unwrap();
        assert_eq!(forward().trim(), "0", "put back");
        let redirects =
            std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/send_redirects").unwrap();
        assert_eq!(redirects.trim(), "1", "put back");
    });
    assert_eq!(text("ip", &["-o", "link"]), links);
    assert_eq!(text("ip", &["route"]), routes);
    assert_eq!(text("nft", &["list", "ruleset"]), "");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(dir.path().to_str().unwrap()),
        "a namespace is still mounted"
    );
    assert!(
        std::fs::read_dir("/run/towpath").unwrap().next().is_none(),
        "a record is left"
    );
}

#[test]
fn this_machine_passes_its_own_preflight() {
    if !isolated("pods::this_machine_passes_its_own_preflight") {
        return;
    }
    assert_eq!(preflight(), []);
}
