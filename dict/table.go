package dict

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Entry is a key with its value.
type Entry struct{ Key, Value string }

// Table is an immutable set of entries in bytewise order of the keys. The zero
// Table is empty. Because it never changes, it may be read without a lock;
// homes that hold everything in memory swap one Table for the next.
type Table struct{ entries []Entry }

// NewTable makes a Table of entries in any order and takes the slice over. Of
// several entries with one key the last counts.
func NewTable(entries []Entry) Table {
	byKey := func(a, b Entry) int { return strings.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(entries, byKey) {
		slices.SortStableFunc(entries, byKey)
	}
	n := 0
	for i := range entries {
		if i+1 < len(entries) && entries[i+1].Key == entries[i].Key {
			continue
		}
		entries[n] = entries[i]
		n++
	}
	clear(entries[n:])
	return Table{entries[:n]}
}

// Equal tells whether both hold the same keys and values.
func (t Table) Equal(u Table) bool { return slices.Equal(t.entries, u.entries) }

// Get returns the value of key, and whether there is one.
func (t Table) Get(key string) (string, bool) {
	if i := t.search(key); i < len(t.entries) && t.entries[i].Key == key {
		return t.entries[i].Value, true
	}
	return "", false
}

// Below returns the entries whose keys start with prefix, in order. The slice
// belongs to the Table and must not be changed.
func (t Table) Below(prefix string) []Entry {
	rest := t.entries[t.search(prefix):]
	n := sort.Search(len(rest), func(i int) bool { return !strings.HasPrefix(rest[i].Key, prefix) })
	return rest[:n:n]
}

// Walk calls fn for the entries below prefix, in order, until it returns an
// error or ctx ends, and returns that error as it is.
func (t Table) Walk(ctx context.Context, prefix string, fn func(key, value string) error) error {
	for _, e := range t.Below(prefix) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(e.Key, e.Value); err != nil {
			return err
		}
	}
	return nil
}

// Reader is the reading half of a Dict that is held as a Table.
type Reader struct {
	table func(ctx context.Context) (Table, error)
}

// NewReader reads what table gives.
func NewReader(table func(ctx context.Context) (Table, error)) Reader { return Reader{table} }

// Get implements Dict.
func (r Reader) Get(ctx context.Context, key string) (string, bool, error) {
	if err := CheckKey(key); err != nil {
		return "", false, err
	}
	table, err := r.table(ctx)
	if err != nil {
		return "", false, err
	}
	value, ok := table.Get(key)
	return value, ok, nil
}

// Iterate implements Dict. It shows the state at the time of the call.
func (r Reader) Iterate(ctx context.Context, prefix string, fn func(key, value string) error) error {
	if err := CheckPrefix(prefix); err != nil {
		return err
	}
	table, err := r.table(ctx)
	if err != nil {
		return err
	}
	return table.Walk(ctx, prefix, fn)
}

// search is the index of the first entry whose key is not less than key.
func (t Table) search(key string) int {
	return sort.Search(len(t.entries), func(i int) bool { return t.entries[i].Key >= key })
}

// Apply returns the Table after the changes, as Dict.Commit defines them, and
// whether it differs from t. If a condition fails the error is ErrConflict.
// The arguments have passed CheckCommit.
func (t Table) Apply(changes []Change, conditions []Condition) (next Table, changed bool, err error) {
	for _, c := range conditions {
		value, ok := t.Get(c.Key)
		if ok == c.Missing || ok && value != c.Value {
			return t, false, fmt.Errorf("%w: key %q", ErrConflict, c.Key)
		}
	}
	effective := t.effective(changes)
	if len(effective) == 0 {
		return t, false, nil
	}
	return t.merge(effective), true, nil
}

// effective sorts the changes and leaves out those without effect: overruled
// by a later one, or already so.
func (t Table) effective(changes []Change) []Change {
	sorted := lastOfEach(changes)
	n := 0
	for _, c := range sorted {
		value, ok := t.Get(c.Key)
		if ok == !c.Unset && (c.Unset || value == c.Value) {
			continue
		}
		sorted[n] = c
		n++
	}
	return sorted[:n]
}

// merge copies the entries with the changes, which are sorted and effective,
// worked in.
func (t Table) merge(changes []Change) Table {
	merged := make([]Entry, 0, len(t.entries)+len(changes))
	rest := t
	for _, c := range changes {
		i := rest.search(c.Key)
		merged = append(merged, rest.entries[:i]...)
		if i < len(rest.entries) && rest.entries[i].Key == c.Key {
			i++
		}
		rest.entries = rest.entries[i:]
		if !c.Unset {
			merged = append(merged, Entry{c.Key, c.Value})
		}
	}
	return Table{append(merged, rest.entries...)}
}
