package main

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage/remote"
)

type writeJob struct {
	URL     string `json:"url"`
	Token   string `json:"token"`
	Version int    `json:"version"`
	// Series, samples of each, and the time of the first one; they are a second apart.
	Series  int   `json:"series"`
	Samples int   `json:"samples"`
	From    int64 `json:"from"`
}

type written struct {
	Error      string `json:"error,omitempty"`
	Retry      bool   `json:"retry"`
	Samples    int    `json:"samples"`
	Histograms int    `json:"histograms"`
	Exemplars  int    `json:"exemplars"`
}

// nativeHistogram is one whose numbers follow from a count.
func nativeHistogram(n int) *histogram.Histogram {
	return &histogram.Histogram{
		Schema:           1,
		Count:            uint64(6 + 3*n),
		Sum:              18.5 * float64(n+1),
		ZeroThreshold:    0.001,
		ZeroCount:        uint64(2 + n),
		PositiveSpans:    []histogram.Span{{Offset: -1, Length: 2}, {Offset: 3, Length: 1}},
		PositiveBuckets:  []int64{int64(1 + n), 0, 1 - int64(n)},
		CounterResetHint: histogram.NotCounterReset,
	}
}

func request1(work writeJob) ([]byte, error) {
	var out prompb.WriteRequest
	for s := 0; s < work.Series; s++ {
		name := labels.FromStrings("__name__", "peer_total", "series", string(rune('a'+s)), "job", "peer")
		ts := prompb.TimeSeries{Labels: prompb.FromLabels(name, nil)}
		for n := 0; n < work.Samples; n++ {
			at := work.From + int64(n)*1000
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: at, Value: float64(s*1000 + n)})
		}
		ts.Exemplars = []prompb.Exemplar{{
			Labels:    []prompb.Label{{Name: "trace_id", Value: "abc"}},
			Value:     1.5,
			Timestamp: work.From,
		}}
		out.Timeseries = append(out.Timeseries, ts)
	}
	native := prompb.TimeSeries{Labels: prompb.FromLabels(labels.FromStrings("__name__", "peer_native", "job", "peer"), nil)}
	for n := 0; n < work.Samples; n++ {
		native.Histograms = append(native.Histograms, prompb.FromIntHistogram(work.From+int64(n)*1000, nativeHistogram(n)))
	}
	out.Timeseries = append(out.Timeseries, native)
	out.Metadata = []prompb.MetricMetadata{{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "peer_total", Help: "Of the peer."}}
	return proto.Marshal(&out)
}

func request2(work writeJob) ([]byte, error) {
	symbols := writev2.NewSymbolTable()
	var out writev2.Request
	for s := 0; s < work.Series; s++ {
		name := labels.FromStrings("__name__", "peer_total", "series", string(rune('a'+s)), "job", "peer")
		ts := writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels(name, nil)}
		ts.Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: symbols.Symbolize("Of the peer.")}
		for n := 0; n < work.Samples; n++ {
			at := work.From + int64(n)*1000
			ts.Samples = append(ts.Samples, writev2.Sample{Timestamp: at, Value: float64(s*1000 + n), StartTimestamp: work.From})
		}
		ts.Exemplars = []writev2.Exemplar{{
			LabelsRefs: symbols.SymbolizeLabels(labels.FromStrings("trace_id", "abc"), nil),
			Value:      1.5,
			Timestamp:  work.From,
		}}
		out.Timeseries = append(out.Timeseries, ts)
	}
	native := writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels(labels.FromStrings("__name__", "peer_native", "job", "peer"), nil)}
	for n := 0; n < work.Samples; n++ {
		native.Histograms = append(native.Histograms, writev2.FromIntHistogram(work.From+int64(n)*1000, nativeHistogram(n)))
	}
	out.Timeseries = append(out.Timeseries, native)
	out.Symbols = symbols.Symbols()
	return proto.Marshal(&out)
}

// write sends a request with the real client.
func write(work writeJob) written {
	fail := func(err error) written { return written{Error: err.Error()} }
	target, err := url.Parse(work.URL)
	if err != nil {
		return fail(err)
	}
	config := &remote.ClientConfig{
		URL:           &config_util.URL{URL: target},
		Timeout:       model.Duration(20 * time.Second),
		WriteProtoMsg: remoteapi.WriteV1MessageType,
	}
	if work.Token != "" {
		config.Headers = map[string]string{"Authorization": "Bearer " + work.Token}
	}
	body, err := request1(work)
	if work.Version == 2 {
		config.WriteProtoMsg = remoteapi.WriteV2MessageType
		body, err = request2(work)
	}
	if err != nil {
		return fail(err)
	}
	client, err := remote.NewWriteClient("peer", config)
	if err != nil {
		return fail(err)
	}
	stats, err := client.Store(context.Background(), snappy.Encode(nil, body), 0)
	out := written{Samples: stats.Samples, Histograms: stats.Histograms, Exemplars: stats.Exemplars}
	if err != nil {
		out.Error = err.Error()
		_, out.Retry = err.(remote.RecoverableError)
	}
	return out
}

func answerEach[Work, Answer any](next func() ([]byte, bool), answer func(Work) Answer) {
	out := json.NewEncoder(os.Stdout)
	for line, more := next(); more; line, more = next() {
		var work Work
		if err := json.Unmarshal(line, &work); err != nil {
			panic(err)
		}
		if err := out.Encode(answer(work)); err != nil {
			panic(err)
		}
	}
}
