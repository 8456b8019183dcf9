package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
)

// guess is one attempt, and how long it took.
func guessAt(t *testing.T, a *Authenticator, req Request) (string, time.Duration) {
	t.Helper()
	start := time.Now()
	got := say(a.Authenticate(t.Context(), req))
	return got, time.Since(start)
}

func guarded() Config {
	config := backend()
	config.FailureDelay = 2 * time.Second
	config.MaxPenalty = 15 * time.Second
	return config
}

// Each wrong guess makes the next attempt of that login from that client wait
// longer; a right password ends it.
func TestPenaltyGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, guarded())
		for i, want := range []time.Duration{0, 2, 4, 8, 15, 15} {
			got, took := guessAt(t, a, Request{AuthID: "someone1", Password: fmt.Sprint(i), RemoteAddr: office})
			if want = want*time.Second + 2*time.Second; got != "AUTHENTICATIONFAILED" || took != want {
				t.Errorf("guess %d: %s after %v, want %v", i, got, took, want)
			}
		}
		if got, took := guessAt(t, a, Request{AuthID: "SOMEONE1", Password: "pass", RemoteAddr: office}); got != "someone1" || took != 15*time.Second {
			t.Errorf("the right password: %s after %v", got, took)
		}
		if got, took := guessAt(t, a, Request{AuthID: "someone1", Password: "pass", RemoteAddr: office}); got != "someone1" || took != 0 {
			t.Errorf("after a success: %s after %v", got, took)
		}
	})
}

// Nobody else waits: not other users of that client, nor that user elsewhere,
// nor other acting users of the same backend.
func TestPenaltyIsOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, guarded())
		for i := range 5 {
			guessAt(t, a, Request{AuthID: "someone1", Password: fmt.Sprint(i), RemoteAddr: office})
			guessAt(t, a, Request{AuthzID: "someone1", AuthID: "someone2", Password: fmt.Sprint(i), RemoteAddr: office})
		}
		for _, req := range []Request{
			{AuthID: "someone2", Password: "pass", RemoteAddr: office},
			{AuthID: "someone1", Password: "pass", RemoteAddr: abroad},
			{AuthID: "someone1", Password: "pass", RemoteAddr: abroad, PeerAddr: office},
			{AuthzID: "someone1", AuthID: "someone3", Password: "master-secret", RemoteAddr: office},
			{AuthzID: "someone2", AuthID: "someone1", Password: "master-secret", RemoteAddr: office},
		} {
			if got, took := guessAt(t, a, req); took != 0 {
				t.Errorf("%+v: %s after %v", req, got, took)
			}
		}
	})
}

func TestPenaltyDecays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, guarded())
		for i := range 3 {
			guessAt(t, a, Request{AuthID: "someone1", Password: fmt.Sprint(i), RemoteAddr: office})
		}
		time.Sleep(2 * penaltyDecay)
		if _, took := guessAt(t, a, Request{AuthID: "someone1", Password: "again", RemoteAddr: office}); took != 4*time.Second {
			t.Errorf("two steps later: %v", took)
		}
		time.Sleep(time.Hour)
		if _, took := guessAt(t, a, Request{AuthID: "someone1", Password: "again", RemoteAddr: office}); took != 2*time.Second {
			t.Errorf("an hour later: %v", took)
		}
	})
}

// A client that repeats one old password does not make its user wait longer.
func TestPenaltySamePassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, guarded())
		for range 10 {
			guessAt(t, a, Request{AuthID: "someone1", Password: "old", RemoteAddr: office})
		}
		if _, took := guessAt(t, a, Request{AuthID: "someone1", Password: "pass", RemoteAddr: office}); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// Guesses at the same time wait behind each other; too many are refused unheard.
func TestPenaltyQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := guarded()
		config.FailureDelay = 0
		a := newAuth(t, config)
		for i := range 5 {
			guessAt(t, a, Request{AuthID: "someone1", Password: fmt.Sprint(i), RemoteAddr: office})
		}
		start := time.Now()
		var group sync.WaitGroup
		var mu sync.Mutex
		ends := map[string]int{}
		for i := range 10 {
			group.Go(func() {
				got, took := guessAt(t, a, Request{AuthID: "someone1", Password: "p" + fmt.Sprint(i), RemoteAddr: office})
				mu.Lock()
				defer mu.Unlock()
				ends[fmt.Sprint(got, " ", took)]++
			})
		}
		group.Wait()
		if ends["AUTHENTICATIONFAILED 15s"] != 1 || ends["AUTHENTICATIONFAILED 1m0s"] != 1 || ends["UNAVAILABLE 0s"] != 6 {
			t.Errorf("after %v: %v", time.Since(start), ends)
		}
	})
}

