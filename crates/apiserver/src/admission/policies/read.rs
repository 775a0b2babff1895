//! From objects to policies: what expressions may name, and what they must give.

use super::matching::Matches;
use super::registry::{
    Annotation, Binding, Expression, Mutation, ParamKind, ParamRef, Patch, Policy, Validation,
};
use crate::admission::expressions::ENV;
use serde_json::Value;
use std::sync::{Arc, LazyLock};
use towpath_api::selector::Label;
use towpath_query::cel::{Env, Object, Program, Type};

fn object(name: &str, fields: &[(&str, Type)]) -> Type {
    let fields = fields
        .iter()
        .map(|(name, kind)| (Arc::from(*name), kind.clone()));
    Type::Object(Arc::new(Object {
        name: name.into(),
        fields: fields.collect(),
    }))
}

static NAMESPACE: LazyLock<Type> = LazyLock::new(|| {
    let texts = Type::map(Type::String, Type::String);
    let list = Type::list(Type::String);
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        &[
            ("name", Type::String),
            ("generateName", Type::String),
            ("namespace", Type::String),
            ("labels", texts.clone()),
            ("annotations", texts),
            ("UID", Type::String),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::String),
            ("finalizers", list.clone()),
        ],
    );
    let spec = object("kubernetes.NamespaceSpec", &[("finalizers", list)]);
    let status = object("kubernetes.NamespaceStatus", &[("phase", Type::String)]);
    let fields = [("metadata", metadata), ("spec", spec), ("status", status)];
    object("kubernetes.Namespace", &fields)
});

/// Compiles the expressions of a policy, one after the other, as variables become known.
pub(super) struct Reader {
    env: Env,
    /// Without the authorizer, which messages do not get.
    plain: Env,
    variables: Object,
}

/// What an expression must give.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wanted {
    Bool,
    Text,
    TextOrNull,
    Anything,
    /// `Object{...}`.
    Apply,
    /// `[JSONPatch{...}]`.
    Patches,
}

static JSON_PATCH: LazyLock<Arc<Object>> = LazyLock::new(|| {
    let texts = ["op", "path", "from"].map(|name| (Arc::from(name), Type::String));
    Arc::new(Object {
        name: "JSONPatch".into(),
        fields: texts
            .into_iter()
            .chain([(Arc::from("value"), Type::Dyn)])
            .collect(),
    })
});

impl Reader {
    pub(super) fn new(params: bool) -> Self {
        let check = Type::Library("kubernetes.authorization.ResourceCheck");
        let with = |env: Env| {
            let env = env.with("namespaceObject", NAMESPACE.clone());
            match params {
                true => env.with("params", Type::Dyn),
                false => env,
            }
        };
        Reader {
            plain: with(ENV.clone().without("authorizer")),
            env: with(ENV.clone().with("authorizer.requestResource", check)),
            variables: Object {
                name: "kubernetes.variables".into(),
                ..Object::default()
            },
        }
    }

    /// Objects have this type instead of any.
    pub(super) fn object(&mut self, kind: Type) {
        for env in [&mut self.env, &mut self.plain] {
            *env = std::mem::take(env)
                .with("object", kind.clone())
                .with("oldObject", kind.clone());
        }
    }

    pub(super) fn compile(
        &self,
        source: &str,
        wanted: Wanted,
        message: bool,
    ) -> Result<Program, String> {
        let patching;
        let env = match wanted {
            Wanted::Apply | Wanted::Patches => {
                let root = Object {
                    name: "Object".into(),
                    ..Object::default()
                };
                patching = self
                    .env
                    .clone()
                    .with_message("Object", Arc::new(root))
                    .with_message("JSONPatch", JSON_PATCH.clone());
                &patching
            }
            _ if message => &self.plain,
            _ => &self.env,
        };
        let program = env
            .compile(source)
            .map_err(|issues| match issues.unplaced {
                true => format!("instantiation failed: {issues}"),
                false => format!("compilation failed: {issues}"),
            })?;
        let output = program.output();
        let fits = match wanted {
            Wanted::Bool => *output == Type::Bool,
            Wanted::Text => *output == Type::String,
            Wanted::TextOrNull => matches!(output, Type::String | Type::Null),
            Wanted::Anything => true,
            Wanted::Apply => matches!(output, Type::Object(object) if object.name == "Object"),
            Wanted::Patches => matches!(output, Type::List(item) if match &**item {
                Type::Object(object) => object.name == "JSONPatch",
                other => *other == Type::Dyn,
            }),
        };
        if fits || *output == Type::Dyn {
            return Ok(program);
        }
        let wanted = match wanted {
            Wanted::Bool => "bool",
            Wanted::TextOrNull => "one of [string null_type]",
            Wanted::Apply => "Object",
            Wanted::Patches => "list(JSONPatch)",
            _ => "string",
        };
        Err(format!("must evaluate to {wanted} but got {output}"))
    }

