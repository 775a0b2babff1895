//! The shim against the kernel: needs root. The root file system is the host's own, read-only
//! under a throw-away overlay, so that nothing has to be installed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towpath_container::*;

static NEXT: AtomicU32 = AtomicU32::new(0);

struct Fixture {
    dir: tempfile::TempDir,
    parent: String,
    runtime: Runtime,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        for id in self.runtime.list() {
            if let Ok(container) = self.runtime.find(&id) {
                let _ = container.remove_blocking();
            }
        }
        let _ = cgroup::remove(&self.parent);
    }
}

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        towpath_testkit::skip("containers need root");
    }
    root
}

fn fixture_with(backend: Backend) -> Option<Fixture> {
    if !root() {
        return None;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let parent = format!("/towpath-test-{}-{number}", std::process::id());
    let runtime = Runtime::new(RuntimeConfig {
        state_dir: dir.path().join("containers"),
        shim_exe: env!("CARGO_BIN_EXE_towpath-container-shim").into(),
        shim_args: Vec::new(),
        backend,
    })
    .expect("runtime");
    Some(Fixture {
        dir,
        parent,
        runtime,
    })
}

fn fixture() -> Option<Fixture> {
    fixture_with(Backend::Libcontainer)
}

impl Fixture {
    fn log(&self, id: &str) -> PathBuf {
        self.dir.path().join("logs").join(format!("{id}.log"))
    }

    fn spec(&self, id: &str, args: &[&str]) -> ContainerSpec {
        let scratch = self.dir.path().join("scratch").join(id);
        ContainerSpec {
            id: id.into(),
            rootfs: Rootfs {
                lower: vec!["/".into()],
                upper: scratch.join("upper"),
                work: scratch.join("work"),
            },
            process: process(args),
            hostname: Some("box".into()),
            mounts: host_rootfs_mounts(&["/tmp".into(), "/run".into()]),
            namespaces: Namespaces::default(),
            resources: Resources::default(),
            cgroup: format!("{}/pod1/{id}", self.parent),
            sysctls: Default::default(),
            readonly_rootfs: false,
            privileged: false,
            stdio: Stdio::Log(LogFile::new(self.log(id))),
        }
    }

    fn text(&self, id: &str) -> String {
        let bytes = std::fs::read(self.log(id)).unwrap_or_default();
        let mut text = String::new();
        for line in bytes.split(|b| *b == b'\n').filter_map(log::parse_line) {
            text.push_str(&String::from_utf8_lossy(line.text));
            text.push('\n');
        }
        text
    }

    /// Runs to the end; its exit and output.
    async fn finish(&self, spec: &ContainerSpec) -> (Exit, String) {
        let container = self.runtime.start(spec).await.expect("start");
        let record = container.wait().await.expect("wait");
        (record.exit.expect("exit"), self.text(&spec.id))
    }
}

fn process(args: &[&str]) -> Process {
    Process {
        args: args.iter().map(|arg| arg.to_string()).collect(),
        env: vec![
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin".into(),
            "HELLO=world".into(),
        ],
        cwd: "/".into(),
        capabilities: DEFAULT_CAPABILITIES.map(String::from).to_vec(),
        ..Process::default()
    }
}

fn sh(script: &str) -> Vec<&str> {
    vec!["sh", "-c", script]
}

async fn output(container: &Container, process: Process) -> (Exit, String) {
    let stdio = ExecStdio {
        stdin: false,
        stdout: true,
        stderr: true,
    };
    let mut exec = container.exec(process, stdio).await.expect("exec");
    let (mut out, mut err) = (String::new(), String::new());
    exec.stdout
        .take()
        .expect("stdout")
        .read_to_string(&mut out)
        .await
        .expect("read");
    if let Some(mut pipe) = exec.stderr.take() {
        pipe.read_to_string(&mut err).await.expect("read");
    }
    (exec.wait().await.expect("wait"), out + &err)
}

async fn until(what: &str, mut test: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !test() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_exit_code_and_clean_end() {
    let Some(fix) = fixture() else { return };
    let spec = fix.spec(
        "a",
        &sh("echo out; echo err >&2; echo $HELLO $(hostname); printf tail; exit 7"),
    );
    let began = Instant::now();
    let container = fix.runtime.start(&spec).await.expect("start");
    eprintln!("start took {:?}", began.elapsed());
    let record = container.wait().await.expect("wait");
    assert_eq!(
        record.exit,
        Some(Exit {
            code: 7,
            signal: 0,
            oom: false
        })
    );
    assert_eq!(record.phase, Phase::Exited);
    let log = std::fs::read_to_string(fix.log("a")).expect("log");
    for part in [
        " stdout F out\n",
        " stderr F err\n",
        " stdout F world box\n",
        " stdout P tail\n",
    ] {
        assert!(log.contains(part), "{part:?} in {log}");
    }
    assert!(!cgroup::exists(&spec.cgroup));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(&fix.dir.path().display().to_string()));
    container.remove().await.expect("remove");
    assert!(fix.runtime.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_runs_as_the_user_with_its_own_streams() {
    let Some(fix) = fixture() else { return };
    let mut spec = fix.spec("a", &["sleep", "1000"]);
    spec.process.user = User {
        user: "1000:1001".into(),
        group: None,
        supplementary: vec![77],
    };
    spec.process.oom_score_adj = 321;
    let container = fix.runtime.start(&spec).await.expect("start");
    let mut add = spec.process.clone();
    add.args = sh("id -u; id -g; id -G; umask; cat /proc/self/oom_score_adj; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; exit 3")
        .iter()
        .map(|arg| arg.to_string())
        .collect();
    let (exit, text) = output(&container, add).await;
    assert_eq!(exit.code, 3);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        &lines[..5],
        ["1000", "1001", "1001 77", "0022", "321"],
        "{text}"
    );
    assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
    assert!(text.contains("CapBnd:\t00000000a80425fb"), "{text}");
    assert!(text.contains("Seccomp:\t2"), "{text}");

    // Input, and its end.
    let stdio = ExecStdio {
        stdin: true,
        stdout: true,
        stderr: false,
    };
    let mut exec = container
        .exec(process(&["cat"]), stdio)
        .await
        .expect("exec");
    let mut stdin = exec.stdin.take().expect("stdin");
    stdin.write_all(b"through").await.expect("write");
    drop(stdin);
    let mut text = String::new();
    exec.stdout
        .take()
        .expect("stdout")
        .read_to_string(&mut text)
        .await
        .expect("read");
    assert_eq!(
        (text.as_str(), exec.wait().await.expect("wait").code),
        ("through", 0)
    );

    // No socket stays behind, and a dropped exec is killed.
    let left = |prefix: &str| {
        let dir = fix.runtime.dir("a").join("oci/a");
        std::fs::read_dir(dir)
            .expect("state")
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with(prefix))
            .count()
    };
    assert_eq!(left("tenant-"), 0);
    let dropped = container
        .exec(process(&["sleep", "4321"]), ExecStdio::default())
        .await
        .expect("exec");
    drop(dropped);
    until("dropped exec is killed", || {
        cgroup::processes(&spec.cgroup).len() == 1
    })
    .await;

    // A terminal, with a size.
    let mut terminal = process(&sh("stty size; tty"));
    terminal.terminal = true;
    let stdio = ExecStdio {
        stdin: true,
        stdout: true,
        stderr: true,
    };
    let mut exec = container.exec(terminal, stdio).await.expect("exec");
    let mut text = String::new();
    exec.stdout
        .take()
        .expect("stdout")
        .read_to_string(&mut text)
        .await
        .expect("read");
    assert!(text.contains("/dev/pts/"), "{text}");
    assert_eq!(exec.wait().await.expect("wait").code, 0);

    // Missing programs are told apart, many times over without a leak of descriptors.
    let shim = container.record().expect("record").shim.pid;
    let open = || {
        std::fs::read_dir(format!("/proc/{shim}/fd"))
            .expect("fds")
            .count()
    };
    let before = open();
    for _ in 0..5 {
        match container
            .exec(process(&["no-such-program"]), ExecStdio::default())
            .await
        {
            Err(Error::Program(message)) => {
                assert!(message.contains("not found in $PATH"), "{message}")
            }
            other => panic!("{:?}", other.err()),
        }
    }
    until("no descriptor is leaked", || open() <= before).await;
    container.kill().await.expect("kill");
    let record = container.wait().await.expect("wait");
    assert_eq!(record.exit.map(|exit| exit.signal), Some(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    let Some(fix) = fixture() else { return };
    let spec = fix.spec("a", &["/no/such/program"]);
    match fix.runtime.start(&spec).await {
        Err(Error::Program(message)) => assert!(message.contains("no such file"), "{message}"),
        other => panic!("{:?}", other.err()),
    }
    assert!(!cgroup::exists(&spec.cgroup));
    assert_eq!(
        fix.runtime
            .find("a")
            .expect("found")
            .record()
            .expect("record")
            .phase,
        Phase::Failed
    );
    let mut spec = fix.spec("b", &["true"]);
    spec.mounts.push(Mount::bind("/no/such/source", "/mnt"));
    match fix.runtime.start(&spec).await {
        Err(Error::Start { cause, .. }) => assert!(cause.contains("/no/such/source"), "{cause}"),
        other => panic!("{:?}", other.err()),
    }
    assert!(
        !fix.log("b").exists() || fix.text("b").is_empty(),
        "the runtime's words are not the container's"
    );
    let mut spec = fix.spec("c", &["true"]);
    spec.process.user.user = "nobody-knows".into();
    assert!(fix.runtime.start(&spec).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_and_out_of_memory_is_named() {
    let Some(fix) = fixture() else { return };
    let mut spec = fix.spec("a", &["tail", "/dev/zero"]);
    spec.resources.memory_bytes = Some(32 << 20);
    let (exit, _) = fix.finish(&spec).await;
    assert!(exit.oom && exit.code == 137, "{exit}");

    let mut spec = fix.spec(
        "b",
        &sh("i=0; while [ $i -lt 50 ]; do sleep 60 & i=$((i+1)); done; echo all"),
    );
    spec.resources.pids = Some(10);
    let (exit, text) = fix.finish(&spec).await;
    assert!(exit.code != 0 || !text.contains("all"), "{exit} {text}");
    assert!(!cgroup::exists(&spec.cgroup));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_cannot_do_what_it_must_not() {
    let Some(fix) = fixture() else { return };
    let script = "ls -A /tmp /run; mount -t tmpfs x /mnt && echo mounted; unshare -n true && echo unshared; \
        mknod /dev/sdz b 8 0 2>/dev/null; head -c1 /dev/sdz 2>/dev/null && echo device; \
        cat /proc/kcore 2>/dev/null | head -c1 | grep -c . ; echo x > /proc/sysrq-trigger && echo sysrq; \
        echo done";
    let (_, text) = fix.finish(&fix.spec("a", &sh(script))).await;
    for forbidden in ["mounted", "unshared", "device", "sysrq"] {
        assert!(!text.lines().any(|line| line == forbidden), "{text}");
    }
    assert!(
        text.contains("/run:\n\n/tmp:\n") && text.contains("\ndone\n"),
        "{text}"
    );

    // Writes stay in the throw-away layer; a read-only root has none.
    let marker = format!("/towpath-container-test-{}", std::process::id());
    let (exit, _) = fix.finish(&fix.spec("b", &["touch", &marker])).await;
    assert_eq!(exit.code, 0);
    assert!(!Path::new(&marker).exists());
    let mut spec = fix.spec("c", &["touch", &marker]);
    spec.readonly_rootfs = true;
    let (exit, text) = fix.finish(&spec).await;
    assert!(exit.code != 0 && text.contains("Read-only"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_are_not_gained_but_where_allowed() {
    let Some(fix) = fixture() else { return };
    // A set-user-id copy of `id`, run by a user: root only where gaining is not forbidden. The
    // filter is loaded in both cases.
    let upper = fix.dir.path().join("suid");
    std::fs::create_dir_all(&upper).expect("directory");
    std::fs::copy("/usr/bin/id", upper.join("id")).expect("copy");
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o4755);
    std::fs::set_permissions(upper.join("id"), mode).expect("mode");
    for (id, forbidden, expected) in [("a", false, "0\n"), ("b", true, "1000\n")] {
        let mut spec = fix.spec(id, &["/mnt/id", "-u"]);
        spec.mounts.push(Mount::bind(&upper, "/mnt"));
        spec.process.user.user = "1000".into();
        spec.process.no_new_privileges = forbidden;
        let (exit, text) = fix.finish(&spec).await;
        assert_eq!((exit.code, text.as_str()), (0, expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shims_program_is_out_of_reach() {
    let Some(fix) = fixture() else { return };
    // An entry that is (a link to) /proc/self/exe runs the shim's program in the container: it
    // must be a sealed copy.
    let spec = fix.spec("a", &["/proc/self/exe"]);
    let before = std::fs::metadata(env!("CARGO_BIN_EXE_towpath-container-shim"))
        .expect("stat")
        .len();
    let _ = fix.finish(&spec).await;
    let exe = std::fs::metadata(env!("CARGO_BIN_EXE_towpath-container-shim"))
        .expect("stat")
        .len();
    assert_eq!(exe, before);
    let running = fix.spec("b", &["sleep", "1000"]);
    let container = fix.runtime.start(&running).await.expect("start");
    let shim = container.record().expect("record").shim.pid;
    let target = std::fs::read_link(format!("/proc/{shim}/exe")).expect("link");
    assert!(
        target.to_string_lossy().starts_with("/memfd:"),
        "{target:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_orphans_and_working_directory() {
    let Some(fix) = fixture() else { return };
    let script =
        "trap 'echo term; exit 5' TERM; (sleep 600 &) ; pwd; while true; do sleep 0.05; done";
    let mut spec = fix.spec("a", &sh(script));
    spec.process.cwd = "/srv/made/here".into();
    let container = fix.runtime.start(&spec).await.expect("start");
    until("it runs", || fix.text("a").contains("/srv/made/here")).await;
    container.signal(libc::SIGTERM).await.expect("signal");
    let record = container.wait().await.expect("wait");
    assert_eq!(record.exit.map(|exit| exit.code), Some(5));
    assert!(fix.text("a").ends_with("term\n"));
    assert!(matches!(
        container.signal(libc::SIGTERM).await,
        Err(Error::NotRunning(_))
    ));
    assert!(cgroup::processes(&fix.parent).is_empty());
    // Ignored signals and masks of the shim are not the container's.
    let (_, text) = fix
        .finish(&fix.spec("b", &sh("grep -E 'Sig(Ign|Blk)' /proc/self/status")))
        .await;
    assert_eq!(
        text,
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_server_finds_the_container_again() {
    let Some(fix) = fixture() else { return };
    let spec = fix.spec("a", &sh("echo up; sleep 1; exit 4"));
    drop(fix.runtime.start(&spec).await.expect("start"));
    let later = Runtime::new(RuntimeConfig {
        state_dir: fix.dir.path().join("containers"),
        shim_exe: env!("CARGO_BIN_EXE_towpath-container-shim").into(),
        shim_args: Vec::new(),
        backend: Backend::Libcontainer,
    })
    .expect("runtime");
    assert_eq!(later.list(), ["a"]);
    let container = later.find("a").expect("found");
    assert_eq!(container.record().expect("record").phase, Phase::Running);
    let record = container.wait().await.expect("wait");
    assert_eq!(record.exit.map(|exit| exit.code), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_shim_is_reported_not_guessed() {
    let Some(fix) = fixture() else { return };
    let spec = fix.spec("a", &["sleep", "1000"]);
    let container = fix.runtime.start(&spec).await.expect("start");
    let waiting = tokio::time::timeout(Duration::from_secs(20), container.wait());
    let shim = container.record().expect("record").shim.pid;
    let kill = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::SIGKILL)
            .expect("kill");
    };
    let (outcome, ()) = tokio::join!(waiting, kill);
    assert!(matches!(outcome.expect("in time"), Err(Error::Lost(_))));
    assert!(!cgroup::exists(&spec.cgroup));
    container.remove().await.expect("remove");
    // The same id starts again.
    let (exit, _) = fix.finish(&fix.spec("a", &["true"])).await;
    assert_eq!(exit.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_sees_output_and_gives_input() {
    let Some(fix) = fixture() else { return };
    let mut spec = fix.spec("a", &["cat"]);
    let log = LogFile {
        stdin: true,
        stdin_once: true,
        ..LogFile::new(fix.log("a"))
    };
    spec.stdio = Stdio::Log(log);
    let container = fix.runtime.start(&spec).await.expect("start");
    let mut attached = container.attach(true, true, false).await.expect("attach");
    let mut stdin = attached.stdin.take().expect("stdin");
    stdin.write_all(b"hello\n").await.expect("write");
    let mut buffer = [0u8; 6];
    attached
        .stdout
        .as_mut()
        .expect("stdout")
        .read_exact(&mut buffer)
        .await
        .expect("read");
    assert_eq!(&buffer, b"hello\n");
    drop(stdin);
    let record = container.wait().await.expect("wait");
    assert_eq!(record.exit.map(|exit| exit.code), Some(0));
    assert_eq!(fix.text("a"), "hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_containers_own_terminal() {
    let Some(fix) = fixture() else { return };
    let mut spec = fix.spec("a", &sh("tty; read line; echo got $line"));
    spec.process.terminal = true;
    spec.stdio = Stdio::Log(LogFile {
        stdin: true,
        ..LogFile::new(fix.log("a"))
    });
    let container = fix.runtime.start(&spec).await.expect("start");
    container.resize(100, 40).await.expect("resize");
    let mut attached = container.attach(true, true, false).await.expect("attach");
    attached
        .stdin
        .as_mut()
        .expect("stdin")
        .write_all(b"abc\n")
        .await
        .expect("write");
    container.wait().await.expect("wait");
    let text = fix.text("a");
    assert!(
        text.contains("/dev/console") || text.contains("/dev/pts"),
        "{text}"
    );
    assert!(text.contains("got abc"), "{text}");
}

fn run_spec(fix: &Fixture, id: &str, script: &str) -> RunSpec {
    let scratch = fix.dir.path().join("scratch").join(id);
    let rootfs = Rootfs {
        lower: vec!["/".into()],
        upper: scratch.join("upper"),
        work: scratch.join("work"),
    };
    let args = sh(script).iter().map(|arg| arg.to_string()).collect();
    let mut spec = RunSpec::new(id, rootfs, args, &format!("{}/run/{id}", fix.parent));
    spec.env = vec!["PATH=/usr/bin:/bin".into()];
    spec.mounts = host_rootfs_mounts(&["/tmp".into(), "/run".into()]);
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn run_streams_and_keeps_what_was_written() {
    let Some(fix) = fixture() else { return };
    let mut running = fix
        .runtime
        .run(run_spec(
            &fix,
            "a",
            "echo hi; echo bad >&2; echo x > /opt/made; exit 2",
        ))
        .await
        .expect("run");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(chunk) = running.next().await {
        match chunk.stream {
            log::Stream::Stdout => out.extend(chunk.bytes),
            log::Stream::Stderr => err.extend(chunk.bytes),
        }
    }
    assert_eq!(
        (out.as_slice(), err.as_slice()),
        (&b"hi\n"[..], &b"bad\n"[..])
    );
    assert_eq!(running.wait().await.expect("wait").code, 2);
    assert_eq!(
        std::fs::read(fix.dir.path().join("scratch/a/upper/opt/made")).expect("written"),
        b"x\n"
    );
    assert!(fix.runtime.list().is_empty());
    match fix
        .runtime
        .run(RunSpec {
            args: vec!["nope".into()],
            ..run_spec(&fix, "b", "")
        })
        .await
        .expect("run")
        .wait()
        .await
    {
        Err(Error::Program(message)) => assert!(message.contains("nope"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_ends_with_its_handle_and_its_time() {
    let Some(fix) = fixture() else { return };
    let spec = run_spec(&fix, "a", "echo up; sleep 1000");
    let cgroup = spec.cgroup.clone();
    let mut running = fix.runtime.run(spec).await.expect("run");
    assert_eq!(
        running.next().await.map(|chunk| chunk.bytes),
        Some(b"up\n".to_vec())
    );
    drop(running);
    until("the dropped run is gone", || {
        !cgroup::exists(&cgroup) && fix.runtime.list().is_empty()
    })
    .await;
    let mut spec = run_spec(&fix, "b", "sleep 1000");
    spec.timeout = Some(Duration::from_millis(300));
    let outcome = fix.runtime.run(spec).await.expect("run").wait().await;
    assert!(
        outcome
            .expect_err("timed out")
            .to_string()
            .contains("run container b")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn runtime_programs_do_the_same() {
    for program in ["crun", "runc"] {
        let Some(path) = towpath_stdx::process::find(program) else {
            towpath_testkit::skip(&format!("{program} is not installed"));
            continue;
        };
        let Some(fix) = fixture_with(Backend::Program(path)) else {
            return;
        };
        let mut spec = fix.spec("a", &sh("echo from $(id -u); grep Seccomp: /proc/self/status; trap 'exit 6' TERM; while true; do sleep 0.05; done"));
        spec.process.user.user = "1000".into();
        let container = fix
            .runtime
            .start(&spec)
            .await
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut add = spec.process.clone();
        add.args = vec!["id".into(), "-u".into()];
        let (exit, text) = output(&container, add).await;
        assert_eq!((exit.code, text.as_str()), (0, "1000\n"), "{program}");
        until("it runs", || fix.text("a").contains("Seccomp:\t2")).await;
        container.signal(libc::SIGTERM).await.expect("signal");
        let record = container.wait().await.expect("wait");
        assert_eq!(record.exit.map(|exit| exit.code), Some(6), "{program}");
        assert!(!cgroup::exists(&spec.cgroup), "{program}");
        match fix
            .runtime
            .start(&fix.spec("b", &["no-such-program"]))
            .await
        {
            Err(Error::Program(_)) => {}
            other => panic!("{program}: {:?}", other.err()),
        }
    }
}
