//! Every function with its overloads: number, receiver, arguments, result. A line a piece, read on
//! first use; what they do is in the evaluator and its libraries.

use super::types::Type;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    pub(crate) member: bool,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    /// Open types, numbered from 0.
    pub(crate) params: u32,
}

/// `id: [receiver.]name(arguments) result`. Single capital letters are open types; `<ordered>` and
/// `<sum>` stand for each of a family of types.
const TABLE: &str = "
logical_not: !_(bool) bool
not_strictly_false: @not_strictly_false(bool) bool
logical_and: _&&_(bool, bool) bool
logical_or: _||_(bool, bool) bool
conditional: _?_:_(bool, A, A) A
equals: _==_(A, A) bool
not_equals: _!=_(A, A) bool
less_bool: _<_(bool, bool) bool
less_int64: _<_(int, int) bool
less_int64_double: _<_(int, double) bool
less_int64_uint64: _<_(int, uint) bool
less_uint64: _<_(uint, uint) bool
less_uint64_double: _<_(uint, double) bool
less_uint64_int64: _<_(uint, int) bool
less_double: _<_(double, double) bool
less_double_int64: _<_(double, int) bool
less_double_uint64: _<_(double, uint) bool
less_string: _<_(string, string) bool
less_bytes: _<_(bytes, bytes) bool
less_timestamp: _<_(timestamp, timestamp) bool
less_duration: _<_(duration, duration) bool
less_equals_bool: _<=_(bool, bool) bool
less_equals_int64: _<=_(int, int) bool
less_equals_int64_double: _<=_(int, double) bool
less_equals_int64_uint64: _<=_(int, uint) bool
less_equals_uint64: _<=_(uint, uint) bool
less_equals_uint64_double: _<=_(uint, double) bool
less_equals_uint64_int64: _<=_(uint, int) bool
less_equals_double: _<=_(double, double) bool
less_equals_double_int64: _<=_(double, int) bool
less_equals_double_uint64: _<=_(double, uint) bool
less_equals_string: _<=_(string, string) bool
less_equals_bytes: _<=_(bytes, bytes) bool
less_equals_timestamp: _<=_(timestamp, timestamp) bool
less_equals_duration: _<=_(duration, duration) bool
greater_bool: _>_(bool, bool) bool
greater_int64: _>_(int, int) bool
greater_int64_double: _>_(int, double) bool
greater_int64_uint64: _>_(int, uint) bool
greater_uint64: _>_(uint, uint) bool
greater_uint64_double: _>_(uint, double) bool
greater_uint64_int64: _>_(uint, int) bool
greater_double: _>_(double, double) bool
greater_double_int64: _>_(double, int) bool
greater_double_uint64: _>_(double, uint) bool
greater_string: _>_(string, string) bool
greater_bytes: _>_(bytes, bytes) bool
greater_timestamp: _>_(timestamp, timestamp) bool
greater_duration: _>_(duration, duration) bool
greater_equals_bool: _>=_(bool, bool) bool
greater_equals_int64: _>=_(int, int) bool
greater_equals_int64_double: _>=_(int, double) bool
greater_equals_int64_uint64: _>=_(int, uint) bool
greater_equals_uint64: _>=_(uint, uint) bool
greater_equals_uint64_double: _>=_(uint, double) bool
greater_equals_uint64_int64: _>=_(uint, int) bool
greater_equals_double: _>=_(double, double) bool
greater_equals_double_int64: _>=_(double, int) bool
greater_equals_double_uint64: _>=_(double, uint) bool
greater_equals_string: _>=_(string, string) bool
greater_equals_bytes: _>=_(bytes, bytes) bool
greater_equals_timestamp: _>=_(timestamp, timestamp) bool
greater_equals_duration: _>=_(duration, duration) bool
add_bytes: _+_(bytes, bytes) bytes
add_double: _+_(double, double) double
add_duration_duration: _+_(duration, duration) duration
add_duration_timestamp: _+_(duration, timestamp) timestamp
add_timestamp_duration: _+_(timestamp, duration) timestamp
add_int64: _+_(int, int) int
add_list: _+_(list(A), list(A)) list(A)
add_string: _+_(string, string) string
add_uint64: _+_(uint, uint) uint
subtract_double: _-_(double, double) double
subtract_duration_duration: _-_(duration, duration) duration
subtract_int64: _-_(int, int) int
subtract_timestamp_duration: _-_(timestamp, duration) timestamp
subtract_timestamp_timestamp: _-_(timestamp, timestamp) duration
subtract_uint64: _-_(uint, uint) uint
multiply_double: _*_(double, double) double
multiply_int64: _*_(int, int) int
multiply_uint64: _*_(uint, uint) uint
divide_double: _/_(double, double) double
divide_int64: _/_(int, int) int
divide_uint64: _/_(uint, uint) uint
modulo_int64: _%_(int, int) int
modulo_uint64: _%_(uint, uint) uint
negate_double: -_(double) double
negate_int64: -_(int) int
index_list: _[_](list(A), int) A
index_map: _[_](map(A, B), A) B
optional_list_index_int: _[_](optional(list(A)), int) optional(A)
optional_map_index_value: _[_](optional(map(A, B)), A) optional(B)
list_optindex_optional_int: _[?_](list(A), int) optional(A)
optional_list_optindex_optional_int: _[?_](optional(list(A)), int) optional(A)
map_optindex_optional_value: _[?_](map(A, B), A) optional(B)
optional_map_optindex_optional_value: _[?_](optional(map(A, B)), A) optional(B)
in_list: @in(A, list(A)) bool
in_map: @in(A, map(A, B)) bool
size_bytes: size(bytes) int
bytes_size: bytes.size() int
size_list: size(list(A)) int
list_size: list(A).size() int
size_map: size(map(A, B)) int
map_size: map(A, B).size() int
size_string: size(string) int
string_size: string.size() int
type: type(A) type(A)
bool_to_bool: bool(bool) bool
string_to_bool: bool(string) bool
bytes_to_bytes: bytes(bytes) bytes
string_to_bytes: bytes(string) bytes
double_to_double: double(double) double
int64_to_double: double(int) double
string_to_double: double(string) double
uint64_to_double: double(uint) double
duration_to_duration: duration(duration) duration
int64_to_duration: duration(int) duration
string_to_duration: duration(string) duration
to_dyn: dyn(A) dyn
int64_to_int64: int(int) int
double_to_int64: int(double) int
duration_to_int64: int(duration) int
string_to_int64: int(string) int
timestamp_to_int64: int(timestamp) int
uint64_to_int64: int(uint) int
string_to_string: string(string) string
bool_to_string: string(bool) string
bytes_to_string: string(bytes) string
double_to_string: string(double) string
duration_to_string: string(duration) string
int64_to_string: string(int) string
timestamp_to_string: string(timestamp) string
uint64_to_string: string(uint) string
ip_to_string: string(ip) string
cidr_to_string: string(cidr) string
timestamp_to_timestamp: timestamp(timestamp) timestamp
int64_to_timestamp: timestamp(int) timestamp
string_to_timestamp: timestamp(string) timestamp
uint64_to_uint64: uint(uint) uint
double_to_uint64: uint(double) uint
int64_to_uint64: uint(int) uint
string_to_uint64: uint(string) uint
contains_string: string.contains(string) bool
ends_with_string: string.endsWith(string) bool
starts_with_string: string.startsWith(string) bool
matches: matches(string, string) bool
matches_string: string.matches(string) bool
timestamp_to_year: timestamp.getFullYear() int
timestamp_to_year_with_tz: timestamp.getFullYear(string) int
timestamp_to_month: timestamp.getMonth() int
timestamp_to_month_with_tz: timestamp.getMonth(string) int
timestamp_to_day_of_year: timestamp.getDayOfYear() int
timestamp_to_day_of_year_with_tz: timestamp.getDayOfYear(string) int
timestamp_to_day_of_month: timestamp.getDayOfMonth() int
timestamp_to_day_of_month_with_tz: timestamp.getDayOfMonth(string) int
timestamp_to_day_of_month_1_based: timestamp.getDate() int
timestamp_to_day_of_month_1_based_with_tz: timestamp.getDate(string) int
timestamp_to_day_of_week: timestamp.getDayOfWeek() int
timestamp_to_day_of_week_with_tz: timestamp.getDayOfWeek(string) int
timestamp_to_hours: timestamp.getHours() int
timestamp_to_hours_with_tz: timestamp.getHours(string) int
duration_to_hours: duration.getHours() int
timestamp_to_minutes: timestamp.getMinutes() int
timestamp_to_minutes_with_tz: timestamp.getMinutes(string) int
duration_to_minutes: duration.getMinutes() int
timestamp_to_seconds: timestamp.getSeconds() int
timestamp_to_seconds_tz: timestamp.getSeconds(string) int
duration_to_seconds: duration.getSeconds() int
timestamp_to_milliseconds: timestamp.getMilliseconds() int
timestamp_to_milliseconds_with_tz: timestamp.getMilliseconds(string) int
duration_to_milliseconds: duration.getMilliseconds() int
optional_of: optional.of(A) optional(A)
optional_ofNonZeroValue: optional.ofNonZeroValue(A) optional(A)
optional_none: optional.none() optional(A)
optional_value: optional(A).value() A
optional_hasValue: optional(A).hasValue() bool
optional_or_optional: optional(A).or(optional(A)) optional(A)
optional_orValue_value: optional(A).orValue(A) A
string_char_at_int: string.charAt(int) string
string_index_of_string: string.indexOf(string) int
string_index_of_string_int: string.indexOf(string, int) int
list_a_index_of_int: list(A).indexOf(A) int
string_last_index_of_string: string.lastIndexOf(string) int
string_last_index_of_string_int: string.lastIndexOf(string, int) int
list_a_last_index_of_int: list(A).lastIndexOf(A) int
string_lower_ascii: string.lowerAscii() string
string_upper_ascii: string.upperAscii() string
string_replace_string_string: string.replace(string, string) string
string_replace_string_string_int: string.replace(string, string, int) string
string_split_string: string.split(string) list(string)
string_split_string_int: string.split(string, int) list(string)
string_substring_int: string.substring(int) string
string_substring_int_int: string.substring(int, int) string
string_trim: string.trim() string
string_format: string.format(list(dyn)) string
strings_quote: strings.quote(string) string
list_join: list(string).join() string
list_join_string: list(string).join(string) string
list_sets_contains_list: sets.contains(list(A), list(A)) bool
list_sets_equivalent_list: sets.equivalent(list(A), list(A)) bool
list_sets_intersects_list: sets.intersects(list(A), list(A)) bool
list_<ordered>_is_sorted_bool: list(<ordered>).isSorted() bool
list_<ordered>_max_<ordered>: list(<ordered>).max() <ordered>
list_<ordered>_min_<ordered>: list(<ordered>).min() <ordered>
list_<sum>_sum_<sum>: list(<sum>).sum() <sum>
list_slice: list(A).slice(int, int) list(A)
list_flatten: list(list(A)).flatten() list(A)
list_flatten_int: list(dyn).flatten(int) list(dyn)
list_<ordered>_sort: list(<ordered>).sort() list(<ordered>)
list_<ordered>_sortByAssociatedKeys: list(A).@sortByAssociatedKeys(list(<ordered>)) list(A)
lists_range: lists.range(int) list(int)
list_reverse: list(A).reverse() list(A)
list_distinct: list(A).distinct() list(A)
list_first: list(A).first() optional(A)
list_last: list(A).last() optional(A)
cel.@mapInsert_map_map: cel.@mapInsert(map(A, B), map(A, B)) map(A, B)
cel.@mapInsert_map_key_value: cel.@mapInsert(map(A, B), A, B) map(A, B)
string_find_string: string.find(string) string
string_find_all_string: string.findAll(string) list(string)
string_find_all_string_int: string.findAll(string, int) list(string)
string_to_url: url(string) url
is_url_string: isURL(string) bool
url_get_scheme: url.getScheme() string
url_get_host: url.getHost() string
url_get_hostname: url.getHostname() string
url_get_port: url.getPort() string
url_get_escaped_path: url.getEscapedPath() string
url_get_query: url.getQuery() map(string, list(string))
string_to_ip: ip(string) ip
cidr_ip: cidr.ip() ip
ip_family: ip.family() int
ip_is_canonical: ip.isCanonical(string) bool
ip_is_unspecified: ip.isUnspecified() bool
ip_is_loopback: ip.isLoopback() bool
ip_is_link_local_multicast: ip.isLinkLocalMulticast() bool
ip_is_link_local_unicast: ip.isLinkLocalUnicast() bool
ip_is_global_unicast: ip.isGlobalUnicast() bool
is_ip: isIP(string) bool
string_to_cidr: cidr(string) cidr
is_cidr: isCIDR(string) bool
cidr_contains_ip_string: cidr.containsIP(string) bool
cidr_contains_ip_ip: cidr.containsIP(ip) bool
cidr_contains_cidr_string: cidr.containsCIDR(string) bool
cidr_contains_cidr: cidr.containsCIDR(cidr) bool
cidr_prefix_length: cidr.prefixLength() int
cidr_masked: cidr.masked() cidr
string_to_quantity: quantity(string) quantity
is_quantity_string: isQuantity(string) bool
quantity_sign: sign(quantity) int
quantity_is_greater_than: quantity.isGreaterThan(quantity) bool
semver_is_greater_than: semver.isGreaterThan(semver) bool
quantity_is_less_than: quantity.isLessThan(quantity) bool
semver_is_less_than: semver.isLessThan(semver) bool
quantity_compare_to: quantity.compareTo(quantity) int
semver_compare_to: semver.compareTo(semver) int
quantity_get_float: quantity.asApproximateFloat() double
quantity_get_int: quantity.asInteger() int
quantity_is_integer: quantity.isInteger() bool
quantity_add: quantity.add(quantity) quantity
quantity_add_int: quantity.add(int) quantity
quantity_sub: quantity.sub(quantity) quantity
quantity_sub_int: quantity.sub(int) quantity
string_to_semver: semver(string) semver
string_bool_to_semver: semver(string, bool) semver
is_semver_string: isSemver(string) bool
is_semver_string_bool: isSemver(string, bool) bool
semver_major: semver.major() int
semver_minor: semver.minor() int
semver_patch: semver.patch() int
format-named: format.named(string) optional(format)
format-validate: format.validate(string) optional(list(string))
format-dns1123Label: format.dns1123Label() format
format-dns1123Subdomain: format.dns1123Subdomain() format
format-dns1035Label: format.dns1035Label() format
format-qualifiedName: format.qualifiedName() format
format-dns1123LabelPrefix: format.dns1123LabelPrefix() format
format-dns1123SubdomainPrefix: format.dns1123SubdomainPrefix() format
format-dns1035LabelPrefix: format.dns1035LabelPrefix() format
format-labelValue: format.labelValue() format
format-uri: format.uri() format
format-uuid: format.uuid() format
format-byte: format.byte() format
format-date: format.date() format
format-datetime: format.datetime() format
authorizer_path: authorizer.path(string) pathcheck
authorizer_group: authorizer.group(string) groupcheck
authorizer_serviceaccount: authorizer.serviceAccount(string, string) authorizer
groupcheck_resource: groupcheck.resource(string) resourcecheck
resourcecheck_subresource: resourcecheck.subresource(string) resourcecheck
resourcecheck_namespace: resourcecheck.namespace(string) resourcecheck
resourcecheck_name: resourcecheck.name(string) resourcecheck
authorizer_fieldselector: resourcecheck.fieldSelector(string) resourcecheck
authorizer_labelselector: resourcecheck.labelSelector(string) resourcecheck
pathcheck_check: pathcheck.check(string) decision
resourcecheck_check: resourcecheck.check(string) decision
decision_errored: decision.errored() bool
decision_error: decision.error() string
decision_allowed: decision.allowed() bool
decision_reason: decision.reason() string
string_jsonpatch_escapeKey_string: jsonpatch.escapeKey(string) string
";

