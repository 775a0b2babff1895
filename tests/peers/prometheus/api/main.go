// Command promapi answers requests with the real HTTP API over samples that it is given.
//
// It reads one JSON object from its standard input: series in the notation of upstream's test
// scripts with the time between their samples, exemplars, metadata, and requests. It writes one
// JSON object per request: status, headers, body.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/route"
	"go.yaml.in/yaml/v2"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/notifications"
	"github.com/prometheus/prometheus/util/teststorage"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

type sample struct {
	Series string  `json:"series"`
	Labels string  `json:"labels"`
	Value  float64 `json:"value"`
	At     int64   `json:"at"`
}

type family struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

type request struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
}

type job struct {
	StepMs    int64             `json:"step_ms"`
	Series    []string          `json:"series"`
	Exemplars []sample          `json:"exemplars"`
	Metadata  map[string]family `json:"metadata"`
	Rules     string            `json:"rules"`
	Relabel   string            `json:"relabel"`
	Requests  []request         `json:"requests"`
}

type answer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func load(db storage.Storage, work job) {
	for _, line := range work.Series {
		ls, values, err := parser.ParseSeriesDesc(line)
		must(err)
		app := db.Appender(context.Background())
		at := int64(0)
		for _, value := range values {
			if !value.Omitted {
				if value.Histogram != nil {
					_, err = app.AppendHistogram(0, ls, at, nil, value.Histogram)
				} else {
					_, err = app.Append(0, ls, at, value.Value)
				}
				must(err)
			}
			at += work.StepMs
		}
		must(app.Commit())
	}
	for _, one := range work.Exemplars {
		series, err := parser.ParseMetric(one.Series)
		must(err)
		own, err := parser.ParseMetric(one.Labels)
		must(err)
		app := db.Appender(context.Background())
		_, err = app.AppendExemplar(0, series, exemplar.Exemplar{Labels: own, Value: one.Value, Ts: one.At, HasTs: true})
		must(err)
		must(app.Commit())
	}
}

// told is what targets say about their metrics.
type told map[string]family

func (t told) named(name string, of family) scrape.MetricMetadata {
	return scrape.MetricMetadata{MetricFamily: name, Type: model.MetricType(of.Type), Help: of.Help, Unit: of.Unit}
}

func (t told) ListMetadata() []scrape.MetricMetadata {
	var out []scrape.MetricMetadata
	for name, of := range t {
		out = append(out, t.named(name, of))
	}
	return out
}

func (t told) GetMetadata(name string) (scrape.MetricMetadata, bool) {
	of, ok := t[name]
	return t.named(name, of), ok
}

func (t told) SizeMetadata() int   { return 0 }
func (t told) LengthMetadata() int { return len(t) }

// scraped has one target that nobody has asked yet and one that was dropped.
type scraped struct {
	active, dropped *scrape.Target
	relabel         []*relabel.Config
}

func targets(metadata told, rules string) scraped {
	var relabels []*relabel.Config
	must(yaml.UnmarshalStrict([]byte(rules), &relabels))
	for _, rule := range relabels {
		must(rule.Validate(model.UTF8Validation))
	}
	found := model.LabelSet{"__address__": "demo.test:8080", "__scheme__": "http", "__metrics_path__": "/metrics", "__scrape_interval__": "15s", "__scrape_timeout__": "10s", "job": "demo"}
	conf := &config.ScrapeConfig{JobName: "demo"}
	ls := labels.FromStrings("__address__", "demo.test:8080", "__metrics_path__", "/metrics", "__scheme__", "http", "__scrape_interval__", "15s", "__scrape_timeout__", "10s", "instance", "demo.test:8080", "job", "demo")
	active := scrape.NewTarget(ls, conf, found, nil)
	active.SetMetadataStore(metadata)
	gone := model.LabelSet{"__address__": "gone.test:80", "job": "demo"}
	return scraped{active, scrape.NewTarget(labels.EmptyLabels(), conf, gone, nil), relabels}
}

func (s scraped) ScrapePools() []string { return []string{"demo"} }
func (s scraped) TargetsActive() map[string][]*scrape.Target {
	return map[string][]*scrape.Target{"demo": {s.active}}
}

func (s scraped) TargetsDropped() map[string][]*scrape.Target {
	return map[string][]*scrape.Target{"demo": {s.dropped}}
}
func (s scraped) TargetsDroppedCounts() map[string]int { return map[string]int{"demo": 1} }
func (s scraped) ScrapePoolConfig(pool string) (*config.ScrapeConfig, error) {
	if pool != "demo" {
		return nil, fmt.Errorf("scrape pool %q not found", pool)
	}
	return &config.ScrapeConfig{JobName: "demo", RelabelConfigs: s.relabel}, nil
}

type nobody struct{}

