//go:build tools

// Package peers names the real program whose own tests are read; go.mod pins the version.
package peers

import _ "github.com/prometheus/prometheus/promql/parser"
