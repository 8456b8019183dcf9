package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/roost-mail/roost/sasl"
)

// hasher compares passwords. It rations the expensive schemes: at most
// cap(slots) of them run at once, the others wait. Safe for concurrent use.
type hasher struct {
	key   [32]byte // random, of this process; see equal
	slots chan struct{}

	mu sync.Mutex
	// proved is when an expensive comparison last had a match, by the keyed hash
	// of both its sides: clients that log in again need not wait for another.
	// A changed stored password is another side.
	proved *lru[[32]byte, time.Time]
}

const (
	provedKeys = 4096
	provedTime = 5 * time.Minute
)

// newHasher runs workers expensive comparisons at once; 0 is one per processor.
func newHasher(workers int) *hasher {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	h := &hasher{slots: make(chan struct{}, workers), proved: newLRU[[32]byte, time.Time](provedKeys)}
	rand.Read(h.key[:]) // never fails, see crypto/rand
	return h
}

// equal compares in a time that says nothing about the contents nor about where
// they differ, different lengths included: what is compared are keyed hashes.
func (h *hasher) equal(a, b string) bool {
	x, y := h.sum(a), h.sum(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func (h *hasher) sum(s string) (sum [32]byte) {
	mac := hmac.New(sha256.New, h.key[:])
	mac.Write([]byte(s))
	mac.Sum(sum[:0])
	return sum
}

// verify says whether password is the stored one. Nothing stored and nothing
// given match nothing: whoever wants that sets nopassword; nor does a password
// of more than sasl.MaxPassword bytes. The error is errScheme
// if the stored password cannot be used, or that of ctx while waiting.
func (h *hasher) verify(ctx context.Context, s stored, password string) (bool, error) {
	name, suffix, _ := strings.Cut(s.scheme, ".")
	row, ok := findScheme(name)
	if !ok {
		return false, fmt.Errorf("%w: unknown scheme %q", errScheme, s.scheme)
	}
	data, err := row.decode(suffix, s.data)
	if err != nil {
		return false, err
	}
	if data == "" || password == "" || len(password) > sasl.MaxPassword || strings.Contains(password, "\x00") {
		return false, nil
	}
	if row.expensive {
		return h.verifyExpensive(ctx, row, s.scheme, data, password)
	}
	return row.match(h, data, password)
}

func (h *hasher) verifyExpensive(ctx context.Context, row scheme, name, data, password string) (bool, error) {
	key := h.sum(name + "\x00" + data + "\x00" + password)
	h.mu.Lock()
	at := h.proved.get(key)
	known := at != nil && time.Since(*at) < provedTime
	h.mu.Unlock()
	if known {
		return true, nil
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	ok, err := row.match(h, data, password)
	if ok && err == nil {
		h.mu.Lock()
		h.proved.put(key, time.Now())
		h.mu.Unlock()
	}
	return ok && err == nil, err
}
