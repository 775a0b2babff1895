//! Paths below `/v2/`: repository names hold slashes, so a path is read from its end; pure.

/// What a path means. Names and digests are checked by who uses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Root,
    Catalog,
    Token,
    Manifest {
        repository: &'a str,
        reference: &'a str,
    },
    Blob {
        repository: &'a str,
        digest: &'a str,
    },
    Uploads {
        repository: &'a str,
    },
    Upload {
        repository: &'a str,
        id: &'a str,
    },
    Tags {
        repository: &'a str,
    },
    Referrers {
        repository: &'a str,
        digest: &'a str,
    },
}

impl<'a> Route<'a> {
    /// `path` is what follows `/v2/`.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        match path {
            "" => return Some(Self::Root),
            "_catalog" => return Some(Self::Catalog),
            "token" => return Some(Self::Token),
            _ => {}
        }
        if let Some(rest) = path.strip_suffix("/tags/list") {
            return Some(Self::Tags { repository: rest });
        }
        if let Some(rest) = path
            .strip_suffix("/blobs/uploads/")
            .or(path.strip_suffix("/blobs/uploads"))
        {
            return Some(Self::Uploads { repository: rest });
        }
        let (rest, last) = path.rsplit_once('/')?;
        if last.is_empty() {
            return None;
        }
        if let Some(repository) = rest.strip_suffix("/blobs/uploads") {
            return Some(Self::Upload {
                repository,
                id: last,
            });
        }
        let (repository, kind) = rest.rsplit_once('/')?;
        match kind {
            "manifests" => Some(Self::Manifest {
                repository,
                reference: last,
            }),
            "blobs" => Some(Self::Blob {
                repository,
                digest: last,
            }),
            "referrers" => Some(Self::Referrers {
                repository,
                digest: last,
            }),
            _ => None,
        }
    }

    /// The repository it is about.
    pub(crate) fn repository(&self) -> Option<&'a str> {
        match self {
            Self::Root | Self::Catalog | Self::Token => None,
            Self::Manifest { repository, .. }
            | Self::Blob { repository, .. }
            | Self::Uploads { repository }
            | Self::Upload { repository, .. }
            | Self::Tags { repository }
            | Self::Referrers { repository, .. } => Some(repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_look_like_paths() {
        assert_eq!(
            Route::parse("a/b/manifests/latest"),
            Some(Route::Manifest {
                repository: "a/b",
                reference: "latest"
            })
        );
        assert_eq!(
            Route::parse("manifests/manifests/manifests"),
            Some(Route::Manifest {
                repository: "manifests",
                reference: "manifests"
            })
        );
        assert_eq!(
            Route::parse("a/blobs/uploads/"),
            Some(Route::Uploads { repository: "a" })
        );
        assert_eq!(
            Route::parse("a/blobs/uploads/x"),
            Some(Route::Upload {
                repository: "a",
                id: "x"
            })
        );
        assert_eq!(
            Route::parse("a/blobs/sha256:x"),
            Some(Route::Blob {
                repository: "a",
                digest: "sha256:x"
            })
        );
        assert_eq!(
            Route::parse("a/tags/list"),
            Some(Route::Tags { repository: "a" })
        );
        for path in ["x", "a/b", "a/manifests/", "/manifests", "a//"] {
            assert!(
                Route::parse(path).is_none_or(|r| r.repository() == Some("")),
                "{path}"
            );
        }
    }
}
