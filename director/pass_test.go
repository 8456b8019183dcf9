package director

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/cluster"
	"github.com/roost-mail/roost/idle"
	"github.com/roost-mail/roost/imapserver"
)

// leave is a Pass that a test ends.
type leave struct {
	mu   sync.Mutex
	end  func(string)
	done chan struct{}
	once sync.Once
}

func (l *leave) Notify(end func(string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = end
}

func (l *leave) Done() { l.once.Do(func() { close(l.done) }) }

// A session at a backend that is no Roost needs a Pass, is told nothing of the map, ends with the
// Pass, and gives it back when nothing can be sent any more.
func TestForeignBackendNeedsAPass(t *testing.T) {
	addr := backend(t, letsIn+"HANG\n")
	b := at("dove", addr, 7)
	b.Foreign = true
	poller, err := idle.New()
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()
	pass := &leave{done: make(chan struct{})}
	refusals := 1
	d := New(Config{
		Locator: &moving{answers: []cluster.Backend{b}}, Log: slog.New(slog.DiscardHandler), Timeout: time.Minute,
		Poller: poller, Admit: func(user, name string) (Pass, error) {
			if user != "alice" || name != "dove" {
				t.Errorf("asked for %s at %s", user, name)
			}
			if refusals--; refusals >= 0 {
				return nil, errors.New("it is leaving")
			}
			return pass, nil
		},
	})
	d.pause, d.pool.quiet = time.Millisecond, time.Millisecond
	p, err := d.Connect(t.Context(), someClient(), Route{User: "alice", AuthID: "alice", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	here, there := tcpPair(t)
	ended := make(chan struct{})
	p.Run(context.Background(), there, nil, func(imapserver.Result) { close(ended) })
	time.Sleep(5 * time.Millisecond) // it may be parked by then; it need not
	select {
	case <-pass.done:
		t.Fatal("the pass was given back")
	default:
	}
	pass.mu.Lock()
	end := pass.end
	pass.mu.Unlock()
	end("the unit is leaving")
	<-pass.done
	<-ended
	_ = there.Close()
	if rest, err := io.ReadAll(bufio.NewReader(here)); err != nil || strings.Contains(string(rest), "OK") {
		t.Errorf("got %q, %v", rest, err)
	}
}
