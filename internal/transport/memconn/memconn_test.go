package memconn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/transport/memconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns both ends of a connection from a to b.
func pair(t *testing.T, n *memconn.Network) (a, b net.Conn) {
	t.Helper()
	l, err := n.Listen("b:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if a, err = n.Dialer("a")(t.Context(), l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if n, err := c.Write([]byte(text)); err != nil || n != len(text) {
		t.Fatalf("%d bytes written of %d: %v", n, len(text), err)
	}
}

// want fails unless a read gives the text, or the error.
func want(t *testing.T, c net.Conn, text string, target error) {
	t.Helper()
	b := make([]byte, 100)
	n, err := c.Read(b)
	if string(b[:n]) != text || !errors.Is(err, target) {
		t.Errorf("read %q, %v; want %q, %v", b[:n], err, text, target)
	}
}

// bubble runs a test in virtual time, without a cluster around it.
func bubble(t *testing.T, f func(t *testing.T, n *memconn.Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, memconn.New()) })
}

func TestBytesArriveInOrderAndAfterAWhile(t *testing.T) {
	bubble(t, func(t *testing.T, n *memconn.Network) {
		a, b := pair(t, n)
		began := time.Now()
		send(t, a, "ab")
		send(t, a, "cd")
		want(t, b, "abcd", nil)
		if time.Since(began) == 0 {
			t.Error("they took no time")
		}
		send(t, b, "back")
		want(t, a, "back", nil)
		send(t, a, "last")
		if err := errors.Join(a.Close(), a.Close()); err != nil {
			t.Error(err)
		}
		want(t, b, "last", nil)
		want(t, b, "", io.EOF)
		want(t, a, "", net.ErrClosed)
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("writing to who has closed: %v", err)
		}
	})
}

func TestAFullWindowMakesTheSenderWait(t *testing.T) {
	bubble(t, func(t *testing.T, n *memconn.Network) {
		a, b := pair(t, n)
		const size = 1 << 20
		go func() {
			send(t, a, strings.Repeat("x", size))
			_ = a.Close()
		}()
		synctest.Wait()
		got, err := io.ReadAll(b)
		if err != nil || len(got) != size {
			t.Errorf("%d bytes of %d, %v", len(got), size, err)
		}
		if err := b.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T, n *memconn.Network) {
		a, b := pair(t, n)
		began := time.Now()
		if err := a.SetDeadline(began.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		want(t, a, "", os.ErrDeadlineExceeded)
		if d := time.Since(began); d != time.Second {
			t.Errorf("after %v, want one second", d)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write past the deadline: %v", err)
		}
		go func() {
			<-time.After(time.Second)
			_ = b.SetReadDeadline(time.Now()) // which ends a read that has begun
		}()
		want(t, b, "", os.ErrDeadlineExceeded)
		if err := a.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		send(t, b, "still of use")
		want(t, a, "still of use", nil)
	})
}

func TestWhatIsCutWaits(t *testing.T) {
	bubble(t, func(t *testing.T, n *memconn.Network) {
		a, b := pair(t, n)
		n.Cut("a", "b")
		send(t, a, "late")
		send(t, b, "in time")
		want(t, a, "in time", nil)
		if err := b.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		want(t, b, "", os.ErrDeadlineExceeded)
		if err := b.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		go n.Heal()
		want(t, b, "late", nil)
	})
}

func TestDialing(t *testing.T) {
	bubble(t, func(t *testing.T, n *memconn.Network) {
		dial := func(wait time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			c, err := n.Dialer("a")(ctx, "b:1")
			if err == nil {
				err = c.Close()
			}
			return err
		}
		if err := dial(time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("where nobody listens: %v", err)
		}
		l, err := n.Listen("b:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Listen("b:1"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second listener: %v", err)
		}
		for _, fault := range []func(){
			func() { n.Cut("a", "b") }, func() { n.Cut("b", "a") }, func() { n.Split([]string{"a"}, []string{"b"}) },
			func() { n.PowerOff("b") },
		} {
			fault()
			if err := dial(time.Minute); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("where nothing comes back: %v", err)
			}
			n.Heal()
			n.PowerOn("b")
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener of a machine that lost its power: %v", err)
		}
		n.PowerOff("a")
		if err := dial(time.Second); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("from a machine without power: %v", err)
		}
	})
}

// A machine that lost its power is silent, and resets old connections when it
// is back.
func TestPowerOff(t *testing.T) {
	bubble(t, func(t *testing.T, n *memconn.Network) {
		a, b := pair(t, n)
		n.PowerOff("b")
		want(t, b, "", net.ErrClosed)
		send(t, a, "into the void")
		if err := a.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		want(t, a, "", os.ErrDeadlineExceeded)
		n.PowerOn("b")
		if err := a.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		want(t, a, "", syscall.ECONNRESET)
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("writing to a machine that knows nothing of it: %v", err)
		}
	})
}

// What is connected and not accepted ends with its listener.
func TestListenersEndWithWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, n *memconn.Network) {
		l, err := n.Listen("b:0")
		if err != nil {
			t.Fatal(err)
		}
		a, err := n.Dialer("a")(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		want(t, a, "", io.EOF)
	})
}

// net/http works over it, which uses all of a connection.
func TestHTTP(t *testing.T) {
	bubble(t, func(t *testing.T, n *memconn.Network) {
		l, err := n.Listen("b:80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		}), ReadHeaderTimeout: time.Minute}
		served := make(chan error)
		go func() { served <- server.Serve(l) }()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return n.Dialer("a")(ctx, addr) }}
		client := &http.Client{Transport: transport}
		for range 3 {
			body := strings.Repeat("y", 300_000)
			res, err := client.Post("http://b:80/", "text/plain", strings.NewReader(body)) //nolint:noctx // in virtual time
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			if err := errors.Join(err, res.Body.Close()); err != nil || string(got) != body {
				t.Errorf("%d bytes came back of %d, %v", len(got), len(body), err)
			}
		}
		transport.CloseIdleConnections()
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}