const ORDERED: [&str; 8] = [
    "int",
    "uint",
    "double",
    "bool",
    "duration",
    "timestamp",
    "string",
    "bytes",
];
const SUMMABLE: [&str; 4] = ["int", "uint", "double", "duration"];

/// Names that look like a receiver but begin the name of a function.
const SPACES: [(&str, &[&str]); 7] = [
    ("optional", &["of", "ofNonZeroValue", "none"]),
    ("strings", &["quote"]),
    ("sets", &["contains", "equivalent", "intersects"]),
    ("lists", &["range"]),
    ("ip", &["isCanonical"]),
    ("jsonpatch", &["escapeKey"]),
    ("cel", &["@mapInsert"]),
];

static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Arc<Overload>>>> = LazyLock::new(|| {
    let mut found: HashMap<&'static str, Vec<Arc<Overload>>> = HashMap::new();
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let families: &[(&str, &[&str])] = &[("<ordered>", &ORDERED), ("<sum>", &SUMMABLE)];
        match families.iter().find(|(mark, _)| line.contains(mark)) {
            None => read(line, &mut found),
            Some((mark, members)) => {
                for member in *members {
                    // Made once for the life of the program.
                    read(line.replace(mark, member).leak(), &mut found);
                }
            }
        }
    }
    found
});

