package dict

import (
	"context"
	"strconv"
	"sync"
)

// Memory is a Dict in memory, for tests.
type Memory struct {
	Reader

	mu      sync.Mutex // guards what is below; not held while a callback runs
	now     Table
	version uint64
	closed  bool
}

// NewMemory returns an empty dictionary.
func NewMemory() *Memory {
	m := &Memory{}
	m.Reader = NewReader(func(ctx context.Context) (Table, error) {
		table, _, err := m.state(ctx)
		return table, err
	})
	return m
}

var (
	_ Dict      = (*Memory)(nil)
	_ Versioner = (*Memory)(nil)
)

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
	next, changed, err := m.now.Apply(changes, conditions)
	if err != nil || !changed {
		return err
	}
	m.now = next
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
	m.now = Table{}
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
	return m.now, m.version, nil
}
