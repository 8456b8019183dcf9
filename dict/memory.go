package dict

import (
	"context"
	"strconv"
	"sync"
)

// Memory is a Dict in memory, for tests.
type Memory struct {
	mu      sync.Mutex // guards what is below; not held while a callback runs
	table   Table
	version uint64
	closed  bool
}

// NewMemory returns an empty dictionary.
func NewMemory() *Memory { return &Memory{} }

var (
	_ Dict      = (*Memory)(nil)
	_ Versioner = (*Memory)(nil)
)

// Get implements Dict.
func (m *Memory) Get(ctx context.Context, key string) (string, bool, error) {
	if err := CheckKey(key); err != nil {
		return "", false, err
	}
	table, _, err := m.state(ctx)
	if err != nil {
		return "", false, err
	}
	value, ok := table.Get(key)
	return value, ok, nil
}

// Iterate implements Dict. It shows the state at the time of the call.
func (m *Memory) Iterate(ctx context.Context, prefix string, fn func(key, value string) error) error {
	if err := CheckPrefix(prefix); err != nil {
		return err
	}
	table, _, err := m.state(ctx)
	if err != nil {
		return err
	}
	return table.Walk(ctx, prefix, fn)
}

// Commit implements Dict.
func (m *Memory) Commit(ctx context.Context, changes []Change, conditions ...Condition) error {
	if err := CheckCommit(changes, conditions); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	next, changed, err := m.table.Apply(changes, conditions)
	if err != nil || !changed {
		return err
	}
	m.table = next
	m.version++
	return nil
}

// Version implements Versioner.
func (m *Memory) Version(ctx context.Context) (string, error) {
	_, version, err := m.state(ctx)
	return strconv.FormatUint(version, 10), err
}

// Close implements Dict. The contents are given up.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.table = Table{}
	return nil
}

func (m *Memory) state(ctx context.Context) (Table, uint64, error) {
	if err := ctx.Err(); err != nil {
		return Table{}, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return Table{}, 0, ErrClosed
	}
	return m.table, m.version, nil
}
