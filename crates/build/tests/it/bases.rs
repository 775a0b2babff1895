//! Base images out of packages. Needs mmdebstrap and its package mirror.

use crate::harness::{Lab, request};
use towpath_kit::traits::Images;

#[tokio::test(flavor = "multi_thread")]
async fn debian_is_made_once_and_built_on() {
    if towpath_stdx::process::find("mmdebstrap").is_none() {
        towpath_testkit::skip("mmdebstrap is not installed");
        return;
    }
    let lab = Lab::new().await;
    let first = match lab.engine.resolve("debian:bookworm-slim").await {
        Ok(image) => image,
        Err(error) => {
            towpath_testkit::skip(&format!("no base image: {error}"));
            return;
        }
    };
    let again = lab
        .engine
        .resolve("docker.io/library/debian:bookworm")
        .await
        .unwrap();
    assert_eq!(first.digest, again.digest);
    let text = "FROM debian:bookworm-slim\nRUN groupadd --gid 1000 hello && useradd --uid 1000 --gid 1000 --no-create-home hello\nRUN . /etc/os-release && echo $VERSION_CODENAME > /codename && apt-get --version > /dev/null\nUSER 1000:1000\nENTRYPOINT [\"/bin/true\"]\n";
    let built = lab
        .build(request(
            lab.context(&[("Dockerfile", text)]),
            "demo/on-debian:1",
        ))
        .await;
    assert!(built.is_ok(), "{built:?}\n{}", lab.log());
    let (image, layers) = lab.image("demo/on-debian:1").await;
    assert_eq!(image.config.user, "1000:1000");
    assert!(layers[2].iter().any(|line| line.starts_with("codename ")));
    if towpath_testkit::full() {
        for name in ["redis:7", "postgres:15"] {
            let image = lab.engine.resolve(name).await.unwrap();
            let config = towpath_oci::config::Image::parse(&image.config).unwrap();
            assert_eq!(
                config.config.entrypoint.unwrap(),
                ["docker-entrypoint.sh"],
                "{name}"
            );
        }
    }
}
