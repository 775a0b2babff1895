//go:build tools

// Package peers pins the upstream conformance suite and the test image's program. It is a module
// of its own, since it needs far more than the programs beside it.
package peers

import (
	_ "github.com/onsi/ginkgo/v2/ginkgo"
	_ "k8s.io/kubernetes/test/e2e"
	_ "k8s.io/kubernetes/test/images/agnhost"
	_ "k8s.io/kubernetes/test/images/nonewprivs"
	_ "k8s.io/sample-apiserver"
)