/// The overloads of a function.
pub(crate) fn overloads(name: &str) -> Option<&'static [Arc<Overload>]> {
    FUNCTIONS.get(name).map(Vec::as_slice)
}

fn read(line: &'static str, into: &mut HashMap<&'static str, Vec<Arc<Overload>>>) {
    let Some((id, rest)) = line.split_once(": ") else {
        return;
    };
    let mut params = 0;
    let (member, name, arguments) = head(rest);
    let mut args = Vec::new();
    if let Some(receiver) = member {
        args.push(one(receiver, &mut params));
    }
    let (inner, result) = close(arguments);
    let mut left = inner;
    while !left.is_empty() {
        let (first, next) = first(left);
        args.push(one(first, &mut params));
        left = next;
    }
    let result = one(result.trim(), &mut params);
    into.entry(name).or_default().push(Arc::new(Overload {
        id,
        member: member.is_some(),
        args,
        result,
        params,
    }));
}

/// Receiver, name, and what begins with the arguments' bracket.
fn head(text: &'static str) -> (Option<&'static str>, &'static str, &'static str) {
    // Operators hold brackets and dots of their own, never in front of their arguments' one.
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        let at = text.find('(').unwrap_or(text.len());
        return (None, &text[..at], &text[at..]);
    }
    let (mut depth, mut dot) = (0, None);
    for (at, c) in text.char_indices() {
        match c {
            '.' if depth == 0 && dot.is_none() => dot = Some(at),
            '(' if depth == 0 => {
                // The bracket of a receiver's own type is followed by a dot.
                let (_, after) = close(&text[at..]);
                if !after.starts_with('.') {
                    return match dot {
                        None => (None, &text[..at], &text[at..]),
                        Some(dot) => {
                            let (receiver, name) = (&text[..dot], &text[dot + 1..at]);
                            match in_space(receiver, name) {
                                true => (None, &text[..at], &text[at..]),
                                false => (Some(receiver), name, &text[at..]),
                            }
                        }
                    };
                }
                depth += 1;
            }
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
    }
    (None, text, "()")
}

