//go:build tools

// Package peers pins the real kustomize.
package peers

import _ "sigs.k8s.io/kustomize/kustomize/v5"
