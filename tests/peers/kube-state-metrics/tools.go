//go:build tools

// Package peers names the real program that contract tests run against; `cargo xtask peers` builds
// it with the versions that go.mod pins.
package peers

import _ "k8s.io/kube-state-metrics/v2"
