// Command template runs text templates with the real package over the same data.
//
// It reads one JSON object per line: a template, its data and what missing keys stand for. It
// writes one JSON object per line: the text, or the error.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/template"
	"time"
)

type job struct {
	Text    string `json:"text"`
	Data    any    `json:"data"`
	Missing string `json:"missing"`
}

type answer struct {
	Out   string `json:"out"`
	Error string `json:"error"`
}

var functions = template.FuncMap{
	"upper":  strings.ToUpper,
	"repeat": func(n int, s string) string { return strings.Repeat(s, n) },
	"half":   func(f float64) float64 { return f / 2 },
	"negate": func(b bool) bool { return !b },
	"same":   func(v any) any { return v },
	"words":  strings.Fields,
	"join":   func(sep string, s []string) string { return strings.Join(s, sep) },
	"labels": func() map[string]string { return map[string]string{"job": "node", "zone": "a"} },
	"at":     func(ms int) time.Time { return time.UnixMilli(int64(ms)).UTC() },
	"span":   func(ns int) time.Duration { return time.Duration(ns) },
	"fail":   func(why string) (string, error) { return "", errors.New(why) },
}

func run(work job) (out answer) {
	defer func() {
		if r := recover(); r != nil {
			out = answer{Error: fmt.Sprintf("panic: %v", r)}
		}
	}()
	t := template.New("t").Funcs(functions)
	if work.Missing != "" {
		t.Option("missingkey=" + work.Missing)
	}
	if _, err := t.Parse(work.Text); err != nil {
		return answer{Error: err.Error()}
	}
	var text strings.Builder
	if err := t.Execute(&text, work.Data); err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Out: text.String()}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var work job
		if err := json.Unmarshal(lines.Bytes(), &work); err != nil {
			panic(err)
		}
		if err := out.Encode(run(work)); err != nil {
			panic(err)
		}
	}
}
