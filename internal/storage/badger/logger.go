package badger

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
)

// logger passes on what badger has to say, and keeps the first error of it,
// since badger does not return all of them.
type logger struct {
	log      *slog.Logger
	first    atomic.Pointer[error]
	retrying atomic.Bool                 // a memtable cannot be flushed
	fail     atomic.Pointer[func(error)] // what is to be told, once there is an engine
}

// err returns the first error, nil as long as there is none.
func (l *logger) err() error {
	if p := l.first.Load(); p != nil {
		return *p
	}
	return nil
}

// tell has f called with errors from now on.
func (l *logger) tell(f func(error)) {
	l.fail.Store(&f)
	if err := l.err(); err != nil {
		f(err)
	}
}

// Errorf implements badger.Logger.
func (l *logger) Errorf(format string, args ...any) {
	err := fmt.Errorf(strings.TrimSpace(format), args...)
	if strings.Contains(format, "retrying") {
		l.retrying.Store(true)
	}
	l.first.CompareAndSwap(nil, &err)
	if fail := l.fail.Load(); fail != nil {
		(*fail)(err)
	}
}

// Warningf implements badger.Logger.
func (l *logger) Warningf(format string, args ...any) {
	l.log.Warn("badger", "message", lazy{format, args})
}

// Infof implements badger.Logger. What it has to say of every file and flush is
// of use only to who debugs badger.
func (l *logger) Infof(format string, args ...any) {
	l.log.Debug("badger", "message", lazy{format, args})
}

// Debugf implements badger.Logger.
func (l *logger) Debugf(format string, args ...any) {
	l.log.Debug("badger", "message", lazy{format, args})
}

// lazy is a message that is put together only if somebody wants it.
type lazy struct {
	format string
	args   []any
}

// LogValue implements slog.LogValuer.
func (m lazy) LogValue() slog.Value {
	return slog.StringValue(strings.TrimSpace(fmt.Sprintf(m.format, m.args...)))
}
