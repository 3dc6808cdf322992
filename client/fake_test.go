package client_test

import (
	"net"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/client"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// fakeNode answers requests as it is told, and keeps what it was asked.
type fakeNode struct {
	dynamov1.UnimplementedKVServer
	addr     string
	topology *dynamov1.TopologyReply
	// answer returns the reply; nil stays silent, and a reply without a result
	// ends the stream.
	answer func(*dynamov1.Request) *dynamov1.Reply
	noise  []uint64 // IDs of replies that come with each answer, unasked

	mu    sync.Mutex
	asked []*dynamov1.Request
	more  chan struct{} // closed and renewed with each of them
}

func (f *fakeNode) Watch(_ *dynamov1.TopologyRequest, stream grpc.ServerStreamingServer[dynamov1.TopologyReply]) error {
	if err := stream.Send(f.topology); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (f *fakeNode) Stream(stream grpc.BidiStreamingServer[dynamov1.Requests, dynamov1.Replies]) error {
	var sending sync.Mutex
	var answers sync.WaitGroup
	defer answers.Wait()
	broken := make(chan error, 1)
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				broken <- err
				return
			}
			for _, r := range m.Requests {
				f.mu.Lock()
				f.asked = append(f.asked, r)
				close(f.more)
				f.more = make(chan struct{})
				f.mu.Unlock()
				answers.Go(func() {
					reply := f.answer(r)
					if reply == nil {
						return
					}
					if reply.Result == nil {
						select {
						case broken <- nil:
						default:
						}
						return
					}
					reply.Id = r.Id
					sending.Lock()
					defer sending.Unlock()
					_ = stream.Send(&dynamov1.Replies{Replies: f.noisy(reply)})
				})
			}
		}
	}()
	return <-broken
}

// noisy returns the reply, and those that nobody has asked for: before it, since the
// client may ask its next question as soon as it has the reply, and once more the same.
func (f *fakeNode) noisy(reply *dynamov1.Reply) []*dynamov1.Reply {
	var out []*dynamov1.Reply
	for _, id := range f.noise {
		if id != reply.Id {
			out = append(out, &dynamov1.Reply{Id: id})
		}
	}
	return append(out, reply, &dynamov1.Reply{Id: reply.Id})
}

// requests returns what the node was asked so far.
func (f *fakeNode) requests() []*dynamov1.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// puts returns the puts that the node was asked for so far. Reads come also by
// themselves, where an owner is to be known.
func (f *fakeNode) puts() []*dynamov1.Request {
	return slices.DeleteFunc(f.requests(), func(r *dynamov1.Request) bool { return !isPut(r) })
}

// await returns what the node was asked of a kind, once that is so many requests.
func (f *fakeNode) await(n int, kind func(*dynamov1.Request) bool) []*dynamov1.Request {
	for {
		f.mu.Lock()
		asked, more := slices.Clone(f.asked), f.more
		f.mu.Unlock()
		asked = slices.DeleteFunc(asked, func(r *dynamov1.Request) bool { return !kind(r) })
		if len(asked) >= n {
			return asked
		}
		<-more
	}
}

// isPut tells the puts of a test from the reads by which a client finds out how
// fast the other owners are, as soon as one takes some milliseconds.
func isPut(r *dynamov1.Request) bool { return r.GetPut() != nil }

// startFakes returns as many nodes as there are answers, all owners of all
// keys in this order, and a client of them.
func startFakes(t *testing.T, cfg *client.Config, answers ...func(*dynamov1.Request) *dynamov1.Reply) ([]*fakeNode, *client.Client) {
	t.Helper()
	topology := &dynamov1.TopologyReply{Layout: 1, Partitions: 1, Replicas: uint32(len(answers)), Width: uint32(len(answers))}
	var fakes []*fakeNode
	for i, answer := range answers {
		var config net.ListenConfig
		ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f := &fakeNode{addr: ln.Addr().String(), topology: topology, answer: answer, more: make(chan struct{})}
		topology.Owners = append(topology.Owners, uint32(i))
		topology.Nodes = append(topology.Nodes, &dynamov1.TopologyNode{Id: f.addr, Address: f.addr})
		fakes = append(fakes, f)
		server := grpc.NewServer(grpc.ForceServerCodecV2(frame.Codec{}))
		dynamov1.RegisterKVServer(server, f)
		serve(t, server, ln)
	}
	c, err := client.New(t.Context(), []string{fakes[0].addr}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return fakes, c
}

// serve has a server answer at ln until the test ends.
func serve(t *testing.T, server *grpc.Server, ln net.Listener) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// key is the one that fake nodes know.
const key = "k"

var seen = version.NewContext([]byte(key), version.Clock{})

// succeeds answers as a node does that finds "v", or has stored what it got.
func succeeds(r *dynamov1.Request) *dynamov1.Reply {
	if r.GetGet() != nil {
		return &dynamov1.Reply{Result: &dynamov1.Reply_Got{Got: &dynamov1.GetReply{
			Values:  []*dynamov1.Value{{Data: []byte("v"), Clock: version.Clock{}.AppendBinary(nil), Timestamp: 1}},
			Context: seen.AppendBinary(nil),
		}}}
	}
	return &dynamov1.Reply{Result: &dynamov1.Reply_Written{Written: &dynamov1.WriteReply{
		Context: seen.AppendBinary(nil), Replicas: 2, Required: 2,
	}}}
}

func silent(*dynamov1.Request) *dynamov1.Reply { return nil }

// breaks ends the stream once it has the request.
func breaks(*dynamov1.Request) *dynamov1.Reply { return &dynamov1.Reply{} }

// fails answers with a failure.
func fails(reason dynamov1.Reason, outcome dynamov1.WriteOutcome) func(*dynamov1.Request) *dynamov1.Reply {
	return func(*dynamov1.Request) *dynamov1.Reply {
		return &dynamov1.Reply{Result: &dynamov1.Reply_Failure{Failure: &dynamov1.Failure{
			Reason: reason, Outcome: outcome, Message: "told to fail", Replicas: 1, Fallbacks: 1, Required: 2,
		}}}
	}
}

// first answers the first so many requests with one function and later ones
// with another.
func first(n int, one, later func(*dynamov1.Request) *dynamov1.Reply) func(*dynamov1.Request) *dynamov1.Reply {
	var mu sync.Mutex
	return func(r *dynamov1.Request) *dynamov1.Reply {
		mu.Lock()
		n--
		early := n >= 0
		mu.Unlock()
		if early {
			return one(r)
		}
		return later(r)
	}
}
