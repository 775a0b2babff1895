//! What is recorded of which request: upstream's `audit.k8s.io/v1` Policy. The first rule that
//! matches decides; without a match nothing is recorded.

use serde::Deserialize;
use towpath_kit::traits::Principal;

/// Without a file of the user's own: who changed what, who read secrets and who was turned away,
/// without the server's own reading and ticking.
const DEFAULT: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  userGroups: [system:towpath]
  verbs: [get, list, watch]
- level: None
  userGroups: [system:towpath]
  resources:
  - {group: "", resources: ["*/status", events]}
  - {group: events.k8s.io}
  - {group: coordination.k8s.io}
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi/*", "/api*"]
- level: Metadata
  resources:
  - {group: "", resources: [secrets, "serviceaccounts/token"]}
- level: None
  verbs: [get, list, watch]
- level: Metadata
"#;

/// How much is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Level {
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

/// When an event is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Policy {
    api_version: String,
    kind: String,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    level: Level,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    urls: Vec<String>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// What a request is about, as rules see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty for other paths.
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) path: String,
}

/// What the policy says of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) level: Level,
    pub(crate) omit: Vec<Stage>,
    pub(crate) omit_managed_fields: bool,
}

impl Policy {
    /// Reads a policy; the error says what is wrong.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let policy: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if policy.api_version != "audit.k8s.io/v1" || policy.kind != "Policy" {
            return Err(format!(
                "expected audit.k8s.io/v1 Policy, found {} {}",
                policy.api_version, policy.kind
            ));
        }
        if policy.rules.is_empty() {
            return Err("it has no rules".into());
        }
        Ok(policy)
    }

    pub(crate) fn standard() -> Self {
        Self::read(DEFAULT).expect("a test reads it")
    }

    pub(crate) fn decide(&self, who: &Principal, about: &About) -> Decision {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(who, about)) else {
            return Decision::default();
        };
        let mut omit = self.omit_stages.clone();
        omit.extend(&rule.omit_stages);
        // Whatever a policy asks for: these bodies are secrets.
        let secret = matches!(
            (about.resource.as_str(), about.subresource.as_str()),
            ("secrets", _) | ("serviceaccounts", "token") | ("tokenreviews", _)
        );
        Decision {
            level: match secret {
                true => rule.level.min(Level::Metadata),
                false => rule.level,
            },
            omit,
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

fn unless_empty(list: &[String], test: impl Fn(&String) -> bool) -> bool {
    list.is_empty() || list.iter().any(test)
}

impl Rule {
    fn matches(&self, who: &Principal, about: &About) -> bool {
        unless_empty(&self.users, |user| *user == who.name)
            && unless_empty(&self.user_groups, |group| who.groups.contains(group))
            && unless_empty(&self.verbs, |verb| *verb == about.verb)
            && self.matches_target(about)
    }

    fn matches_target(&self, about: &About) -> bool {
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return !about.resource.is_empty()
                && unless_empty(&self.namespaces, |ns| *ns == about.namespace)
                && (self.resources.is_empty() || self.resources.iter().any(|r| r.matches(about)));
        }
        if !self.urls.is_empty() {
            return about.resource.is_empty()
                && self.urls.iter().any(|url| match url.strip_suffix('*') {
                    Some(prefix) => about.path.starts_with(prefix),
                    None => *url == about.path,
                });
        }
        true
    }
}

impl GroupResources {
    fn matches(&self, about: &About) -> bool {
        self.group == about.group
            && unless_empty(&self.resources, |resource| fits(resource, about))
            && unless_empty(&self.resource_names, |name| *name == about.name)
    }
}

// `pods` is the resource alone, `pods/log` its part, `pods/*` all parts, `*/scale` a part of all.
fn fits(pattern: &str, about: &About) -> bool {
    match pattern.split_once('/') {
        None => pattern == "*" || pattern == about.resource && about.subresource.is_empty(),
        Some((resource, part)) => {
            !about.subresource.is_empty()
                && (resource == "*" || resource == about.resource)
                && (part == "*" || part == about.subresource)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str, group: &str) -> Principal {
        Principal {
            name: name.into(),
            groups: vec![group.into()],
            ..Principal::default()
        }
    }

    fn about(verb: &str, group: &str, resource: &str) -> About {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        About {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: "default".into(),
            ..About::default()
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = Policy::read(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
             - {level: None, users: [robot]}\n\
             - {level: RequestResponse, verbs: [create], namespaces: [default], resources: [{group: '', resources: ['pods', 'pods/*', secrets]}]}\n\
             - {level: Request, resources: [{group: apps, resources: [deployments], resourceNames: [web]}], omitStages: [ResponseStarted]}\n\
             - {level: Metadata, nonResourceURLs: ['/version', '/health*']}\n",
        )
        .expect("policy");
        let jane = who("jane", "team");
        let level = |who: &Principal, about: &About| policy.decide(who, about).level;
        assert_eq!(
            level(&who("robot", "x"), &about("create", "", "pods")),
            Level::None
        );
        assert_eq!(
            level(&jane, &about("create", "", "pods")),
            Level::RequestResponse
        );
        assert_eq!(
            level(&jane, &about("create", "", "pods/exec")),
            Level::RequestResponse
        );
        assert_eq!(level(&jane, &about("delete", "", "pods")), Level::None);
        assert_eq!(
            level(&jane, &about("create", "", "secrets")),
            Level::Metadata
        );
        let mut web = about("get", "apps", "deployments");
        assert_eq!(level(&jane, &web), Level::None);
        web.name = "web".into();
        let decision = policy.decide(&jane, &web);
        assert_eq!(decision.level, Level::Request);
        assert_eq!(
            decision.omit,
            [Stage::RequestReceived, Stage::ResponseStarted]
        );
        let path = |path: &str| About {
            path: path.into(),
            verb: "get".into(),
            ..About::default()
        };
        assert_eq!(level(&jane, &path("/healthz")), Level::Metadata);
        assert_eq!(level(&jane, &path("/versions")), Level::None);
    }

    #[test]
    fn what_is_recorded_unless_said_otherwise() {
        let policy = Policy::standard();
        let level = |who: &Principal, about: &About| policy.decide(who, about).level;
        let (jane, net) = (
            who("jane", "team"),
            who("system:towpath:net", "system:towpath"),
        );
        assert_eq!(level(&jane, &about("get", "", "pods")), Level::None);
        assert_eq!(level(&jane, &about("get", "", "secrets")), Level::Metadata);
        assert_eq!(
            level(&jane, &about("delete", "apps", "deployments")),
            Level::Metadata
        );
        assert_eq!(level(&net, &about("list", "", "secrets")), Level::None);
        assert_eq!(
            level(&net, &about("patch", "", "services")),
            Level::Metadata
        );
        assert_eq!(
            level(&net, &about("patch", "coordination.k8s.io", "leases")),
            Level::None
        );
    }

    #[test]
    fn what_is_no_policy() {
        for text in [
            "",
            "[]",
            "kind: Policy\napiVersion: v1\nrules: [{level: None}]",
            "apiVersion: audit.k8s.io/v1\nkind: Policy",
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: All}]",
        ] {
            assert!(Policy::read(text).is_err(), "{text}");
        }
    }
}