fn in_space(space: &str, name: &str) -> bool {
    space == "format" && name != "validate"
        || SPACES
            .iter()
            .any(|(known, names)| *known == space && names.contains(&name))
}

/// What is in the bracket at the beginning, and what is behind it.
fn close(text: &'static str) -> (&'static str, &'static str) {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return (&text[1..at], &text[at + 1..]);
                }
            }
            _ => {}
        }
    }
    ("", "")
}

/// The first of several types, and the others.
fn first(text: &'static str) -> (&'static str, &'static str) {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => return (&text[..at], text[at + 1..].trim_start()),
            _ => {}
        }
    }
    (text, "")
}

fn one(text: &'static str, params: &mut u32) -> Type {
    if let Some((name, rest)) = text.split_once('(') {
        let inner = rest.strip_suffix(')').unwrap_or(rest);
        let (a, b) = first(inner);
        let a = one(a, params);
        return match name {
            "list" => Type::list(a),
            "map" => {
                let b = one(b, params);
                Type::map(a, b)
            }
            "optional" => Type::optional(a),
            _ => Type::Type(Arc::new(a)),
        };
    }
    named(text).unwrap_or_else(|| {
        let number = u32::from(text.bytes().next().unwrap_or(b'A').saturating_sub(b'A'));
        *params = (*params).max(number + 1);
        Type::Param(number)
    })
}

