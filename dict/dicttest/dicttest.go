// Package dicttest is the conformance suite of package dict. A new home for a
// dictionary is done when Test passes.
package dicttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roost-mail/roost/dict"
)

// Home says what dictionaries the suite is run on, and where they have narrower
// bounds than package dict.
type Home struct {
	// Fresh makes a new, empty dictionary and returns a function that opens
	// handles on it; the suite closes the handles. A home that has only one
	// handle returns the same one each time.
	Fresh func(t *testing.T) (open func() dict.Dict)

	LongestKey int  // in bytes; 0 means dict.MaxKey
	Flat       bool // no key can be below another, nor have empty parts
}

// Test runs the whole suite on homes without narrower bounds.
func Test(t *testing.T, fresh func(t *testing.T) (open func() dict.Dict)) {
	TestHome(t, Home{Fresh: fresh})
}

// TestHome runs the whole suite.
func TestHome(t *testing.T, home Home) {
	if home.LongestKey == 0 {
		home.LongestKey = dict.MaxKey
	}
	rows := []struct {
		name string
		run  func(t *testing.T, s suite)
	}{
		{"get what was set", testGetSetUnset},
		{"odd keys and values", testOddText},
		{"refused requests", testRefused},
		{"iterate below a prefix", testIterate},
		{"iterate with a busy callback", testIterateCallback},
		{"changes of a commit in order", testChangeOrder},
		{"many changes in a commit", testManyChanges},
		{"names that look like others", testLookalikes},
		{"conditions", testConditions},
		{"two handles", testTwoHandles},
		{"concurrent writers", testConcurrentWriters},
		{"concurrent counters", testCounters},
		{"cancelled context", testCancelled},
		{"close", testClose},
		{"version", testVersion},
		{"watch", testWatch},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.run(t, suite{t, home, home.Fresh(t)}) })
	}
}

// suite opens handles on one dictionary and ends the test on unexpected errors.
type suite struct {
	t    *testing.T
	home Home
	make func() dict.Dict
}

func (s suite) open() handle {
	s.t.Helper()
	d := s.make()
	s.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			s.t.Errorf("Close: %v", err)
		}
	})
	return handle{s.t, d}
}

type handle struct {
	t *testing.T
	dict.Dict
}

func (h handle) commit(changes ...dict.Change) {
	h.t.Helper()
	if err := h.Commit(h.t.Context(), changes); err != nil {
		h.t.Fatalf("Commit: %v", err)
	}
}

func (h handle) want(key, value string) {
	h.t.Helper()
	got, ok, err := h.Get(h.t.Context(), key)
	if err != nil || !ok || got != value {
		h.t.Fatalf("Get(%q) = %.40q, %v, %v; want %.40q", key, got, ok, err, value)
	}
}

func (h handle) wantMissing(key string) {
	h.t.Helper()
	if got, ok, err := h.Get(h.t.Context(), key); err != nil || ok || got != "" {
		h.t.Fatalf("Get(%q) = %.40q, %v, %v; want nothing", key, got, ok, err)
	}
}

// wantKeys checks what is below prefix, written as key=value words.
func (h handle) wantKeys(prefix string, want ...string) {
	h.t.Helper()
	var got []string
	err := h.Iterate(h.t.Context(), prefix, func(key, value string) error {
		got = append(got, key+"="+value)
		return nil
	})
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		h.t.Fatalf("Iterate(%q): %v, %v; want %v", prefix, got, err, want)
	}
}

func testGetSetUnset(t *testing.T, s suite) {
	d := s.open()
	d.wantMissing("shared/a")
	d.wantKeys(dict.Root)
	d.commit(dict.Unset("shared/a")) // no such key: no error
	d.commit(dict.Set("shared/a", "1"))
	d.want("shared/a", "1")
	d.wantMissing("shared/A")
	d.wantMissing("shared/a/b")
	d.commit() // nothing to do: no error
	if s.home.Flat {
		err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/new", "1"), dict.Set("shared/a/b", "1")})
		if !errors.Is(err, dict.ErrInvalid) {
			t.Errorf("a key below another: %v", err)
		}
		d.wantKeys(dict.Root, "shared/a=1")
		return
	}
	d.commit(dict.Set("shared/a", "2"), dict.Set("shared/a/b", ""))
	d.want("shared/a", "2")
	d.want("shared/a/b", "")
	d.commit(dict.Unset("shared/a"))
	d.wantMissing("shared/a")
	d.want("shared/a/b", "")
}

