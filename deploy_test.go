package dynamo

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"
)

// shownMetrics is what a node shows: of each metric the labels, and the values
// that each of them has.
type shownMetrics map[string]*shownMetric

type shownMetric struct {
	histogram bool
	labels    map[string][]string
}

func shownBy(families []*dto.MetricFamily) shownMetrics {
	shown := shownMetrics{}
	for _, f := range families {
		one := &shownMetric{histogram: f.GetType() == dto.MetricType_HISTOGRAM, labels: map[string][]string{}}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				one.labels[l.GetName()] = append(one.labels[l.GetName()], l.GetValue())
			}
		}
		shown[f.GetName()] = one
	}
	return shown
}

// find returns the metric that a name in an expression stands for.
func (s shownMetrics) find(name string) *shownMetric {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && s[base] != nil && s[base].histogram {
			return s[base]
		}
	}
	if one := s[name]; one != nil && !one.histogram {
		return one
	}
	return nil
}

// perMember are the labels whose values are names of members.
func perMember() []string { return []string{"target", "peer"} }

// faults returns what is wrong with an expression of Prometheus: metrics,
// labels or values that no node shows.
func (s shownMetrics) faults(expr string) (faults []string) {
	// Labels that Prometheus itself adds.
	known := []string{"instance", "job", "le"}
	selector := regexp.MustCompile(`\b(dynamo_[a-z_]+)\b(?:\{([^}]*)\})?`)
	matcher := regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"([^"]*)"`)
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		one := s.find(m[1])
		if one == nil {
			faults = append(faults, "there is no "+m[1])
			continue
		}
		for _, label := range matcher.FindAllStringSubmatch(m[2], -1) {
			values := one.labels[label[1]]
			switch {
			case slices.Contains(known[:2], label[1]) || slices.Contains(perMember(), label[1]) && values != nil:
			case values == nil:
				faults = append(faults, m[1]+" has no label "+label[1])
			default:
				for value := range strings.SplitSeq(label[2], "|") {
					if !slices.Contains(values, value) {
						faults = append(faults, m[1]+" is never of "+label[1]+" "+value)
					}
				}
			}
		}
		for label := range one.labels {
			known = append(known, label)
		}
	}
	for _, m := range regexp.MustCompile(`\b(?:by|without|on) \(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(m[1], ",") {
			if !slices.Contains(known, strings.TrimSpace(label)) {
				faults = append(faults, "nothing in it has the label "+label)
			}
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		faults = append(faults, "its brackets do not match")
	}
	return faults
}

func TestExpressionFaults(t *testing.T) {
	shown := shownMetrics{
		"dynamo_a_total":   {labels: map[string][]string{"op": {"get", "put"}}},
		"dynamo_b_seconds": {histogram: true, labels: map[string][]string{}},
		"dynamo_c":         {labels: map[string][]string{"target": {"n2"}}},
	}
	for expr, want := range map[string]string{
		`sum by (op) (rate(dynamo_a_total{op="get"}[5m]))`:              "",
		`rate(dynamo_a_total{op=~"get|put",instance=~"$instance"}[5m])`: "",
		`sum by (le) (rate(dynamo_b_seconds_bucket[5m]))`:               "",
		`dynamo_c{target="n9"}`:                                         "",
		`dynamo_a`:                                                      "no dynamo_a",
		`dynamo_b_seconds`:                                              "no dynamo_b_seconds",
		`dynamo_a_total_bucket`:                                         "no dynamo_a_total_bucket",
		`dynamo_a_total{op="delete"}`:                                   "never of op delete",
		`dynamo_a_total{status="ok"}`:                                   "no label status",
		`sum by (status) (dynamo_a_total)`:                              "label status",
		`sum(dynamo_a_total`:                                            "brackets",
	} {
		got := strings.Join(shown.faults(expr), "; ")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q; want %q", expr, got, want)
		}
	}
}

// failures are the requests that alert and dashboard count as failed: those
// that the cluster could not serve, and not those that a client got wrong.
const failures = `status=~"quorum|timeout|overloaded|storage_full|not_ready|stopped"`

// rule is an alert rule of Prometheus.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// told returns what the runbook says of a rule at the top of its section.
func (r *rule) told() string {
	when := "after " + r.For
	if r.For == "0m" {
		when = "at once"
	}
	return strings.ToUpper(r.Labels["severity"][:1]) + r.Labels["severity"][1:] + ", " + when + ". `" + r.Expr + "`"
}

// Every alert is about what a node shows, and the runbook has a section for
// each and for nothing else, which says when it fires.
func TestAlerts(t *testing.T) {
	raw, err := os.ReadFile("deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	shown := shownBy(gather(t, startCluster(t, 2, memoryConfig(2))[0]))
	var alerts []string
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			alerts = append(alerts, "## "+r.Alert+"\n\n"+r.told())
			if r.Alert == "DynamoRequestsFail" && !strings.Contains(r.Expr, failures) {
				t.Errorf("%s is not about %s", r.Alert, failures)
			}
			for _, fault := range shown.faults(r.Expr) {
				t.Errorf("%s: %s", r.Alert, fault)
			}
			if severity := r.Labels["severity"]; severity != "critical" && severity != "warning" {
				t.Errorf("%s has the severity %q", r.Alert, severity)
			}
			if r.Expr == "" || r.For == "" || r.Annotations["summary"] == "" ||
				r.Annotations["runbook_url"] != "docs/runbook.md#"+strings.ToLower(r.Alert) {
				t.Errorf("%s lacks something: %+v", r.Alert, r)
			}
		}
	}
	page, err := os.ReadFile("docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	var sections []string
	for _, m := range regexp.MustCompile(`(?m)^(## .+\n\n.+)\n\n.{40}`).FindAllSubmatch(page, -1) {
		sections = append(sections, string(m[1]))
	}
	if diff := cmp.Diff(alerts, sections); len(alerts) == 0 || diff != "" {
		t.Errorf("the alerts and the sections of the runbook differ (-alerts +runbook):\n%s", diff)
	}
}

// panel is a panel of a Grafana dashboard.
type panel struct {
	ID         int    `json:"id"`
	Type       string `json:"type"`
	Title      string `json:"title"`
	Datasource struct {
		UID string `json:"uid"`
	} `json:"datasource"`
	Targets []struct {
		Expr   string `json:"expr"`
		Legend string `json:"legendFormat"`
	} `json:"targets"`
	Options struct {
		TextMode string `json:"textMode"`
		Legend   struct {
			Show bool `json:"showLegend"`
		} `json:"legend"`
	} `json:"options"`
}

// Every panel is about what a node shows, of the nodes and the source that are
// chosen; and every metric is on the dashboard.
func TestDashboard(t *testing.T) {
	raw, err := os.ReadFile("deploy/grafana/dynamo.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels     []panel `json:"panels"`
		Templating struct {
			List []struct {
				Name string `json:"name"`
			} `json:"list"`
		} `json:"templating"`
	}
	if err := json.Unmarshal(raw, &board); err != nil {
		t.Fatal(err)
	}
	if l := board.Templating.List; len(l) != 2 || l[0].Name != "datasource" || l[1].Name != "instance" {
		t.Errorf("the variables are %+v", l)
	}
	shown := shownBy(gather(t, startCluster(t, 2, memoryConfig(2))[0]))
	var rows []string
	ids, all := map[int]bool{}, ""
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d: its number is not its own, or it has no title", p.ID)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%s: the source is %q, and there are %d expressions", p.Title, p.Datasource.UID, len(p.Targets))
		}
		if p.Type == "timeseries" && !p.Options.Legend.Show {
			t.Errorf("%s does not say which line is whose", p.Title)
		}
		if p.Title == "Failed" && !strings.Contains(p.Targets[0].Expr, failures) {
			t.Errorf("%s is not about %s", p.Title, failures)
		}
		for _, target := range p.Targets {
			all += target.Expr + "\n"
			if p.Type == "stat" && target.Legend != "" && p.Options.TextMode != "value_and_name" {
				t.Errorf("%s does not show %s where there is one of them alone", p.Title, target.Legend)
			}
			for _, fault := range shown.faults(target.Expr) {
				t.Errorf("%s: %s", p.Title, fault)
			}
			if strings.Count(target.Expr, "{") != strings.Count(target.Expr, `instance=~"$instance"`) {
				t.Errorf("%s does not go by the nodes that are chosen: %s", p.Title, target.Expr)
			}
		}
	}
	if want := []string{"Overview", "Requests", "Quorum", "Repair", "Storage", "Membership", "Calls and background work"}; !slices.Equal(rows, want) {
		t.Errorf("the rows are %q; want %q", rows, want)
	}
	for name := range shown {
		if !regexp.MustCompile(name + `(_bucket)?\b`).MatchString(all) {
			t.Errorf("%s is on no panel", name)
		}
	}
}
