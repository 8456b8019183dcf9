package auth

import (
	"sync"
	"time"
)

// CacheConfig is the settings of the cache of password checks.
type CacheConfig struct {
	Size        int64         // auth_cache_size, bytes; 0: a small one, which keeps matches for minutes
	TTL         time.Duration // auth_cache_ttl, of passwords that were right
	NegativeTTL time.Duration // auth_cache_negative_ttl, of those that were wrong
}

// cacheEntry is about what an answer takes with its places in map and list, in bytes.
const cacheEntry = 256

// cache remembers how comparisons that take long ended, so that a client that
// logs in again, or one with an old password, costs nothing. A key is a keyed
// hash of user, stored and given password: no password is kept, and since the
// stored one is part of it, no answer outlives a change of the password. Only
// time and space end an entry. Safe for concurrent use.
type cache struct {
	ttl [2]time.Duration // of false and true

	mu      sync.Mutex
	answers *lru[[32]byte, answer]
}

type answer struct {
	ok    bool
	until time.Time
}

func newCache(config CacheConfig) *cache {
	if config.Size <= 0 {
		config = CacheConfig{Size: 4096 * cacheEntry, TTL: 5 * time.Minute}
	}
	entries := int(min(max(config.Size/cacheEntry, 1), 16<<20))
	return &cache{
		ttl:     [2]time.Duration{config.NegativeTTL, config.TTL},
		answers: newLRU[[32]byte, answer](entries),
	}
}

func (c *cache) get(key [32]byte) (ok, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.answers.get(key)
	if a == nil {
		return false, false
	}
	if time.Now().After(a.until) {
		c.answers.remove(key)
		return false, false
	}
	return a.ok, true
}

func (c *cache) put(key [32]byte, ok bool) {
	ttl := c.ttl[0]
	if ok {
		ttl = c.ttl[1]
	}
	if ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers.put(key, answer{ok, time.Now().Add(ttl)})
}
