//! The functions of the language: names, arguments, results.

use super::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// The signature of a function.
#[derive(Debug)]
pub struct Function {
    /// The name.
    pub name: &'static str,
    /// The types of the arguments; the last one repeats if `variadic` is not 0.
    pub args: &'static [ValueType],
    /// 0: exactly these arguments; n: the last one may be missing or stand up to n times; -1: any
    /// number of times.
    pub variadic: i32,
    /// What it gives.
    pub returns: ValueType,
    /// Whether upstream hides it behind a flag.
    pub experimental: bool,
}

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS
        .binary_search_by(|f| f.name.cmp(name))
        .ok()
        .map(|at| &FUNCTIONS[at])
}

const fn stable(
    name: &'static str,
    args: &'static [ValueType],
    variadic: i32,
    returns: ValueType,
) -> Function {
    Function {
        name,
        args,
        variadic,
        returns,
        experimental: false,
    }
}

const fn trial(name: &'static str, args: &'static [ValueType], variadic: i32) -> Function {
    Function {
        name,
        args,
        variadic,
        returns: Vector,
        experimental: true,
    }
}

const fn maps(name: &'static str) -> Function {
    stable(name, &[Vector], 0, Vector)
}

const fn over_time(name: &'static str) -> Function {
    stable(name, &[Matrix], 0, Vector)
}

const fn date(name: &'static str) -> Function {
    stable(name, &[Vector], 1, Vector)
}

/// All of them, sorted by name.
pub static FUNCTIONS: &[Function] = &[
    maps("abs"),
    maps("absent"),
    over_time("absent_over_time"),
    maps("acos"),
    maps("acosh"),
    maps("asin"),
    maps("asinh"),
    maps("atan"),
    maps("atanh"),
    over_time("avg_over_time"),
    maps("ceil"),
    over_time("changes"),
    stable("clamp", &[Vector, Scalar, Scalar], 0, Vector),
    stable("clamp_max", &[Vector, Scalar], 0, Vector),
    stable("clamp_min", &[Vector, Scalar], 0, Vector),
    maps("cos"),
    maps("cosh"),
    over_time("count_over_time"),
    date("day_of_month"),
    date("day_of_week"),
    date("day_of_year"),
    date("days_in_month"),
    maps("deg"),
    over_time("delta"),
    over_time("deriv"),
    trial("double_exponential_smoothing", &[Matrix, Scalar, Scalar], 0),
    maps("exp"),
    trial("first_over_time", &[Matrix], 0),
    maps("floor"),
    maps("histogram_avg"),
    maps("histogram_count"),
    stable("histogram_fraction", &[Scalar, Scalar, Vector], 0, Vector),
    stable("histogram_quantile", &[Scalar, Vector], 0, Vector),
    maps("histogram_stddev"),
    maps("histogram_stdvar"),
    maps("histogram_sum"),
    date("hour"),
    over_time("idelta"),
    over_time("increase"),
    trial("info", &[Vector, Vector], 1),
    over_time("irate"),
    stable("label_join", &[Vector, String, String, String], -1, Vector),
    stable(
        "label_replace",
        &[Vector, String, String, String, String],
        0,
        Vector,
    ),
    over_time("last_over_time"),
    maps("ln"),
    maps("log10"),
    maps("log2"),
    trial("mad_over_time", &[Matrix], 0),
    over_time("max_over_time"),
    over_time("min_over_time"),
    date("minute"),
    date("month"),
    stable("pi", &[], 0, Scalar),
    stable("predict_linear", &[Matrix, Scalar], 0, Vector),
    over_time("present_over_time"),
    stable("quantile_over_time", &[Scalar, Matrix], 0, Vector),
    maps("rad"),
    over_time("rate"),
    over_time("resets"),
    stable("round", &[Vector, Scalar], 1, Vector),
    stable("scalar", &[Vector], 0, Scalar),
    maps("sgn"),
    maps("sin"),
    maps("sinh"),
    maps("sort"),
    trial("sort_by_label", &[Vector, String], -1),
    trial("sort_by_label_desc", &[Vector, String], -1),
    maps("sort_desc"),
    maps("sqrt"),
    over_time("stddev_over_time"),
    over_time("stdvar_over_time"),
    over_time("sum_over_time"),
    maps("tan"),
    maps("tanh"),
    stable("time", &[], 0, Scalar),
    maps("timestamp"),
    trial("ts_of_first_over_time", &[Matrix], 0),
    trial("ts_of_last_over_time", &[Matrix], 0),
    trial("ts_of_max_over_time", &[Matrix], 0),
    trial("ts_of_min_over_time", &[Matrix], 0),
    stable("vector", &[Scalar], 0, Vector),
    date("year"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
    }
}
