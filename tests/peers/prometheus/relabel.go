package main

import (
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v2"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

type relabelJob struct {
	Rules  string              `json:"rules"`
	Labels []map[string]string `json:"labels"`
}

type relabelled struct {
	Error  string   `json:"error,omitempty"`
	Labels []string `json:"labels"`
}

// relabelAll applies rules to label sets; a set that is dropped is an empty text.
func relabelAll(work relabelJob) (out relabelled) {
	out.Labels = []string{}
	var rules []*relabel.Config
	if err := yaml.UnmarshalStrict([]byte(work.Rules), &rules); err != nil {
		return relabelled{Error: err.Error(), Labels: out.Labels}
	}
	for _, rule := range rules {
		if err := rule.Validate(model.UTF8Validation); err != nil {
			return relabelled{Error: err.Error(), Labels: out.Labels}
		}
	}
	for _, set := range work.Labels {
		lb := labels.NewBuilder(labels.FromMap(set))
		if relabel.ProcessBuilder(lb, rules...) {
			out.Labels = append(out.Labels, lb.Labels().String())
		} else {
			out.Labels = append(out.Labels, "")
		}
	}
	return out
}
