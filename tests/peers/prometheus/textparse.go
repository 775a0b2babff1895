package main

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

type parseJob struct {
	Body    []byte `json:"body"`
	Type    string `json:"type"`
	Native  bool   `json:"native"`
	Classic bool   `json:"classic"`
	Start   bool   `json:"start"`
}

type parsed struct {
	Error   string   `json:"error,omitempty"`
	Entries []string `json:"entries"`
}

// parse lists the entries of a body as the real parser reads them.
func parse(work parseJob) (out parsed) {
	out.Entries = []string{}
	defer func() {
		if recover() != nil {
			out.Error = crashed
		}
	}()
	p, err := textparse.New(work.Body, work.Type, labels.NewSymbolTable(), textparse.ParserOptions{
		IgnoreNativeHistograms:                  !work.Native,
		KeepClassicOnClassicAndNativeHistograms: work.Classic,
		OpenMetricsSkipSTSeries:                 work.Start,
	})
	if p == nil {
		return parsed{Error: err.Error(), Entries: out.Entries}
	}
	add := func(format string, a ...any) { out.Entries = append(out.Entries, fmt.Sprintf(format, a...)) }
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			out.Error = err.Error()
			return out
		}
		switch entry {
		case textparse.EntryHelp:
			name, text := p.Help()
			add("help %s %s", name, text)
		case textparse.EntryType:
			name, kind := p.Type()
			add("type %s %s", name, kind)
		case textparse.EntryUnit:
			name, unit := p.Unit()
			add("unit %s %s", name, unit)
		case textparse.EntryComment:
			add("comment")
		case textparse.EntrySeries, textparse.EntryHistogram:
			var lset labels.Labels
			p.Labels(&lset)
			if name, twice := lset.HasDuplicateLabelNames(); twice {
				out.Error = "twice: " + name
				return out
			}
			lset = labels.NewBuilder(lset).Labels()
			var ts *int64
			var value string
			if entry == textparse.EntrySeries {
				var v float64
				_, ts, v = p.Series()
				value = fmt.Sprintf("%016x", math.Float64bits(v))
			} else {
				_, t, h, fh := p.Histogram()
				ts = t
				if h != nil {
					fh = h.ToFloat(nil)
				}
				value = fmt.Sprintf("%d %d %s", fh.Schema, fh.CounterResetHint, fh.String())
			}
			at := "-"
			if ts != nil {
				at = fmt.Sprint(*ts)
			}
			// The start is asked for first: looking ahead for it loses exemplars.
			start := int64(0)
			examples := ""
			for e := (exemplar.Exemplar{}); p.Exemplar(&e); e = (exemplar.Exemplar{}) {
				at := "-"
				if e.HasTs {
					at = fmt.Sprint(e.Ts)
				}
				examples += fmt.Sprintf(" # %s %016x %s", e.Labels, math.Float64bits(e.Value), at)
			}
			if work.Start {
				start = p.StartTimestamp()
			}
			add("%s %s %s %d%s", lset, at, value, start, examples)
		}
	}
}
