//! Which files a configMap, secret, downward or projected volume holds now.

use super::atomic::{File, Payload};
use crate::caches::Caches;
use crate::env::{Facts, Sources, field_value, resource_value};
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, ServiceAccountTokenProjection, Volume,
};
use std::collections::BTreeMap;

const DEFAULT_MODE: i32 = 0o644;

/// Files of a volume, and the tokens it wants.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) files: Payload,
    pub(crate) tokens: Vec<(ServiceAccountTokenProjection, u32)>,
}

/// Whether the volume is one of these kinds.
pub(crate) fn is_projected(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// Names of the configMaps and secrets it reads.
pub(crate) fn reads(volume: &Volume) -> (Vec<&str>, Vec<&str>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    maps.extend(volume.config_map.iter().map(|source| source.name.as_str()));
    secrets.extend(
        volume
            .secret
            .iter()
            .filter_map(|source| source.secret_name.as_deref()),
    );
    for source in volume
        .projected
        .iter()
        .flat_map(|p| p.sources.iter().flatten())
    {
        maps.extend(source.config_map.iter().map(|source| source.name.as_str()));
        secrets.extend(source.secret.iter().map(|source| source.name.as_str()));
    }
    (maps, secrets)
}

/// The files now; an error keeps the pod waiting.
pub(crate) fn wanted(
    volume: &Volume,
    facts: &Facts<'_>,
    caches: &Caches,
) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(source) = &volume.config_map {
        let mode = mode(source.default_mode);
        let data = config_map(caches, namespace, &source.name, source.optional)?;
        add(
            &mut wanted.files,
            data,
            &source.items,
            mode,
            source.optional,
            &source.name,
        )?;
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.clone().unwrap_or_default();
        let data = secret(caches, namespace, &name, source.optional)?;
        add(
            &mut wanted.files,
            data,
            &source.items,
            mode(source.default_mode),
            source.optional,
            &name,
        )?;
    }
    if let Some(source) = &volume.downward_api {
        downward(
            &mut wanted.files,
            source.items.as_deref().unwrap_or_default(),
            mode(source.default_mode),
            facts,
        )?;
    }
    let Some(projected) = &volume.projected else {
        return Ok(wanted);
    };
    let default = mode(projected.default_mode);
    for source in projected.sources.iter().flatten() {
        if let Some(map) = &source.config_map {
            let data = config_map(caches, namespace, &map.name, map.optional)?;
            add(
                &mut wanted.files,
                data,
                &map.items,
                default,
                map.optional,
                &map.name,
            )?;
        } else if let Some(from) = &source.secret {
            let data = secret(caches, namespace, &from.name, from.optional)?;
            add(
                &mut wanted.files,
                data,
                &from.items,
                default,
                from.optional,
                &from.name,
            )?;
        } else if let Some(from) = &source.downward_api {
            downward(
                &mut wanted.files,
                from.items.as_deref().unwrap_or_default(),
                default,
                facts,
            )?;
        } else if let Some(token) = &source.service_account_token {
            wanted.tokens.push((token.clone(), default));
        } else {
            return Err(format!(
                "volume {:?} projects a source of an unsupported kind",
                volume.name
            ));
        }
    }
    Ok(wanted)
}

fn mode(mode: Option<i32>) -> u32 {
    (mode.unwrap_or(DEFAULT_MODE) & 0o777) as u32
}

type Data = Option<BTreeMap<String, Vec<u8>>>;

fn config_map(
    caches: &Caches,
    namespace: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Data, String> {
    match caches.config_map(namespace, name) {
        Some(map) => {
            let text = map
                .data
                .iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone().into_bytes()));
            let binary = map
                .binary_data
                .iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.0.clone()));
            Ok(Some(text.chain(binary).collect()))
        }
        None if optional == Some(true) => Ok(None),
        None => Err(format!("configmap {name:?} not found")),
    }
}

fn secret(
    caches: &Caches,
    namespace: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Data, String> {
    match caches.secret(namespace, name) {
        Some(secret) => Ok(Some(
            secret
                .data
                .iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.0.clone()))
                .collect(),
        )),
        None if optional == Some(true) => Ok(None),
        None => Err(format!("secret {name:?} not found")),
    }
}

fn add(
    files: &mut Payload,
    data: Data,
    items: &Option<Vec<KeyToPath>>,
    default: u32,
    optional: Option<bool>,
    of: &str,
) -> Result<(), String> {
    let Some(data) = data else { return Ok(()) };
    let Some(items) = items.as_ref().filter(|items| !items.is_empty()) else {
        files.extend(data.into_iter().map(|(key, bytes)| {
            (
                key.into(),
                File {
                    bytes,
                    mode: default,
                },
            )
        }));
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => {
                let mode = item.mode.map_or(default, |m| (m & 0o777) as u32);
                files.insert(
                    (&item.path).into(),
                    File {
                        bytes: bytes.clone(),
                        mode,
                    },
                );
            }
            None if optional == Some(true) => {}
            None => return Err(format!("{of:?} references non-existent key: {}", item.key)),
        }
    }
    Ok(())
}

fn downward(
    files: &mut Payload,
    items: &[DownwardAPIVolumeFile],
    default: u32,
    facts: &Facts<'_>,
) -> Result<(), String> {
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => field_value(&field.field_path, facts)?,
            (None, Some(resource)) => {
                let containers = facts.pod.spec.iter().flat_map(|s| &s.containers);
                let named = |c: &&k8s_openapi::api::core::v1::Container| {
                    Some(&c.name) == resource.container_name.as_ref()
                };
                let container = containers
                    .into_iter()
                    .find(named)
                    .ok_or("resourceFieldRef names no container")?;
                resource_value(resource, container, facts)?
            }
            (None, None) => return Err(format!("downward file {:?} has no source", item.path)),
        };
        let mode = item.mode.map_or(default, |m| (m & 0o777) as u32);
        files.insert(
            (&item.path).into(),
            File {
                bytes: text.into_bytes(),
                mode,
            },
        );
    }
    Ok(())
}