    /// From here on expressions may name the variable.
    pub(super) fn variable(&mut self, name: &str, source: &str) -> Result<Program, String> {
        let program = self.compile(source, Wanted::Anything, false);
        let kind = match &program {
            Ok(program) => program.output().clone(),
            Err(_) => Type::Dyn,
        };
        self.variables.fields.insert(name.into(), kind.clone());
        let all = Type::Object(Arc::new(self.variables.clone()));
        for env in [&mut self.env, &mut self.plain] {
            *env = std::mem::take(env)
                .with("variables", all.clone())
                .with(&format!("variables.{name}"), kind.clone());
        }
        program
    }
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(|text| text.as_str().map(str::to_string))
        .collect()
}

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A policy and the bindings it has.
pub(super) fn policy(name: &str, spec: &Value, bindings: Vec<Binding>) -> Policy {
    let param_kind = spec["paramKind"].is_object().then(|| ParamKind {
        api_version: text(&spec["paramKind"], "apiVersion").into(),
        kind: text(&spec["paramKind"], "kind").into(),
    });
    let mut reader = Reader::new(param_kind.is_some());
    let variables = list(spec, "variables")
        .iter()
        .map(|variable| {
            let (name, source) = (text(variable, "name"), text(variable, "expression"));
            let expression = Expression {
                source: source.into(),
                program: reader.variable(name, source),
            };
            (name.to_string(), expression)
        })
        .collect();
    let expression = |value: &Value, key: &str, wanted, message| Expression {
        source: text(value, key).into(),
        program: reader.compile(text(value, key), wanted, message),
    };
    Policy {
        name: name.into(),
        fails_open: text(spec, "failurePolicy") == "Ignore",
        param_kind,
        matches: Matches::read(&spec["matchConstraints"]),
        conditions: list(spec, "matchConditions")
            .iter()
            .map(|condition| expression(condition, "expression", Wanted::Bool, false))
            .collect(),
        variables,
        validations: list(spec, "validations")
            .iter()
            .map(|validation| Validation {
                expression: expression(validation, "expression", Wanted::Bool, false),
                message: text(validation, "message").into(),
                message_expression: (!text(validation, "messageExpression").is_empty())
                    .then(|| expression(validation, "messageExpression", Wanted::Text, true)),
                reason: text(validation, "reason").into(),
            })
            .collect(),
        annotations: list(spec, "auditAnnotations")
            .iter()
            .map(|annotation| Annotation {
                key: text(annotation, "key").into(),
                expression: expression(annotation, "valueExpression", Wanted::TextOrNull, false),
            })
            .collect(),
        mutations: list(spec, "mutations")
            .iter()
            .map(|mutation| {
                let (patch, key, wanted) = patch_of(mutation);
                Mutation {
                    patch,
                    expression: expression(&mutation[key], "expression", wanted, false),
                }
            })
            .collect(),
        reinvoke: text(spec, "reinvocationPolicy") == "IfNeeded",
        bindings,
    }
}

/// How a mutation changes objects, where its expression is, and what that must give.
pub(super) fn patch_of(mutation: &Value) -> (Patch, &'static str, Wanted) {
    match text(mutation, "patchType") {
        "JSONPatch" => (Patch::Json, "jsonPatch", Wanted::Patches),
        _ => (Patch::Apply, "applyConfiguration", Wanted::Apply),
    }
}

/// One binding.
pub(super) fn binding(name: &str, spec: &Value) -> Binding {
    let reference = &spec["paramRef"];
    let param_ref = reference.is_object().then(|| ParamRef {
        name: text(reference, "name").into(),
        namespace: text(reference, "namespace").into(),
        selector: match reference["selector"].is_object() {
            true => Label::from_object(&reference["selector"]).unwrap_or_default(),
            false => Label::default(),
        },
        denies_without: text(reference, "parameterNotFoundAction") == "Deny",
    });
    Binding {
        name: name.into(),
        param_ref,
        matches: spec["matchResources"]
            .is_object()
            .then(|| Matches::read(&spec["matchResources"])),
        actions: texts(&spec["validationActions"]),
    }
}
