package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/bench"
)

// texts parses an image, which must be well-formed, and returns its texts.
func texts(t *testing.T, image []byte) []string {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(image))
	var found []string
	in := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			in = token.Name.Local == "text"
		case xml.CharData:
			if in {
				found = append(found, string(token))
			}
		case xml.EndElement:
			in = false
		}
	}
}

// paths are the lines of an image.
func paths(image []byte) []string {
	var found []string
	for _, m := range regexp.MustCompile(`<path d="([^"]*)"`).FindAllSubmatch(image, -1) {
		found = append(found, string(m[1]))
	}
	return found
}

func TestImage(t *testing.T) {
	image := SVG(Chart{
		Title: `a <"title"> & more`,
		Points: []bench.Point{
			{Seconds: 1, Operations: 900, Rate: 900, P50: 1, P99: 8, P999: 20},
			{Seconds: 2, Errors: 7},
			{Seconds: 3, Operations: 900, Rate: 900, P50: 1, P99: 8, P999: 200},
		},
		Marks: []bench.Mark{{Seconds: 1.5, Name: "n3 killed"}, {Seconds: 2.9, Name: "n3 serves"}},
	})
	all := strings.Join(texts(t, image), "|")
	for _, want := range []string{
		`a <"title"> & more`, "n3 killed", "n3 serves", "seconds since the run began", "operations a second", "milliseconds",
		"|operations|", "|errors|", "|p50|", "|p99|", "|p99.9|", "|1000|", "|0.5|",
	} {
		if !strings.Contains("|"+all+"|", want) {
			t.Errorf("the image does not say %q: %s", want, all)
		}
	}
	lines := paths(image)
	if len(lines) != 5 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		moves := strings.Count(line, "M")
		if gap := i >= 2; gap && moves != 2 || !gap && moves != 1 {
			t.Errorf("line %d begins %d times: %s", i, moves, line)
		}
	}
}

func TestAnEmptyRun(t *testing.T) {
	if got := texts(t, SVG(Chart{Points: []bench.Point{{Seconds: 1}}})); len(got) < 10 {
		t.Errorf("%q", got)
	}
	texts(t, SVG(Chart{}))
}

// Whatever was measured, the lines stay within their panels.
func TestLinesStayInTheirPanels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var points []bench.Point
		at := 0.0
		for range rapid.IntRange(1, 20).Draw(t, "points") {
			at += rapid.Float64Range(0.05, 100).Draw(t, "pause")
			ms := rapid.Float64Range(0, 1e6)
			points = append(points, bench.Point{
				Seconds: at, Rate: rapid.Float64Range(0, 1e7).Draw(t, "rate"), Errors: rapid.Int64Range(0, 1e5).Draw(t, "errors"),
				P50: ms.Draw(t, "p50"), P99: ms.Draw(t, "p99"), P999: ms.Draw(t, "p99.9"),
			})
		}
		for i, line := range paths(SVG(Chart{Points: points})) {
			top, bottom := float64(topOfRates), float64(bottomOfRates)
			if i >= 2 {
				top, bottom = topOfLatencies, bottomOfAll
			}
			for _, point := range strings.FieldsFunc(line, func(r rune) bool { return r == 'M' || r == 'L' }) {
				xs, ys, _ := strings.Cut(point, " ")
				x, err := strconv.ParseFloat(xs, 64)
				y, err2 := strconv.ParseFloat(ys, 64)
				if err != nil || err2 != nil || !(x >= left && x <= width-right+0.1) || !(y >= top-0.1 && y <= bottom+0.1) {
					t.Fatalf("line %d goes through %q", i, point)
				}
			}
		}
	})
}

func TestSteps(t *testing.T) {
	for least, want := range map[float64]float64{0.03: 0.05, 1: 1, 1.1: 2, 2.5: 5, 7: 10, 120: 200} {
		if got := roundStep(least); got < want*0.999 || got > want*1.001 {
			t.Errorf("the step of at least %v is %v, want %v", least, got, want)
		}
	}
}
