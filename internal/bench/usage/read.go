package usage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds an answer: a thousand members take less than a tenth of it.
const maxAnswer = 16 << 20

// get returns what a node answers.
func (m *Meter) get(ctx context.Context, addr, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %v", askTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.scheme+"://"+addr+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return nil, unanswered(ctx, err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, unanswered(ctx, err)
	}
	switch {
	case resp.StatusCode == http.StatusNotFound && path == "/metrics":
		return nil, errors.New("its metrics are off")
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers with status %d", path, resp.StatusCode)
	}
	return body, nil
}

// unanswered returns why there is no answer, in one line.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// figures are those of a process.
type figures struct {
	started   float64 // in seconds since 1970: no two processes have the same
	cpu       time.Duration
	rss, peak int64 // in bytes; 0: not known
}

// The metrics that a process shows them as.
const (
	startedMetric = "dynamo_process_start_time_seconds"
	cpuMetric     = "process_cpu_seconds_total"
	rssMetric     = "process_resident_memory_bytes"
	peakMetric    = "dynamo_process_memory_peak_bytes"
)

// parse finds the figures in the text of /metrics. None of them has labels.
func parse(text string) (f figures, err error) {
	found := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case startedMetric, cpuMetric, rssMetric, peakMetric:
			if found[name], err = strconv.ParseFloat(value, 64); err != nil {
				return figures{}, fmt.Errorf("its %s: %w", name, err)
			}
		}
	}
	for _, name := range []string{startedMetric, cpuMetric} { // without these nothing can be said
		if _, ok := found[name]; !ok {
			return figures{}, fmt.Errorf("its metrics have no %s", name)
		}
	}
	return figures{
		started: found[startedMetric],
		cpu:     time.Duration(math.Round(found[cpuMetric] * float64(time.Second))),
		rss:     int64(found[rssMetric]), peak: int64(found[peakMetric]),
	}, nil
}