func testOddText(t *testing.T, s suite) {
	d := s.open()
	texts := []string{
		" ", "a b", "  both ends ", "tab\there", "\x01", "\x01t", "a\x01\x010", "100%", "%2F", "a/b/",
		"käse", "kа́ша", "メール", "😀", "e\u0301", "a\nb", "a\r\nb", "\n", "\r", "trailing\r", `back\slash`, `"quoted'`, "_%*?[", "\x7f",
		".", "..", "...", ".a", "...a", "'; drop table t; --", "$x", "${x}", "{x}", "?", ":1", "[a]", "^a",
		strings.Repeat("long", 100),
	}
	if s.home.Flat {
		texts = slices.DeleteFunc(texts, func(text string) bool { return strings.HasSuffix(text, "/") })
	}
	for _, text := range texts {
		d.commit(dict.Set("shared/odd/"+text, "value "+text), dict.Set("shared/value", text))
		d.want("shared/odd/"+text, "value "+text)
		d.want("shared/value", text)
	}
	again := s.open()
	for _, text := range texts {
		again.want("shared/odd/"+text, "value "+text)
	}
	for _, text := range texts {
		again.commit(dict.Unset("shared/odd/" + text))
	}
	again.wantKeys("shared/odd/")
}

func testRefused(t *testing.T, s suite) {
	d, ctx := s.open(), t.Context()
	d.commit(dict.Set("shared/a", "1"))
	longest := "shared/" + strings.Repeat("k", dict.MaxKey-len("shared/"))
	for _, key := range []string{"", "shared", "shared/", "a", "/shared/a", "priv/a", "Shared/a", "shared/\x00", "shared/\xff", longest + "k"} {
		if _, _, err := d.Get(ctx, key); !errors.Is(err, dict.ErrInvalid) {
			t.Errorf("Get(%.20q): %v", key, err)
		}
		for _, change := range []dict.Change{dict.Set(key, "1"), dict.Unset(key)} {
			if err := d.Commit(ctx, []dict.Change{dict.Set("shared/b", "1"), change}); !errors.Is(err, dict.ErrInvalid) {
				t.Errorf("Commit(%.20q): %v", key, err)
			}
		}
		if err := d.Commit(ctx, nil, dict.IfMissing(key)); !errors.Is(err, dict.ErrInvalid) {
			t.Errorf("Commit if %.20q is missing: %v", key, err)
		}
	}
	for _, value := range []string{"\x00", "a\xff", strings.Repeat("v", dict.MaxValue+1)} {
		if err := d.Commit(ctx, []dict.Change{dict.Set("shared/b", value)}); !errors.Is(err, dict.ErrInvalid) {
			t.Errorf("Set to %.20q: %v", value, err)
		}
	}
	for _, prefix := range []string{"", "shared", "shared/a", "/", "priv/", "shared/\x00/", longest + "/"} {
		err := d.Iterate(ctx, prefix, func(string, string) error { return nil })
		if !errors.Is(err, dict.ErrInvalid) {
			t.Errorf("Iterate(%.20q): %v", prefix, err)
		}
	}
	if err := d.Commit(ctx, make([]dict.Change, dict.MaxChanges+1)); !errors.Is(err, dict.ErrInvalid) {
		t.Errorf("too many changes: %v", err)
	}
	d.wantKeys(dict.Root, "shared/a=1") // nothing of the refused commits
	longest = longest[:s.home.LongestKey]
	biggest := strings.Repeat("v", dict.MaxValue)
	d.commit(dict.Set(longest, biggest))
	d.want(longest, biggest)
	tooMuch := []dict.Change{dict.Set("shared/b", biggest), dict.Set("shared/c", biggest)}
	if err := d.Commit(ctx, tooMuch); !errors.Is(err, dict.ErrInvalid) {
		t.Errorf("changes of two megabytes: %v", err)
	}
	d.wantMissing("shared/b")
}