func (nobody) Alertmanagers() []*url.URL        { return nil }
func (nobody) DroppedAlertmanagers() []*url.URL { return nil }

type ruled struct{ groups []*rules.Group }

func (r ruled) RuleGroups() []*rules.Group { return r.groups }
func (r ruled) AlertingRules() []*rules.AlertingRule {
	var out []*rules.AlertingRule
	for _, group := range r.groups {
		for _, rule := range group.Rules() {
			if alerting, ok := rule.(*rules.AlertingRule); ok {
				out = append(out, alerting)
			}
		}
	}
	return out
}

func ruleGroups(ctx context.Context, text string, engine *promql.Engine, db storage.Storage) ruled {
	if text == "" {
		return ruled{}
	}
	file, err := os.CreateTemp("", "rules*.yml")
	must(err)
	_, err = file.WriteString(text)
	must(err)
	must(file.Close())
	defer os.Remove(file.Name())
	manager := rules.NewManager(&rules.ManagerOptions{
		ExternalURL: &url.URL{},
		QueryFunc:   rules.EngineQueryFunc(engine, db),
		Appendable:  db,
		Queryable:   db,
		Context:     ctx,
		Logger:      slog.New(slog.NewTextHandler(io.Discard, nil)),
		NotifyFunc:  func(context.Context, string, ...*rules.Alert) {},
	})
	groups, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, file.Name())
	for _, err := range errs {
		must(err)
	}
	var out []*rules.Group
	for _, group := range groups {
		out = append(out, group)
	}
	slices.SortFunc(out, func(a, b *rules.Group) int { return strings.Compare(a.Name(), b.Name()) })
	return ruled{out}
}

// admin answers for the database; what it deletes stays.
type admin struct{ *tsdb.DB }

func (a admin) Stats(label string, limit int) (*tsdb.Stats, error) {
	return a.DB.Head().Stats(label, limit), nil
}
func (a admin) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return tsdb.WALReplayStatus{}, nil
}
func (a admin) BlockMetas() ([]tsdb.BlockMeta, error) { return []tsdb.BlockMeta{}, nil }

func main() {
	parser.EnableExperimentalFunctions = true
	parser.ExperimentalDurationExpr = true
	parser.EnableExtendedRangeSelectors = true
	parser.EnableBinopFillModifiers = true
	var work job
	must(json.NewDecoder(os.Stdin).Decode(&work))
	ctx := context.Background()
	store, err := teststorage.NewWithError()
	must(err)
	defer store.Close()
	load(store, work)
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples:               50000000,
		Timeout:                  2 * time.Minute,
		NoStepSubqueryIntervalFn: func(int64) int64 { return 60000 },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		EnablePerStepStats:       true,
	})
	seen := targets(told(work.Metadata), work.Relabel)
	groups := ruleGroups(ctx, work.Rules, engine, store)
	api := v1.NewAPI(engine, store, nil, nil, store,
		func(context.Context) v1.ScrapePoolsRetriever { return seen },
		func(context.Context) v1.TargetRetriever { return seen },
		func(context.Context) v1.AlertmanagerRetriever { return nobody{} },
		func() config.Config { return config.DefaultConfig },
		map[string]string{},
		v1.GlobalURLOptions{ListenAddress: "127.0.0.1:9090", Host: "prometheus.test:9090", Scheme: "http"},
		func(f http.HandlerFunc) http.HandlerFunc { return f },
		admin{store.DB}, "", true,
		slog.New(slog.NewTextHandler(io.Discard, nil)),
		func(context.Context) v1.RulesRetriever { return groups },
		50000000, 10, 1<<20, false, nil,
		func() (v1.RuntimeInfo, error) { return v1.RuntimeInfo{}, nil },
		&v1.PrometheusVersion{},
		func() []notifications.Notification { return []notifications.Notification{} },
		func() (<-chan notifications.Notification, func(), bool) { return nil, func() {}, false },
		prometheus.DefaultGatherer, nil, nil, false, nil, false, false, false, false,
		5*time.Minute, false, false, nil, nil, v1.OpenAPIOptions{},
	)
	router := route.New().WithPrefix("/prometheus/api/v1")
	api.Register(router)
	out := json.NewEncoder(os.Stdout)
	for _, one := range work.Requests {
		wanted := httptest.NewRequest(one.Method, one.Path, strings.NewReader(one.Body))
		for name, value := range one.Headers {
			wanted.Header.Set(name, value)
		}
		got := httptest.NewRecorder()
		router.ServeHTTP(got, wanted)
		headers := map[string]string{}
		for name := range got.Header() {
			headers[strings.ToLower(name)] = got.Header().Get(name)
		}
		must(out.Encode(answer{got.Code, headers, got.Body.String()}))
	}
}

