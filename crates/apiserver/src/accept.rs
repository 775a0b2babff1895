//! Which media type and form of an object a client wants, from its `Accept` header, chosen as
//! upstream chooses: by quality, then by how much is said, and of what is left the first.

use crate::kinds::Resource;
use crate::metrics;
use crate::reviews;
use crate::route::Target;
use serde_json::json;
use towpath_api::protobuf;
use towpath_api::status::{self, Failure};

/// Media types that can be produced, in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Yaml,
    Protobuf,
}

const ALL: [Media; 3] = [Media::Json, Media::Yaml, Media::Protobuf];

impl Media {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => protobuf::MEDIA_TYPE,
        }
    }

    fn matches(self, range: &str) -> bool {
        matches!(range, "*/*" | "application/*") || range == self.name()
    }

    /// Whether events can follow one another in it.
    fn streams(self) -> bool {
        self != Self::Yaml
    }
}

const WATCHED: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

/// Forms that can be produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object or list itself.
    Object,
    /// A server-side table.
    Table,
    /// Only `metadata`.
    Partial,
    /// The same of a list.
    PartialList,
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) media: Media,
    pub(crate) form: Form,
    /// Version of `meta.k8s.io` of another form than the object's.
    pub(crate) version: &'static str,
    /// For people to read.
    pub(crate) pretty: bool,
}

/// What can be had.
#[derive(Clone, Copy)]
pub(crate) struct Offer {
    /// Whole objects in protobuf.
    pub(crate) protobuf: bool,
    /// Other forms than the object's own.
    pub(crate) forms: bool,
    /// Tables among them.
    pub(crate) tables: bool,
}

/// One range of the header.
struct Range<'a> {
    media: String,
    quality: f64,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Range<'_> {
    // Upstream's order, which is none for ranges that say the same; so they are sorted as there.
    fn before(&self, other: &Self) -> bool {
        let kind = |range: &Self, at: usize| range.media.split('/').nth(at) == Some("*");
        self.quality > other.quality
            || !kind(self, 0) && kind(other, 0)
            || !kind(self, 1) && kind(other, 1)
    }
}

fn ranges(accept: &str) -> Vec<Range<'_>> {
    let mut found: Vec<Range<'_>> = Vec::new();
    // More than this many are a burden, not a wish.
    for part in accept.split(',').take(64) {
        let mut pieces = part.split(';');
        let media = pieces.next().unwrap_or_default().trim_matches(' ');
        let media = match media.split_once('/') {
            None if media == "*" => "*/*".to_string(),
            Some((kind, sub)) if !sub.is_empty() && !sub.contains('/') => {
                format!("{}/{}", kind.trim_matches(' '), sub.trim_matches(' '))
            }
            _ => continue,
        };
        let (mut quality, mut parameters) = (1.0, Vec::new());
        for piece in pieces {
            let Some((name, value)) = piece.split_once('=') else {
                continue;
            };
            if value.is_empty() || value.contains('=') {
                continue;
            }
            match name.trim_matches(' ') {
                "q" => quality = value.parse().unwrap_or(0.0),
                name => parameters.push((name, value.trim_matches(' '))),
            }
        }
        let mut at = found.len();
        found.push(Range {
            media,
            quality,
            parameters,
        });
        while at > 0 && found[at].before(&found[at - 1]) {
            found.swap(at, at - 1);
            at -= 1;
        }
    }
    found
}

/// Picks the first acceptable media type and form.
pub(crate) fn negotiate(accept: &str, offer: Offer) -> Option<Wanted> {
    if accept.is_empty() {
        return Some(Wanted {
            media: Media::Json,
            form: Form::Object,
            version: "v1",
            pretty: false,
        });
    }
    let ranges = ranges(accept);
    ranges.iter().find_map(|range| {
        let media = ALL.into_iter().filter(|media| media.matches(&range.media));
        media
            .into_iter()
            .find_map(|media| take(range, media, offer))
    })
}

// The media type with the parameters of a range, where that can be had.
fn take(range: &Range<'_>, media: Media, offer: Offer) -> Option<Wanted> {
    let (mut shape, mut group, mut version) = (None, None, None);
    let mut pretty = false;
    for (name, value) in &range.parameters {
        match *name {
            "as" => shape = Some(*value),
            "g" => group = Some(*value),
            "v" => version = Some(*value),
            "stream" if *value != "watch" || !media.streams() => return None,
            "sv" if *value != "v1" => return None,
            "pretty" => pretty = *value == "1",
            _ => {}
        }
    }
    let mut wanted = Wanted {
        media,
        form: Form::Object,
        version: "v1",
        pretty,
    };
    if shape.is_none() && group.is_none() && version.is_none() {
        return (media != Media::Protobuf || offer.protobuf).then_some(wanted);
    }
    wanted.version = match (group, version) {
        (Some("meta.k8s.io"), Some("v1")) => "v1",
        (Some("meta.k8s.io"), Some("v1beta1")) => "v1beta1",
        _ => return None,
    };
    wanted.form = match shape {
        Some("Table") if media != Media::Protobuf && offer.tables => Form::Table,
        Some("PartialObjectMetadata") => Form::Partial,
        Some("PartialObjectMetadataList") => Form::PartialList,
        _ => return None,
    };
    offer.forms.then_some(wanted)
}

