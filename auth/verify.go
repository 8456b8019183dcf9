package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/roost-mail/roost/sasl"
)

// hasher compares passwords. It rations the expensive schemes: at most
// cap(slots) of them run at once and take hashMemory together, the others wait.
// Safe for concurrent use.
type hasher struct {
	schemes schemeTable
	macs    sync.Pool // of HMACs with a key that clients do not know; see equal
	slots   chan struct{}
	memory  *semaphore.Weighted // KiB
	cache   *cache
	derived *derivedKeys
}

// hashMemory is what comparisons that need much memory may take together, in
// KiB: as much as one alone may, so that none waits for ever.
const hashMemory = maxArgonMemory

// newHasher runs workers expensive comparisons at once; 0 is one per processor.
// secret is the key of what clients can compare, random if it is empty.
func newHasher(workers int, config CacheConfig, secret []byte) *hasher {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	key := secret
	if len(key) == 0 {
		key = make([]byte, 32)
		rand.Read(key) // never fails, see crypto/rand
	}
	return &hasher{
		schemes: newSchemeTable(),
		macs:    sync.Pool{New: func() any { return &keyedHash{mac: hmac.New(sha256.New, key)} }},
		slots:   make(chan struct{}, workers),
		memory:  semaphore.NewWeighted(hashMemory),
		cache:   newCache(config),
		derived: newDerivedKeys(),
	}
}

// equal compares in a time that says nothing about the contents nor about where
// they differ, different lengths included: what is compared are keyed hashes.
func (h *hasher) equal(a, b string) bool {
	x, y := h.sum(a), h.sum(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// keyedHash is one HMAC with room for what goes in and out.
type keyedHash struct {
	mac hash.Hash
	buf [256]byte
	out [sha256.Size]byte
}

// sum is a keyed hash of the words, which are kept apart by their lengths.
func (h *hasher) sum(words ...string) [32]byte {
	k := h.macs.Get().(*keyedHash)
	defer h.macs.Put(k)
	k.mac.Reset()
	for _, s := range words {
		n := copy(k.buf[8:], s)
		binary.LittleEndian.PutUint64(k.buf[:], uint64(len(s)))
		k.mac.Write(k.buf[:8+n])
		if n < len(s) {
			k.mac.Write([]byte(s[n:]))
		}
	}
	clear(k.buf[:])
	k.mac.Sum(k.out[:0])
	return k.out
}

// attempt tells attempts with different passwords apart; of proofs, which do not
// show the password, each is taken for another.
func (h *hasher) attempt(req Request) [32]byte {
	if req.Proof != nil {
		return h.sum(randomText(16))
	}
	return h.sum(req.Password)
}

// verify says whether the guess has the stored password. Nothing stored and
// nothing given match nothing: whoever wants that sets nopassword; nor does a
// password of more than sasl.MaxPassword bytes. The error is errScheme if the
// stored password cannot be used, or that of ctx while waiting.
func (h *hasher) verify(ctx context.Context, s stored, g guess) (bool, error) {
	row, suffix, err := h.schemes.find(s.scheme)
	if err != nil {
		return false, err
	}
	data, err := row.decode(suffix, s.data)
	if err != nil {
		return false, err
	}
	if data == "" || g.password == "" || len(g.password) > sasl.MaxPassword || strings.Contains(g.password, "\x00") {
		return false, nil
	}
	if row.expensive {
		return h.verifyExpensive(ctx, row, data, g)
	}
	return row.match(h, data, g)
}

// verifyExpensive asks the cache first. Its key has both sides and the user: a
// changed stored password is another side, and what is known of one user makes
// no answer for another quicker.
func (h *hasher) verifyExpensive(ctx context.Context, row scheme, data string, g guess) (bool, error) {
	key := h.sum(row.name, data, g.user, g.password)
	if ok, known := h.cache.get(key); known {
		return ok, nil
	}
	leave, err := h.enter(ctx, memoryNeed(data))
	if err != nil {
		return false, err
	}
	defer leave()
	ok, err := row.match(h, data, g)
	if err != nil {
		return false, err
	}
	h.cache.put(key, ok)
	return ok, nil
}

// enter waits for a turn at an expensive computation that needs kib of memory.
func (h *hasher) enter(ctx context.Context, kib int64) (leave func(), err error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := h.memory.Acquire(ctx, kib); err != nil {
		<-h.slots
		return nil, err
	}
	return func() {
		h.memory.Release(kib)
		<-h.slots
	}, nil
}
