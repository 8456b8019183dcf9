package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// oneKey is a Coordinator that keeps params alone.
type oneKey struct {
	Coordinator
	value  []byte
	at     Revision
	before func() // a Commit
	err    error
}

func (c *oneKey) Range(context.Context, string) ([]KV, Revision, error) {
	kvs := []KV{{Key: keyParams + "x", Value: []byte("x"), Changed: 1}}
	if c.at != 0 {
		kvs = append(kvs, KV{Key: keyParams, Value: c.value, Changed: c.at})
	}
	return kvs, c.at, c.err
}

func (c *oneKey) Commit(_ context.Context, t Txn) (Revision, bool, error) {
	if c.before != nil {
		c.before()
	}
	if t.If[0].Changed != c.at {
		return c.at, false, nil
	}
	c.at++
	c.value = t.Then[0].Value
	return c.at, true, nil
}

func TestJoin(t *testing.T) {
	ctx := t.Context()
	c := &oneKey{}
	first := NewParams("%Lu", "%Lu")
	if p, err := Join(ctx, c, first); err != nil || p != first || c.at != 1 {
		t.Fatal(p, err)
	}
	if p, err := NewGeneration(ctx, c, 0); err != nil || p.Generation != 2 {
		t.Error(p, err)
	}
	if p, err := NewGeneration(ctx, c, 7); err != nil || p.Generation != 8 {
		t.Error(p, err)
	}
	if p, err := Join(ctx, c, first); err != nil || p.Generation != 8 || c.at != 3 {
		t.Error(p, err)
	}
	_, err := Join(ctx, c, NewParams("%Ln", "%u"))
	const want = `director_username_hash is "%Ln" here and "%Lu" in the cluster, where it stays for ever
auth_username_format is "%u" here and "%Lu" in the cluster, where it stays for ever`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	old := first
	old.Slots, old.Algorithm = 64, 2
	if _, err := Join(ctx, c, old); err == nil || !strings.Contains(err.Error(), "64 here and 16384") || !strings.Contains(err.Error(), "2 here and 1 in") {
		t.Error(err)
	}
	if _, err := NewGeneration(ctx, c, maxGeneration); err == nil {
		t.Error("a generation that no epoch has room for")
	}
}

// Two nodes are new at once: the second takes what the first has written.
func TestJoinRace(t *testing.T) {
	c := &oneKey{}
	c.before = func() {
		c.before = nil
		if _, err := Join(t.Context(), c, NewParams("%n", "%u")); err != nil {
			t.Error(err)
		}
	}
	if _, err := Join(t.Context(), c, NewParams("%u", "%u")); err == nil || !strings.Contains(err.Error(), `"%u" here and "%n"`) {
		t.Error(err)
	}
	c.before = func() { c.at++ }
	if _, err := NewGeneration(t.Context(), c, 0); err == nil {
		t.Error("it changed each time")
	}
}

func TestJoinFails(t *testing.T) {
	for _, c := range []*oneKey{
		{err: errors.New("no route")},
		{at: 1, value: []byte("{")},
		{at: 1, value: []byte(`{"generation":0}`)},
		{at: 1, value: []byte(`{"generation":65536}`)},
	} {
		if _, err := Join(t.Context(), c, NewParams("%u", "%u")); err == nil || c.at > 1 {
			t.Errorf("%s: %v", c.value, err)
		}
		if _, err := NewGeneration(t.Context(), c, 0); err == nil {
			t.Errorf("%s: %v", c.value, err)
		}
	}
	if _, err := NewGeneration(t.Context(), &oneKey{}, 0); err == nil {
		t.Error("a generation of no cluster")
	}
}

// What a newer Roost has written is passed over, unless it says that it must not be.
func TestJoinNewer(t *testing.T) {
	const newer = `{"algorithm":1,"slots":16384,"userHash":"%u","nameFormat":"%u","generation":1,"next":{"x":1}`
	if _, err := Join(t.Context(), &oneKey{at: 1, value: []byte(newer + "}")}, NewParams("%u", "%u")); err != nil {
		t.Error(err)
	}
	_, err := Join(t.Context(), &oneKey{at: 1, value: []byte(newer + `,"format":2}`)}, NewParams("%u", "%u"))
	if err == nil || err.Error() != "the cluster's records have format 2, this program knows up to 1: they are of a newer Roost; upgrade this node" {
		t.Error(err)
	}
}
