//! The variables of a policy's expressions for one write, binding and parameter. Variables of the
//! policy itself are evaluated when they are named first, and once.

use super::matching::Object;
use super::registry::{Expression, Policy};
use crate::admission::expressions::{self, CONDITIONS_LIMIT};
use crate::kinds::Resource;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use towpath_query::cel::{self, CALL_LIMIT, Check, Error, Variables};

/// What expressions see.
pub(super) struct Scene<'a> {
    request: &'a expressions::Scene,
    policy: &'a Policy,
    namespace: cel::Value,
    params: cel::Value,
    resource: Check,
    known: RefCell<BTreeMap<String, Result<cel::Value, Error>>>,
    left: Cell<u64>,
}

/// Why an expression gives no value.
enum Wrong {
    Compiled(String),
    Evaluated(Error),
}

const SPENT: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl<'a> Scene<'a> {
    pub(super) fn new(
        request: &'a expressions::Scene,
        object: &Object<'_>,
        resource: &Resource,
        policy: &'a Policy,
        parameter: Option<&Value>,
    ) -> Self {
        let change = object.change;
        let of_namespaces = change.target.resource.is("", "namespaces");
        let namespace = object
            .namespace
            .filter(|_| change.target.resource.namespaced && !of_namespaces)
            .map_or(cel::Value::Null, namespace_value);
        let text = |text: &str| Arc::<str>::from(text);
        let resource = Check {
            group: Some(text(&resource.group)),
            resource: Some(text(&resource.plural)),
            subresource: text(change.subresource),
            namespace: text(&change.target.namespace),
            name: text(&change.name(object.new)),
            ..Check::default()
        };
        Scene {
            request,
            policy,
            namespace,
            params: parameter.map_or(cel::Value::Null, cel::Value::from_json),
            resource,
            known: RefCell::default(),
            left: Cell::new(CONDITIONS_LIMIT),
        }
    }

    /// A new budget.
    pub(super) fn refill(&self, limit: u64) {
        self.left.set(limit);
    }

    /// The outer error ends all evaluation, the inner one is this expression's.
    pub(super) fn evaluate(
        &self,
        expression: &Expression,
    ) -> Result<Result<cel::Value, String>, String> {
        let about = |why: String| {
            format!(
                "expression '{}' resulted in error: {why}",
                expression.source
            )
        };
        let result = match self.run(expression)? {
            Ok(value) => Ok(value),
            Err(Wrong::Compiled(why)) => Err(format!("compilation error: {why}")),
            Err(Wrong::Evaluated(Error::Limit)) => Err(about(format!(
                "{}, no further validation rules will be run",
                Error::Limit
            ))),
            Err(Wrong::Evaluated(error)) => Err(about(error.to_string())),
        };
        Ok(result)
    }

    fn run(&self, expression: &Expression) -> Result<Result<cel::Value, Wrong>, String> {
        let program = match &expression.program {
            Ok(program) => program,
            Err(why) => return Ok(Err(Wrong::Compiled(why.clone()))),
        };
        let outcome = program.eval(self, CALL_LIMIT);
        let left = self.left.get();
        if outcome.cost > left {
            return Err(SPENT.into());
        }
        self.left.set(left - outcome.cost);
        Ok(outcome.result.map_err(Wrong::Evaluated))
    }

    /// Whether all conditions hold. One that does not decides, also where another has failed.
    pub(super) fn conditions(&self, policy: &Policy) -> Result<bool, String> {
        let mut failed = Vec::new();
        for condition in &policy.conditions {
            match self.evaluate(condition)? {
                Ok(cel::Value::Bool(true)) => {}
                Ok(_) => return Ok(false),
                Err(why) => failed.push(why),
            }
        }
        match failed.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    fn variable(&self, name: &str) -> Option<Result<cel::Value, Error>> {
        if let Some(known) = self.known.borrow().get(name) {
            return Some(known.clone());
        }
        let expression = self.policy.variables.get(name)?;
        let failed = |why: String| {
            Err(Error::Fault(format!(
                "composited variable {name:?} fails to evaluate: {why}"
            )))
        };
        let value = match self.run(expression) {
            Err(_) => Err(Error::Limit),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Wrong::Evaluated(Error::Limit))) => Err(Error::Limit),
            Ok(Err(Wrong::Evaluated(error))) => failed(error.to_string()),
            Ok(Err(Wrong::Compiled(why))) => failed(why),
        };
        self.known.borrow_mut().insert(name.into(), value.clone());
        Some(value)
    }
}

fn namespace_value(namespace: &Value) -> cel::Value {
    let shown = json!({
        "metadata": namespace["metadata"],
        "spec": namespace["spec"],
        "status": namespace["status"],
    });
    cel::Value::from_json(&shown)
}

impl Variables for Scene<'_> {
    fn get(&self, name: &str) -> Option<Result<cel::Value, Error>> {
        if let Some(variable) = name.strip_prefix("variables.") {
            return self.variable(variable);
        }
        match name {
            "namespaceObject" => Some(Ok(self.namespace.clone())),
            "params" => Some(Ok(self.params.clone())),
            "variables" => {
                let names = self.policy.variables.keys();
                let known = names.filter_map(|name| {
                    Some((Arc::from(name.as_str()), self.variable(name)?.ok()?))
                });
                Some(Ok(cel::Value::map(known)))
            }
            "authorizer.requestResource" => {
                let cel::Value::Authorizer(check) = self.request.get("authorizer")?.ok()? else {
                    return None;
                };
                let mut resource = self.resource.clone();
                resource.by = check.by.clone();
                Some(Ok(cel::Value::Authorizer(Arc::new(resource))))
            }
            other => self.request.get(other),
        }
    }
}