// Many connections that guess at once get few answers.
func TestPenaltyBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := guarded()
		config.FailureDelay = 0
		a := newAuth(t, config)
		var group sync.WaitGroup
		var mu sync.Mutex
		ends := map[string]int{}
		for i := range 200 {
			group.Go(func() {
				got, took := guessAt(t, a, Request{AuthID: "someone1", Password: "p" + fmt.Sprint(i), RemoteAddr: office})
				mu.Lock()
				defer mu.Unlock()
				ends[got]++
				if took == 0 {
					ends["at once "+got]++
				}
			})
		}
		group.Wait()
		if ends["at once AUTHENTICATIONFAILED"] > penaltyGate || ends["AUTHENTICATIONFAILED"] > 40 || ends["UNAVAILABLE"] == 0 {
			t.Errorf("got %v", ends)
		}
	})
}

// Many connections with the right password all get in at once, and leave nothing.
func TestPenaltyCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, guarded())
		var group sync.WaitGroup
		for range 200 {
			group.Go(func() {
				if got, took := guessAt(t, a, Request{AuthID: "someone1", Password: "pass", RemoteAddr: office}); got != "someone1" || took != 0 {
					t.Errorf("%s after %v", got, took)
				}
			})
		}
		group.Wait()
		if n := a.penalties.size(); n != 0 {
			t.Errorf("%d keys are remembered", n)
		}
	})
}

func TestPenaltyEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, guarded())
		for i := range 5 {
			guessAt(t, a, Request{AuthID: "someone1", Password: fmt.Sprint(i), RemoteAddr: office})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := a.Authenticate(ctx, Request{AuthID: "someone1", Password: "pass", RemoteAddr: office})
		if !errors.Is(err, context.DeadlineExceeded) || imap.CodeOf(err) != imap.CodeUnavailable || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestPenaltyOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, backend())
		for i := range 5 {
			if _, took := guessAt(t, a, Request{AuthID: "someone1", Password: fmt.Sprint(i)}); took != 0 {
				t.Errorf("took %v", took)
			}
		}
		if n := a.penalties.size(); n != 0 {
			t.Errorf("%d keys are remembered", n)
		}
	})
}

func (p *penalties) size() (n int) {
	for i := range p.shards {
		n += len(p.shards[i].keys.entries)
	}
	return n
}

// However many names and addresses are tried, memory is bounded; an IPv6 client
// has its whole /64 in one key.
func TestPenaltyBounds(t *testing.T) {
	p := newPenalties(time.Second)
	for i := range 2 * penaltyShards * penaltyKeys {
		key := newPenaltyKey(office, Login{User: fmt.Sprint(i)})
		leave, err := p.enter(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		p.failed(key, [32]byte{})
		leave()
	}
	if n := p.size(); n > penaltyShards*penaltyKeys || n < penaltyShards*penaltyKeys/2 {
		t.Errorf("%d keys", n)
	}
	login := Login{User: "a", Acting: "a"}
	one, two := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:1")
	if newPenaltyKey(one, login) != newPenaltyKey(two, login) {
		t.Error("addresses of one /64 are two clients")
	}
	if newPenaltyKey(netip.MustParseAddr("::ffff:192.0.2.7"), login) != newPenaltyKey(office, login) {
		t.Error("IPv4 in IPv6 is another client")
	}
}

func TestLRU(t *testing.T) {
	l := newLRU[string, int](2)
	l.put("a", 1)
	l.put("b", 2)
	l.put("a", 3)
	l.put("c", 4)
	var got strings.Builder
	for _, key := range []string{"a", "b", "c"} {
		if v := l.get(key); v != nil {
			fmt.Fprint(&got, key, *v, " ")
		}
	}
	l.remove("a")
	l.remove("a")
	if got.String() != "a3 c4 " || l.get("a") != nil || l.order.Len() != 1 || len(l.entries) != 1 {
		t.Errorf("got %q", got.String())
	}
}
