// Command cel evaluates the expressions of corpus files with the libraries of the real
// kube-apiserver and writes what it found behind each of them.
//
// A file holds expressions, one per line. Lines that begin with "## " set the scene for what
// follows: "## schema {...}" (a structural schema of self), "## self {...}", "## old {...}".
// Behind each expression stand the lines this program writes: "=> value | type | cost n | max n",
// "!! error | cost n" or "!? compile error".
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/version"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

// A scene is what expressions are evaluated in.
type scene struct {
	schema *schema.Structural
	self   any
	old    any
	has    bool
	hasOld bool
	set    *environment.EnvSet
	root   *apiservercel.DeclType
}

type sizes struct{ root *apiservercel.DeclType }

func (c *sizes) EstimateSize(element checker.AstNode) *checker.SizeEstimate {
	if len(element.Path()) == 0 || c.root == nil {
		return nil
	}
	node := c.root
	for _, name := range element.Path()[1:] {
		switch name {
		case "@items", "@values":
			node = node.ElemType
		case "@keys":
			node = node.KeyType
		default:
			field, ok := node.Fields[name]
			if !ok {
				return nil
			}
			node = field.Type
		}
		if node == nil {
			return nil
		}
	}
	return &checker.SizeEstimate{Min: 0, Max: uint64(node.MaxElements)}
}

func (c *sizes) EstimateCallCost(function, overload string, target *checker.AstNode, args []checker.AstNode) *checker.CallEstimate {
	return nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (s *scene) build() {
	base := environment.MustBaseEnvSet(version.MajorMinor(1, 36))
	if s.schema == nil {
		s.set, s.root = base, nil
		return
	}
	s.root = model.SchemaDeclType(s.schema, true)
	named := s.root.MaybeAssignTypeName("selfType")
	set, err := base.Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions: []celgo.EnvOption{
			celgo.Variable("self", named.CelType()),
			celgo.Variable("oldSelf", named.CelType()),
		},
		DeclTypes: []*apiservercel.DeclType{named},
	})
	must(err)
	s.set = set
}

func (s *scene) evaluate(expression string) (answer string) {
	env := s.set.NewExpressionsEnv()
	ast, issues := env.Compile(expression)
	if issues != nil {
		return "!? " + escape(issues.String())
	}
	estimator := &library.CostEstimator{SizeEstimator: &sizes{s.root}}
	estimate, err := env.EstimateCost(ast, estimator)
	must(err)
	limit := "max " + strconv.FormatUint(estimate.Max, 10)
	if estimate.Max == math.MaxUint64 {
		limit = "max unbounded"
	}
	program, err := env.Program(ast, celgo.CostLimit(1_000_000), celgo.CostTracking(estimator))
	if err != nil {
		return "!? " + escape(err.Error())
	}
	variables := map[string]any{}
	if s.has {
		variables["self"] = schemacel.UnstructuredToVal(s.self, model.WithTypeAndObjectMeta(s.schema))
	}
	if s.hasOld {
		variables["oldSelf"] = schemacel.UnstructuredToVal(s.old, model.WithTypeAndObjectMeta(s.schema))
	}
	value, details, err := program.Eval(variables)
	cost := "no cost"
	if details != nil && details.ActualCost() != nil {
		cost = "cost " + strconv.FormatUint(*details.ActualCost(), 10)
	}
	if err != nil {
		return "!! " + escape(err.Error()) + " | " + cost + " | " + limit
	}
	return "=> " + show(value) + " | " + ast.OutputType().String() + " | " + cost + " | " + limit
}

func escape(text string) string { return strings.ReplaceAll(text, "\n", "\\n") }

func quote(text string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r < 0x20 || r == 0x7f || r == utf8.RuneError:
			fmt.Fprintf(&out, "\\u{%x}", r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

func show(value ref.Val) string {
	switch v := value.(type) {
	case nil:
		return "nothing"
	case *apiservercel.Quantity:
		return "quantity(" + v.Quantity.String() + ")"
	case types.Null:
		return "null"
	case types.Bool:
		return strconv.FormatBool(bool(v))
	case types.Int:
		return strconv.FormatInt(int64(v), 10)
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10) + "u"
	case types.Double:
		f := float64(v)
		switch {
		case math.IsNaN(f):
			return "double(NaN)"
		case math.IsInf(f, 0):
			return fmt.Sprintf("double(%v)", f)
		}
		return fmt.Sprintf("double(%016x)", math.Float64bits(f))
	case types.String:
		return quote(string(v))
	case types.Bytes:
		return fmt.Sprintf("bytes(%x)", []byte(v))
	case types.Duration:
		return fmt.Sprintf("duration(%d)", int64(v.Duration))
	case types.Timestamp:
		return fmt.Sprintf("timestamp(%d.%09d)", v.Unix(), v.Nanosecond())
	case *types.Type:
		return "type(" + v.TypeName() + ")"
	case *types.Optional:
		if v.HasValue() {
			return "optional(" + show(v.GetValue()) + ")"
		}
		return "optional()"
	case apiservercel.Quantity:
		return "quantity(" + v.Quantity.String() + ")"
	case apiservercel.URL:
		return "url(" + v.URL.String() + ")"
	case apiservercel.IP:
		return "ip(" + v.Addr.String() + ")"
	case apiservercel.CIDR:
		return "cidr(" + v.Prefix.String() + ")"
	case apiservercel.Semver:
		return "semver(" + v.Version.String() + ")"
	case *apiservercel.Format:
		return "format(" + v.Name + ")"
	case traits.Lister:
		var parts []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			parts = append(parts, show(it.Next()))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case traits.Mapper:
		var parts []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			// Objects iterate over fields that their schema does not show.
			if value, found := v.Find(key); found && value != nil && show(value) != "nothing" {
				parts = append(parts, show(key)+": "+show(value))
			}
		}
		sort.Strings(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprintf("%v(%v)", value.Type(), value.Value())
}

func file(path string) {
	source, err := os.ReadFile(path)
	must(err)
	now := &scene{}
	now.build()
	var out strings.Builder
	lines := bufio.NewScanner(strings.NewReader(string(source)))
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "=> ") || strings.HasPrefix(line, "!! ") || strings.HasPrefix(line, "!? ") {
			continue
		}
		out.WriteString(line + "\n")
		switch {
		case strings.HasPrefix(line, "## schema "):
			var v1 apiextensionsv1.JSONSchemaProps
			must(json.Unmarshal([]byte(line[len("## schema "):]), &v1))
			var internal apiextensions.JSONSchemaProps
			must(apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &internal, nil))
			structural, err := schema.NewStructural(&internal)
			must(err)
			now = &scene{schema: structural}
			now.build()
		case strings.HasPrefix(line, "## self "):
			now.self, now.has = parse(line[len("## self "):]), true
		case strings.HasPrefix(line, "## old "):
			now.old, now.hasOld = parse(line[len("## old "):]), true
		case line == "## none":
			now = &scene{}
			now.build()
		case line == "" || strings.HasPrefix(line, "# "):
		default:
			out.WriteString(now.evaluate(strings.ReplaceAll(line, "\\n ", "\n ")) + "\n")
		}
	}
	must(os.WriteFile(path, []byte(out.String()), 0o644))
}

// parse reads JSON as the API server does: whole numbers are int64.
func parse(text string) any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	must(decoder.Decode(&value))
	return whole(value)
}

func whole(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = whole(v[k])
		}
	}
	return value
}

func main() {
	for _, path := range os.Args[1:] {
		file(path)
	}
}
