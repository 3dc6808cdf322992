package transporttest

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/transport"
)

// Network makes the transports under test; they reach each other.
type Network interface {
	// Start returns a transport that listens on addr, and its address. An
	// empty addr asks for any that is free.
	Start(tb testing.TB, addr string, h transport.Handler, mono func() time.Duration) (transport.Transport, string)
	// Unused returns an address that nobody listens on.
	Unused(tb testing.TB) string
	// Inject sends b as one message to the node at addr, as a hostile peer
	// would, and returns the error that such a peer sees, nil if it sees none.
	Inject(tb testing.TB, addr string, b []byte) error
}

// Run tests the transports of a network. Each test leaves no goroutine.
func Run(t *testing.T, network func(testing.TB) Network) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Network)
	}{
		{"RequestAndReply", testRequestAndReply},
		{"OrderIsKept", testOrderIsKept},
		{"EveryoneToEveryone", testEveryoneToEveryone},
		{"DeadlinesAreCarried", testDeadlinesAreCarried},
		{"ExpiredIsNotSent", testExpiredIsNotSent},
		{"RefusedComesBack", testRefusedComesBack},
		{"RestartIsReached", testRestartIsReached},
		{"ReachEndsAPause", testReachEndsAPause},
		{"LargeEnvelopes", testLargeEnvelopes},
		{"TooLargeIsRefused", testTooLargeIsRefused},
		{"OutboxIsBounded", testOutboxIsBounded},
		{"CloseGivesBackWhatWasNotSent", testCloseGivesBack},
		{"CloseIsFinal", testCloseIsFinal},
		{"HostileMessages", testHostileMessages},
		{"UnknownMessages", testUnknownMessages},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, before) }) // runs after those of the test
			c.test(t, network(t))
		})
	}
}
