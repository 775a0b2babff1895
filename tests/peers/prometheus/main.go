// Command promql evaluates queries with the real engine over samples that a script loads.
//
// It reads one JSON object per line: a load script, and queries with their times in milliseconds.
// It writes one JSON object per query: the error, or the series with their values as bits, and the
// annotations with their places.
//
// With an argument it does something else, one JSON object per line in and out: `textparse` lists
// the entries of scraped bodies, `relabel` applies rules to label sets, `write` sends requests with
// the real client of remote write.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
)

type query struct {
	Expr  string `json:"expr"`
	Start int64  `json:"start"`
	End   int64  `json:"end"`
	Step  int64  `json:"step"`
}

type job struct {
	Load    string  `json:"load"`
	Delayed bool    `json:"delayed"`
	Queries []query `json:"queries"`
}

type series struct {
	Labels     string   `json:"labels"`
	Floats     []string `json:"floats"`
	Histograms []string `json:"histograms"`
}

type answer struct {
	Error    string   `json:"error,omitempty"`
	Series   []series `json:"series"`
	Warnings []string `json:"warnings"`
	Infos    []string `json:"infos"`
}

// quiet stands in for a test where upstream's helpers want one.
type quiet struct{ testing.TB }

func (quiet) Helper()                   {}
func (quiet) Cleanup(func())            {}
func (quiet) Name() string              { return "promql" }
func (quiet) Logf(string, ...any)       {}
func (quiet) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (quiet) FailNow()                  { panic("failed") }
func (quiet) TempDir() string {
	dir, err := os.MkdirTemp("", "promql")
	if err != nil {
		panic(err)
	}
	return dir
}

func point(t int64, v float64) string {
	bits := math.Float64bits(v)
	if math.IsNaN(v) {
		bits = math.Float64bits(math.NaN())
	}
	return fmt.Sprintf("%d %016x", t, bits)
}

func matrix(result *promql.Result) []series {
	var out []series
	add := func(s promql.Series) {
		one := series{Labels: s.Metric.String(), Floats: []string{}, Histograms: []string{}}
		for _, p := range s.Floats {
			one.Floats = append(one.Floats, point(p.T, p.F))
		}
		for _, p := range s.Histograms {
			one.Histograms = append(one.Histograms, fmt.Sprintf("%d %s", p.T, p.H.String()))
		}
		out = append(out, one)
	}
	switch value := result.Value.(type) {
	case promql.Matrix:
		for _, s := range value {
			add(s)
		}
	case promql.Vector:
		for _, s := range value {
			one := promql.Series{Metric: s.Metric}
			if s.H != nil {
				one.Histograms = []promql.HPoint{{T: s.T, H: s.H}}
			} else {
				one.Floats = []promql.FPoint{{T: s.T, F: s.F}}
			}
			add(one)
		}
	case promql.Scalar:
		add(promql.Series{Floats: []promql.FPoint{{T: value.T, F: value.V}}})
	}
	return out
}

// crashed is the error of queries whose results the real engine cannot print.
const crashed = "the real engine crashed"

func evaluate(engine *promql.Engine, samples storage.Queryable, q query) (out answer) {
	defer func() {
		if recover() != nil {
			out = answer{Error: crashed}
		}
	}()
	ctx := context.Background()
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	var run promql.Query
	var err error
	if q.Step == 0 {
		run, err = engine.NewInstantQuery(ctx, samples, nil, q.Expr, at(q.Start))
	} else {
		step := time.Duration(q.Step) * time.Millisecond
		run, err = engine.NewRangeQuery(ctx, samples, nil, q.Expr, at(q.Start), at(q.End), step)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer run.Close()
	result := run.Exec(ctx)
	if result.Err != nil {
		return answer{Error: result.Err.Error()}
	}
	out = answer{Series: matrix(result)}
	out.Warnings, out.Infos = result.Warnings.AsStrings(q.Expr, 0, 0)
	sort.Strings(out.Warnings)
	sort.Strings(out.Infos)
	return out
}

func main() {
	parser.EnableExperimentalFunctions = true
	parser.ExperimentalDurationExpr = true
	parser.EnableExtendedRangeSelectors = true
	parser.EnableBinopFillModifiers = true
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	if len(os.Args) > 1 {
		next := func() ([]byte, bool) {
			more := lines.Scan()
			return lines.Bytes(), more
		}
		switch os.Args[1] {
		case "textparse":
			answerEach(next, parse)
		case "relabel":
			answerEach(next, relabelAll)
		case "write":
			answerEach(next, write)
		default:
			panic("unknown mode " + os.Args[1])
		}
		return
	}
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var work job
		if err := json.Unmarshal(lines.Bytes(), &work); err != nil {
			panic(err)
		}
		loaded := promqltest.LoadedStorage(quiet{}, work.Load)
		engine := promql.NewEngine(promql.EngineOpts{
			MaxSamples:               50000000,
			Timeout:                  time.Minute,
			NoStepSubqueryIntervalFn: func(int64) int64 { return 60000 },
			EnableAtModifier:         true,
			EnableNegativeOffset:     true,
			EnableDelayedNameRemoval: work.Delayed,
		})
		for _, q := range work.Queries {
			if err := out.Encode(evaluate(engine, loaded, q)); err != nil {
				panic(err)
			}
		}
		loaded.Close()
	}
}
