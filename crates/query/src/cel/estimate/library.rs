//! What functions of libraries cost at most, and how large what they make can be.

use super::{Coster, Estimate, Node, ONE, PATTERN, TRAVERSAL, UNKNOWN, ZERO, fixed, scale};
use crate::cel::ast::Kind;
use crate::cel::types::Type;
use crate::cel::value::Value;

impl Coster<'_> {
    /// Functions of libraries; none where the language itself says what they cost.
    pub(super) fn library(
        &mut self,
        function: &str,
        overload: &str,
        target: Option<&Node<'_>>,
        args: &[Node<'_>],
    ) -> Option<(Estimate, Option<Estimate>)> {
        if let Some(found) = self.lists(overload, target, args) {
            return Some(found);
        }
        let first = args.first().map(|node| self.of(node));
        let on = target.map(|node| self.of(node));
        Some(match function {
            "check" => (fixed(350_000), None),
            "serviceAccount"
            | "path"
            | "group"
            | "resource"
            | "subresource"
            | "namespace"
            | "name"
            | "allowed"
            | "reason"
            | "error"
            | "errored"
            | "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery" => (ONE, None),
            "fieldSelector" | "labelSelector" => {
                let size = first?;
                let requirements = size.scaled(0.5).scaled(50.0);
                (
                    fixed(10).plus(size.scaled(TRAVERSAL)).plus(requirements),
                    None,
                )
            }
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
                let (node, size) = (target?, on?);
                match &node.kind {
                    Type::List(item) => {
                        let mut each = ONE;
                        if matches!(**item, Type::String | Type::Bytes) {
                            let mut path = node.path.clone();
                            let known = match path.is_empty() {
                                true => None,
                                false => {
                                    path.push("@items".into());
                                    self.at(&path)
                                }
                            };
                            each = each.plus(known.unwrap_or(UNKNOWN).scaled(TRAVERSAL));
                        }
                        (size.times(each), None)
                    }
                    _ => (size.scaled(TRAVERSAL), None),
                }
            }
            "url" | "jsonpatch.escapeKey" => (first?.scaled(TRAVERSAL), first),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => (on?.scaled(TRAVERSAL), on),
            "replace" => {
                let size = replaced(on?, first?, args.get(1).map(|node| self.of(node))?);
                (on?.scaled(2.0 * TRAVERSAL), Some(size))
            }
            "split" => {
                let size = on?;
                let mut max = size.max;
                if let Some(Kind::Const(Value::Int(count))) = args.get(1).map(|n| &n.expr.kind) {
                    max = *count as u64;
                }
                (size.scaled(2.0 * TRAVERSAL), Some(Estimate { min: 0, max }))
            }
            "join" => {
                let (node, count) = (target?, on?);
                let mut path = node.path.clone();
                let item = match path.is_empty() {
                    // Elements of what is only known when it runs do not count, as upstream.
                    _ if !matches!(node.kind, Type::List(_)) => ZERO,
                    true => UNKNOWN,
                    false => {
                        path.push("@items".into());
                        self.at(&path).unwrap_or(UNKNOWN)
                    }
                };
                let mut size = count.times(item);
                if let Some(separator) = first {
                    let between = Estimate {
                        min: count.min.saturating_sub(1),
                        max: count.max.saturating_sub(1),
                    };
                    size = size.plus(separator.times(between));
                }
                (size.scaled(TRAVERSAL), Some(size))
            }
            "find" | "findAll" => {
                let size = on?;
                let cost = size.plus(ONE).scaled(TRAVERSAL);
                let made = Estimate {
                    min: 0,
                    max: size.max,
                };
                (cost.times(first?.scaled(PATTERN)), Some(made))
            }
            "ip" if overload == "cidr_ip" => (ONE, None),
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver"
            | "isSemver" => (first?.scaled(TRAVERSAL), None),
            "ip.isCanonical" => (first?.scaled(2.0 * TRAVERSAL), None),
            "containsIP" | "containsCIDR" => {
                let size = Estimate { min: 4, max: 16 };
                let mut cost = size.plus(size).scaled(TRAVERSAL);
                if function == "containsCIDR" {
                    cost = cost.plus(size.scaled(TRAVERSAL)).plus(ONE);
                }
                if overload.ends_with("_string") {
                    cost = cost.plus(first?.scaled(TRAVERSAL));
                }
                (cost, None)
            }
            "validate" => (first?.scaled(TRAVERSAL).scaled(128.0 * PATTERN), None),
            "_==_" => {
                let (Some(a), Some(b)) = (args.first(), args.get(1)) else {
                    return None;
                };
                let Type::Library(name) = &a.kind else {
                    return None;
                };
                if a.kind != b.kind {
                    return None;
                }
                match *name {
                    "kubernetes.NamedFormat" => {
                        (Estimate { min: 1, max: 64 }.scaled(TRAVERSAL), None)
                    }
                    "kubernetes.URL" => {
                        let size = b.size.unwrap_or(ONE);
                        let size = Estimate {
                            min: 1,
                            max: size.max,
                        };
                        (size.scaled(TRAVERSAL), None)
                    }
                    _ => (ONE, None),
                }
            }
            _ => return None,
        })
    }

    fn lists(
        &mut self,
        overload: &str,
        target: Option<&Node<'_>>,
        args: &[Node<'_>],
    ) -> Option<(Estimate, Option<Estimate>)> {
        let made = |factor: f64, size: Estimate| {
            let cost = size.scaled(factor).plus(ONE).plus(fixed(10));
            Some((cost, Some(size)))
        };
        let number = |node: Option<&Node<'_>>, otherwise: u64| match node.map(|n| &n.expr.kind) {
            Some(Kind::Const(Value::Int(n))) => u64::try_from(*n).unwrap_or(0),
            _ => otherwise,
        };
        let on = target.map(|node| self.of(node));
        match overload {
            "list_slice" => {
                let size = on?;
                let (start, end) = (number(args.first(), 0), number(args.get(1), size.max));
                made(1.0, fixed(end.wrapping_sub(start)))
            }
            "lists_range" => made(1.0, fixed(number(args.first(), u64::MAX))),
            "list_reverse" => made(1.0, on?),
            "list_flatten" => made(1.0, on?),
            "list_flatten_int" => made(number(args.first(), u64::MAX) as f64, on?),
            "list_distinct" => made(2.0, on?.times(on?)),
            "list_sets_contains_list"
            | "list_sets_intersects_list"
            | "list_sets_equivalent_list" => {
                let factor = if overload.contains("equivalent") {
                    2.0
                } else {
                    1.0
                };
                let (a, b) = (self.of(args.first()?), self.of(args.get(1)?));
                Some((a.times(b).scaled(factor).plus(ONE), None))
            }
            _ => {
                let by = overload.ends_with("_sortByAssociatedKeys");
                let sorts = overload.starts_with("list_") && overload.ends_with("_sort");
                if !by && !sorts {
                    return None;
                }
                let texts = overload.contains("_string_") || overload.contains("_bytes_");
                let size = match by {
                    true => self.of(args.first()?),
                    false => on?,
                };
                made(if texts { 2.0 + TRAVERSAL } else { 2.0 }, size.times(size))
            }
        }
    }
}

fn replaced(size: Estimate, old: Estimate, new: Estimate) -> Estimate {
    let over = |a: u64, b: u64| scale(1, a as f64 / b as f64);
    let (count_max, kept_max) = if old.min == 0 {
        (size.max.saturating_add(1), size.max)
    } else if new.max <= old.min {
        (0, size.max)
    } else {
        (over(size.max, old.min), 0)
    };
    let (count_min, kept_min) = if old.max == 0 {
        (size.min.saturating_add(1), size.min)
    } else if old.max <= new.min {
        (0, size.min)
    } else {
        (over(size.min, old.max), 0)
    };
    Estimate {
        min: count_min.saturating_mul(new.min).saturating_add(kept_min),
        max: count_max.saturating_mul(new.max).saturating_add(kept_max),
    }
}