/// The type of a word of the table.
fn named(text: &str) -> Option<Type> {
    Some(match text {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "url" => Type::Library("kubernetes.URL"),
        "ip" => Type::Library("net.IP"),
        "cidr" => Type::Library("net.CIDR"),
        "quantity" => Type::Library("kubernetes.Quantity"),
        "semver" => Type::Library("kubernetes.Semver"),
        "format" => Type::Library("kubernetes.NamedFormat"),
        "authorizer" => Type::Library("kubernetes.authorization.Authorizer"),
        "pathcheck" => Type::Library("kubernetes.authorization.PathCheck"),
        "groupcheck" => Type::Library("kubernetes.authorization.GroupCheck"),
        "resourcecheck" => Type::Library("kubernetes.authorization.ResourceCheck"),
        "decision" => Type::Library("kubernetes.authorization.Decision"),
        _ => return None,
    })
}

/// Names of types that are values.
pub(crate) fn type_value(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "null_type" => Type::Null,
        "type" => Type::Type(Arc::new(Type::Dyn)),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "net.IP" => Type::Library("net.IP"),
        "net.CIDR" => Type::Library("net.CIDR"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let total: usize = FUNCTIONS.values().map(Vec::len).sum();
        let lines = TABLE.lines().filter(|line| !line.is_empty()).count();
        assert!(total > lines);
        let ip = overloads("ip").expect("known");
        assert_eq!(ip.len(), 2);
        assert!(ip.iter().any(|o| o.member) && ip.iter().any(|o| !o.member));
        let of = &overloads("optional.of").expect("known")[0];
        assert_eq!((of.member, of.params), (false, 1));
        let index = &overloads("_[_]").expect("known")[1];
        assert_eq!((index.args.len(), index.params), (2, 2));
        let join = &overloads("join").expect("known")[1];
        assert_eq!(join.args, [Type::list(Type::String), Type::String]);
        assert!(overloads("_||_").is_some() && overloads("cel.@mapInsert").is_some());
    }
}