func testIterate(t *testing.T, s suite) {
	d := s.open()
	var changes []dict.Change
	keys := []string{"b/x/2", "b/x", "bc", "b", "b/x/10", "a/z", "b/é", "b!", "b/x y", "b0"}
	if s.home.Flat {
		keys = slices.DeleteFunc(keys, func(key string) bool { return key == "b" || key == "b/x" })
	}
	for _, key := range keys {
		changes = append(changes, dict.Set("shared/"+key, "1"))
	}
	d.commit(changes...)
	if s.home.Flat {
		d.wantKeys("shared/b/", "shared/b/x y=1", "shared/b/x/10=1", "shared/b/x/2=1", "shared/b/é=1")
		d.wantKeys(dict.Root, "shared/a/z=1", "shared/b!=1", "shared/b/x y=1",
			"shared/b/x/10=1", "shared/b/x/2=1", "shared/b/é=1", "shared/b0=1", "shared/bc=1")
		return
	}
	d.wantKeys("shared/b/", "shared/b/x=1", "shared/b/x y=1", "shared/b/x/10=1", "shared/b/x/2=1", "shared/b/é=1")
	d.wantKeys("shared/b/x/", "shared/b/x/10=1", "shared/b/x/2=1")
	d.wantKeys("shared/bc/")
	d.wantKeys("shared/a/", "shared/a/z=1")
	d.wantKeys("shared/nothing/")
	d.wantKeys(dict.Root, "shared/a/z=1", "shared/b=1", "shared/b!=1", "shared/b/x=1", "shared/b/x y=1",
		"shared/b/x/10=1", "shared/b/x/2=1", "shared/b/é=1", "shared/b0=1", "shared/bc=1")
}

func testIterateCallback(t *testing.T, s suite) {
	d, ctx := s.open(), t.Context()
	d.commit(dict.Set("shared/a/1", ""), dict.Set("shared/a/2", ""), dict.Set("shared/a/3", ""))
	stop, seen := errors.New("stop"), 0
	err := d.Iterate(ctx, "shared/a/", func(string, string) error {
		if seen++; seen == 2 {
			return stop
		}
		return nil
	})
	if err != stop || seen != 2 {
		t.Errorf("Iterate: %v after %d keys", err, seen)
	}
	err = d.Iterate(ctx, "shared/a/", func(key, _ string) error {
		if _, ok, err := d.Get(ctx, key); err != nil || !ok {
			return fmt.Errorf("get within: %v, %w", ok, err)
		}
		return d.Commit(ctx, []dict.Change{dict.Set("shared/b"+strings.TrimPrefix(key, "shared/a"), "copy")})
	})
	if err != nil {
		t.Fatal(err)
	}
	d.wantKeys("shared/b/", "shared/b/1=copy", "shared/b/2=copy", "shared/b/3=copy")
}

func testChangeOrder(t *testing.T, s suite) {
	d := s.open()
	d.commit(dict.Set("shared/z", "old"), dict.Set("shared/y", "old"))
	d.commit(
		dict.Set("shared/a", "1"), dict.Unset("shared/z"), dict.Set("shared/a", "2"),
		dict.Set("shared/b", "1"), dict.Unset("shared/b"),
		dict.Unset("shared/y"), dict.Set("shared/y", "new"))
	d.wantKeys(dict.Root, "shared/a=2", "shared/y=new")
}