/// Which of some media types is accepted first.
pub(crate) fn first(accept: &str, known: &[&str]) -> Option<usize> {
    let accept = if accept.is_empty() { "*/*" } else { accept };
    let ranges = ranges(accept);
    ranges.iter().find_map(|range| {
        let any = matches!(range.media.as_str(), "*/*" | "application/*");
        known.iter().position(|media| any || *media == range.media)
    })
}

/// Whether a media type is accepted.
pub(crate) fn takes(accept: &str, media: &str) -> bool {
    first(accept, &[media]).is_some()
}

/// What an answer about a target is to be; 406 where nothing that is accepted can be had.
pub(crate) fn wanted(accept: &str, target: &Target) -> Result<Wanted, Failure> {
    let resource = &target.resource;
    let own = !resource.is_custom() && resource.group != metrics::GROUP;
    let watch = target.verb == "watch";
    if own {
        let list = matches!(target.verb, "list" | "watch");
        routable(
            accept,
            &ALL.map(Media::name),
            if list { &WATCHED } else { &[] },
        )?;
    }
    let offer = Offer {
        protobuf: own && has_protobuf(resource),
        forms: true,
        tables: !reviews::is_review(resource),
    };
    match negotiate(accept, offer) {
        Some(wanted) if !watch || wanted.media.streams() => Ok(wanted),
        _ if watch => Err(status::not_acceptable(&WATCHED)),
        _ => Err(status::not_acceptable(&ALL.map(Media::name))),
    }
}

fn has_protobuf(resource: &Resource) -> bool {
    protobuf::knows(&resource.api_version(), &resource.kind)
}

/// What is said where something else than an object is wrong: whole, or JSON.
pub(crate) fn for_status(accept: &str) -> Media {
    let offer = Offer {
        protobuf: true,
        forms: false,
        tables: false,
    };
    negotiate(accept, offer).map_or(Media::Json, |wanted| wanted.media)
}

/// 406 as upstream's router has it, which looks at the types before the handlers of built-in kinds
/// do, and less closely.
fn routable(accept: &str, known: &[&str], more: &[&str]) -> Result<(), Failure> {
    let named = |range: &str| {
        let media = range
            .split(';')
            .next()
            .unwrap_or_default()
            .trim_matches(' ');
        media == "*/*" || known.contains(&media) || more.contains(&media)
    };
    if accept.is_empty() || accept.split(',').any(named) {
        return Ok(());
    }
    let mut failure = status::not_acceptable(&[]);
    failure.message = format!(
        "406: Not Acceptable\n\nAvailable representations: {}",
        [known, more].concat().join(", ")
    );
    failure.details = Some(json!({}));
    Err(failure)
}

/// 406 where discovery cannot be had in what is accepted.
pub(crate) fn discovery(accept: &str) -> Result<(), Failure> {
    routable(accept, &ALL.map(Media::name), &[])
}

/// 406 where a client does not take JSON from a path that has only that.
pub(crate) fn json_only(accept: &str) -> Result<(), Failure> {
    routable(accept, &[Media::Json.name()], &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(accept: &str, protobuf: bool) -> Option<(Media, Form)> {
        let offer = Offer {
            protobuf,
            forms: true,
            tables: true,
        };
        negotiate(accept, offer).map(|wanted| (wanted.media, wanted.form))
    }

    #[test]
    fn the_first_acceptable_form_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(pick(kubectl, true), Some((Media::Json, Form::Table)));
        let typed = "application/vnd.kubernetes.protobuf, */*";
        assert_eq!(pick(typed, true), Some((Media::Protobuf, Form::Object)));
        assert_eq!(pick(typed, false), Some((Media::Json, Form::Object)));
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        assert_eq!(
            pick(metadata, false),
            Some((Media::Protobuf, Form::PartialList))
        );
        assert_eq!(
            pick(
                "application/json;as=Unknown;v=v1;g=meta.k8s.io, application/json",
                true
            ),
            Some((Media::Json, Form::Object))
        );
        assert_eq!(
            pick(
                "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1",
                true
            ),
            None
        );
        assert_eq!(pick("application/vnd.kubernetes.protobuf", false), None);
        assert_eq!(pick("application/cbor", true), None);
        assert_eq!(pick("application/yaml;stream=watch", true), None);
    }

    #[test]
    fn qualities_are_weighed() {
        for (accept, media) in [
            ("application/json;q=0.1, application/yaml", Media::Yaml),
            ("application/yaml;q=0.5,application/json;q=0.9", Media::Json),
            ("*/*, application/yaml", Media::Yaml),
            (
                "application/*, application/vnd.kubernetes.protobuf;q=1",
                Media::Protobuf,
            ),
            ("*", Media::Json),
            ("nonsense,,;;=,application/yaml; x=y; pretty=1", Media::Yaml),
        ] {
            assert_eq!(pick(accept, true), Some((media, Form::Object)), "{accept}");
        }
    }
}
