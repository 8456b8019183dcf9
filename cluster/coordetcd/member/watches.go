package member

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// watches are those that clients have open at this member. They never end by themselves, and
// etcd stops only when no call is open, or after six seconds: so they are ended first. Other
// calls, such as other nodes' commits, have that time to be answered.
type watches struct {
	ending context.Context // when it is done those that come end at once
	cancel context.CancelFunc

	mu   sync.Mutex
	open int
	none chan struct{} // closed when none is open
}

func newWatches() *watches {
	w := &watches{none: make(chan struct{})}
	close(w.none)
	w.ending, w.cancel = context.WithCancel(context.Background())
	return w
}

var errStopping = status.Error(codes.Unavailable, "this member of the coordinator stops")

// serve is a grpc.StreamServerInterceptor.
func (w *watches) serve(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if !strings.HasSuffix(info.FullMethod, "/Watch") {
		return handle(srv, stream)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(w.ending, cancel)()
	w.begin()
	defer w.done()
	err := handle(srv, watch{stream, ctx})
	if w.ending.Err() != nil {
		return errStopping
	}
	return err
}

// watch is a stream that ends with ctx.
type watch struct {
	grpc.ServerStream
	ctx context.Context
}

func (s watch) Context() context.Context { return s.ctx }

func (w *watches) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == 0 {
		w.none = make(chan struct{})
	}
	w.open++
}

func (w *watches) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open--; w.open == 0 {
		close(w.none)
	}
}

// watchesTime is how long watches may take to end.
const watchesTime = time.Second

// end ends all watches, and says how many are left.
func (w *watches) end() (left int) {
	w.cancel()
	w.mu.Lock()
	none := w.none
	w.mu.Unlock()
	select {
	case <-none:
	case <-time.After(watchesTime):
	}
	return w.number()
}

func (w *watches) number() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open
}
