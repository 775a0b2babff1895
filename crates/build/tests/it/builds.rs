use crate::harness::{Lab, engine, request, shell_image};
use towpath_kit::traits::{BuildError, Images};
use towpath_stdx::Secret;

fn findings(error: BuildError) -> Vec<(u32, u32, String)> {
    match error {
        BuildError::Input { findings } => findings
            .into_iter()
            .map(|f| (f.line, f.column, f.message))
            .collect(),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_findings_with_their_place_before_anything_runs() {
    let lab = Lab::new().await;
    let cases: Vec<(&str, u32, u32, &str)> = vec![
        ("FRM scratch\n", 1, 1, "did you mean FROM"),
        ("RUN x\n", 1, 1, "only ARG may stand before"),
        ("", 1, 1, "no FROM"),
        ("FROM scratch\n  COPY a\n", 2, 8, "at least one source"),
        (
            "FROM scratch\nRUN --mount=type=cach,target=/x true\n",
            2,
            5,
            "cach",
        ),
        ("FROM scratch\nCOPY --frm=x a b\n", 2, 6, "no flag --frm"),
        ("FROM scratch\nCOPY --from=2 a b\n", 2, 1, "no stage 2"),
        (
            "FROM scratch AS a\nCOPY --from=b x y\nFROM scratch AS b\n",
            2,
            1,
            "comes later",
        ),
        ("FROM scratch AS a\nFROM scratch AS A\n", 2, 1, "used twice"),
        ("FROM ../x\n", 1, 1, "reference"),
        ("FROM --platform=linux/s390x scratch\n", 1, 1, "platform"),
        ("FROM scratch\nADD https://example.org/x /x\n", 2, 5, "URL"),
        ("FROM scratch\nSHELL /bin/sh\n", 2, 7, "JSON array"),
        ("FROM scratch\nONBUILD FROM x\n", 2, 9, "may not hold FROM"),
        (
            "FROM scratch\nHEALTHCHECK --interval=5 CMD x\n",
            2,
            26,
            "duration",
        ),
        ("FROM scratch\nCOPY <<E /x\nnever closed\n", 2, 1, "no end"),
        ("FROM scratch\nRUN --network=bridge x\n", 2, 22, "network"),
        (
            "# syntax=evil/frontend\nFROM scratch\n",
            1,
            1,
            "not supported",
        ),
        ("FROM scratch\nENV a\n", 2, 5, "no value"),
    ];
    for (text, line, column, part) in cases {
        let context = lab.context(&[("Dockerfile", text)]);
        let found = findings(lab.build(request(context, "demo/x:1")).await.unwrap_err());
        assert!(
            found
                .iter()
                .any(|(l, c, m)| (*l, *c) == (line, column) && m.contains(part)),
            "{text:?}: {found:?}, wanted {line}:{column} {part}"
        );
    }
    // While it runs, too.
    for (text, part) in [
        ("FROM scratch\nCOPY absent /\n", "matches nothing"),
        ("FROM scratch\nCOPY Dockerfile*x /\n", "matches nothing"),
        ("FROM scratch\nENV a=\"${b:?set b}\"\n", "set b"),
        ("FROM scratch\nEXPOSE 99999\n", "not a port"),
        (
            "FROM scratch\nCOPY --chown=nobody Dockerfile /\n",
            "no user",
        ),
        ("FROM scratch\nCOPY --chmod=9 Dockerfile /\n", "not a mode"),
    ] {
        let context = lab.context(&[("Dockerfile", text)]);
        let found = findings(lab.build(request(context, "demo/x:1")).await.unwrap_err());
        assert!(
            found[0].0 == 2 && found[0].2.contains(part),
            "{text:?}: {found:?}"
        );
    }
    assert!(lab.images.resolve("demo/x:1").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_follows_the_instructions() {
    let lab = Lab::new().await;
    let dockerfile = r#"ARG BASE=scratch
FROM ${BASE} AS base
ENV A=1 B="two words" C=$A
ENV A=2 D=$A
LABEL x="y z" k=${B}
EXPOSE 80 53/udp
USER 1000:1000
WORKDIR /srv
WORKDIR app
VOLUME ["/data"]
STOPSIGNAL SIGINT
CMD ["one"]
FROM base
ARG VERSION=1
ENV V=$VERSION
ENTRYPOINT ["/bin/app", "$A"]
HEALTHCHECK --interval=30s --retries=3 CMD curl -f x
SHELL ["/bin/bash", "-c"]
CMD echo hi
"#;
    let mut asked = request(lab.context(&[("Dockerfile", dockerfile)]), "demo/config:1");
    asked.args.insert("VERSION".into(), "7".into());
    asked.labels.insert("commit".into(), "abc".into());
    lab.build(asked).await.unwrap();
    let (image, layers) = lab.image("demo/config:1").await;
    let config = image.config;
    let env = config.env.unwrap();
    assert_eq!(env[1..], ["A=2", "B=two words", "C=", "D=1", "V=7"]);
    assert_eq!(
        config.labels.unwrap().into_iter().collect::<Vec<_>>(),
        [
            ("commit".into(), "abc".into()),
            ("k".into(), "two words".into()),
            ("x".into(), "y z".into())
        ]
    );
    assert_eq!(config.working_dir, "/srv/app");
    assert_eq!(config.entrypoint.unwrap(), ["/bin/app", "$A"]);
    assert_eq!(config.cmd.unwrap(), ["/bin/bash", "-c", "echo hi"]);
    assert_eq!(config.healthcheck.unwrap().test, ["CMD-SHELL", "curl -f x"]);
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(image.created.as_deref(), Some("2023-11-14T22:13:20Z"));
    assert_eq!(
        layers,
        [
            vec!["srv/ Directory 755 0:0".to_string()],
            vec![
                "srv/ Directory 755 0:0".into(),
                "srv/app/ Directory 755 0:0".into()
            ]
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_in_stages_with_args_users_and_here_documents() {
    let lab = Lab::new().await;
    if !shell_image(&lab).await {
        return;
    }
    let dockerfile = r#"FROM box:1 AS build
ARG NAME=world
WORKDIR /out
RUN echo "hello $NAME" > greeting && id -u > uid && mkdir -m 1777 /tmp
RUN <<END
set -e
echo from a script > script
cat <<INNER > inner
nested
INNER
END
RUN <<END
#!/bin/sh
echo "$0" > interpreter
END
USER app
RUN id -u > /tmp/uid && pwd > /tmp/pwd && echo $HOME > /tmp/home
FROM box:1 AS never
RUN exit 3
FROM scratch
COPY --from=build /out/ /
COPY --from=build /tmp/uid /tmp/pwd /tmp/home /user/
COPY <<"A" <<B /files/
$NAME stays
A
path is ${PATH:+set}
B
"#;
    let mut asked = request(lab.context(&[("Dockerfile", dockerfile)]), "demo/run:1");
    asked.args.insert("NAME".into(), "you".into());
    let built = lab.build(asked).await;
    assert!(built.is_ok(), "{built:?}\n{}", lab.log());
    let dir = lab.dir.path().join("unpacked");
    std::fs::create_dir(&dir).unwrap();
    let image = lab.images.resolve("demo/run:1").await.unwrap();
    for layer in towpath_oci::manifest::Manifest::parse(&image.manifest, "")
        .unwrap()
        .layers
    {
        let blob = std::fs::File::open(lab.images.blob(&layer.digest)).unwrap();
        towpath_oci::layer::apply(blob, &dir, &Default::default()).unwrap();
    }
    let read = |path: &str| {
        std::fs::read_to_string(dir.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    assert_eq!(read("greeting"), "hello you\n");
    assert_eq!(read("script"), "from a script\n");
    assert_eq!(read("inner"), "nested\n");
    assert_eq!(read("interpreter"), "/dev/heredoc\n");
    assert_eq!(
        (read("uid").as_str(), read("user/uid").as_str()),
        ("0\n", "1000\n")
    );
    assert_eq!(
        (read("user/pwd").as_str(), read("user/home").as_str()),
        ("/out\n", "/home/app\n")
    );
    assert_eq!(
        (read("files/A").as_str(), read("files/B").as_str()),
        ("$NAME stays\n", "path is set\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_input_gives_the_same_digest_with_and_without_cache() {
    let (lab, other) = (Lab::new().await, Lab::new().await);
    if !shell_image(&lab).await || !shell_image(&other).await {
        return;
    }
    let dockerfile = "FROM box:1\nCOPY src /src\nRUN echo made > /made && mkdir -p /var/x && touch /var/x/y && ln -s y /var/x/z && rm /etc/group\nENV A=1\n";
    let files = [("Dockerfile", dockerfile), ("src/a", "a"), ("src/b/c", "c")];
    let first = lab
        .build(request(lab.context(&files), "demo/same:1"))
        .await
        .unwrap();
    let again = lab
        .build(request(lab.context(&files), "demo/same:2"))
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let elsewhere = other
        .build(request(other.context(&files), "demo/same:1"))
        .await
        .unwrap();
    assert_eq!(first.digest, again.digest);
    assert_eq!(
        first.digest,
        elsewhere.digest,
        "{:?}\n{:?}",
        lab.image("demo/same:1").await,
        other.image("demo/same:1").await
    );
    assert_eq!(again.cached_steps, (4, 4));
    let (_, layers) = lab.image("demo/same:1").await;
    let run = &layers[layers.len() - 1];
    assert!(
        run.contains(&"etc/.wh.group File 644 0:0".to_string()),
        "{run:?}"
    );
    assert!(
        !run.iter()
            .any(|l| l.contains("resolv") || l.contains("hosts") || l.starts_with("proc")),
        "{run:?}"
    );
    let changed = [
        ("Dockerfile", dockerfile),
        ("src/a", "changed"),
        ("src/b/c", "c"),
    ];
    let third = lab
        .build(request(lab.context(&changed), "demo/same:3"))
        .await
        .unwrap();
    assert_eq!(third.cached_steps, (2, 4));
    let mut elsewhere = request(lab.context(&files), "demo/same:4");
    elsewhere.scope = "tenant".into();
    assert_eq!(
        lab.build(elsewhere).await.unwrap().cached_steps,
        (2, 4),
        "another project's cache is not used"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_are_there_while_a_step_runs_and_leave_nothing() {
    let lab = Lab::new().await;
    if !shell_image(&lab).await {
        return;
    }
    let dockerfile = r#"FROM box:1 AS tool
RUN echo tool > /tool
FROM box:1
RUN --mount=type=cache,target=/cache,id=c echo x >> /cache/log && wc -l < /cache/log > /count
RUN --mount=type=secret,id=token --mount=type=secret,id=other,env=OTHER \
    cat /run/secrets/token > /leak-length && test -s /leak-length && echo "${#OTHER}" > /other && wc -c < /run/secrets/token > /n && rm /leak-length
RUN --mount=type=bind,from=tool,source=/tool,target=/mnt/tool --mount=type=bind,target=/ctx \
    cat /mnt/tool /ctx/file > /bound && ! echo x > /ctx/file
RUN --mount=type=tmpfs,target=/fast,size=1m echo x > /fast/y && df /fast | tail -1 > /fast-size
RUN --network=none ip link | wc -l > /links
"#;
    let mut asked = request(
        lab.context(&[("Dockerfile", dockerfile), ("file", "context\n")]),
        "demo/mounts:1",
    );
    asked
        .secrets
        .insert("token".into(), Secret::from("s3cret-value".to_string()));
    asked
        .secrets
        .insert("other".into(), Secret::from("12345".to_string()));
    let built = lab.build(asked).await;
    assert!(built.is_ok(), "{built:?}\n{}", lab.log());
    let (image, layers) = lab.image("demo/mounts:1").await;
    let all = layers.concat().join("\n");
    for gone in [
        "cache/", "run/", "mnt", "ctx", "fast/", "secrets", "dev", "sys/",
    ] {
        assert!(
            !all.lines().any(|line| line.starts_with(gone)),
            "{gone} in {all}"
        );
    }
    let text = format!("{image:?}");
    assert!(!text.contains("s3cret") && !lab.log().contains("s3cret"));
    for entry in std::fs::read_dir(lab.images.dir.join("blobs/sha256")).unwrap() {
        let mut decoded = Vec::new();
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        std::io::Read::read_to_end(
            &mut towpath_oci::layer::Decoder::new(file).unwrap(),
            &mut decoded,
        )
        .unwrap();
        assert!(!decoded.windows(12).any(|w| w == b"s3cret-value"));
    }
    let missing = "FROM box:1\nRUN --mount=type=secret,id=absent,required true\n";
    let error = lab
        .build(request(lab.context(&[("Dockerfile", missing)]), "demo/m:1"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_or_eats_is_named_with_its_line() {
    let lab = Lab::with(|config| {
        config.step_bytes = 64 << 20;
        config.pids = 40;
    })
    .await;
    if !shell_image(&lab).await {
        return;
    }
    let cases = [
        ("RUN echo before && exit 7", "exit code 7"),
        ("RUN no-such-program", "exit code 127"),
        ("RUN [\"/no/such\"]", "no such"),
        ("RUN tail /dev/zero", "out of memory"),
        (
            "RUN dd if=/dev/zero of=/big bs=1M count=4000; sync; sleep 20",
            "disk",
        ),
        ("RUN for i in $(seq 100); do sleep 5 & done; wait", ""),
    ];
    for (run, status) in cases {
        let text = format!("FROM box:1\n\n{run}\n");
        let mut asked = request(lab.context(&[("Dockerfile", &text)]), "demo/fail:1");
        asked.memory_bytes = 32 << 20;
        let result = lab.build(asked).await;
        match result {
            Err(BuildError::Run {
                line,
                file,
                command,
                status: got,
            }) => {
                assert_eq!((line, file.as_str()), (3, "Dockerfile"));
                assert!(run.contains(&command), "{command}");
                assert!(got.to_lowercase().contains(status), "{run}: {got}");
            }
            // Forks that fail end the loop, not always the shell.
            other => assert!(status.is_empty(), "{run}: {other:?}\n{}", lab.log()),
        }
    }
    let left: Vec<_> = std::fs::read_dir(lab.dir.path().join("build/work"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_builds_leave_nothing() {
    let lab = Lab::new().await;
    if !shell_image(&lab).await {
        return;
    }
    let text = "FROM box:1\nRUN echo begun && sleep 600\n";
    let asked = request(lab.context(&[("Dockerfile", text)]), "demo/cancel:1");
    let build = tokio::time::timeout(std::time::Duration::from_secs(3), lab.build(asked)).await;
    assert!(build.is_err());
    for _ in 0..100 {
        let containers = std::fs::read_dir(lab.dir.path().join("containers"))
            .unwrap()
            .count();
        let work = std::fs::read_dir(lab.dir.path().join("build/work"))
            .unwrap()
            .count();
        if containers + work == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(
        std::fs::read_dir(lab.dir.path().join("containers"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        std::fs::read_dir(lab.dir.path().join("build/work"))
            .unwrap()
            .count(),
        0
    );
    // What a killed server leaves goes at the next start.
    std::fs::create_dir_all(lab.dir.path().join("build/work/left/upper")).unwrap();
    drop(engine(lab.dir.path(), lab.images.clone(), |_| {}).await);
    assert_eq!(
        std::fs::read_dir(lab.dir.path().join("build/work"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_run_in_the_image_built_on_top() {
    let lab = Lab::new().await;
    let base = "FROM scratch\nONBUILD COPY late /late\nONBUILD ENV T=1\n";
    lab.build(request(lab.context(&[("Dockerfile", base)]), "demo/base:1"))
        .await
        .unwrap();
    let top = "FROM demo/base:1\nENV U=$T\n";
    lab.build(request(
        lab.context(&[("Dockerfile", top), ("late", "x")]),
        "demo/top:1",
    ))
    .await
    .unwrap();
    let (image, layers) = lab.image("demo/top:1").await;
    assert_eq!(layers, [vec!["late File 644 0:0".to_string()]]);
    assert_eq!(image.config.on_build, None);
    assert!(image.config.env.unwrap().contains(&"U=1".to_string()));
}