func testManyChanges(t *testing.T, s suite) {
	const n = 1500
	d := s.open()
	d.commit(dict.Set("shared/other", "1"))
	var set, unset []dict.Change
	for i := range n {
		set = append(set, dict.Set(fmt.Sprintf("shared/many/%04d", i), strconv.Itoa(i)))
		unset = append(unset, dict.Unset(fmt.Sprintf("shared/many/%04d", n-1-i)))
	}
	count := func() (found int) {
		t.Helper()
		if err := d.Iterate(t.Context(), "shared/many/", func(string, string) error { found++; return nil }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	err := d.Commit(t.Context(), set, dict.IfValue("shared/other", "2"))
	if got := count(); !errors.Is(err, dict.ErrConflict) || got != 0 {
		t.Fatalf("commit without its condition: %v, %d keys", err, got)
	}
	d.commit(set...)
	if got := count(); got != n {
		t.Fatalf("%d keys of %d", got, n)
	}
	d.commit(append(unset, dict.Set("shared/many/0007", "seven"))...)
	d.wantKeys(dict.Root, "shared/many/0007=seven", "shared/other=1")
}

// testLookalikes has names that a server may take for one another: by case, by
// blanks at the end, by composition, or because they look like a pattern.
func testLookalikes(t *testing.T, s suite) {
	d := s.open()
	names := []string{"bob", "Bob", "BOB", "bob ", "b_b", "b%b", "b*", "b?b", "[b]ob", "bób", "bo\u0301b", "ß", "ss", "i", "ı", "İ", "a\x01", "a"}
	for i, name := range names {
		d.commit(dict.Set("shared/x/"+name+"/owner", strconv.Itoa(i)))
	}
	for i, name := range names {
		d.want("shared/x/"+name+"/owner", strconv.Itoa(i))
		d.wantKeys("shared/x/"+name+"/", fmt.Sprintf("shared/x/%s/owner=%d", name, i))
	}
	for i, name := range names {
		d.commit(dict.Unset("shared/x/" + name + "/owner"))
		d.wantMissing("shared/x/" + name + "/owner")
		if i+1 < len(names) {
			d.want("shared/x/"+names[i+1]+"/owner", strconv.Itoa(i+1))
		}
	}
}

func testConditions(t *testing.T, s suite) {
	d, ctx := s.open(), t.Context()
	d.commit(dict.Set("shared/a", "1"), dict.Set("shared/empty", ""))
	change := []dict.Change{dict.Set("shared/new", "1"), dict.Unset("shared/a")}
	for _, conditions := range [][]dict.Condition{
		{dict.IfMissing("shared/a")},
		{dict.IfMissing("shared/empty")},
		{dict.IfValue("shared/a", "2")},
		{dict.IfValue("shared/a", "")},
		{dict.IfValue("shared/b", "")},
		{dict.IfValue("shared/a", "1"), dict.IfMissing("shared/empty")},
	} {
		if err := d.Commit(ctx, change, conditions...); !errors.Is(err, dict.ErrConflict) {
			t.Errorf("%+v: %v", conditions, err)
		}
		if err := d.Commit(ctx, nil, conditions...); !errors.Is(err, dict.ErrConflict) {
			t.Errorf("%+v without a change: %v", conditions, err)
		}
	}
	d.wantKeys(dict.Root, "shared/a=1", "shared/empty=")
	// Conditions are about the state before, not between, the changes.
	err := d.Commit(ctx, change, dict.IfValue("shared/a", "1"), dict.IfValue("shared/empty", ""), dict.IfMissing("shared/new"))
	if err != nil {
		t.Fatal(err)
	}
	d.wantKeys(dict.Root, "shared/empty=", "shared/new=1")
}

func testTwoHandles(t *testing.T, s suite) {
	a, b := s.open(), s.open()
	b.wantMissing("shared/k")
	for i := range 20 {
		v := strconv.Itoa(i)
		a.commit(dict.Set("shared/k", v))
		b.want("shared/k", v)
		b.commit(dict.Set("shared/k", "b"+v), dict.Set("shared/b", v))
		a.want("shared/k", "b"+v)
	}
	a.commit(dict.Unset("shared/k"))
	b.wantKeys(dict.Root, "shared/b=19")
	c := s.open()
	c.wantKeys(dict.Root, "shared/b=19")
}

func testConcurrentWriters(t *testing.T, s suite) {
	const writers, rounds = 4, 10
	var wg sync.WaitGroup
	handles := []handle{s.open(), s.open()}
	for w := range writers {
		wg.Go(func() {
			d := handles[w%len(handles)]
			for i := range rounds {
				changes := []dict.Change{
					dict.Set(fmt.Sprintf("shared/w%d/%02d", w, i), "1"),
					dict.Set(fmt.Sprintf("shared/last/%d", w), strconv.Itoa(i)),
				}
				if err := d.Commit(t.Context(), changes); err != nil {
					t.Errorf("writer %d, round %d: %v", w, i, err)
				}
			}
		})
	}
	wg.Wait()
	n := 0
	for w := range writers {
		err := handles[0].Iterate(t.Context(), fmt.Sprintf("shared/w%d/", w), func(string, string) error { n++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		handles[1].want(fmt.Sprintf("shared/last/%d", w), strconv.Itoa(rounds-1))
	}
	if n != writers*rounds {
		t.Errorf("%d keys of %d are left", n, writers*rounds)
	}
}

// testCounters adds to two keys at once, each time on the condition that
// nobody else did meanwhile: no increment may be lost, and the two stay equal.
func testCounters(t *testing.T, s suite) {
	const writers, rounds = 4, 5
	handles := []handle{s.open(), s.open()}
	handles[0].commit(dict.Set("shared/x", "0"), dict.Set("shared/y", "0"))
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range rounds {
				if err := increment(t.Context(), handles[w%len(handles)]); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	handles[0].want("shared/x", strconv.Itoa(writers*rounds))
	handles[1].want("shared/y", strconv.Itoa(writers*rounds))
}

func increment(ctx context.Context, d dict.Dict) error {
	for {
		old, _, err := d.Get(ctx, "shared/x")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(old)
		if err != nil {
			return err
		}
		value := strconv.Itoa(n + 1)
		err = d.Commit(ctx, []dict.Change{dict.Set("shared/x", value), dict.Set("shared/y", value)},
			dict.IfValue("shared/x", old), dict.IfValue("shared/y", old))
		if !errors.Is(err, dict.ErrConflict) {
			return err
		}
	}
}

func testCancelled(t *testing.T, s suite) {
	d := s.open()
	d.commit(dict.Set("shared/a/1", "1"), dict.Set("shared/a/2", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := d.Iterate(ctx, "shared/a/", func(string, string) error { seen++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || seen != 1 {
		t.Errorf("Iterate cancelled meanwhile: %v after %d keys", err, seen)
	}
	if _, _, err := d.Get(ctx, "shared/a/1"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	if err := d.Iterate(ctx, "shared/b/", func(string, string) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Iterate: %v", err)
	}
	if err := d.Commit(ctx, []dict.Change{dict.Set("shared/b", "1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v", err)
	}
	d.wantMissing("shared/b")
}

func testClose(t *testing.T, s suite) {
	d, ctx := s.open(), t.Context()
	d.commit(dict.Set("shared/a", "1"))
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	if _, _, err := d.Get(ctx, "shared/a"); !errors.Is(err, dict.ErrClosed) {
		t.Errorf("Get: %v", err)
	}
	if err := d.Iterate(ctx, dict.Root, func(string, string) error { return nil }); !errors.Is(err, dict.ErrClosed) {
		t.Errorf("Iterate: %v", err)
	}
	if err := d.Commit(ctx, []dict.Change{dict.Set("shared/b", "1")}); !errors.Is(err, dict.ErrClosed) {
		t.Errorf("Commit: %v", err)
	}
}

func testVersion(t *testing.T, s suite) {
	a, b := s.open(), s.open()
	va, ok := a.Dict.(dict.Versioner)
	if !ok {
		t.Skip("no such ability")
	}
	version := func() string {
		t.Helper()
		v, err := va.Version(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	seen := map[string]bool{version(): true}
	for i, d := range []handle{a, b, a, b} {
		d.commit(dict.Set("shared/k", strconv.Itoa(i)))
		v := version()
		if seen[v] {
			t.Errorf("change %d: version %q again", i, v)
		}
		seen[v] = true
		if again := version(); again != v {
			t.Errorf("nothing changed, but version %q became %q", v, again)
		}
		d.commit(dict.Set("shared/k", strconv.Itoa(i)))
		if again := version(); again != v {
			t.Errorf("no effect, but version %q became %q", v, again)
		}
	}
}

// testWatch keeps a copy by what it is told, as a Mirror does.
func testWatch(t *testing.T, s suite) {
	a, b := s.open(), s.open()
	if _, ok := a.Dict.(dict.Watcher); !ok {
		t.Skip("no such ability")
	}
	b.commit(dict.Set("shared/old", "1"), dict.Set("shared/gone", "1"))
	m := dict.NewMirror(a.Dict, dict.MirrorOptions{Every: time.Hour}) // so that only the watch brings news
	defer m.Close()
	await := func(key, value string, ok bool) {
		t.Helper()
		for {
			changed := m.Changed()
			got, is, err := m.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if got == value && is == ok {
				return
			}
			select {
			case <-changed:
			case <-time.After(30 * time.Second):
				t.Fatalf("the watch never told of %q = %q, %v", key, value, ok)
			}
		}
	}
	await("shared/old", "1", true)
	for i := range 10 {
		b.commit(dict.Set("shared/new", strconv.Itoa(i)), dict.Set("shared/x/"+strconv.Itoa(i), "1"))
	}
	b.commit(dict.Unset("shared/gone"))
	await("shared/new", "9", true)
	await("shared/gone", "", false)
	b.commit(dict.Set("shared/end", "1"))
	await("shared/end", "1", true)
	await("shared/x/5", "1", true)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}
