use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use towpath_build::{Config, Engine};
use towpath_container::{Runtime, RuntimeConfig};
use towpath_kit::traits::{
    BuildError, BuildOutput, BuildRequest, Builder, ImageError, Images, LocalImage, Principal,
};
use towpath_oci::manifest::{Descriptor, Manifest};
use towpath_oci::{Digest, Reference};

/// Images in an OCI layout, so that other tools can read what was built.
pub(crate) struct LayoutImages {
    pub(crate) dir: PathBuf,
    tags: Mutex<BTreeMap<String, String>>,
}

impl LayoutImages {
    pub(crate) fn new(dir: &Path) -> Self {
        std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self {
            dir: dir.to_path_buf(),
            tags: Mutex::default(),
        }
    }

    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.dir
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }
}

#[async_trait]
impl Images for LayoutImages {
    async fn resolve(&self, reference: &str) -> Result<LocalImage, ImageError> {
        let parsed: Reference = reference
            .parse()
            .map_err(|_| ImageError::Invalid(reference.into()))?;
        let tags = self.tags.lock().unwrap().clone();
        let names = parsed.local_repositories();
        let digest = names
            .iter()
            .find_map(|name| tags.get(&format!("{name}:{}", parsed.manifest())));
        let digest = digest
            .ok_or_else(|| ImageError::NotFound(reference.into()))?
            .clone();
        let manifest = std::fs::read(self.blob(&digest)).unwrap();
        let config = Manifest::parse(&manifest, "")
            .unwrap()
            .config
            .unwrap()
            .digest;
        let config = std::fs::read(self.blob(&config)).unwrap();
        Ok(LocalImage {
            digest,
            manifest: manifest.into(),
            config: config.into(),
        })
    }

    async fn put_blob(&self, digest: &str, file: &Path) -> Result<(), ImageError> {
        let bytes = std::fs::read(file).unwrap();
        assert_eq!(Digest::of(&bytes).as_str(), digest);
        std::fs::write(self.blob(digest), bytes).unwrap();
        Ok(())
    }

    async fn open_blob(&self, digest: &str) -> Result<std::fs::File, ImageError> {
        std::fs::File::open(self.blob(digest)).map_err(|e| ImageError::Storage(e.to_string()))
    }

    async fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        manifest: Bytes,
    ) -> Result<String, ImageError> {
        let digest = Digest::of(&manifest);
        for child in Manifest::parse(&manifest, media_type).unwrap().children() {
            assert!(
                self.blob(&child.digest).exists(),
                "{} is missing",
                child.digest
            );
        }
        std::fs::write(self.blob(digest.as_str()), &manifest).unwrap();
        if let Some(tag) = tag {
            self.tags
                .lock()
                .unwrap()
                .insert(format!("{repository}:{tag}"), digest.to_string());
            let mut entry =
                serde_json::to_value(Descriptor::new(media_type, &digest, manifest.len() as u64))
                    .unwrap();
            entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": tag });
            let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
            std::fs::write(self.dir.join("index.json"), index.to_string()).unwrap();
        }
        Ok(digest.to_string())
    }
}

pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) images: Arc<LayoutImages>,
    pub(crate) engine: Engine,
    pub(crate) log: Mutex<Vec<String>>,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = Arc::new(LayoutImages::new(&dir.path().join("images")));
        let engine = engine(dir.path(), images.clone(), change).await;
        Self {
            dir,
            images,
            engine,
            log: Mutex::default(),
        }
    }

    pub(crate) fn context(&self, files: &[(&str, &str)]) -> PathBuf {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = self.dir.path().join(format!("context-{number}"));
        std::fs::create_dir(&dir).unwrap();
        for (name, content) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        dir
    }

    pub(crate) async fn build(&self, request: BuildRequest) -> Result<BuildOutput, BuildError> {
        self.log.lock().unwrap().clear();
        let log = |line: &str| self.log.lock().unwrap().push(line.to_string());
        self.engine.build(request, &log).await
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// The built image's configuration and its files as `path kind mode uid:gid`, layer by layer.
    pub(crate) async fn image(&self, name: &str) -> (towpath_oci::config::Image, Vec<Vec<String>>) {
        let image = self.images.resolve(name).await.unwrap();
        let manifest = Manifest::parse(&image.manifest, "").unwrap();
        let layers = manifest
            .layers
            .iter()
            .map(|layer| listing(&self.images.blob(&layer.digest)))
            .collect();
        (
            towpath_oci::config::Image::parse(&image.config).unwrap(),
            layers,
        )
    }
}

pub(crate) async fn engine(
    dir: &Path,
    images: Arc<LayoutImages>,
    change: impl FnOnce(&mut Config),
) -> Engine {
    let runtime = Runtime::new(RuntimeConfig {
        state_dir: dir.join("containers"),
        shim_exe: env!("CARGO_BIN_EXE_towpath-build-shim").into(),
        shim_args: Vec::new(),
        backend: Default::default(),
    })
    .unwrap();
    let mut config = Config::new(dir.join("build"));
    config.reserve_bytes = 1 << 20;
    change(&mut config);
    Engine::open(config, images.clone(), images, runtime, None).unwrap()
}

pub(crate) fn listing(blob: &Path) -> Vec<String> {
    let decoder = towpath_oci::layer::Decoder::new(std::fs::File::open(blob).unwrap()).unwrap();
    let mut reader = towpath_oci::layer::ArchiveReader::new(decoder);
    let mut all = Vec::new();
    while let Some(member) = reader.next_member().unwrap() {
        let path = String::from_utf8(member.path.clone()).unwrap();
        all.push(format!(
            "{path} {:?} {:o} {}:{}",
            member.kind, member.mode, member.uid, member.gid
        ));
    }
    all
}

pub(crate) fn request(context: PathBuf, tag: &str) -> BuildRequest {
    BuildRequest {
        context,
        dockerfile: "Dockerfile".into(),
        target: None,
        args: BTreeMap::new(),
        secrets: BTreeMap::new(),
        tags: vec![tag.into()],
        labels: BTreeMap::new(),
        scope: "demo".into(),
        source_date_epoch: Some(1_700_000_000),
        memory_bytes: 0,
        principal: Principal::anonymous(),
    }
}

pub(crate) use towpath_testkit::busybox;

/// Makes `box:1`, an image with a static shell.
pub(crate) async fn shell_image(lab: &Lab) -> bool {
    let Some(busybox) = busybox() else {
        return false;
    };
    let context = lab.context(&[(
        "Dockerfile",
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY --chmod=0644 passwd group /etc/\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n",
    ), ("passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n"), ("group", "root:x:0:\napp:x:1001:\n")]);
    std::fs::copy(busybox, context.join("busybox")).unwrap();
    let built = lab.build(request(context, "box:1")).await;
    assert!(built.is_ok(), "{built:?}\n{}", lab.log());
    true
}
