package auth

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// counted is a hasher with a scheme that is expensive, and how often it was compared.
func counted(config CacheConfig) (h *hasher, compared *atomic.Int64) {
	h, compared = newHasher(1, config, nil), new(atomic.Int64)
	h.schemes["SLOW"] = scheme{name: "SLOW", expensive: true, match: func(h *hasher, data string, g guess) (bool, error) {
		compared.Add(1)
		if data == "broken" {
			return false, errScheme
		}
		return h.equal(data, g.password), nil
	}}
	return h, compared
}

// TestCache: matches and mismatches are remembered for their times, by user and by
// both passwords; an error is never remembered.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, compared := counted(CacheConfig{Size: 1 << 20, TTL: time.Hour, NegativeTTL: time.Minute})
		for _, step := range []struct {
			name                   string
			after                  time.Duration
			user, stored, password string
			want, compares         bool
		}{
			{"first", 0, "bob", "a", "a", true, true},
			{"again", 0, "bob", "a", "a", true, false},
			{"wrong after right", 0, "bob", "a", "b", false, true},
			{"wrong again", 0, "bob", "a", "b", false, false},
			{"right after wrong", 0, "bob", "a", "a", true, false},
			{"the same by another user", 0, "eve", "a", "a", true, true},
			{"changed to what was wrong", 0, "bob", "b", "b", true, true},
			{"the old one after a change", 0, "bob", "b", "a", false, true},
			{"changed back", 0, "bob", "a", "a", true, false},
			{"wrong, its time over", 2 * time.Minute, "bob", "a", "b", false, true},
			{"right, its time not over", 0, "bob", "a", "a", true, false},
			{"right, its time over", 2 * time.Hour, "bob", "a", "a", true, true},
			{"broken", 0, "bob", "broken", "a", false, true},
			{"broken again", 0, "bob", "broken", "a", false, true},
		} {
			time.Sleep(step.after)
			before := compared.Load()
			ok, err := h.verify(t.Context(), stored{"SLOW", step.stored}, guess{step.user, step.password})
			if ok != step.want || (err != nil) != (step.stored == "broken") || (compared.Load() > before) != step.compares {
				t.Errorf("%s: %v, %v, compared %v", step.name, ok, err, compared.Load() > before)
			}
		}
	})
}

// TestCacheSize: memory is bounded; what was not used for longest goes.
func TestCacheSize(t *testing.T) {
	h, compared := counted(CacheConfig{Size: 10 * cacheEntry, TTL: time.Hour, NegativeTTL: time.Hour})
	check := func(password string) {
		if _, err := h.verify(t.Context(), stored{"SLOW", "a"}, guess{"bob", password}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		check("a")
		check("wrong " + strconv.Itoa(i))
	}
	if n := len(h.cache.answers.entries); n > 10 || compared.Load() != 21 {
		t.Errorf("%d entries, %d comparisons", n, compared.Load())
	}
}

// TestCacheDefault: without a size, mistakes are not remembered.
func TestCacheDefault(t *testing.T) {
	h, compared := counted(CacheConfig{TTL: time.Hour, NegativeTTL: time.Hour})
	for _, password := range []string{"a", "a", "b", "b"} {
		if _, err := h.verify(t.Context(), stored{"SLOW", "a"}, guess{"bob", password}); err != nil {
			t.Fatal(err)
		}
	}
	if compared.Load() != 3 {
		t.Errorf("%d comparisons", compared.Load())
	}
}

// TestChangedPassword: a changed file counts although the old password is cached.
func TestChangedPassword(t *testing.T) {
	write := func(path, password string, at time.Time) {
		hash, err := HashPassword("PBKDF2", "bob", password, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(path, []byte("bob:"+hash+"\n"), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	path := writeFile(t, "")
	synctest.Test(t, func(t *testing.T) {
		write(path, "old", time.Now().Add(-time.Hour))
		a := newAuth(t, Config{
			Passdbs: []PassdbConfig{{Driver: "passwd-file", Args: path}},
			Cache:   CacheConfig{Size: 1 << 20, TTL: time.Hour, NegativeTTL: time.Hour},
		})
		login := func(password, want string) {
			t.Helper()
			if got := say(a.Authenticate(t.Context(), Request{AuthID: "bob", Password: password})); got != want {
				t.Errorf("%s: %s, want %s", password, got, want)
			}
		}
		login("old", "bob")
		login("new", "AUTHENTICATIONFAILED")
		write(path, "new", time.Now().Add(-time.Minute))
		time.Sleep(statInterval)
		login("new", "bob")
		login("old", "AUTHENTICATIONFAILED")
	})
}

// TestHashMemory: comparisons that need much memory wait for each other, also where
// there are turns enough, and the wait ends with the context.
func TestHashMemory(t *testing.T) {
	h := newHasher(100, CacheConfig{}, nil)
	var group sync.WaitGroup
	var inUse, most atomic.Int64
	for range 20 {
		group.Go(func() {
			leave, err := h.enter(t.Context(), hashMemory/3)
			if err != nil {
				t.Error(err)
				return
			}
			now := inUse.Add(1)
			for top := most.Load(); now > top && !most.CompareAndSwap(top, now); top = most.Load() {
			}
			inUse.Add(-1)
			leave()
		})
	}
	group.Wait()
	if most.Load() > 3 {
		t.Errorf("%d at once", most.Load())
	}
	leave, err := h.enter(t.Context(), hashMemory)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.enter(ctx, 1); !errors.Is(err, context.Canceled) || len(h.slots) != 1 {
		t.Errorf("got %v, %d turns are taken", err, len(h.slots))
	}
}

func TestMemoryNeed(t *testing.T) {
	for data, want := range map[string]int64{
		"$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$a2V5":      65536,
		"$argon2id$v=19$m=4294967295,t=3,p=1$c2FsdA$a2V5": 0, // refused before it is computed
		"$y$j9T$salt$hash": 16384,
		"$6$salt$hash":     0,
		"pass":             0,
	} {
		if got := memoryNeed(data); got != want {
			t.Errorf("%s: %d KiB, want %d", data, got, want)
		}
	}
}
