//! Comparing versions the way each ecosystem does. Every comparator is a total order, also over
//! text that is no version.

mod dpkg;
mod pep440;
mod semver;

use std::cmp::Ordering;

/// Compares two versions of an ecosystem.
pub fn compare(ecosystem: &str, a: &str, b: &str) -> Ordering {
    match ecosystem.split(':').next().unwrap_or_default() {
        "Debian" | "Ubuntu" => dpkg::compare(a, b),
        "Alpine" => dpkg::compare_apk(a, b),
        "PyPI" => pep440::compare(a, b),
        // Go's pseudo-versions are pre-releases whose time stamps order as text of digits.
        _ => semver::compare(a, b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ECOSYSTEMS: [&str; 6] = [
        "Debian:12",
        "Alpine:v3.19",
        "PyPI",
        "npm",
        "Go",
        "crates.io",
    ];

    #[test]
    fn known_orders_hold() {
        for (ecosystem, ascending) in [
            (
                "Debian:12",
                &[
                    "1.0~~",
                    "1.0~rc1",
                    "1.0",
                    "1.0-1~deb12u1",
                    "1.0-1",
                    "1.0-1+b1",
                    "1.0-2",
                    "1.0+dfsg-1",
                    "1.0.1",
                    "1.2",
                    "1.10",
                    "1:0.1",
                    "2:0",
                ][..],
            ),
            (
                "PyPI",
                &[
                    "1.0.dev1",
                    "1.0a1.dev1",
                    "1.0a1",
                    "1.0a2",
                    "1.0b1",
                    "1.0rc1",
                    "1.0",
                    "1.0+local.1",
                    "1.0+local.2",
                    "1.0.post1.dev1",
                    "1.0.post1",
                    "1.0.1",
                    "1.1",
                    "1.10",
                    "1!0.1",
                ],
            ),
            (
                "npm",
                &[
                    "1.0.0-alpha",
                    "1.0.0-alpha.1",
                    "1.0.0-alpha.beta",
                    "1.0.0-beta",
                    "1.0.0-beta.2",
                    "1.0.0-beta.11",
                    "1.0.0-rc.1",
                    "1.0.0",
                    "1.0.1",
                    "1.10.0",
                ],
            ),
            (
                "Go",
                &[
                    "v0.0.0-20190101000000-abcdef",
                    "v0.0.0-20200101000000-000000",
                    "v0.0.1",
                    "v1.0.0-rc.1",
                    "v1.0.0",
                    "v1.0.1-0.20200101000000-abc",
                    "v1.0.1",
                ],
            ),
            (
                "Alpine:v3.19",
                &[
                    "1.2_alpha",
                    "1.2_beta2",
                    "1.2_pre1",
                    "1.2_rc1",
                    "1.2",
                    "1.2-r1",
                    "1.2-r10",
                    "1.2_p1",
                    "1.2a",
                    "1.2.1",
                    "1.10",
                ],
            ),
        ] {
            for (i, a) in ascending.iter().enumerate() {
                for (j, b) in ascending.iter().enumerate() {
                    assert_eq!(compare(ecosystem, a, b), i.cmp(&j), "{ecosystem}: {a} {b}");
                }
            }
        }
        for (ecosystem, a, b) in [
            ("PyPI", "1.0", "1.0.0"),
            ("PyPI", "1.0-alpha.1", "1.0a1"),
            ("npm", "v1.0.0", "1.0.0+build"),
            ("Debian:12", "0:1.0-0", "1.0"),
            ("Go", "1.2.3", "v1.2.3+incompatible"),
        ] {
            assert_eq!(compare(ecosystem, a, b), Ordering::Equal, "{a} {b}");
        }
    }

    fn version() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{1,3}(\\.[0-9a-z~+:-]{0,4}){0,4}",
            "[0-9.a-z~+!_:-]{0,12}",
            "\\PC{0,6}"
        ]
    }

    proptest! {
        #[test]
        fn total_order(a in version(), b in version(), c in version(), which in 0usize..6) {
            let e = ECOSYSTEMS[which];
            prop_assert_eq!(compare(e, &a, &a), Ordering::Equal);
            prop_assert_eq!(compare(e, &a, &b), compare(e, &b, &a).reverse());
            if compare(e, &a, &b) != Ordering::Greater && compare(e, &b, &c) != Ordering::Greater {
                prop_assert_ne!(compare(e, &a, &c), Ordering::Greater);
            }
        }
    }
}
