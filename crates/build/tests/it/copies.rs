use crate::harness::{Lab, request};

async fn layers(
    lab: &Lab,
    dockerfile: &str,
    files: &[(&str, &str)],
) -> Result<Vec<Vec<String>>, String> {
    let mut all = vec![("Dockerfile", dockerfile)];
    all.extend(files);
    lab.build(request(lab.context(&all), "demo/copy:1"))
        .await
        .map_err(|e| e.to_string())?;
    Ok(lab.image("demo/copy:1").await.1)
}

fn names(layer: &[String]) -> Vec<&str> {
    layer
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_and_sources_in_all_forms() {
    let lab = Lab::new().await;
    let files = [
        ("a.txt", "a"),
        ("b.txt", "b"),
        ("d/x", "x"),
        ("d/sub/y", "y"),
        (".dockerignore", "Dockerfile\n.dockerignore\nd/sub\n"),
    ];
    let cases: Vec<(&str, Vec<&str>)> = vec![
        ("COPY a.txt /", vec!["a.txt"]),
        ("COPY a.txt /to", vec!["to"]),
        ("COPY a.txt /to/", vec!["to/", "to/a.txt"]),
        ("COPY *.txt /to/", vec!["to/", "to/a.txt", "to/b.txt"]),
        ("COPY d /to", vec!["to/", "to/x"]),
        ("COPY d/ d/ /to/", vec!["to/", "to/x"]),
        ("COPY . /", vec!["a.txt", "b.txt", "d/", "d/x"]),
        ("COPY ./../../a.txt ./x/../y", vec!["y"]),
        ("COPY [\"a.txt\", \"/with space\"]", vec!["with"]),
        (
            "COPY --parents d/x a.txt /p/",
            vec!["p/", "p/a.txt", "p/d/", "p/d/x"],
        ),
        ("COPY --exclude=*.txt . /", vec!["d/", "d/x"]),
        (
            "COPY --link a.txt /deep/er/",
            vec!["deep/", "deep/er/", "deep/er/a.txt"],
        ),
        ("WORKDIR /w\nCOPY a.txt .", vec!["w/", "w/a.txt"]),
        ("ADD a.txt /", vec!["a.txt"]),
    ];
    for (text, wanted) in cases {
        let layers = layers(&lab, &format!("FROM scratch\n{text}\n"), &files)
            .await
            .unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(names(layers.last().unwrap()), wanted, "{text}");
    }
    let ignored = layers(&lab, "FROM scratch\nCOPY d/sub/y /\n", &files)
        .await
        .unwrap_err();
    assert!(
        ignored.contains("Dockerfile:2:1") && ignored.contains("ignore file"),
        "{ignored}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_and_modes() {
    let lab = Lab::new().await;
    let text = "FROM scratch\nCOPY passwd group /etc/\nCOPY --chown=app:staff --chmod=u=rw,go=r d /d\nCOPY --chown=7 --chmod=0755 f /bin/f\n";
    let files = [
        ("passwd", "app:x:1000:1001::/:/x\n"),
        ("group", "staff:x:50:\n"),
        ("d/f", "x"),
        ("f", "x"),
    ];
    let layers = layers(&lab, text, &files).await.unwrap();
    assert_eq!(
        layers[1],
        ["d/ Directory 755 1000:50", "d/f File 644 1000:50"]
    );
    assert_eq!(layers[2], ["bin/ Directory 755 7:7", "bin/f File 755 7:7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_unpacked_by_add_only() {
    let lab = Lab::new().await;
    let context = lab.context(&[(
        "Dockerfile",
        "FROM scratch\nADD a.tar.gz /x/\nCOPY a.tar.gz /y\n",
    )]);
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        Default::default(),
    ));
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o600);
    builder
        .append_data(&mut header, "in/side", &b"x"[..])
        .unwrap();
    std::fs::write(
        context.join("a.tar.gz"),
        builder.into_inner().unwrap().finish().unwrap(),
    )
    .unwrap();
    lab.build(request(context, "demo/add:1")).await.unwrap();
    let (_, layers) = lab.image("demo/add:1").await;
    assert_eq!(names(&layers[0]), ["x/", "x/in/", "x/in/side"]);
    assert_eq!(names(&layers[1]), ["y"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_never_lead_out_of_the_context_or_the_image() {
    let lab = Lab::new().await;
    let secret = lab.dir.path().join("outside");
    std::fs::write(&secret, "secret").unwrap();
    for (link, text) in [
        (secret.display().to_string(), "COPY link /x"),
        ("../../outside".to_string(), "COPY link /x"),
        (lab.dir.path().display().to_string(), "COPY link/outside /x"),
        ("/".to_string(), "COPY link/etc/passwd /x"),
    ] {
        let context = lab.context(&[("Dockerfile", &format!("FROM scratch\n{text}\n"))]);
        std::os::unix::fs::symlink(&link, context.join("link")).unwrap();
        let result = lab.build(request(context, "demo/links:1")).await;
        assert!(result.is_err(), "{link}");
    }
    // Through a link in the image: it stays in the image.
    let context = lab.context(&[
        (
            "Dockerfile",
            "FROM scratch\nCOPY tree /\nCOPY f /up/f\nWORKDIR /up/w\n",
        ),
        ("f", "x"),
    ]);
    std::fs::create_dir(context.join("tree")).unwrap();
    std::os::unix::fs::symlink("../../../../real", context.join("tree/up")).unwrap();
    std::fs::create_dir(context.join("tree/real")).unwrap();
    lab.build(request(context, "demo/links:2")).await.unwrap();
    let (_, layers) = lab.image("demo/links:2").await;
    assert_eq!(names(&layers[1]), ["real/", "real/f"]);
    assert_eq!(names(&layers[2]), ["real/", "real/w/"]);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
}
