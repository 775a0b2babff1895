//! What calls are told apart by: looked up for every span, owned for those that are new.

use std::borrow::Borrow;
use std::cmp::Ordering;

use towpath_query::traceql::{Kind, Span, Status};

/// Calls that are counted as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Calls {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) status: Status,
}

/// What tells calls apart, without owning it: most spans are of calls that are known.
pub(super) trait AsCalls {
    fn parts(&self) -> (&str, &str, Kind, Status);
}

impl AsCalls for Calls {
    fn parts(&self) -> (&str, &str, Kind, Status) {
        (&self.service, &self.name, self.kind, self.status)
    }
}

impl AsCalls for Span {
    fn parts(&self) -> (&str, &str, Kind, Status) {
        (self.resource.service(), &self.name, self.kind, self.status)
    }
}

impl PartialEq for dyn AsCalls + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn AsCalls + '_ {}

impl PartialOrd for dyn AsCalls + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn AsCalls + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl<'a> Borrow<dyn AsCalls + 'a> for Calls {
    fn borrow(&self) -> &(dyn AsCalls + 'a) {
        self
    }
}

impl Calls {
    pub(super) fn labels(&self) -> [(String, String); 4] {
        let pair = |name: &str, value: String| (name.to_string(), value);
        let kind = self.kind.name().to_uppercase();
        let status = self.status.name().to_uppercase();
        [
            pair("service", self.service.clone()),
            pair("span_name", self.name.clone()),
            pair("span_kind", format!("SPAN_KIND_{kind}")),
            pair("status_code", format!("STATUS_CODE_{status}")),
        ]
    }
}
