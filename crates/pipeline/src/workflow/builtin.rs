//! Steps that the runner does itself for `uses:`: a flat catalogue with each one's inputs.

/// Which built-in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Checkout,
    UploadArtifact,
    DownloadArtifact,
    Cache,
    CacheRestore,
    CacheSave,
    BuildPush,
    NotNeeded,
    Setup(&'static str),
    GateCoverage,
    GateSecrets,
    GateVulnerabilities,
}

/// One built-in step.
pub struct Builtin {
    /// What `uses:` names, without the version.
    pub name: &'static str,
    /// Which.
    pub kind: Kind,
    /// Inputs it acts on, or that change nothing here.
    pub inputs: &'static [&'static str],
    /// Inputs that must be given.
    pub required: &'static [&'static str],
    /// Inputs of the original that would change what happens and are not done here.
    pub later: &'static [&'static str],
}

const fn b(name: &'static str, kind: Kind, inputs: &'static [&'static str]) -> Builtin {
    Builtin {
        name,
        kind,
        inputs,
        required: &[],
        later: &[],
    }
}

/// All of them.
pub const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "actions/checkout",
        kind: Kind::Checkout,
        inputs: &[
            "ref",
            "path",
            "fetch-depth",
            "fetch-tags",
            "clean",
            "token",
            "persist-credentials",
            "set-safe-directory",
            "show-progress",
        ],
        required: &[],
        later: &[
            "repository",
            "submodules",
            "lfs",
            "sparse-checkout",
            "sparse-checkout-cone-mode",
            "filter",
            "ssh-key",
            "ssh-known-hosts",
            "ssh-strict",
            "ssh-user",
            "github-server-url",
        ],
    },
    Builtin {
        name: "actions/upload-artifact",
        kind: Kind::UploadArtifact,
        inputs: &[
            "name",
            "path",
            "if-no-files-found",
            "overwrite",
            "include-hidden-files",
            "retention-days",
            "compression-level",
        ],
        required: &["path"],
        later: &["archive"],
    },
    Builtin {
        name: "actions/download-artifact",
        kind: Kind::DownloadArtifact,
        inputs: &["name", "path", "pattern", "merge-multiple"],
        required: &[],
        later: &["artifact-ids", "github-token", "repository", "run-id"],
    },
    Builtin {
        name: "actions/cache",
        kind: Kind::Cache,
        inputs: &[
            "path",
            "key",
            "restore-keys",
            "fail-on-cache-miss",
            "lookup-only",
            "upload-chunk-size",
        ],
        required: &["path", "key"],
        later: &["enableCrossOsArchive", "save-always"],
    },
    Builtin {
        name: "actions/cache/restore",
        kind: Kind::CacheRestore,
        inputs: &[
            "path",
            "key",
            "restore-keys",
            "fail-on-cache-miss",
            "lookup-only",
        ],
        required: &["path", "key"],
        later: &["enableCrossOsArchive"],
    },
    Builtin {
        name: "actions/cache/save",
        kind: Kind::CacheSave,
        inputs: &["path", "key", "upload-chunk-size"],
        required: &["path", "key"],
        later: &["enableCrossOsArchive"],
    },
    Builtin {
        name: "docker/build-push-action",
        kind: Kind::BuildPush,
        inputs: &[
            "context",
            "file",
            "push",
            "load",
            "tags",
            "build-args",
            "target",
            "secrets",
            "labels",
            "cache-from",
            "cache-to",
            "pull",
            "provenance",
            "sbom",
            "github-token",
        ],
        required: &[],
        later: &[
            "platforms",
            "outputs",
            "build-contexts",
            "secret-files",
            "secret-envs",
            "ssh",
            "network",
            "no-cache",
            "no-cache-filters",
            "add-hosts",
            "allow",
            "annotations",
            "attests",
            "builder",
            "call",
            "cgroup-parent",
            "shm-size",
            "ulimit",
        ],
    },
    b(
        "docker/login-action",
        Kind::NotNeeded,
        &["registry", "username", "password", "logout", "ecr", "scope"],
    ),
    b(
        "docker/setup-buildx-action",
        Kind::NotNeeded,
        &[
            "version",
            "driver",
            "driver-opts",
            "buildkitd-flags",
            "install",
            "use",
            "name",
            "cleanup",
        ],
    ),
    b(
        "docker/setup-qemu-action",
        Kind::NotNeeded,
        &["image", "platforms", "cache-image"],
    ),
    b(
        "actions/setup-go",
        Kind::Setup("go"),
        &[
            "go-version",
            "go-version-file",
            "check-latest",
            "cache",
            "cache-dependency-path",
            "token",
            "architecture",
        ],
    ),
    b(
        "actions/setup-node",
        Kind::Setup("node"),
        &[
            "node-version",
            "node-version-file",
            "check-latest",
            "cache",
            "cache-dependency-path",
            "token",
            "registry-url",
            "scope",
            "always-auth",
            "architecture",
        ],
    ),
    b(
        "actions/setup-python",
        Kind::Setup("python"),
        &[
            "python-version",
            "python-version-file",
            "check-latest",
            "cache",
            "cache-dependency-path",
            "token",
            "architecture",
            "allow-prereleases",
        ],
    ),
    b(
        "actions/setup-java",
        Kind::Setup("java"),
        &[
            "java-version",
            "java-version-file",
            "distribution",
            "cache",
            "check-latest",
            "architecture",
        ],
    ),
    b(
        "actions/setup-dotnet",
        Kind::Setup("dotnet"),
        &["dotnet-version", "global-json-file", "cache"],
    ),
    b(
        "ruby/setup-ruby",
        Kind::Setup("ruby"),
        &["ruby-version", "bundler-cache"],
    ),
    b(
        "dtolnay/rust-toolchain",
        Kind::Setup("rust"),
        &["toolchain", "components", "targets", "target"],
    ),
    b(
        "actions-rust-lang/setup-rust-toolchain",
        Kind::Setup("rust"),
        &["toolchain", "components", "target", "cache"],
    ),
    Builtin {
        name: "towpath/gate-coverage",
        kind: Kind::GateCoverage,
        inputs: &["file", "threshold"],
        required: &["file", "threshold"],
        later: &[],
    },
    b(
        "towpath/gate-secrets",
        Kind::GateSecrets,
        &["path", "exclude"],
    ),
    b(
        "towpath/gate-vulnerabilities",
        Kind::GateVulnerabilities,
        &[
            "image",
            "path",
            "fail-on",
            "fixable-only",
            "require-database",
        ],
    ),
];

/// The built-in that a `uses:` names, with its version.
pub fn find(uses: &str) -> Option<(&'static Builtin, &str)> {
    let (name, version) = uses.split_once('@').unwrap_or((uses, ""));
    let found = BUILTINS
        .iter()
        .find(|b| b.name.eq_ignore_ascii_case(name))?;
    Some((found, version))
}
